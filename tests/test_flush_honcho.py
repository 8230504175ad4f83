"""What a flush writes to Honcho: about its own person only, once, and nothing of its own conversation."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from gateway_app.models import MemoryFlush, MemoryNote
from gateway_app.sessions.key import session_key
from gateway_app.sessions.source import ChatType
from honcho_app import configuration, managers, names, sending
from honcho_app.models import HonchoWrite
from honcho_app.pause import pause
from honcho_app.tests.case import use
from tests import pipeline
from tests.agent_case import calls
from tests.configuration import configured
from tests.flush_case import ASKED, FlushTestCase, let_leases_end
from tests.peers.honcho import HonchoPeer
from tests.pipeline_case import expire_leases
from tests.processes import ROOT, child_environment

SHARED: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}
WAIT_SECONDS = 30


class HonchoFlushCase(FlushTestCase):
    peer: HonchoPeer

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.peer = cls.enterClassContext(HonchoPeer())

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(pause.end)
        use(self, self.peer, read_timeout_seconds=5, write_timeout_seconds=5)

    def wants(self, *wanted: tuple[str, dict[str, Any]], **behaviour: Any) -> None:
        """Has the model make these calls in each flush, in one reply."""
        self.model.script.add(
            contains=ASKED, times=None, tool_calls=calls(*wanted), rounds=1, **{"answer": "done", **behaviour}
        )

    def concludes(self, *facts: str, **behaviour: Any) -> None:
        """Has the model write these down in each flush, in one reply."""
        self.wants(*(("honcho_conclude", {"conclusion": fact}) for fact in facts), **behaviour)

    def conclusions(self) -> list[tuple[str, str, str]]:
        """Observer, observed and content of each conclusion on the server."""
        with self.peer._lock:
            found = [each for space in self.peer._store.workspaces.values() for each in space.conclusions]
            return sorted((each.observer_id, each.observed_id, each.content) for each in found)

    def name(self, user: str, **place: Any) -> str:
        return names.peer_name(pipeline.source(user, **place), configuration.live())


class HonchoFlushTests(HonchoFlushCase):
    def test_conclusions_are_about_the_person_of_the_session_that_was_put_aside(self) -> None:
        self.put_aside()
        self.concludes("lives in Oslo")
        self.flush()
        self.assertEqual(self.states(), [("done", "saved")])
        self.assertEqual(self.conclusions(), [(self.name("ann"), self.name("ann"), "lives in Oslo")])
        sessions = {name for request in self.peer.requests for name in request["sessions"]}
        self.assertIn(names.session_name(session_key(pipeline.source())), sessions)

    def test_nothing_of_its_conversation_is_a_message_there(self) -> None:
        self.put_aside()
        self.concludes("lives in Oslo")
        self.flush()
        said = [message["content"] for found in self.peer.all_messages().values() for message in found]
        self.assertFalse([text for text in said if ASKED in text or text == "done" or "lives in Oslo" in text], said)

    def test_it_cannot_take_anything_away(self) -> None:
        self.put_aside()
        self.wants(("honcho_conclude", {"delete_id": "x"}), ("honcho_profile", {"card": ["nothing"]}))
        self.flush()
        operations = self.peer.stats["operations"]
        self.assertNotIn("set_card", operations)
        self.assertNotIn("delete_conclusion", operations)
        self.assertEqual(self.states(), [("done", "saved")])

    def test_what_several_people_wrote_is_noted_down_for_their_conversation_alone(self) -> None:
        self.put_aside("one", "two", **SHARED)
        self.flush()
        (request,) = [each["body"] for each in self.model.requests if ASKED in str(each["body"]["messages"][-1])]
        self.assertEqual([tool["function"]["name"] for tool in request["tools"]], ["memory"])

    def test_many_at_once_are_each_written_under_their_own_persons_ids(self) -> None:
        users = [f"user{number}" for number in range(6)]
        for user in users:
            self.put_aside(f"I am {user}", "indeed", user=user)
            self.wants(("honcho_conclude", {"conclusion": "a fact"}), ("honcho_context", {}))
        with configured(memory={"flush_at_once": 6}):
            self.flush()
        self.assertEqual(self.conclusions(), sorted((self.name(user),) * 2 + ("a fact",) for user in users))
        people = {self.name(user): names.session_name(session_key(pipeline.source(user))) for user in users}
        for request in self.peer.requests:
            named = [peer for peer in request["peers"] if peer in people]
            if named and request["sessions"]:
                self.assertEqual([people[peer] for peer in named], request["sessions"] * len(named), request)

    def test_while_honcho_is_away_the_agent_is_told_and_notes_down_what_it_can(self) -> None:
        self.put_aside()
        self.wants(("honcho_conclude", {"conclusion": "likes tea"}), ("memory", {"text": "likes tea"}))
        self.peer.fault("refuse")
        self.flush()
        self.assertEqual(self.states(), [("done", "saved")])
        self.assertEqual(self.notes(), [("recording::ann", "likes tea")])
        self.assertIn("Honcho cannot be reached", str(self.flush_requests()[-1]))
        self.assertEqual(self.conclusions(), [])

    def test_the_conversation_that_goes_on_keeps_its_manager(self) -> None:
        self.put_aside()
        new = pipeline.context()
        kept = managers.manager_for(new)
        assert kept
        self.concludes("lives in Oslo")
        self.flush()
        self.assertIs(managers.manager_for(new), kept)
        self.assertFalse(kept.is_shut_down)


class KilledProcessTests(HonchoFlushCase):
    """Real processes that are killed in the middle, each with the same database, model and Honcho."""

    def kill_when(self, happened: Callable[[], bool]) -> None:
        """Starts a worker and kills it once that has happened."""
        environment = child_environment(
            self, OPENAI_BASE_URL=self.model.base_url, OPENAI_API_KEY="x", HONCHO_BASE_URL=self.peer.url
        )
        worker = subprocess.Popen([sys.executable, "-m", "tests.flush_worker"], cwd=ROOT, env=environment)
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while not happened():
                self.assertIsNone(worker.poll(), "the worker ended by itself")
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        let_leases_end()
        expire_leases()

    def test_one_killed_while_the_model_thinks_leaves_what_it_had_saved_and_the_next_goes_on(self) -> None:
        self.put_aside()
        self.model.script.add(
            contains=ASKED,
            times=1,
            tool_calls=calls(("memory", {"text": "lives in Oslo"}), ("honcho_conclude", {"conclusion": "likes tea"})),
        )
        self.model.script.add(contains=ASKED, times=1, delay=60)
        self.model.script.add(contains=ASKED, times=None, answer="done")
        self.kill_when(lambda: len(self.flush_requests()) == 2 and bool(self.model.stats["in_flight"]))
        self.assertEqual((MemoryFlush.objects.get().state, MemoryNote.objects.count()), ("running", 1))
        self.flush()
        self.assertEqual(self.states(), [("done", "saved")])
        self.assertEqual(MemoryFlush.objects.get().attempts, 2)
        self.assertEqual(len(self.flush_requests()), 3)
        self.assertEqual(self.notes(), [("recording::ann", "lives in Oslo")])
        self.assertEqual([text for *_, text in self.conclusions()], ["likes tea"])
        self.flush()
        self.assertEqual(len(self.flush_requests()), 3)

    def test_one_killed_before_honcho_answered_writes_nothing_twice(self) -> None:
        self.put_aside()
        self.concludes("lives in Oslo")
        self.peer.fault("late", operation="create_conclusions", seconds=60, times=1)
        self.kill_when(lambda: bool(self.conclusions()))
        self.flush()
        self.assertEqual(self.states(), [("done", "saved")])
        self.assertEqual([text for *_, text in self.conclusions()], ["lives in Oslo"])
        self.assertEqual(len(self.flush_requests()), 2)

    def test_one_killed_between_the_flush_and_the_writes_asks_no_model_again_and_writes_once(self) -> None:
        self.put_aside()
        self.concludes("lives in Oslo")
        self.peer.fault("late", operation="create_messages", seconds=60, times=1)
        self.kill_when(lambda: bool(self.said()))
        self.assertEqual(self.states(), [("running", "saved")])
        asked = len(self.flush_requests())
        self.peer.clear_faults()
        self.flush()
        self.assertEqual(self.states(), [("done", "saved")])
        self.assertEqual(len(self.flush_requests()), asked)
        until_settled()
        pipeline.run(sending.drain(key=session_key(pipeline.source())))
        self.assertEqual(
            self.said(), ["I live in Oslo", "echo: I live in Oslo", "and I like tea", "echo: and I like tea"]
        )
        self.assertEqual([text for *_, text in self.conclusions()], ["lives in Oslo"])

    def said(self) -> list[str]:
        return [message["content"] for found in self.peer.all_messages().values() for message in found]


def until_settled() -> None:
    """Lets the time pass after which what was attempted is looked up at Honcho."""
    HonchoWrite.objects.update(next_attempt_at=None)
