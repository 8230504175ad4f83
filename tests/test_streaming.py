"""A reply that is shown while it is written: a preview that is edited, and takes its place as the reply in the end."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

from django.db.backends.utils import CursorWrapper

from gateway_app.models import OutboundPart, TranscriptMessage, TurnStep
from gateway_app.turns import notices, presence, preview, runner
from gateway_app.turns.opening import OpenTurn, claim_and_open
from tests import pipeline
from tests.agent_case import AgentCase, calls
from tests.configuration import configured
from tests.pipeline_case import Killed, expire_leases
from tests.streaming_case import CHAT, STORY, StreamingCase

CURSOR = " ▉"
ANSWER = (STORY * 4).strip()


class PreviewTests(StreamingCase):
    def test_a_preview_grows_and_becomes_the_reply(self) -> None:
        self.write()
        self.ask("a story")
        self.answer_chat()
        self.assertEqual(self.peer.shown(CHAT), [ANSWER])
        *shown, final = self.history()
        self.assertGreater(len(shown), 1)
        for text in shown:
            self.assertTrue(text.endswith(CURSOR), text)
            self.assertTrue(ANSWER.startswith(text.removesuffix(CURSOR)), text)
        self.assertEqual(final, ANSWER)
        part, message = OutboundPart.objects.get(), self.peer.messages(chat_id=CHAT)[0]
        self.assertEqual((part.state, part.replaces, part.removes), ("sent", str(message["message_id"]), ""))
        self.assertEqual((part.platform_message_id, self.turn().preview_id), (part.replaces, part.replaces))

    def test_an_answer_that_is_quick_or_short_costs_nothing_more(self) -> None:
        self.ask("at once")
        with mock.patch.object(preview, "announce") as announce, configured(streaming={"edit_interval": 5}):
            self.answer_chat()
            self.write("Yes, it is.", piece_delay=0.1)
            self.ask("is it?")
            with configured(streaming={"edit_interval": 0.05}):
                self.answer_chat()
        announce.assert_not_called()
        self.assertEqual(self.peer.shown(CHAT), ["echo: at once", "Yes, it is."])
        self.assertEqual([call["method"] for call in self.peer.calls()], ["sendMessage"] * 2)

    def test_an_answer_that_is_quick_takes_no_statement_more_than_without(self) -> None:
        counts: list[int] = []
        original = CursorWrapper._execute_with_wrappers

        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[-1] += 1
            return original(*args, **kwargs)

        with mock.patch.object(CursorWrapper, "_execute_with_wrappers", counted):
            for switch in ("off", "off", "on"):  # the first one opens the session
                counts.append(0)
                self.ask("at once")
                with configured(streaming={"enabled": switch, "edit_interval": 5, "buffer_threshold": 0}):
                    self.answer_chat()
        self.assertEqual(counts[2], counts[1])
        self.assertGreater(counts[1], 3)

    def test_off_is_off_and_the_model_is_not_asked_for_a_stream(self) -> None:
        for changes in ({"streaming": {"enabled": ""}}, {"display": {"platforms": {"telegram": {"streaming": "off"}}}}):
            self.write(piece_delay=0)
            self.ask("a story")
            with configured(**changes):
                self.answer_chat()
            self.assertFalse(self.model.requests[-1]["stream"])
        self.assertEqual(self.peer.calls("editMessageText"), [])

    def test_a_reply_of_several_parts_replaces_the_preview_by_its_first(self) -> None:
        text = (STORY * 130).strip()
        self.write(text, piece_chars=300)
        self.ask("a long story")
        self.answer_chat()
        messages = self.peer.messages(chat_id=CHAT)
        parts = list(OutboundPart.objects.order_by("seq").values_list("text", "replaces"))
        self.assertEqual(self.peer.shown(CHAT), [part for part, _ in parts])
        self.assertEqual("".join(part for part, _ in parts), text)
        self.assertEqual([bool(replaces) for _, replaces in parts], [True] + [False] * (len(parts) - 1))
        self.assertTrue(messages[0]["history"])
        self.assertEqual([message["history"] for message in messages[1:]], [[]] * (len(parts) - 1))

    def test_what_comes_between_puts_the_reply_below_it(self) -> None:
        self.write()
        self.ask("a story")
        self.answer_chat(self.until_shown(), lambda: self.ask("/status"), self.until_shown("Running", place=1))
        shown = self.peer.shown(CHAT)
        self.assertIn("Running", shown[0])
        self.assertEqual(shown[1:], [ANSWER])
        part = OutboundPart.objects.get(turn=self.turn())
        self.assertEqual((part.replaces, part.removes), ("", self.turn().preview_id))

    def test_no_preview_overtakes_what_waits_in_the_chat(self) -> None:
        # Seen to fail without the look for waiting parts in preview.announce().
        self.ask("/status")
        self.write()
        self.ask("a story")
        self.answer_chat()
        status, story = self.peer.messages(chat_id=CHAT)
        self.assertIn("Running", status["shown"])
        self.assertEqual((story["shown"], story["history"], self.turn().preview_id), (ANSWER, [], ""))

    def test_what_is_said_before_a_tool_call_stays_and_the_reply_gets_a_preview_of_its_own(self) -> None:
        first, second = f"Let me look. {STORY}", STORY * 3
        self.write(first, tool_calls=calls("look"))
        self.write(second)
        self.ask("go")
        self.answer_chat()
        self.assertEqual(self.peer.shown(CHAT), [first.strip(), second.strip()])
        self.assertEqual(len(self.peer.messages()), 2)
        part = OutboundPart.objects.get()
        self.assertEqual(part.replaces, str(self.peer.messages()[1]["message_id"]))

    def test_a_stop_leaves_what_was_said_where_it_stands(self) -> None:
        self.write(STORY * 40, piece_delay=0.05)
        self.ask("a story")
        self.answer_chat(self.until_shown("fox"), lambda: self.ask("/stop"))
        self.deliver()
        shown = self.peer.shown(CHAT)
        self.assertTrue(shown[0].startswith("Once upon"), shown)
        self.assertTrue(shown[0].endswith(runner.STOPPED), shown)
        self.assertEqual(shown[1:], ["I stop."])
        self.assertNotIn(CURSOR, shown[0])

    def test_a_failure_takes_the_place_of_the_preview(self) -> None:
        self.write(STORY * 3, cut="drop", cut_after=20)
        self.model.script.add(times=None, status=400)
        self.ask("a story")
        with self.assertLogs("gateway_app"):
            self.answer_chat()
        (shown,) = self.peer.shown(CHAT)
        self.assertEqual(shown, OutboundPart.objects.get().text)
        self.assertEqual(self.turn().state, "failed")


class WorkTests(StreamingCase):
    """Lines that say what tools do, in a chat that has only messages."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(configured(display={"platforms": {"telegram": {"tool_progress": "all"}}}))

    def test_one_message_gets_a_line_for_each_call_and_stays_above_the_reply(self) -> None:
        self.use(self.slow)
        for number in (1, 1, 2):
            self.model.script.add(tool_calls=calls(("tool", {"n": number, "query": f"about {number}"})))
        self.write()
        self.ask("go")
        self.answer_chat()
        lines = "⚙ tool: about 1 (×2)\n⚙ tool: about 2"
        self.assertEqual(self.peer.shown(CHAT), [lines, ANSWER])
        self.assertGreater(len(self.history()), 1)

    def test_nothing_is_shown_where_it_is_off_or_the_tools_are_quick(self) -> None:
        self.model.script.add(tool_calls=calls("note"))
        self.ask("go")
        with configured(streaming={"edit_interval": 5}):
            self.answer_chat()
        self.use(self.slow)
        self.model.script.add(tool_calls=calls("tool"))
        self.ask("go")
        with configured(display={"platforms": {"telegram": {"tool_progress": ""}}}):
            self.answer_chat()
        self.assertEqual(len(self.peer.messages()), 2)

    def test_text_and_lines_stand_in_the_order_in_which_they_came(self) -> None:
        self.use(self.slow)
        for text in ("First I look it up. ", "Now once more, to be sure. "):
            self.write(text * 4, tool_calls=calls(("tool", {"query": text[:5]})))
        self.write()
        self.ask("go")
        self.answer_chat()
        shown = [text.split(".")[0] for text in self.peer.shown(CHAT)]
        self.assertEqual(
            shown,
            ["First I look it up", "⚙ tool: First", "Now once more, to be sure", "⚙ tool: Now o", ANSWER.split(".")[0]],
        )

    async def slow(self, args: dict[str, Any], **kwargs: Any) -> str:
        await asyncio.sleep(0.3)
        return "done"


