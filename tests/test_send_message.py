"""Messages to other chats: where a person may have them sent, home channels, and that each is sent once."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from gateway_app import homes, inbox
from gateway_app.access import audit
from gateway_app.agent.tools import send_message
from gateway_app.delivery import targets
from gateway_app.delivery.targets import UnknownTarget
from gateway_app.models import AuditEntry, HomeChannel, OutboundPart
from gateway_app.sessions.source import ChatType
from gateway_app.turns import runner
from tests import pipeline
from tests.agent_case import calls
from tests.configuration import configured
from tests.pipeline_case import Killed, expire_leases
from tests.session_case import SessionTestCase

GROUP: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP}


class HomeTests(SessionTestCase):
    def test_an_admin_makes_a_chat_the_home_channel_and_takes_it_back_each_with_an_audit_row(self) -> None:
        place = {"chat_id": "family", "chat_name": "Family"}
        self.assertEqual(self.tell("/sethome", **place), ["This chat is the home channel of recording now."])
        self.assertEqual(self.tell("/sethome", **place), ["This chat is the home channel of recording already."])
        home = homes.known()["recording"]
        self.assertEqual((home.chat_id, home.name, HomeChannel.objects.get().chosen_by), ("family", "Family", "ann"))
        self.tell("/sethome", **GROUP, thread_id="t")
        self.assertEqual(homes.known()["recording"].thread_id, "t")
        self.assertIn("has no home channel any more.", self.tell("/sethome remove", **place)[0])
        self.assertIn("No chat had been made", self.tell("/sethome remove", **place)[0])
        self.assertIn("`/sethome remove` takes that back", self.tell("/sethome elsewhere", **place)[0])
        rows = list(AuditEntry.objects.order_by("id").values_list("action", "actor", "door", "platform", "subject"))
        self.assertEqual(
            rows, [("home_changed", "ann", "chat", "recording", subject) for subject in ("family", "g", "g")]
        )
        self.assertEqual(audit.verify().faults, [])

    def test_the_configuration_goes_before_and_the_person_is_told(self) -> None:
        home = {"chat_id": "ops", "name": "Ops"}
        with configured(agents={"platforms": {"recording": {"home_channel": home}}}):
            (said,) = self.tell("/sethome")
            self.assertEqual(homes.known()["recording"].chat_id, "ops")
        self.assertIn("the configuration names one with RECORDING_HOME_CHANNEL, and that goes before", said)
        self.assertEqual(homes.known()["recording"].chat_id, "chat-ann")


class SendMessageTests(SessionTestCase):
    def send(self, text: str = "hi", *, user: str = "ann", **args: Any) -> dict[str, Any]:
        """What the tool answers to a call in the user's conversation."""
        self.model.script.add(tool_calls=calls(("send_message", {"message": text} | args)))
        self.tell("go", user=user)
        messages = self.model.requests[-1]["body"]["messages"]
        found = json.loads(messages[-1]["content"])
        assert isinstance(found, dict)
        return found

    def sent_to(self, chat_id: str) -> list[str]:
        return [part.text for part in self.platform.sent if part.chat_id == chat_id]

    def test_it_lists_and_reaches_the_persons_own_chats_and_nobody_elses(self) -> None:
        self.tell("hello", chat_id="diary", chat_name="Diary")
        self.tell("secret", user="bob")
        listed = self.send(action="list")["targets"]
        self.assertEqual(
            [(target["target"], target["what"]) for target in listed],
            [("here", "this conversation"), ("recording:diary", "the person's own chat (dm)")],
        )
        self.assertTrue(self.send("one", target="recording:diary")["accepted"])
        self.assertTrue(self.send("two", target="diary")["accepted"])
        for target in ("recording:chat-bob", "chat-bob", "telegram:123", "../bob", "recording"):
            with self.subTest(target):
                self.assertIn("error", self.send("stolen", target=target))
        self.assertEqual(self.sent_to("diary")[1:], ["one", "two"])
        self.assertNotIn("stolen", "".join(self.platform.texts))
        self.assertEqual(self.sent_to("chat-bob"), ["echo: secret"])

    def test_a_home_channel_is_reached_by_its_platforms_name(self) -> None:
        self.assertIn("RECORDING_HOME_CHANNEL", self.send(target="recording")["error"])
        self.tell("/sethome", user="boss", chat_id="family", chat_name="Family")
        self.assertTrue(self.send("dinner", target="Recording")["accepted"])
        self.assertTrue(self.send("is ready", target="family")["accepted"])
        self.assertEqual(self.sent_to("family")[1:], ["dinner", "is ready"])

    def test_threads_of_the_chat_are_reached_and_ids_are_hidden_where_that_is_wanted(self) -> None:
        for thread in ("t", "u"):
            self.tell("hello", **GROUP, thread_id=thread)
        with configured(privacy={"redact_pii": True}):
            context = pipeline.context(**GROUP, thread_id="t")
            found = targets.permitted(context)
            self.assertEqual([target.place[3] for target in found], ["t", "u"])
            self.assertNotIn("g:u", found[1].name)
            self.assertEqual(targets.find(context, found[1].name).place[3], "u")
            with self.assertRaises(UnknownTarget):
                targets.find(context, "recording:g:u")

    def test_two_of_one_title_are_asked_about(self) -> None:
        for chat in ("d1", "d2"):
            self.tell("hello", chat_id=chat, chat_name="Diary")
        with self.assertRaisesRegex(
            UnknownTarget, "Several places are called so; name one of recording:d2, recording:d1"
        ):
            targets.find(pipeline.context(), "diary")

    def test_run_again_after_a_crash_it_sends_no_second_message_and_the_same_call_later_does(self) -> None:
        self.tell("hello", chat_id="diary")
        wanted = ("send_message", {"message": "once", "target": "recording:diary"})
        self.model.script.add(times=2, tool_calls=calls(wanted, ids=("same",)))
        pipeline.accept("go")
        real = runner._record

        async def die_with_the_result(turn: Any, steps: Any, results: Any, **values: Any) -> None:
            if any(step.kind == "tool_result" for step in steps):
                raise Killed
            await real(turn, steps, results, **values)

        with mock.patch.object(runner, "_record", die_with_the_result), self.assertRaises(Killed):
            self.answer()
        self.assertEqual(OutboundPart.objects.filter(text="once").count(), 1)
        expire_leases()
        self.answer()
        self.deliver()
        self.assertEqual(self.sent_to("diary")[1:], ["once", "once"])  # two replies asked for it, with one id
        self.assertEqual(self.model.stats["calls"], 4)

    def test_an_empty_message_and_a_worker_that_lost_the_turn_send_nothing(self) -> None:
        self.assertIn("message is empty", self.send(" ")["error"])
        with self.assertRaisesRegex(send_message.ToolError, "You may send to: here"):
            send_message.put(context=pipeline.context(), wanted="bob", text="x", key="1")
        self.assertFalse(OutboundPart.objects.filter(idempotency_key__startswith="message/").exists())

    def test_it_goes_before_the_answer_where_it_is_sent_here(self) -> None:
        inbox.accept([])
        self.assertTrue(self.send("first")["accepted"])
        self.assertEqual(self.sent_to("chat-ann")[0], "first")
