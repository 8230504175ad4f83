from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import IsolatedAsyncioTestCase

from gateway_app.fleet.console import LONGEST_LINE, Console
from gateway_app.fleet.record import started
from gateway_app.fleet.service import Service, StopOrder
from gateway_app.fleet.supervisor import Supervisor

ROOT = Path(__file__).parents[3]
ON_TERM = "trap 'echo ended; exit 0' TERM; echo up; while :; do sleep 0.02; done"
DEAF = "trap '' TERM; echo up; while :; do sleep 0.02; done"


def shell(name: str, script: str, *, order: StopOrder = StopOrder.WORK, **more: Any) -> Service:
    return Service(name=name, command=("sh", "-c", script), stop_order=order, **{"stop_seconds": 10, **more})


def is_alive(pid: int) -> bool:
    return started(pid) is not None


class SupervisorTest(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.output = io.StringIO()

    def supervisor(self, **changes: float) -> Supervisor:
        timing = {"backoff_seconds": 0.01, "backoff_max_seconds": 0.05, "healthy_seconds": 60, **changes}
        supervisor = Supervisor(console=Console(self.output), folder=ROOT, **timing)
        self.addAsyncCleanup(supervisor.stop)
        return supervisor

    def lines(self, name: str = "") -> list[str]:
        """What was printed, for `name` without its prefix."""
        lines = self.output.getvalue().splitlines()
        return [line.partition(" | ")[2] for line in lines if line.split(" ")[0] == name] if name else lines

    async def until(self, holds: Callable[[], object], *, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), deadline, f"it did not come about; the output is {self.lines()}")
            await asyncio.sleep(0.005)

    async def test_a_killed_process_is_started_again(self) -> None:
        supervisor = self.supervisor()
        supervisor.start(shell("a", ON_TERM))
        await self.until(lambda: "up" in self.lines("a"))
        first = supervisor.processes["a"].pid
        os.kill(first, signal.SIGKILL)
        await self.until(lambda: self.lines("a").count("up") == 2)
        self.assertNotEqual(supervisor.processes["a"].pid, first)
        self.assertIn("ended by signal 9 (Killed); it is started again in 0.01 s", self.lines("a"))

    async def test_the_wait_doubles_with_each_failure_in_a_row_up_to_a_limit(self) -> None:
        self.supervisor().start(shell("a", "exit 3"))
        await self.until(lambda: len(self.lines("a")) >= 5)
        waits = [f"ended with exit code 3; it is started again in {wait} s" for wait in (0.01, 0.02, 0.04, 0.05, 0.05)]
        self.assertEqual(self.lines("a")[:5], waits)

    async def test_a_process_that_was_healthy_starts_with_the_shortest_wait_again(self) -> None:
        self.supervisor(healthy_seconds=0.05).start(shell("a", "sleep 0.1"))
        await self.until(lambda: len(self.lines("a")) >= 3)
        self.assertEqual(set(self.lines("a")), {"ended with exit code 0; it is started again in 0.01 s"})

    async def test_a_program_that_is_missing_is_reported_and_tried_again(self) -> None:
        self.supervisor().start(Service(name="a", command=("/no/such",), stop_order=StopOrder.WORK, stop_seconds=1))
        await self.until(lambda: len(self.lines("a")) >= 2)
        self.assertIn("could not be started: No such file or directory", self.lines("a")[0])

    async def test_stopping_follows_the_order_and_waits_for_each_to_end(self) -> None:
        supervisor = self.supervisor()
        slow = ON_TERM.replace("echo ended", "sleep 0.2; echo ended")
        for name, order in (
            ("valkey", StopOrder.GROUND),
            ("beat", StopOrder.CLOCK),
            ("worker", StopOrder.WORK),
            ("web", StopOrder.INTAKE),
        ):
            supervisor.start(shell(name, slow, order=order))
        await self.until(lambda: sum(line.endswith("| up") for line in self.lines()) == 4)
        await supervisor.stop()
        ended = [line.split(" ")[0] for line in self.lines() if line.endswith("| ended")]
        self.assertEqual(ended, ["web", "worker", "beat", "valkey"])
        self.assertFalse(supervisor.processes)
        self.assertFalse([line for line in self.lines() if "started again" in line])

    async def test_what_does_not_end_in_time_is_killed(self) -> None:
        supervisor = self.supervisor()
        supervisor.start(shell("deaf", DEAF, stop_seconds=0.1))
        await self.until(lambda: "up" in self.lines("deaf"))
        pid = supervisor.processes["deaf"].pid
        await supervisor.stop()
        self.assertFalse(is_alive(pid))
        self.assertEqual(self.lines("deaf")[-1], "did not end in time and is killed")

    async def test_a_hurried_stop_does_not_wait(self) -> None:
        supervisor = self.supervisor()
        supervisor.start(shell("deaf", DEAF, stop_seconds=3600))
        await self.until(lambda: "up" in self.lines("deaf"))
        stopping = asyncio.create_task(supervisor.stop())
        await asyncio.sleep(0.05)
        self.assertFalse(stopping.done())
        supervisor.hurry()
        await asyncio.wait_for(stopping, 20)

    async def test_a_stop_at_the_moment_of_the_start_leaves_no_process(self) -> None:
        for pauses in range(6):
            with self.subTest(pauses=pauses):
                supervisor = self.supervisor()
                with tempfile.NamedTemporaryFile("r") as pids:
                    supervisor.start(shell("a", f"echo $$ >> {pids.name}; exec sleep 60"))
                    for _ in range(pauses):
                        await asyncio.sleep(0)
                    await asyncio.wait_for(supervisor.stop(), 20)
                    self.assertFalse([pid for pid in pids.read().split() if is_alive(int(pid))])

    async def test_a_stop_ends_the_wait_before_a_restart(self) -> None:
        supervisor = self.supervisor(backoff_seconds=3600, backoff_max_seconds=3600)
        supervisor.start(shell("a", "exit 1"))
        await self.until(lambda: self.lines("a"))
        await asyncio.wait_for(supervisor.stop(), 20)

    async def test_what_a_process_started_itself_ends_with_it(self) -> None:
        supervisor = self.supervisor(backoff_seconds=3600, backoff_max_seconds=3600)
        supervisor.start(shell("a", "sleep 60 & echo $!; wait"))
        await self.until(lambda: self.lines("a"))
        grandchild = int(self.lines("a")[0])
        os.kill(supervisor.processes["a"].pid, signal.SIGKILL)
        await self.until(lambda: not is_alive(grandchild))

    async def test_mending_is_tried_after_each_third_failure_in_a_row(self) -> None:
        mended: list[int] = []
        service = shell("a", "exit 1", mend=lambda: mended.append(len(self.lines("a"))) or "mended")
        self.supervisor().start(service)
        await self.until(lambda: len(mended) == 2)
        self.assertEqual(mended, [2, 6])  # after two and five "started again", and one "mended"

    async def test_output_is_marked_by_its_process_and_cannot_steer_the_terminal(self) -> None:
        supervisor = self.supervisor(backoff_seconds=3600, backoff_max_seconds=3600)
        supervisor.start(shell("a", r"printf 'one\ntw\033[2Jo\r\n\303'; printf '\244 end' >&2"))
        await self.until(lambda: len(self.lines("a")) == 4)
        self.assertEqual(self.lines("a")[:3], ["one", "tw\N{REPLACEMENT CHARACTER}[2Jo", "ä end"])

    async def test_a_line_without_an_end_is_printed_in_pieces(self) -> None:
        supervisor = self.supervisor(backoff_seconds=3600, backoff_max_seconds=3600)
        supervisor.start(shell("a", f"head -c {3 * LONGEST_LINE} /dev/zero | tr '\\0' x"))
        await self.until(lambda: any("started again" in line for line in self.lines("a")))
        printed = self.lines("a")[:-1]
        self.assertEqual("".join(printed), "x" * 3 * LONGEST_LINE)
        self.assertLessEqual(max(map(len, printed)), 2 * LONGEST_LINE)

    async def test_the_children_of_a_killed_supervisor_die(self) -> None:
        script = (
            "import asyncio, json, pathlib\n"
            "from gateway_app.fleet.console import Console\n"
            "from gateway_app.fleet.supervisor import Supervisor\n"
            "from gateway_app.fleet.service import Service, StopOrder\n"
            "async def main():\n"
            "    supervisor = Supervisor(console=Console(), folder=pathlib.Path(), backoff_seconds=1,\n"
            "                            backoff_max_seconds=1, healthy_seconds=1)\n"
            "    for name in 'ab':\n"
            "        supervisor.start(Service(name=name, command=('sleep', '60'), stop_order=StopOrder.WORK,\n"
            "                                 stop_seconds=1))\n"
            "    while len(supervisor.processes) < 2:\n"
            "        await asyncio.sleep(0.01)\n"
            "    print(json.dumps([process.pid for process in supervisor.processes.values()]), flush=True)\n"
            "    await asyncio.Event().wait()\n"
            "asyncio.run(main())\n"
        )
        with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            pids = json.loads(process.stdout.readline())
            self.assertTrue(all(map(is_alive, pids)))
            process.kill()
        await self.until(lambda: not any(map(is_alive, pids)))
