"""Who may run which command: the table, each row a sentence, and what no list may change."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_app.access.command_access import ALWAYS_ALLOWED, Tier, may_run, tier_of
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.sessions.source import ChatType, SessionSource

UNGATED, ADMIN, USER = Tier.UNGATED, Tier.ADMIN, Tier.USER
DM = ChatType.DM
GATED = {"allow_admin_from": ["boss"], "group_allow_admin_from": ["boss"]}


class Row(NamedTuple):
    sentence: str
    access: dict[str, list[str]]
    user: str
    chat: ChatType
    command: str
    is_allowed: bool
    tier: Tier
    alt: str = ""


TABLE = [
    Row("Without admins everybody may run everything in direct messages", {}, "ann", DM, "model", True, UNGATED),
    Row("Without admins everybody may run everything in groups", {}, "ann", ChatType.GROUP, "model", True, UNGATED),
    Row(
        "A list of commands alone gates nothing",
        {"user_allowed_commands": ["stop"]}, "ann", DM, "model", True, UNGATED,
    ),
    Row("An admin may run everything", GATED, "boss", DM, "model", True, ADMIN),
    Row("An admin is also known by the alternative id", GATED, "ann", DM, "model", True, ADMIN, alt="boss"),
    Row("Another person may not", GATED, "ann", DM, "model", False, USER),
    Row("Another person may ask for help", GATED, "ann", DM, "help", True, USER),
    Row("Another person may ask who they are", GATED, "ann", DM, "whoami", True, USER),
    Row("A sender without an id is no admin", GATED, "", ChatType.GROUP, "model", False, USER),
    Row("Ids are compared as they are, so that no look-alike passes", GATED, "BOSS", DM, "model", False, USER),
    Row(
        "A star makes everybody an admin",
        {"allow_admin_from": ["*"]}, "ann", DM, "model", True, ADMIN,
    ),
    Row(
        "A star does not make a sender without an id an admin",
        {"group_allow_admin_from": ["*"]}, "", ChatType.GROUP, "model", False, USER,
    ),
    Row(
        "A listed command is open to everybody",
        GATED | {"user_allowed_commands": ["stop", "model"]}, "ann", DM, "model", True, USER,
    ),
    Row(
        "Commands are listed in any case and with or without the slash",
        GATED | {"user_allowed_commands": [" /Model "]}, "ann", DM, "model", True, USER,
    ),
    Row(
        "A command may be listed by its alias",
        GATED | {"user_allowed_commands": ["m"]}, "ann", DM, "model", True, USER,
    ),
    Row(
        "A star lists no command",
        GATED | {"user_allowed_commands": ["*"]}, "ann", DM, "model", False, USER,
    ),
    Row(
        "A list of commands opens no others",
        GATED | {"user_allowed_commands": ["stop"]}, "ann", DM, "model", False, USER,
    ),
    Row(
        "A direct message takes the groups' commands where it has none of its own",
        GATED | {"group_user_allowed_commands": ["model"]}, "ann", DM, "model", True, USER,
    ),
    Row(
        "A direct message with commands of its own does not take the groups'",
        GATED | {"user_allowed_commands": ["stop"], "group_user_allowed_commands": ["model"]},
        "ann", DM, "model", False, USER,
    ),
    Row(
        "A group never takes the direct messages' commands",
        GATED | {"user_allowed_commands": ["model"]}, "ann", ChatType.GROUP, "model", False, USER,
    ),
    Row(
        "An admin of direct messages is none in groups",
        {"allow_admin_from": ["ann"], "group_allow_admin_from": ["boss"]}, "ann", ChatType.GROUP, "model", False, USER,
    ),
    Row(
        "An admin of groups is none in direct messages",
        {"allow_admin_from": ["boss"], "group_allow_admin_from": ["ann"]}, "ann", DM, "model", False, USER,
    ),
    Row(
        "Admins of direct messages do not gate groups",
        {"allow_admin_from": ["boss"]}, "ann", ChatType.GROUP, "model", True, UNGATED,
    ),
    Row(
        "Admins of groups do not gate direct messages",
        {"group_allow_admin_from": ["boss"]}, "ann", DM, "model", True, UNGATED,
    ),
    Row("A channel is a group", GATED, "ann", ChatType.CHANNEL, "model", False, USER),
    Row("A thread is a group", GATED, "boss", ChatType.THREAD, "model", True, ADMIN),
]  # fmt: skip


def source_of(row: Row) -> SessionSource:
    return SessionSource(platform="telegram", chat_id="c", chat_type=row.chat, user_id=row.user, user_id_alt=row.alt)


class TableTests(SimpleTestCase):
    def test_each_row_of_the_table_holds(self) -> None:
        for row in TABLE:
            with self.subTest(row.sentence):
                access = PlatformAccess.model_validate(row.access)
                found = may_run(source_of(row), row.command, access, aliases=["m"])
                self.assertEqual((found.is_allowed, found.tier), (row.is_allowed, row.tier))

    def test_the_rule_names_the_setting_that_decided(self) -> None:
        for user, changes, rule in (
            ("boss", GATED, "TELEGRAM_ALLOW_ADMIN_FROM"),
            ("ann", {}, "TELEGRAM_ALLOW_ADMIN_FROM names nobody"),
            ("ann", GATED, "not in TELEGRAM_GROUP_USER_ALLOWED_COMMANDS"),
            ("ann", GATED | {"user_allowed_commands": ["model"]}, "TELEGRAM_USER_ALLOWED_COMMANDS"),
        ):
            with self.subTest(rule):
                source = SessionSource(platform="telegram", chat_id="c", chat_type=DM, user_id=user)
                self.assertEqual(may_run(source, "model", PlatformAccess.model_validate(changes)).rule, rule)


names = st.lists(st.sampled_from(["ann", "boss", "*", "model", "/Stop", "help"]), max_size=3)
accesses = st.builds(
    PlatformAccess.model_validate,
    st.fixed_dictionaries(
        dict.fromkeys(
            [
                "allow_admin_from", "user_allowed_commands", "group_allow_admin_from", "group_user_allowed_commands",
            ],
            names,
        )
    ),
)  # fmt: skip
sources = st.builds(
    SessionSource,
    platform=st.just("telegram"),
    chat_id=st.just("c"),
    chat_type=st.sampled_from(ChatType),
    user_id=st.sampled_from(["ann", "bob", ""]),
    user_id_alt=st.sampled_from(["boss", ""]),
)


class Properties(SimpleTestCase):
    @given(sources, accesses)
    @settings(max_examples=500, deadline=None)
    def test_help_and_whoami_are_always_allowed(self, source: SessionSource, access: PlatformAccess) -> None:
        for command in ALWAYS_ALLOWED:
            self.assertTrue(may_run(source, command, access).is_allowed)

    @given(sources, accesses, st.sampled_from(["model", "stop", "other"]))
    @settings(max_examples=500, deadline=None)
    def test_one_scopes_admins_never_decide_in_the_other(
        self, source: SessionSource, access: PlatformAccess, command: str
    ) -> None:
        other = "group_allow_admin_from" if source.chat_type is DM else "allow_admin_from"
        without = access.model_copy(update={other: ()})
        self.assertEqual(may_run(source, command, access), may_run(source, command, without))

    @given(sources, accesses, st.sampled_from(["model", "stop", "other"]))
    @settings(max_examples=500, deadline=None)
    def test_only_who_is_not_gated_or_listed_runs_what_no_list_names(
        self, source: SessionSource, access: PlatformAccess, command: str
    ) -> None:
        # Taking all commands off the lists leaves nobody anything but admins and those who are not gated.
        bare = access.model_copy(update={"user_allowed_commands": (), "group_user_allowed_commands": ()})
        expected = tier_of(source, access) is not Tier.USER
        self.assertEqual(may_run(source, command, bare).is_allowed, expected)

    @given(sources, accesses, st.sampled_from(["model", "stop", "other"]), st.sampled_from(["model", "x"]))
    @settings(max_examples=500, deadline=None)
    def test_a_longer_list_of_groups_commands_never_takes_one_away(
        self, source: SessionSource, access: PlatformAccess, command: str, more: str
    ) -> None:
        values: dict[str, Any] = {"group_user_allowed_commands": (*access.group_user_allowed_commands, more)}
        wider = access.model_copy(update=values)
        self.assertGreaterEqual(may_run(source, command, wider).is_allowed, may_run(source, command, access).is_allowed)
