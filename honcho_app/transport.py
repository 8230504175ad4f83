"""Under the SDK: an HTTP client that ends every answer in time, and the SDK's errors in words of our own.

Imported only where a call is made, since it imports httpx and the SDK.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator

import httpx
from honcho.http import exceptions as sdk
from pydantic import ValidationError

from gateway_app.config import live as gateway

from .errors import HonchoError, HonchoErrorKind

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. A page of 100 messages of full length has 10 MB at the most."""
CONNECTIONS = 200
"""More than all threads together can use."""
IDLE_SECONDS = 20.0

_calls = threading.local()


def begin() -> None:
    """Notes that this thread begins another call."""
    _calls.has_sent = False


def http_client() -> httpx.Client:
    """A client for a process's calls. It follows no redirect and takes no proxy from the environment."""
    limits = httpx.Limits(
        max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=IDLE_SECONDS
    )
    return httpx.Client(transport=Transport(limits=limits), follow_redirects=False, trust_env=False)


class Transport(httpx.HTTPTransport):
    """Notes when a request is on its way, and bounds its answer in time and in size."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        limit = request.extensions.get("timeout", {}).get("read")
        deadline = time.monotonic() + limit if limit is not None else None
        try:
            _calls.has_sent = True
            response = super().handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            _calls.has_sent = False
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = Bounded(response.stream, request=request, deadline=deadline)
        return response


class Bounded(httpx.SyncByteStream):
    """An answer's body. httpx's own limit starts anew with each piece, so that one that drips would never end."""

    def __init__(self, stream: httpx.SyncByteStream, *, request: httpx.Request, deadline: float | None) -> None:
        self._stream = stream
        self._request = request
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._stream:
            size += len(piece)
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("The answer took too long.", request=self._request)
            if size > LARGEST_ANSWER:
                raise httpx.ReadError("The answer is too large.", request=self._request)
            yield piece

    def close(self) -> None:
        self._stream.close()


KINDS = {
    400: HonchoErrorKind.REJECTED,
    401: HonchoErrorKind.UNAUTHORIZED,
    403: HonchoErrorKind.UNAUTHORIZED,
    404: HonchoErrorKind.NOT_FOUND,
    408: HonchoErrorKind.TIMEOUT,
    429: HonchoErrorKind.LIMITED,
}


def translated(error: Exception) -> HonchoError | None:
    """What the SDK raised, without the SDK's own text, which may hold what was sent; None for what it never raises."""
    has_sent = getattr(_calls, "has_sent", False)
    if isinstance(error, sdk.TimeoutError):
        return HonchoError(HonchoErrorKind.TIMEOUT, is_outcome_unknown=has_sent)
    if isinstance(error, sdk.ConnectionError):
        return HonchoError(HonchoErrorKind.UNAVAILABLE, is_outcome_unknown=has_sent)
    if isinstance(error, sdk.APIError):
        return _answered(error)
    if isinstance(error, ValidationError | ValueError) and not has_sent:
        return HonchoError(HonchoErrorKind.REJECTED)
    if isinstance(error, httpx.HTTPError | ValidationError | ValueError | sdk.HonchoError):
        return HonchoError(HonchoErrorKind.SERVER, is_outcome_unknown=has_sent)
    return None


def _answered(error: sdk.APIError) -> HonchoError:
    status = error.status
    kind = KINDS.get(status) or (HonchoErrorKind.REJECTED if 400 <= status < 500 else HonchoErrorKind.SERVER)
    # Below 400 it is a redirect, by whatever stands before the server; that did nothing.
    is_unknown = status >= 500 or status == 408
    wait = error.retry_after if isinstance(error, sdk.RateLimitError) else None
    if wait is not None:
        longest = gateway.config().honcho.retry_after_max_seconds
        wait = min(max(wait, 0.0), longest) if math.isfinite(wait) else longest
    return HonchoError(kind, status=status, retry_after=wait, is_outcome_unknown=is_unknown)
