"""The ASGI application that `manage.py serve` runs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")

import django
from asgiref.sync import ThreadSensitiveContext
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application(ASGIHandler):
    """Django, with its synchronous code on a few threads that stay, and with a limit on what it reads.

    Django makes a thread for each request and keeps it as long as the request lasts, so that every open event stream
    would hold one, and every request to a synchronous view would connect to the database anew. Here requests
    take turns on WEB_THREADS threads; a stream needs none while it waits.
    """

    def __init__(self) -> None:
        super().__init__()
        threads = [ThreadPoolExecutor(1, thread_name_prefix=f"web-{n}") for n in range(settings.WEB_THREADS)]
        self._next_thread = itertools.cycle(threads)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = LimitedBody(receive, limit=_body_limit(scope))
        async with ThreadSensitiveContext(executor=next(self._next_thread)):
            await super().__call__(scope, body.receive, send)
        if body.is_too_large:
            await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"The request is too large.\n"})


def _body_limit(scope: Mapping[str, Any]) -> int:
    """Bytes of a request's body that are read: more of an upload by a page that was given to somebody signed in."""
    ticket = b""
    if "/upload/" in scope.get("path", ""):
        ticket = next((value for name, value in scope["headers"] if name == b"x-upload-ticket"), b"")
    if not ticket:
        return int(settings.WEB_MAX_BODY_BYTES)
    from gateway_app.platforms.webchat.files import body_limit

    return body_limit(ticket.decode("latin-1")) or int(settings.WEB_MAX_BODY_BYTES)


class LimitedBody:
    """A request's body up to `limit` bytes; beyond it the reader is told that the client has gone."""

    def __init__(self, receive: Receive, *, limit: int) -> None:
        self.is_too_large = False
        self._receive = receive
        self._left = limit

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left >= 0:
            return message
        self.is_too_large = True
        return {"type": "http.disconnect"}


django.setup(set_prefix=False)
application = Application()
