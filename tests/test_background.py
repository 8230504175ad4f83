"""Work in the background: beside the conversation, in the same chat, for one person, once."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway_app import background, inbox, lanes
from gateway_app.models import InboundMessage, OutboundPart, Session, Turn
from gateway_app.models.lane import LaneKind
from gateway_app.sessions import overrides
from gateway_app.sessions.source import ChatType, SessionContext
from gateway_app.turns.runner import run_session, run_sessions
from gateway_app.worker.database import in_database
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.configuration import configured
from tests.pipeline_case import expire_leases
from tests.session_case import SessionTestCase

THREAD: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}


class BackgroundTests(SessionTestCase):
    def begin(self, prompt: str = "dig", *, command: str = "/background", **place: Any) -> tuple[str, SessionContext]:
        """The id of the work that is begun, and what is rung for."""
        accepted = inbox.accept([pipeline.event(f"{command} {prompt}", **place)])
        (ring,) = accepted.rings
        source = pipeline.source(**place)
        work_id = background.under_way(source)[-1].work_id
        self.assertEqual(ring.session_key, background.key_of(source, work_id))
        return work_id, ring

    def work(self, *rings: SessionContext) -> None:
        async def ring() -> None:
            try:
                await run_sessions(rings, http=http_session())
            finally:
                await close_http_session()

        pipeline.run(ring())
        self.deliver()

    def test_it_is_answered_in_the_same_chat_with_its_label_and_the_conversation_knows_nothing_of_it(self) -> None:
        self.tell("one")
        work_id, ring = self.begin("dig deep", command="/btw")
        self.work(ring)
        self.assertEqual(
            self.platform.texts[1:],
            [
                f"I work on it in the background, as `{work_id}`, and answer here. `/stop {work_id}` ends it.",
                f"[Background {work_id}] echo: dig deep",
            ],
        )
        self.assertEqual({part.chat_id for part in self.platform.sent}, {"chat-ann"})
        self.assertEqual(self.seen(), ["dig deep"])
        self.tell("two")
        self.assertEqual(self.seen(), ["one", "echo: one", "two"])
        self.assertEqual(background.under_way(pipeline.source()), [])

    def test_it_runs_while_the_conversation_does_and_is_stopped_by_its_id_alone(self) -> None:
        self.model.script.add(delay=30)
        work_id, ring = self.begin()

        async def both() -> None:
            task = asyncio.create_task(run_session(ring, http=http_session()))
            async with asyncio.timeout(20):
                while not self.model.stats["in_flight"]:
                    await asyncio.sleep(0.01)
                await in_database(pipeline.accept, "hello", "/status")
                await run_session(pipeline.context(), http=http_session())
                await in_database(pipeline.accept, "/stop", "/stop 000000", f"/stop `{work_id.upper()}`")
                await task
            await close_http_session()

        pipeline.run(both())
        self.deliver()
        said = "\n".join(self.platform.texts)
        self.assertIn("echo: hello", said)
        self.assertIn(f"In the background: `{work_id}`, “dig”", said)
        self.assertIn("There is nothing to stop: I am not working on anything here.", said)
        self.assertIn("There is nothing `000000` to stop in the background.", said)
        self.assertTrue(self.platform.texts[-1].endswith("I stop."))
        self.assertEqual(list(Turn.objects.order_by("id").values_list("state", flat=True)), ["stopped", "done"])

    def test_what_has_not_begun_is_withdrawn(self) -> None:
        work_id, ring = self.begin()
        pipeline.accept(f"/stop {work_id}")
        self.work(ring)
        self.assertIn("I had not begun yet", self.platform.texts[-1])
        self.assertEqual(self.model.stats["calls"], 0)

    def test_the_same_event_again_begins_nothing_more_and_a_dead_workers_work_is_taken_over(self) -> None:
        event = pipeline.event("/background dig")
        accepted = inbox.accept([event])
        self.assertEqual(inbox.accept([event]).rings, [])
        self.assertEqual((Session.objects.count(), InboundMessage.objects.count()), (2, 2))
        (ring,) = accepted.rings
        lanes.claim(kind=LaneKind.TURNS, key=ring.session_key)
        expire_leases()
        self.work(ring)
        self.assertEqual(self.platform.texts[-1].split("] ")[1], "echo: dig")
        self.assertEqual(Turn.objects.count(), 1)

    @configured(model={"allowed": ("clever",)})
    def test_what_was_chosen_for_the_conversation_holds_for_it(self) -> None:
        self.tell("/model clever")
        _, ring = self.begin()
        self.work(ring)
        self.assertEqual(self.model.requests[-1]["body"]["model"], "clever")
        self.assertEqual(overrides.of(Session.objects.get(session_key=ring.session_key)).model, "clever")

    def test_in_a_shared_thread_it_is_one_persons_and_nobody_else_sees_or_stops_it(self) -> None:
        work_id, ring = self.begin(**THREAD)
        self.assertIn(":user=ann:", ring.session_key)
        inbox.accept([pipeline.event(text, user="bob", **THREAD) for text in ("/status", f"/stop {work_id}")])
        self.work(ring)
        said = [part.text for part in OutboundPart.objects.order_by("id")]
        self.assertNotIn(work_id, said[1])
        self.assertIn("nothing", said[2])
        self.assertEqual(said[3], f"[Background {work_id}] echo: dig")
        self.assertEqual({part.thread_id for part in OutboundPart.objects.all()}, {"t"})

    def test_too_much_at_once_a_command_and_nothing_at_all_are_refused(self) -> None:
        with configured(sessions={"background_max": 1}):
            pipeline.accept("/background", "/background /new", "/background one", "/background two")
        pipeline.accept("/queue /background three")
        self.answer()
        self.deliver()
        texts = self.platform.texts
        self.assertEqual(len(background.under_way(pipeline.source())), 1)
        self.assertIn("What shall I work on?", texts[0])
        self.assertIn("A command cannot be run in the background.", texts[1])
        self.assertIn("I work on 1 things in the background already", texts[3])
        self.assertIn("/background cannot be queued", texts[-1])

    def test_ids_that_differ_in_capitals_are_chats_of_their_own(self) -> None:
        self.begin(chat_id="chat")
        self.assertEqual(background.under_way(pipeline.source(chat_id="CHAT")), [])
        self.assertEqual(background.under_way(pipeline.source("ANN", chat_id="chat")), [])
