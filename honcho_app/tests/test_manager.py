"""What a manager reads and writes, and with whose ids."""

from __future__ import annotations

from typing import Any

from gateway_app.agent.tool_error import ToolError
from honcho_app import generations, managers
from honcho_app.errors import HonchoError, HonchoErrorKind
from honcho_app.fences import fenced
from honcho_app.manager import Whom
from honcho_app.names import session_name
from honcho_app.opening import open_session
from tests.configuration import configured

from .case import HonchoCase

ANNA = {"user_id": "5"}
BEN = {"user_id": "6", "session_key": "agent:main:telegram:dm:6", "chat_id": "6"}
GROUP = {"session_key": "agent:main:telegram:group:-9", "chat_id": "-9", "chat_type": "group"}


class ManagerCase(HonchoCase):
    def say(self, text: str, **fields: Any) -> None:
        """Stores a message of a person in their session, as the ledger does."""
        manager = self.manager(**fields)
        self.store(manager, text, peer=manager.user_peer)

    def store(self, manager: Any, text: str, *, peer: str) -> None:
        honcho, name = self.honcho(manager), self.session_of(manager)
        open_session(honcho, name, users=[manager.user_peer], config=manager.config)
        honcho.session(name).add_messages([honcho.peer(peer).message(text)])


class CardTests(ManagerCase):
    async def test_of_somebody_new_nothing_is_known(self) -> None:
        anna = self.manager(**ANNA)
        self.assertEqual(await anna.profile(Whom.USER), [])
        self.assertEqual(await anna.conclusions(Whom.USER), [])
        self.assertEqual(await anna.search("tea", limit=5), [])
        self.assertEqual((await anna.context(tokens=500)).representation, "")

    async def test_a_card_is_read_from_where_it_was_written(self) -> None:
        anna, ben = self.manager(**ANNA), self.manager(**BEN)
        await anna.set_profile(Whom.USER, ["Anna", "  likes \n tea "])
        self.assertEqual(await anna.profile(Whom.USER), ["Anna", "likes tea"])
        self.assertEqual((await anna.context(tokens=500)).card, ("Anna", "likes tea"))
        self.assertEqual(await ben.profile(Whom.USER), [])

    async def test_what_one_wants_of_the_agent_is_theirs_alone(self) -> None:
        anna, ben = self.manager(**ANNA), self.manager(**BEN)
        await anna.set_profile(Whom.AI, ["be brief"])
        self.assertEqual(await anna.profile(Whom.AI), ["be brief"])
        self.assertEqual(await ben.profile(Whom.AI), [])
        self.assertEqual(await anna.profile(Whom.USER), [])

    async def test_an_empty_card_clears_it(self) -> None:
        anna = self.manager(**ANNA)
        await anna.set_profile(Whom.USER, ["Anna"])
        await anna.set_profile(Whom.USER, [])
        self.assertEqual(await anna.profile(Whom.USER), [])

    async def test_a_card_is_neither_read_nor_written_where_others_read_along(self) -> None:
        group = self.manager(**ANNA, **GROUP)
        for call in (group.profile(Whom.USER), group.set_profile(Whom.USER, ["x"]), group.reasoning("x", level="low")):
            with self.assertRaisesRegex(ToolError, "others read along"):
                await call
        self.assertEqual(self.peer.requests, [])

    async def test_a_card_that_is_too_long_is_refused(self) -> None:
        for card in (["x" * 501], ["x"] * 101):
            with self.assertRaisesRegex(ToolError, "100 facts of 500 characters"):
                await self.manager(**ANNA).set_profile(Whom.USER, card)