class ThoughtTests(StreamingCase):
    THOUGHTS = ({"thought": "Foxes, hm."}, {"answer": f"<think>Foxes, hm.</think>\n\n{ANSWER}"})

    def test_what_is_thought_is_neither_shown_nor_kept_as_said(self) -> None:
        for thought in self.THOUGHTS:
            for streaming in ("on", "off"):
                with self.subTest(thought=thought, streaming=streaming), configured(streaming={"enabled": streaming}):
                    self.write(**{"answer": ANSWER, **thought})
                    self.ask("a story")
                    self.answer_chat()
                    message = self.peer.messages(chat_id=CHAT)[-1]
                    self.assertEqual(message["shown"], ANSWER)
                    self.assertFalse([text for text in message["history"] if "Foxes" in text or "<" in text])
        said = TranscriptMessage.objects.filter(role="assistant").values_list("content", flat=True)
        self.assertEqual(set(said), {ANSWER})
        self.assertNotIn("Foxes", str(self.model.requests[-1]["body"]))
        self.assertEqual(TurnStep.objects.last().payload["thought"], "Foxes, hm.")  # type: ignore[union-attr]

    def test_where_it_is_switched_on_it_stands_above_the_reply_and_nowhere_else(self) -> None:
        self.write(thought="Foxes, hm.")
        self.ask("a story")
        with configured(display={"show_reasoning": True}):
            self.answer_chat()
        self.assertEqual(self.peer.shown(CHAT), [f"💭 Reasoning\nFoxes, hm.\n\n{ANSWER}"])
        self.assertEqual(TranscriptMessage.objects.get(role="assistant").content, ANSWER)


