"""Servers made with the SDK, over both transports, and one from the package index."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import importlib.util
import json
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar
from unittest import TestCase, mock

from django.test import SimpleTestCase

from gateway_app.mcp import connection
from gateway_app.mcp.connection import State
from tests.dear import dear

from .case import PYTHONPATH, Session, connected, http_peer, is_gone, peer, server, start_http_peer, stop


@dear
class StdioTests(SimpleTestCase):
    async def test_tools_are_listed_called_and_described_as_text(self) -> None:
        with self.assertLogs("gateway_app", "INFO") as logs:
            async with connected(peer(env={"PEER_SECRET": "swordfish-1"}, timeout=20)) as session:
                self.assertIn("mcp_peer_add", session.names)
                self.assertRegex(session.names[-2], r"^mcp_peer_odd_name_with_dots_[0-9a-f]{8}$")
                self.assertEqual(await session.call("add", a=2, b=3), "5")
                self.assertIn("The tool failed. The MCP server peer says:", await session.call("fail", why="so"))
                self.assertEqual(
                    await session.call("picture"),
                    "a picture\n\n[An image, image/png, 8 bytes. It cannot be shown here.]",
                )
                # A secret that the server was given comes back neither in a result nor in the log.
                self.assertEqual(await session.call("environment"), "PEER_SECRET is •••")
                self.assertEqual(
                    await session.call("environment", name="HERMES_SECRET_KEY"), "HERMES_SECRET_KEY is None"
                )
                await self.changes(session)
        self.assertNotIn("swordfish", "\n".join(logs.output))

    async def changes(self, session: Session) -> None:
        await session.call("grow")
        async with asyncio.timeout(20):
            while "mcp_peer_grown" not in session.names:
                await asyncio.sleep(0.02)
        self.assertEqual(await session.call("grown"), "grown")

    async def test_a_call_that_takes_too_long_is_given_up_and_others_go_on(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(peer(timeout=1)) as session:
                pid = await session.call("pid")
                late, quick = await asyncio.gather(session.call("hang", seconds=60), session.call("add", a=1))
                self.assertIn("took longer than 1 s. Whether the call took effect is unknown", late)
                self.assertEqual(quick, "2")
                self.assertEqual(await session.call("pid"), pid)

    async def test_a_server_that_answers_nobody_any_more_is_started_anew(self) -> None:
        with self.assertLogs("gateway_app", "INFO"), mock.patch.object(connection, "PROBE_SECONDS", 0.5):
            async with connected(peer(timeout=1)) as session:
                pid = int(await session.call("pid"))
                await session.call("stall", seconds=60)
                async with asyncio.timeout(20):
                    while session.connection.state is State.UP:
                        await asyncio.sleep(0.02)
                self.assertEqual(session.connection.problem, "it stopped answering")
                self.assertTrue(await asyncio.to_thread(is_gone, pid))
                self.assertEqual(await session.call("add", a=1), "2")

    async def test_fifty_megabytes_are_refused(self) -> None:
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(peer()) as session:
                self.assertIn("larger than", await session.call("repeat", text="x" * 100, times=500_000))
                self.assertEqual(await session.call("add", a=1), "2")


class HttpTests(SimpleTestCase):
    def test_tools_are_called_over_http_and_changes_are_noticed(self) -> None:
        url = http_peer(self)

        async def talk() -> None:
            async with connected(server("web", url=url, timeout=20)) as session:
                self.assertEqual(await session.call("add", a=2), "3")
                self.assertIn("PEER_SECRET is", await session.call("environment"))
                await session.call("grow")
                async with asyncio.timeout(20):
                    while "mcp_web_grown" not in session.names:
                        await asyncio.sleep(0.02)
                self.assertIn("larger than", await session.call("repeat", text="x" * 100, times=500_000))
                self.assertEqual(await session.call("add", a=2), "3")

        with self.assertLogs("gateway_app", "INFO"):
            asyncio.run(talk())

    def test_a_server_that_goes_away_and_comes_back_is_used_again(self) -> None:
        url = http_peer(self)
        port = int(url.split(":")[2].split("/")[0])

        async def talk() -> None:
            async with connected(server("web", url=url, timeout=20)) as session:
                await session.call("die")
                async with asyncio.timeout(20):
                    while session.names:
                        await asyncio.sleep(0.02)
                self.assertIn("The call was not made.", await session.call("add", a=1))
                back = await asyncio.to_thread(start_http_peer, port)
                try:
                    await session.until_up()
                    self.assertEqual(await session.call("add", a=1), "2")
                finally:
                    stop(back)

        with self.assertLogs("gateway_app", "INFO"):
            asyncio.run(talk())


def served(test: TestCase, handler: Any, **values: Any) -> tuple[str, Any]:
    """Serves `handler` with `values` as its own for the test. Returns the address and the handler."""
    own = type("Handler", (handler,), values)
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), own)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_: None  # a client that breaks off is what some tests want
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    test.addCleanup(httpd.server_close)
    test.addCleanup(httpd.shutdown)
    return f"http://127.0.0.1:{httpd.server_address[1]}", own


class Misleading(http.server.BaseHTTPRequestHandler):
    """Sends whoever comes somewhere else, or away."""

    status: ClassVar[int] = 307
    location: ClassVar[str] = ""
    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.seen.append(f"{self.headers['Host']} {self.headers.get('Authorization')}")
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_DELETE = do_POST

    def log_message(self, *_: Any) -> None:
        pass


class MisleadingTests(SimpleTestCase):
    def problem(self, url: str) -> str:
        async def connect() -> str:
            headers = {"Authorization": "Bearer swordfish-1"}
            async with connected(server("web", url=f"{url}/mcp", headers=headers)) as session:
                return session.connection.problem

        with self.assertLogs("gateway_app", "INFO") as logs:
            found = asyncio.run(connect())
        self.assertNotIn("swordfish", "".join(logs.output))
        return found

    def test_nobody_is_followed_to_another_host_and_no_header_gets_there(self) -> None:
        other, there = served(self, Misleading, seen=[], status=200)
        url, here = served(self, Misleading, seen=[], location=f"{other}/mcp")
        self.assertIn("redirect", self.problem(url).lower())
        self.assertEqual(there.seen, [])
        self.assertIn("Bearer swordfish-1", here.seen[0])

    def test_a_refusal_is_named_by_its_status(self) -> None:
        url, _ = served(self, Misleading, seen=[], status=401)
        self.assertIn("(HTTP 401)", self.problem(url))

    def test_an_address_where_nobody_listens_is_a_problem_with_a_name(self) -> None:
        self.assertEqual(self.problem("http://127.0.0.1:9"), "it could not be reached")


class Forgetful(http.server.BaseHTTPRequestHandler):
    """A server of the protocol's older version that answers in JSON, and forgets its sessions when it is told to."""

    session: ClassVar[int] = 1
    calls: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = message.get("params", {}).get("name", "")
        if message["method"] == "initialize":
            version = message["params"]["protocolVersion"]
            about = {"name": "forgetful", "version": "1"}
            self.answer(message, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
        elif self.headers.get("Mcp-Session-Id") != str(type(self).session):
            self.send(404)
        elif message["method"] == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("say", "large", "packed")]
            self.answer(message, {"tools": tools})
        elif message["method"] == "tools/call":
            self.calls.append(name)
            text = "x" * 9_000_000 if name == "large" else f"call {len(self.calls)}"
            self.answer(message, {"content": [{"type": "text", "text": text}]}, is_packed=name == "packed")
        else:
            self.send(202)

    def do_GET(self) -> None:
        self.send(405)

    do_DELETE = do_GET

    def answer(self, message: dict[str, Any], result: dict[str, Any], *, is_packed: bool = False) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        self.send(
            200, gzip.compress(body) if is_packed else body, **({"Content-Encoding": "gzip"} if is_packed else {})
        )

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Mcp-Session-Id", str(type(self).session))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class ForgetfulTests(SimpleTestCase):
    def talk(self, coroutine: Callable[[Session, type[Forgetful]], Coroutine[Any, Any, None]]) -> None:
        url, handler = served(self, Forgetful, calls=[])

        async def run() -> None:
            async with connected(server("web", url=f"{url}/mcp", timeout=20)) as session:
                await coroutine(session, handler)

        with self.assertLogs("gateway_app", "INFO"):
            asyncio.run(run())

    def test_a_call_that_a_server_without_memory_of_us_did_not_take_is_made_once_it_knows_us_again(self) -> None:
        async def run(session: Session, handler: type[Forgetful]) -> None:
            self.assertEqual(await session.call("say"), "call 1")
            handler.session += 1
            self.assertEqual(await session.call("say"), "call 2")
            self.assertEqual(handler.calls, ["say", "say"])

        self.talk(run)

    def test_an_answer_that_is_too_large_or_packed_fails_one_call_and_not_the_connection(self) -> None:
        async def run(session: Session, handler: type[Forgetful]) -> None:
            for name in ("large", "packed"):
                self.assertIn("packed, or larger than 8,388,608 bytes. The call was made.", await session.call(name))
            self.assertEqual(await session.call("say"), "call 3")

        self.talk(run)


class TimeServerTests(SimpleTestCase):
    """`mcp-server-time`, as people use it."""

    async def test_it_tells_the_time_in_another_zone(self) -> None:
        self.assertTrue(importlib.util.find_spec("mcp_server_time"), "pip install -r requirements-dev.txt")
        time_server = server("time", args=["-m", "mcp_server_time"], env=PYTHONPATH)
        with self.assertLogs("gateway_app", "INFO"):
            async with connected(time_server) as session:
                self.assertEqual(session.names, ["mcp_time_get_current_time", "mcp_time_convert_time"])
                found = json.loads(await session.call("get_current_time", timezone="Asia/Tokyo"))
        self.assertTrue(found["datetime"].endswith("+09:00"))
