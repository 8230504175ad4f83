"""What sessions and people are called on a Honcho server."""

from __future__ import annotations

import re
from typing import Any

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from gateway_app.sessions.source import ChatType, SessionContext, SessionSource
from honcho_app.configuration import HonchoConfig
from honcho_app.names import ai_peer_name, checked_id, is_private, peer_name, session_name, workspace_name

CONFIG = HonchoConfig()
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


def source(**fields: Any) -> SessionSource:
    known: dict[str, Any] = {"platform": "telegram", "account": "1", "chat_id": "5", "chat_type": ChatType.DM}
    return SessionSource(**known | {"user_id": "5"} | fields)


def context(**fields: Any) -> SessionContext:
    known = dict.fromkeys(SessionContext.__dataclass_fields__, "")
    return SessionContext(
        **known | {"platform": "telegram", "account": "1", "user_id": "5", "chat_type": "dm"} | fields
    )


class SessionNameTests(SimpleTestCase):
    def test_keys_that_look_alike_have_names_of_their_own(self) -> None:
        names = {session_name(key) for key in ("a:b", "a.b", "a-b", "a--b", "a b", "A:b", "a:b ", "ä:b")}
        self.assertEqual(len(names), 8)

    def test_a_name_can_be_read(self) -> None:
        self.assertRegex(session_name("agent:main:telegram:dm:123"), r"^agent-main-telegram-dm-123-[0-9a-f]{24}$")

    def test_a_key_without_a_letter_has_a_name_all_the_same(self) -> None:
        self.assertRegex(session_name("::"), r"^[0-9a-f]{24}$")
        self.assertNotEqual(session_name("::"), session_name(":::"))

    @given(KEYS)
    def test_every_name_is_an_id(self, key: str) -> None:
        self.assertEqual(checked_id(session_name(key)), session_name(key))

    @given(KEYS, KEYS)
    def test_two_keys_never_share_a_name(self, one: str, other: str) -> None:
        self.assertEqual(session_name(one) == session_name(other), one == other)


class PeerNameTests(SimpleTestCase):
    def test_a_person_is_one_peer_in_all_their_chats(self) -> None:
        group = source(chat_type=ChatType.GROUP, chat_id="-9")
        self.assertEqual(peer_name(source(), CONFIG), peer_name(group, CONFIG))

    def test_a_turns_context_names_the_peer_that_the_source_does(self) -> None:
        self.assertEqual(peer_name(context(), CONFIG), peer_name(source(), CONFIG))

    def test_the_same_id_is_somebody_else_on_another_platform_or_account(self) -> None:
        people = [source(), source(platform="discord"), source(account="2"), source(account="1:5", user_id="")]
        self.assertEqual(len({peer_name(person, CONFIG) for person in people}), 4)

    def test_who_has_no_id_is_known_in_their_conversation_alone(self) -> None:
        one, other = context(user_id="", honcho_session_key="a"), context(user_id="", honcho_session_key="b")
        self.assertNotEqual(peer_name(one, CONFIG), peer_name(other, CONFIG))

    def test_an_alias_of_the_platforms_id_comes_before_one_of_the_id(self) -> None:
        config = HonchoConfig(user_peer_aliases={"5": "anybody", "telegram:5": "anna"})
        self.assertEqual(peer_name(source(), config), "anna")
        self.assertEqual(peer_name(source(platform="discord"), config), "anybody")

    def test_where_one_person_uses_all_everybody_is_their_peer(self) -> None:
        config = HonchoConfig(pin_user_peer=True, peer_name="anna")
        self.assertEqual({peer_name(source(), config), peer_name(source(user_id="6"), config)}, {"anna"})

    def test_a_prefix_makes_other_peers(self) -> None:
        self.assertNotEqual(peer_name(source(), HonchoConfig(runtime_peer_prefix="test-")), peer_name(source(), CONFIG))

    def test_no_person_is_named_as_the_agent_is(self) -> None:
        self.assertNotEqual(peer_name(source(user_id="hermes"), CONFIG), ai_peer_name(CONFIG))

    def test_a_tenant_has_the_workspace_of_its_account_or_its_platform(self) -> None:
        config = HonchoConfig(workspaces={"telegram": "chats", "telegram:2": "acme"})
        found = [workspace_name(who, config) for who in (source(), source(account="2"), source(platform="discord"))]
        self.assertEqual(found, ["chats", "acme", "hermes"])

    def test_only_a_direct_message_is_private(self) -> None:
        self.assertEqual([kind for kind in ChatType if is_private(source(chat_type=kind))], [ChatType.DM])


class IdTests(SimpleTestCase):
    def test_an_id_of_letters_digits_and_dashes_passes(self) -> None:
        self.assertEqual(checked_id("V1StGXR8_Z5jdHi6B-myT"), "V1StGXR8_Z5jdHi6B-myT")

    def test_whatever_could_lead_elsewhere_in_a_url_is_refused(self) -> None:
        for bad in (
            "",
            "../sessions/x",
            "a/b",
            "a%2fb",
            "a.b",
            "a?b",
            "a#b",
            "a\n",
            "ä",
            "x" * 101,
            "x" * 10_000,
            None,
            5,
        ):
            with self.subTest(bad), self.assertRaisesRegex(ValueError, "allowed: 1 to 100 letters"):
                checked_id(bad)

    def test_the_error_does_not_repeat_a_long_id(self) -> None:
        with self.assertRaises(ValueError) as caught:
            checked_id("x" * 10_000)
        self.assertLess(len(str(caught.exception)), 200)

    @given(st.text(max_size=120))
    def test_nothing_passes_but_what_a_url_keeps_as_it_is(self, text: str) -> None:
        try:
            checked_id(text)
        except ValueError:
            self.assertFalse(re.fullmatch(r"[A-Za-z0-9_-]{1,100}\Z", text))
        else:
            self.assertTrue(text.isascii())