class MessageTests(ManagerCase):
    async def test_a_search_finds_what_the_person_said_in_their_conversations_and_nobody_elses(self) -> None:
        self.say("tea in the morning", **ANNA)
        self.say("tea in the group", **ANNA, **GROUP)
        self.say("tea is for others", **BEN)
        found = await self.manager(**ANNA).search("tea", limit=10)
        self.assertEqual({each.text for each in found}, {"tea in the morning", "tea in the group"})
        self.assertEqual({each.text: each.is_own_session for each in found}["tea in the group"], False)

    async def test_in_a_group_nothing_of_private_chats_is_found(self) -> None:
        self.say("my secret tea", **ANNA)
        self.say("tea for all", **ANNA, **GROUP)
        found = await self.manager(**ANNA, **GROUP).search("tea", limit=10)
        self.assertEqual([each.text for each in found], ["tea for all"])

    async def test_a_search_can_be_for_what_one_side_said(self) -> None:
        self.say("tea, please", **ANNA)
        anna = self.manager(**ANNA)
        self.store(anna, "tea it is", peer=anna.ai_peer)
        found = {whom: [each.text for each in await anna.search("tea", limit=10, whom=whom)] for whom in Whom}
        self.assertEqual(found, {Whom.USER: ["tea, please"], Whom.AI: ["tea it is"]})

    async def test_every_search_on_the_server_is_filtered_to_the_person(self) -> None:
        anna, group = self.manager(**ANNA), self.manager(**ANNA, **GROUP)
        await anna.search("x", limit=3)
        await group.search("x", limit=3)
        filters = [request["body"]["filters"] for request in self.peer.requests if request.get("operation") == "search"]
        self.assertEqual([each["peer_perspective"] for each in filters], [anna.user_peer] * 2)
        self.assertEqual(filters[1]["session_id"], session_name(group.honcho_session_key))

    async def test_in_a_group_what_is_known_from_elsewhere_stays_there(self) -> None:
        anna, group = self.manager(**ANNA), self.manager(**ANNA, **GROUP)
        await anna.conclude(Whom.USER, "has a secret")
        await anna.set_profile(Whom.USER, ["secret card"])
        await group.conclude(Whom.USER, "is in the choir")
        found = await group.context(tokens=500)
        self.assertIn("is in the choir", found.representation)
        self.assertNotIn("secret", repr(found))
        everything = (await anna.context(tokens=500)).representation
        self.assertIn("is in the choir", everything)
        self.assertIn("has a secret", everything)

    async def test_the_number_of_conclusions_is_always_said(self) -> None:
        await self.manager(**ANNA).context(tokens=500)
        await self.manager(**ANNA).context(Whom.AI, tokens=500, query="tone", max_conclusions=5)
        asked = [request["query"] for request in self.peer.requests if request.get("operation") == "context"]
        self.assertEqual([query["max_conclusions"] for query in asked], ["20", "5"])
        anna = self.manager(**ANNA)
        self.assertEqual((asked[1]["peer_target"], asked[1]["peer_perspective"]), (anna.ai_peer, anna.user_peer))

    async def test_reasoning_is_about_the_person(self) -> None:
        anna = self.manager(**ANNA)
        answer = await anna.reasoning("what?", level="low")
        self.assertEqual(answer, f"{anna.user_peer} says of {anna.user_peer}: what?")

    async def test_what_is_observed_is_said_when_the_session_is_made(self) -> None:
        await self.manager(**ANNA).conclude(Whom.USER, "x")
        made = next(request for request in self.peer.requests if request.get("operation") == "get_or_create_session")
        anna = self.manager(**ANNA)
        peers = {
            anna.user_peer: {"observe_me": True, "observe_others": False},
            anna.ai_peer: {"observe_me": False, "observe_others": False},
        }
        self.assertEqual(made["body"]["peers"], peers)

    async def test_a_session_is_made_once_in_a_process(self) -> None:
        anna = self.manager(**ANNA)
        await anna.conclude(Whom.USER, "x")
        await anna.conclude(Whom.USER, "y")
        made = [request for request in self.peer.requests if request.get("operation") == "get_or_create_session"]
        self.assertEqual(len(made), 1)


