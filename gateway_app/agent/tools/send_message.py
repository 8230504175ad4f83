"""Sends a message to another chat, of those that the person may have it sent to."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Any

from gateway_app import doorbell
from gateway_app.agent.registry import Tool, ToolError
from gateway_app.delivery import outbox, targets
from gateway_app.delivery.targets import HERE, Target, UnknownTarget
from gateway_app.models import OutboundPart
from gateway_app.platforms import registry
from gateway_app.sessions.key import delivery_key
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database

LONGEST = 16_000
"""Characters of a message; it is sent in as many parts as its platform needs."""


async def send_message(
    args: dict[str, Any], *, context: SessionContext, commit: Any, call_key: str, **kwargs: Any
) -> str:
    """Lists where the context permits to send, or puts a message into the outbox for one of these places.

    `call_key` names the call for ever: run once more after a crash it finds its message there, and sends no second one.
    """
    if args.get("action", "send") == "list":
        found = await in_database(targets.permitted, context)
        return json.dumps({"targets": [_shown(target) for target in found]}, ensure_ascii=False)
    text = args.get("message", "")
    if not text.strip():
        raise ToolError("message is empty; give the text that is to be sent.")
    wanted = args.get("target") or HERE
    target: Target = await commit(functools.partial(put, context=context, wanted=wanted, text=text, key=call_key))
    platform, account, chat_id, _ = target.place
    if registry.get(platform).is_pushed:
        chat = delivery_key(platform=platform, account=account, chat_id=chat_id)
        await asyncio.to_thread(doorbell.ring_delivery, [chat])
    return json.dumps(
        {"accepted": True, "target": _shown(target), "note": "It is in the outbox, and is sent in its turn."},
        ensure_ascii=False,
    )


def put(*, context: SessionContext, wanted: str, text: str, key: str) -> Target:
    """Writes the message for the target that is `wanted`, once for each `key`. Must run in the turn's transaction.

    Raises `ToolError` where the context permits no such target.
    """
    try:
        target = targets.find(context, wanted)
    except UnknownTarget as error:
        raise ToolError(str(error)) from None
    platform, account, chat_id, thread_id = target.place
    draft = outbox.Draft(
        key=f"message/{key}", platform=platform, account=account, chat_id=chat_id, thread_id=thread_id, text=text
    )
    if not OutboundPart.objects.filter(idempotency_key=f"{draft.key}/0").exists():
        outbox.enqueue(draft)
    return target


def _shown(target: Target) -> dict[str, str]:
    return {"target": target.name, "what": target.kind, "title": target.title}


TOOL = Tool(
    name="send_message",
    description=(
        "Sends a message to another chat than the one you answer in, when the person asks for that. action list shows"
        " where you may send. Your answer to the person needs no tool: it reaches them anyway."
    ),
    parameters={
        "type": "object",
        "properties": {
            "action": {"type": "string", "enum": ["send", "list"], "description": "send if left out"},
            "target": {
                "type": "string",
                "maxLength": 600,
                "description": "a target of the list; a platform's name for its home channel; here if left out",
            },
            "message": {"type": "string", "maxLength": LONGEST, "description": "the text, for send"},
        },
        "additionalProperties": False,
    },
    handler=send_message,
    is_repeatable=True,
)
