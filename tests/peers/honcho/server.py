"""The Honcho peer's server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import math
import threading
import time
from typing import Any

from aiohttp import web

from tests.peers.forms import SentFile, read_form
from tests.peers.honcho.calls import OPERATIONS, Answer, Call, find
from tests.peers.honcho.control import control
from tests.peers.honcho.faults import EMBEDDED, Fault, Faults
from tests.peers.honcho.people import PeopleCalls
from tests.peers.honcho.records import Records
from tests.peers.honcho.sessions import SessionCalls
from tests.peers.honcho.store import Refusal, Store
from tests.peers.serving import PeerServer

KEPT = 1000


class HonchoPeer(PeopleCalls, SessionCalls, PeerServer):
    """The server. `api_key`, if given, is the only key it takes; each answer takes `delay` seconds.

    Its methods and attributes may be used from any thread. The last `keep` requests are kept in full. After `stop()`,
    `start()` serves on the same port again, with what was stored: in between, the server is away.
    """

    def __init__(
        self, *, api_key: str = "", keep: int = KEPT, delay: float = 0.0, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(host=host, port=port)
        self.api_key, self.delay = api_key, delay
        self.records = Records(keep=keep)
        self.chat_answer = "{observer} says of {observed}: {query}"
        self.worker_is_paused = False
        """Where the worker stands still, deleted sessions stay readable, and their ids stay gone."""
        self.worker_delay = 0.0
        """Seconds until the worker comes to a session that was deleted."""
        self._store = Store()
        self._faults = Faults()
        self._lock = threading.RLock()
        self._under_way: set[asyncio.Task[Answer]] = set()

    # --- What goes wrong, and what the server's worker does ----------------------------------------------------

    def fault(self, kind: str, **fields: Any) -> Fault:
        """From now on something goes wrong; see `Fault`."""
        fault = Fault(kind, **fields)
        if fault.operation and fault.operation not in OPERATIONS:
            raise ValueError(f"operation is {fault.operation!r}; allowed: {', '.join(OPERATIONS)}")
        with self._lock:
            self._faults.add(fault)
        return fault

    def fail_embedding(self, **fields: Any) -> list[Fault]:
        """The server's embedding provider is down: what needs it answers 500, the rest goes on."""
        return [self.fault("error", operation=operation, **fields) for operation in EMBEDDED]

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    @property
    def faults(self) -> list[Fault]:
        with self._lock:
            return list(self._faults.all)

    def derive(self) -> None:
        """The server's deriver works through everything that was stored."""
        with self._lock:
            self._store.derive()

    def reset(self) -> None:
        """As it was when it started."""
        with self._lock:
            self._store = Store()
            self._faults.clear()
            self.delay, self.worker_is_paused, self.worker_delay = 0.0, False, 0.0
        self.records.clear()

    # --- What was seen and stored ------------------------------------------------------------------------------

    @property
    def requests(self) -> list[dict[str, Any]]:
        """`number`, `at`, `method`, `path`, `query`, `port`, `status` (None where it was cut off), `carried_out`; of
        one that was understood also `operation`, `workspace`, all `sessions` and `peers` that it names, `digest` and
        `body`."""
        return self.records.requests()

    @property
    def stats(self) -> dict[str, Any]:
        with self._lock:
            self._sweep()
            workspaces = list(self._store.workspaces.values())
            return {
                **self.records.stats(),
                "workspaces": len(workspaces),
                "sessions": sum(len(workspace.sessions) for workspace in workspaces),
                "messages": sum(len(workspace.messages()) for workspace in workspaces),
                "conclusions": sum(len(workspace.conclusions) for workspace in workspaces),
            }

    def all_messages(self, *, workspace: str = "") -> dict[str, list[dict[str, Any]]]:
        """What each session has, in order; of one workspace only if that is given."""
        with self._lock:
            self._sweep()
            return {
                session.id: [message.as_json() | {"stored_at": message.stored_at} for message in session.messages]
                for found in self._store.workspaces.values()
                if workspace in ("", found.id)
                for session in found.sessions.values()
            }

    def messages(self, session: str, *, workspace: str = "") -> list[dict[str, Any]]:
        return self.all_messages(workspace=workspace).get(session, [])

    def conclusions(self, *, workspace: str = "") -> list[dict[str, Any]]:
        """In the order in which they were made."""
        with self._lock:
            self._sweep()
            return [
                conclusion.as_json()
                for found in self._store.workspaces.values()
                if workspace in ("", found.id)
                for conclusion in found.conclusions
            ]

    def _sweep(self) -> None:
        if not self.worker_is_paused:
            self._store.sweep(older_than=time.time() - self.worker_delay)

    # --- The server --------------------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/_/"):
            return await control(self, request, request.path.removeprefix("/_/"))
        if request.path == "/health":
            return web.json_response({"status": "ok"})
        record = self.records.begin(request)
        status: int | None = None
        try:
            response = await self._answer(request, record)
            status = response.status
            return response
        except Refusal as refusal:
            status = refusal.status
            return web.json_response({"detail": refusal.detail}, status=status, headers=refusal.headers)
        finally:
            self.records.end(record, status=status)

    async def _answer(self, request: web.BaseRequest, record: dict[str, Any]) -> web.StreamResponse:
        operation, params, methods = find(request.method, request.path)
        if not operation:
            refusal = Refusal("Method Not Allowed" if methods else "Not Found", status=405 if methods else 404)
            if methods:
                refusal.headers["Allow"] = ", ".join(sorted(methods))
            raise refusal
        call = await read_call(request, operation, params)
        named, body = call.named(), call.body if call.body is not None else shown(call.form)
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.records.name(
            record,
            operation=operation,
            workspace=call.workspace or name_of(call.body),
            body=body,
            digest=digest,
            **named,
        )
        with self._lock:
            fault = self._faults.find(operation=operation, sessions=named["sessions"], workspace=record["workspace"])
        kind = fault.kind if fault else ""
        if fault and kind == "error":
            raise scripted(fault)
        if kind == "refuse":
            hang_up(request)
        if kind == "hang":
            await asyncio.Event().wait()
        self._check_key(request)
        answer = await self._carry_out(call, record, wait=fault.seconds if fault and kind == "slow" else 0)
        await asyncio.sleep(fault.seconds if fault and kind == "late" else self.delay)
        if kind == "drop":
            hang_up(request)
        return await send(request, answer)

    async def _carry_out(self, call: Call, record: dict[str, Any], *, wait: float) -> Answer:
        """Whether the client is still there or not, once it has come to be carried out."""

        async def carry_out() -> Answer:
            if wait:
                await asyncio.sleep(wait)
            with self._lock:
                self._sweep()
                answer: Answer = getattr(self, call.operation)(call)
            self.records.carried_out(record)
            return answer

        task = asyncio.ensure_future(carry_out())
        self._under_way.add(task)
        task.add_done_callback(self._let_go)
        return await asyncio.shield(task)

    def _let_go(self, task: asyncio.Task[Answer]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Nobody may be left to be told of a refusal; asked for here, it is not reported as lost.
            task.exception()

    def _check_key(self, request: web.BaseRequest) -> None:
        if self.api_key:
            found = request.headers.get("Authorization", "")
            if not hmac.compare_digest(found.encode(), f"Bearer {self.api_key}".encode()):
                raise Refusal("Invalid JWT" if found else "No access token provided", status=401)


async def read_call(request: web.BaseRequest, operation: str, params: dict[str, str]) -> Call:
    call = Call(operation, params, dict(request.query))
    if operation == "upload":
        call.form = await read_form(request)
        return call
    raw = await request.read()
    if raw:
        try:
            call.body = json.loads(raw)
        except ValueError as error:
            at = getattr(error, "pos", 0)
            detail = {"type": "json_invalid", "loc": ["body", at], "msg": "JSON decode error", "input": {}}
            raise Refusal([detail], status=422) from None
    return call


def name_of(body: Any) -> str:
    return str(body.get("id", "")) if isinstance(body, dict) else ""


def shown(form: dict[str, Any]) -> dict[str, Any] | None:
    """A form as it is recorded: of a file its name and what its bytes come to."""

    def show(value: Any) -> Any:
        if isinstance(value, SentFile):
            return {"name": value.name, "digest": hashlib.sha256(value.body).hexdigest()}
        return value

    return {name: show(value) for name, value in form.items()} or None


def scripted(fault: Fault) -> Refusal:
    refusal = Refusal("scripted", status=fault.status)
    if fault.retry_after is not None:
        refusal.headers["Retry-After"] = str(math.ceil(fault.retry_after))
    return refusal


def hang_up(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
    # What a client's own departure raises keeps aiohttp from answering.
    raise asyncio.CancelledError


async def send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    if answer.events is not None:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in answer.events:
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        await response.write_eof()
        return response
    if answer.status == 204:
        return web.Response(status=204)
    return web.json_response(answer.body, status=answer.status)
