"""The guards of the pipeline, and how each is taken out of a running process: the proof that they are needed."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any


def take_out(name: str) -> None:
    """Replaces a guard in this process by something that lets everything pass. Raises KeyError for an unknown one."""
    GUARDS[name]()


def _sweep() -> None:
    from gateway_app import doorbell

    doorbell.sweep = lambda: 0


def _unique_event() -> None:
    from gateway_app import inbox

    record = inbox._record

    def record_under_new_ids(welcome: dict[str, list[Any]], accepted: Any) -> None:
        renamed = {
            key: [replace(event, event_id=uuid.uuid4().hex) for event in events] for key, events in welcome.items()
        }
        record(renamed, accepted)

    inbox._record = record_under_new_ids


def _acknowledgement_after_commit() -> None:
    from gateway_app.platforms.telegram import polling

    receive = polling.receive
    tasks: set[asyncio.Task[None]] = set()

    async def receive_later(*args: Any, **kwargs: Any) -> None:
        async def wait_and_receive() -> None:
            await asyncio.sleep(0.5)
            await receive(*args, **kwargs)

        tasks.add(asyncio.create_task(wait_and_receive()))

    polling.receive = receive_later


def _fence() -> None:
    from gateway_app import lanes

    def without_fence(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*args: Any, **kwargs: Any) -> Any:
            statement = make(*args, **kwargs)
            assert " AND fence = %s" in statement.sql
            return statement._replace(
                sql=statement.sql.replace(" AND fence = %s", ""), values=list(statement.values)[:-1]
            )

        return made

    def renew(claims: Iterable[Any]) -> set[int]:
        return {claim.lane_id for claim in claims}

    lanes.holding = without_fence(lanes.holding)
    lanes.holding_or_releasing = without_fence(lanes.holding_or_releasing)
    lanes.renew = renew


def _lease() -> None:
    from gateway_app import lanes

    lanes.FREE = "(1 = 1)"


def _transaction() -> None:
    from gateway_app import lanes, steps

    @contextlib.contextmanager
    def in_pieces(*claims: Any) -> Iterator[None]:
        yield

    execute = steps.execute

    def execute_in_pieces(*statements: Any) -> list[Any]:
        return [execute(statement)[0] for statement in statements]

    lanes.fenced = steps.fenced = in_pieces
    steps.execute = execute_in_pieces


def _heartbeat() -> None:
    from gateway_app.worker.leases import LeaseKeeper

    LeaseKeeper._start = lambda self: None


def _last_look() -> None:
    from gateway_app.platforms.telegram import api

    api._Body.write_with_length = api.BytesPayload.write_with_length


def _mark() -> None:
    from gateway_app.platforms.telegram import adapter

    adapter.REPETITION = ""


def _keys() -> None:
    from gateway_app.sessions import key

    key.escape = lambda component: "anything"


def _listener_lease() -> None:
    from django.db import connection

    from gateway_app.platforms import lease

    claim = lease.ListenerLease.claim

    def claim_from_anybody(self: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {lease.TABLE} SET lease_until = NULL")
        return claim(self)

    lease.ListenerLease.claim = claim_from_anybody
    lease.ListenerLease.assert_held = lambda self: None


def _memory_context() -> None:
    """Whose memory it is says the process: the session whose agent was made last."""
    from gateway_app.turns import runner
    from honcho_app import context, tools

    manager_for = runner.manager_for

    def set_for_all(of: Any) -> Any:
        context._session_manager, context._session_key = manager_for(of), of.honcho_session_key
        return context._session_manager

    def resolve(**_: Any) -> tuple[Any, Any]:
        return context._session_manager, context._session_key

    runner.manager_for = set_for_all
    for module in (tools.conclude, tools.context, tools.profile, tools.reasoning, tools.search):
        module._resolve_session_context = resolve


GUARDS: dict[str, Callable[[], None]] = {
    "sweep": _sweep,
    "unique event": _unique_event,
    "acknowledgement after commit": _acknowledgement_after_commit,
    "fence": _fence,
    "lease": _lease,
    "transaction": _transaction,
    "heartbeat": _heartbeat,
    "last look": _last_look,
    "mark": _mark,
    "keys": _keys,
    "listener lease": _listener_lease,
    "memory context": _memory_context,
}