class ConclusionTests(ManagerCase):
    async def test_a_conclusion_is_listed_and_found(self) -> None:
        anna = self.manager(**ANNA)
        made = [await anna.conclude(Whom.USER, text) for text in ("likes tea", "plays the organ")]
        self.assertEqual(await anna.conclusions(Whom.USER), made[::-1])
        self.assertEqual((await anna.conclusions(Whom.USER, query="organ", limit=1)), [made[1]])
        self.assertEqual(await self.manager(**BEN).conclusions(Whom.USER), [])
        self.assertEqual(await anna.conclusions(Whom.AI), [])

    async def test_the_same_conclusion_is_written_once(self) -> None:
        anna = self.manager(**ANNA)
        first = await anna.conclude(Whom.USER, "likes tea")
        self.assertEqual(await anna.conclude(Whom.USER, " likes tea\n"), first)
        self.assertEqual(len(self.peer.conclusions()), 1)

    async def test_after_an_unknown_outcome_it_is_not_written_twice(self) -> None:
        anna = self.manager(**ANNA)
        self.peer.fault("drop", operation="create_conclusions", times=1)
        with self.assertRaises(HonchoError) as caught:
            await anna.conclude(Whom.USER, "likes tea")
        self.assertTrue(caught.exception.is_outcome_unknown)
        await anna.conclude(Whom.USER, "likes tea")
        self.assertEqual(len(self.peer.conclusions()), 1)

    async def test_our_fences_are_not_stored(self) -> None:
        anna = self.manager(**ANNA)
        await anna.conclude(Whom.USER, f"likes tea {fenced('and this was recalled')}")
        self.assertEqual([each["content"] for each in self.peer.conclusions()], ["likes tea"])

    async def test_ones_own_conclusion_can_be_deleted(self) -> None:
        anna = self.manager(**ANNA)
        made = await anna.conclude(Whom.USER, "likes tea")
        self.assertTrue(await anna.delete_conclusion(Whom.USER, made.id))
        self.assertFalse(await anna.delete_conclusion(Whom.USER, made.id))
        self.assertEqual(self.peer.conclusions(), [])

    async def test_an_old_one_can_be_deleted_too(self) -> None:
        anna = self.manager(**ANNA)
        made = [await anna.conclude(Whom.USER, f"fact {number}") for number in range(110)]
        self.assertTrue(await anna.delete_conclusion(Whom.USER, made[0].id))

    async def test_nobody_elses_conclusion_can_be_deleted_whoever_knows_its_id(self) -> None:
        anna, ben = self.manager(**ANNA), self.manager(**BEN)
        made = await anna.conclude(Whom.USER, "likes tea")
        for manager, whom in ((ben, Whom.USER), (ben, Whom.AI), (anna, Whom.AI)):
            self.assertFalse(await manager.delete_conclusion(whom, made.id))
        self.assertEqual(len(self.peer.conclusions()), 1)

    async def test_in_a_group_only_that_groups_can(self) -> None:
        anna, group = self.manager(**ANNA), self.manager(**ANNA, **GROUP)
        private, public = await anna.conclude(Whom.USER, "a secret"), await group.conclude(Whom.USER, "a song")
        self.assertEqual(await group.conclusions(Whom.USER), [public])
        self.assertEqual(await group.conclusions(Whom.USER, query="secret"), [public])
        self.assertFalse(await group.delete_conclusion(Whom.USER, private.id))
        self.assertTrue(await group.delete_conclusion(Whom.USER, public.id))

    async def test_an_id_that_leads_elsewhere_never_reaches_the_server(self) -> None:
        anna = self.manager(**ANNA)
        for bad in ("../sessions/x", "x/../../sessions/y", "x" * 10_000, ""):
            with self.subTest(bad[:20]), self.assertRaises(ValueError):
                await anna.delete_conclusion(Whom.USER, bad)
        self.assertEqual(self.peer.requests, [])


class FailureTests(ManagerCase):
    async def test_a_server_that_is_away_is_no_empty_memory(self) -> None:
        self.peer.fault("refuse")
        with self.assertRaises(HonchoError) as caught:
            await self.manager(**ANNA).search("x", limit=3)
        self.assertEqual(caught.exception.kind, HonchoErrorKind.UNAVAILABLE)

    async def test_where_only_search_fails_the_rest_goes_on(self) -> None:
        self.peer.fail_embedding()
        anna = self.manager(**ANNA)
        with self.assertRaises(HonchoError) as caught:
            await anna.search("x", limit=3)
        self.assertEqual((caught.exception.kind, caught.exception.status), (HonchoErrorKind.SERVER, 500))
        self.assertEqual(await anna.profile(Whom.USER), [])
        self.assertEqual((await anna.context(tokens=100)).summary, "")

    async def test_a_manager_that_was_shut_down_refuses(self) -> None:
        anna = self.manager(**ANNA)
        managers.shut_down(anna.honcho_session_key)
        with self.assertRaisesRegex(ToolError, "not active for this session"):
            await anna.profile(Whom.USER)

    async def test_after_memory_was_forgotten_its_old_session_is_asked_for_nothing(self) -> None:
        group = self.manager(**ANNA, **GROUP)
        await group.conclude(Whom.USER, "old")
        await self.in_database(generations.begin_next, group.honcho_session_key)
        self.assertEqual(await group.conclusions(Whom.USER), [])
        await group.conclude(Whom.USER, "new")
        sessions = [each["session_id"] for each in self.peer.conclusions()]
        self.assertEqual(sessions, [session_name(group.honcho_session_key, generation=n) for n in (1, 2)])

    async def in_database(self, function: Any, *args: Any) -> Any:
        from django.db import transaction

        from gateway_app.worker.database import in_database

        return await in_database(transaction.atomic(function), *args)


class TenantTests(ManagerCase):
    async def test_a_tenants_memory_is_in_its_own_workspace(self) -> None:
        with configured(honcho={"workspace": "acme"}):
            await self.manager(**ANNA).conclude(Whom.USER, "likes tea")
            self.assertEqual(len(self.peer.conclusions(workspace="acme")), 1)
        self.assertEqual(await self.manager(**ANNA).conclusions(Whom.USER), [])
