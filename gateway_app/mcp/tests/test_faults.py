"""Servers that do not keep to the rules."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

from django.test import SimpleTestCase

from gateway_app.agent import arguments
from gateway_app.mcp import connection
from gateway_app.mcp.connection import State
from gateway_app.mcp.offering import LONGEST_DESCRIPTION
from gateway_app.mcp.pool import Pool
from tests.dear import dear

from .case import ROOT, connected, is_alive, is_gone, misfit, server


class FaultTests(SimpleTestCase):
    async def test_a_server_that_dies_in_the_middle_of_a_call_is_there_again_for_the_next(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(misfit()) as session:
                first, second = await asyncio.gather(session.call("die"), session.call("die"))
                for error in (first, second):
                    self.assertIn("whether the call took effect is unknown", error.lower())
                self.assertEqual(await session.call("say", text="back"), "back")

    async def test_a_call_to_a_server_that_keeps_dying_is_refused_at_once_after_a_while(self) -> None:
        with self.assertLogs("gateway_app", "INFO"), mock.patch.object(connection, "BACKOFF_SECONDS", 20.0):
            async with connected(misfit("exit")) as session:
                self.assertEqual((session.names, session.connection.state), ([], State.AWAY))
                self.assertEqual(session.connection.problem, "its process ended with code 7")
                started = time.monotonic()
                with self.assertRaisesRegex(Exception, "to be tried again in"):
                    await session.connection.call("say", {})
                self.assertLess(time.monotonic() - started, 1)

    async def test_an_answer_that_is_too_large_fails_one_call_and_not_the_connection(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(misfit("large")) as session:
                self.assertIn("larger than 8,388,608 bytes. The call was made.", await session.call("say"))
                self.assertIs(session.connection.state, State.UP)

    async def test_what_is_no_message_is_passed_over(self) -> None:
        with self.assertLogs("gateway_app", "INFO") as logs:
            async with connected(misfit("garbage")) as session:
                self.assertEqual(await session.call("say", text="well"), "well")
        self.assertEqual("\n".join(logs.output).count("no messages"), 1)

    async def test_a_program_that_is_no_server_is_given_up(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(misfit("flood")) as session:
                self.assertEqual(session.connection.problem, "it writes to its output what is no message")

    async def test_a_server_that_says_nothing_is_given_up_after_its_time(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(misfit("deaf", connect_timeout=0.5)) as session:
                self.assertEqual(session.connection.problem, "it did not answer within 0.5 s")

    async def test_a_program_that_is_not_there_is_a_problem_with_a_name(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(server("x", command="/nowhere/at-all")) as session:
                self.assertIn("'/nowhere/at-all' could not be started: No such file", session.connection.problem)

    async def test_a_turn_does_not_wait_long_for_a_slow_server_and_the_next_has_its_tools(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            pool = Pool()
            pool.take_up((misfit("slow"),))
            try:
                await pool.connected(["misfit"], seconds=0.2)
                self.assertEqual(pool.tools("misfit"), ())
                await pool.connected(["misfit"], seconds=60)
                self.assertIn("mcp_misfit_say", [tool.name for tool in pool.tools("misfit")])
            finally:
                await pool.close()

    async def test_standard_error_reaches_the_log_within_bounds_and_without_secrets(self) -> None:
        with self.assertLogs("gateway_app.mcp", "INFO") as logs:
            async with connected(misfit("babble", env={"PASSWORD": "line 7"})) as session:
                await session.call("say", text="x")
        lines = [line for line in logs.output if "misfit: " in line]
        self.assertEqual(len(lines), 30)
        self.assertIn("MCP server misfit: •••", lines[7])

    async def test_a_hostile_server_gets_no_name_but_its_own_and_its_schemas_are_harmless(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(misfit("hostile")) as session:
                tools = {tool.name: tool for tool in session.pool.tools("misfit")}
        self.assertEqual(
            list(tools), ["mcp_misfit_web_fetch", "mcp_misfit_todo", "mcp_misfit_say", "mcp_misfit_slow_to_check"]
        )
        description = tools["mcp_misfit_web_fetch"].description
        self.assertTrue(description.startswith("(A tool of the MCP server misfit.) "))
        self.assertTrue(description.replace("\n", "").isprintable())
        self.assertLess(len(description), LONGEST_DESCRIPTION + 100)
        self.assertEqual(tools["mcp_misfit_todo"].parameters["properties"], {"a": {}})
        self.assertEqual(tools["mcp_misfit_say"].parameters, {"type": "object", "properties": {}})
        started = time.monotonic()
        arguments.read('{"a": "' + "a" * 40 + '!"}', schema=tools["mcp_misfit_slow_to_check"].parameters)
        self.assertLess(time.monotonic() - started, 1)

    async def test_one_more_tool_is_noticed_when_an_older_server_says_so(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(misfit()) as session:
                await session.call("grow")
                async with asyncio.timeout(20):
                    while "mcp_misfit_grown" not in session.names:
                        await asyncio.sleep(0.02)


@dear
class ProcessTests(SimpleTestCase):
    """No server outlives the gateway's process."""

    async def test_closing_ends_the_process_and_what_it_started(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(misfit("child")) as session:
                await session.call("say", text="x")
                family = descendants(os.getpid(), "mcp_misfit", "sleep")
                self.assertEqual(len(family), 2)
        for pid in family:
            self.assertTrue(is_gone(pid))

    def test_a_worker_that_is_killed_leaves_no_server(self) -> None:
        with worker() as (process, pid):
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.assertTrue(is_gone(pid))

    def test_a_worker_that_stops_leaves_no_server(self) -> None:
        with worker() as (process, pid):
            assert process.stdin
            process.stdin.close()
            self.assertEqual(process.wait(20), 0)
            self.assertTrue(is_gone(pid))


WORKER = f"""
import sys, time
import django
django.setup()
from gateway_app.config.schema.mcp import McpServer
from gateway_app.mcp.pool import pool
from gateway_app.worker.loop import event_loop
server = McpServer(name="misfit", command=sys.executable, args=[{str(Path(ROOT) / "tests/peers/mcp_misfit.py")!r}])
async def connect():
    pool().take_up((server,))
    await pool().connected(["misfit"], seconds=60)
    return len(pool().tools("misfit"))
print(event_loop.run(connect()), flush=True)
sys.stdin.read()
event_loop.stop()
"""


@contextlib.contextmanager
def worker():
    """A process with the worker's event loop that is connected to a server, and the server's process."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "hermes_site.settings"}
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.readline().strip() == "3"
        (pid,) = descendants(process.pid, "mcp_misfit")
        assert is_alive(pid)
        yield process, pid
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def descendants(pid: int, *words: str) -> list[int]:
    """The processes below `pid` whose command has one of `words` in it."""
    found, parents = [], {pid}
    rows = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    for row in sorted(rows.splitlines(), key=lambda row: int(row.split()[0])):
        number, parent, command = row.split(maxsplit=2)
        if int(parent) in parents:
            parents.add(int(number))
            if any(word in command for word in words):
                found.append(int(number))
    return found
