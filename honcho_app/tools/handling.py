"""What the handlers of Honcho's tools have in common."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from gateway_app.agent.tool_error import ToolError
from honcho_app.errors import HonchoError, HonchoErrorKind
from honcho_app.fences import AS_DATA
from honcho_app.manager import Whom

Handler = Callable[..., Awaitable[str]]

PEER = {
    "type": "string",
    "enum": [whom.value for whom in Whom],
    "description": "user (if left out): the person you speak with; ai: you, as they want you to be",
}
UNKNOWN = " Whether it took effect is unknown; look before you do it again."


def honest(handler: Handler) -> Handler:
    """A handler whose failed calls to Honcho are told to the model, rather than shown as if nothing were known."""

    @functools.wraps(handler)
    async def handle(args: dict[str, Any], **kw: Any) -> str:
        try:
            return await handler(args, **kw)
        except HonchoError as error:
            raise ToolError(_words(error)) from error

    return handle


def whom(args: dict[str, Any]) -> Whom:
    """Whom the call is about. No other peer can be named: whose memory it is follows from the session."""
    return Whom(args.get("peer", Whom.USER.value))


def result(found: object, **more: object) -> str:
    """A result as JSON, in which nothing that was recalled can pass for anything else."""
    return json.dumps({"result": found, **more}, ensure_ascii=False)


def recalled(found: object) -> str:
    """A result of facts that were recalled."""
    return result(found, about=AS_DATA)


def _words(error: HonchoError) -> str:
    text = str(error)
    if error.kind is HonchoErrorKind.LIMITED and error.retry_after:
        text += f" Try again in {error.retry_after:.0f} s."
    return text + (UNKNOWN if error.is_outcome_unknown else "")
