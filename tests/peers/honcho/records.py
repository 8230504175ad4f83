"""What the Honcho peer saw, request by request."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Any

from aiohttp import web


class Records:
    """The last `keep` requests in full, and counts of all. May be used from any thread."""

    def __init__(self, *, keep: int) -> None:
        self._lock = threading.Lock()
        self._requests: deque[dict[str, Any]] = deque(maxlen=keep)
        self._operations: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._calls = self._in_flight = self._max_in_flight = 0

    def begin(self, request: web.BaseRequest) -> dict[str, Any]:
        port = request.transport.get_extra_info("peername")[1] if request.transport is not None else 0
        record: dict[str, Any] = {
            "at": time.time(), "method": request.method, "path": request.path, "query": dict(request.query),
            "port": port, "operation": "", "workspace": "", "sessions": [], "peers": [], "status": None,
            "carried_out": False,
        }  # fmt: skip
        with self._lock:
            self._calls += 1
            record["number"] = self._calls
            self._requests.append(record)
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)
        return record

    def name(self, record: dict[str, Any], **fields: Any) -> None:
        with self._lock:
            record.update(fields)
            self._operations[record["operation"]] += 1

    def carried_out(self, record: dict[str, Any]) -> None:
        with self._lock:
            record["carried_out"] = True

    def end(self, record: dict[str, Any], *, status: int | None) -> None:
        """`status` is None for a call that was cut off by either side."""
        with self._lock:
            record["status"] = status
            self._in_flight -= 1
            self._statuses["cut" if status is None else str(status)] += 1

    def requests(self, *, since: int = 0) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(record) for record in self._requests if record["number"] > since]

    def stats(self) -> dict[str, Any]:
        with self._lock:
            return {
                "calls": self._calls, "in_flight": self._in_flight, "max_in_flight": self._max_in_flight,
                "operations": dict(self._operations), "statuses": dict(self._statuses),
            }  # fmt: skip

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()
            self._operations.clear()
            self._statuses.clear()
            self._calls, self._max_in_flight = 0, self._in_flight
