"""Memory's tools of many sessions in several processes at once: every call reaches its own session's memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import Any

from django.test import TransactionTestCase

from gateway_app.fleet.death import dying_with_parent
from honcho_app.configuration import HonchoConfig
from honcho_app.names import peer_name, session_name
from tests.honcho_caller import MARK, PEOPLE, SESSIONS, context_of, mark
from tests.peers.honcho import HonchoPeer
from tests.processes import ROOT, child_environment

CALLS = 600
"""`make chaos` makes 5,000, through whole workers."""
PROCESSES = 4
PATIENCE_SECONDS = 300
KEPT = 50_000


class Owners:
    """Whose is what on the server, worked out from the sessions and from nothing that a process said."""

    def __init__(self) -> None:
        config = HonchoConfig()
        contexts = [context_of(session) for session in range(SESSIONS)]
        self.ai = config.ai_peer
        self.session_names = {session_name(each.honcho_session_key): number for number, each in enumerate(contexts)}
        self.people = {peer_name(each, config): number % PEOPLE for number, each in enumerate(contexts)}

    def crossed(self, request: dict[str, Any]) -> bool:
        """Whether a request mixes what belongs to several people, or carries a mark to where it does not belong."""
        sessions = {self.session_names[name] for name in request["sessions"]}
        people = {self.people[name] for name in request["peers"] if name != self.ai}
        marks = set(MARK.findall(json.dumps([request.get("body"), request["query"]])))
        owners = people | {session % PEOPLE for session in sessions} | {int(each[4:6]) % PEOPLE for each in marks}
        return len(owners) > 1 or len(sessions) > 1 or any(marks - {mark(session)} for session in sessions)

    def misplaced(self, conclusion: dict[str, Any]) -> bool:
        session = self.session_names[conclusion["session_id"]]
        person = self.people[conclusion["observer_id"]]
        return person != session % PEOPLE or MARK.findall(conclusion["content"]) != [mark(session)]


class RoutingTests(TransactionTestCase):
    is_long = True

    def setUp(self) -> None:
        self.peer = self.enterContext(HonchoPeer(keep=KEPT))
        self.owners = Owners()
        self.environment = child_environment(
            self,
            DJANGO_SETTINGS_MODULE="hermes_site.settings",
            HONCHO_BASE_URL=self.peer.url,
            HONCHO_CONFIG_FILE="/nowhere",
            HERMES_HONCHO_REASONING="true",
            HERMES_HONCHO_MANAGERS="8",
            HERMES_HONCHO_READ_TIMEOUT_SECONDS="60",
            HERMES_HONCHO_WRITE_TIMEOUT_SECONDS="60",
        )

    def start(self, *options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.honcho_caller", *options],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=dying_with_parent(),
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def outcome(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 0)
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def wait_for_requests(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.peer.stats["calls"] < count:
            self.assertLess(time.monotonic(), deadline, "the processes make no calls")
            time.sleep(0.05)

    def test_no_call_of_64_sessions_in_4_processes_crosses_over(self) -> None:
        share = str(CALLS // PROCESSES)
        doomed = [self.start("--calls", share, "--seed", str(seed)) for seed in (101, 102)]
        workers = [self.start("--calls", share, "--seed", str(seed)) for seed in (1, 2)]
        for count, process in zip((50, 150), doomed, strict=True):
            self.wait_for_requests(count)
            process.kill()
            workers.append(self.start("--calls", share, "--seed", str(count)))
        outcomes = [self.outcome(worker) for worker in workers]
        self.assertGreaterEqual(sum(outcome["calls"] for outcome in outcomes), CALLS)
        self.assertEqual([line for outcome in outcomes for line in outcome["wrong"]], [])
        self.assertGreater(sum(outcome["resets"] for outcome in outcomes), 0)
        self.assertTrue(all(outcome["managers"] <= 8 for outcome in outcomes))
        requests = [request for request in self.peer.requests if request["operation"] != "get_or_create_workspace"]
        self.assertGreater(len(requests), CALLS)
        self.assertEqual([request for request in requests if self.owners.crossed(request)], [])
        self.assertEqual([each for each in self.peer.conclusions() if self.owners.misplaced(each)], [])
        seen = {name for request in requests for name in request["sessions"]}
        self.assertGreater(len(seen), SESSIONS * 3 / 4)  # they are drawn at random
        self.assertLessEqual(seen, {*self.owners.session_names})

    def test_the_same_calls_cross_over_where_handlers_ask_the_process_whose_they_are(self) -> None:
        outcome = self.outcome(self.start("--calls", "150", "--sessions", "8", "--fall-back"))
        self.assertTrue([line for line in outcome["wrong"] if re.search("mark", line)])
        self.assertTrue([request for request in self.peer.requests if self._crossed(request)])

    def _crossed(self, request: dict[str, Any]) -> bool:
        return request["operation"] != "get_or_create_workspace" and self.owners.crossed(request)