class NoticeTests(StreamingCase):
    """That the agent is still at it is said where nothing else shows it, and in one place."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(presence, "TYPING_AFTER_SECONDS", 0.05))
        self.enterContext(mock.patch.object(presence, "TYPING_EVERY_SECONDS", 0.1))

    def test_the_next_notice_takes_the_place_of_the_last(self) -> None:
        turn = self.open_turn()
        for number in (1, 2):
            notices.still_working(turn, number=number, minutes=3 * number)
            self.deliver()
        message, *others = self.peer.messages(chat_id=CHAT)
        self.assertEqual(others, [])
        self.assertEqual(message["history"], ["I am still working on it (3 min so far)."])
        self.assertEqual(message["shown"], "I am still working on it (6 min so far).")

    def test_a_notice_that_is_not_the_last_word_any_more_is_said_anew_below(self) -> None:
        turn = self.open_turn()
        notices.still_working(turn, number=1, minutes=3)
        self.deliver()
        self.ask("/status")
        notices.still_working(turn, number=2, minutes=6)
        self.deliver()
        self.assertEqual([text[:18] for text in self.peer.shown(CHAT)[1:]], ["I am still working"])

    def open_turn(self) -> OpenTurn:
        self.ask("a story")
        turn = claim_and_open(session_key=self.context().session_key)
        assert turn
        return turn

    def test_where_a_preview_grows_nothing_is_said(self) -> None:
        self.write(STORY * 3)
        self.ask("a story")
        with configured(display={"notify_seconds": 0.4}):
            self.answer_chat()
        self.assertEqual(self.peer.shown(CHAT), [(STORY * 3).strip()])


class StreamedTests(AgentCase):
    """On a platform that is shown everything at once, as the web chat is."""

    def setUp(self) -> None:
        super().setUp()
        self.shown: list[Any] = []
        self.platform.is_streamed = True
        self.platform.stream = mock.AsyncMock(side_effect=lambda context, turn_id, text: self.shown.append(text))
        self.platform.stream_work = lambda context, turn_id, entries: self.shown.append(
            [(entry["kind"], entry.get("state") or entry["text"]) for entry in entries]
        )
        self.enterContext(mock.patch.object(presence, "THOUGHT_EVERY_SECONDS", 0))

    def test_calls_are_shown_as_they_begin_and_end_and_what_was_said_before_stays(self) -> None:
        self.model.script.add(answer="Let me look.", tool_calls=calls("note"))
        pipeline.accept("go")
        with configured(display={"tool_progress": "all"}):
            self.answer()
        said = ("said", "Let me look.")
        self.assertIn([said, ("tool", "running")], self.shown)
        self.assertIn([said, ("tool", "done")], self.shown)
        self.assertEqual(self.platform.texts, ["tool said: did note 0"])

    def test_a_worker_that_takes_over_shows_what_the_last_one_did(self) -> None:
        self.model.script.add(tool_calls=calls("note"))
        pipeline.accept("go")
        with configured(display={"tool_progress": "all"}):
            with mock.patch.object(runner, "close", side_effect=Killed), self.assertRaises(Killed):
                self.answer()
            expire_leases()
            self.shown.clear()
            self.model.script.add(tool_calls=calls("look"))
            self.answer()
        self.assertIn([("tool", "done"), ("tool", "running")], self.shown)

    def test_thoughts_are_shown_only_where_that_is_switched_on(self) -> None:
        for switch, expected in ((True, [("thought", "Foxes, hm.")]), (False, None)):
            self.shown.clear()
            self.model.script.add(thought="Foxes, hm.", answer=ANSWER)
            pipeline.accept("go")
            with configured(display={"show_reasoning": switch}):
                self.answer()
            found = [entries for entries in self.shown if isinstance(entries, list)]
            self.assertEqual(found[-1] if found else None, expected)
            self.assertEqual(self.platform.texts[-1], ANSWER)

    def test_where_streaming_is_off_nothing_is_asked_for_or_shown(self) -> None:
        pipeline.accept("go")
        with configured(streaming={"enabled": "off"}):
            self.answer()
        self.assertEqual((self.shown, self.model.requests[-1]["stream"]), ([], False))
