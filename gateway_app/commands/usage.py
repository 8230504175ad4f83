"""`/usage`: turns and tokens of the conversation, and of the person today."""

from __future__ import annotations

from gateway_app import clock
from gateway_app.models import Session
from gateway_app.sessions import usage
from gateway_app.sessions.source import ChatType, SessionSource
from gateway_app.sessions.usage import Usage
from gateway_app.worker.database import in_database

from .base import Call, Command, Group


async def show(call: Call) -> str:
    """What was used. Where others can read it, nothing is told of what somebody does elsewhere."""
    return await in_database(report, session_id=call.context.session_id, source=call.source)


def report(*, session_id: str, source: SessionSource) -> str:
    session, at = Session.objects.get(session_id=session_id), clock.read()
    if source.chat_type is ChatType.DM and source.user_id:
        where = "You today, in all your conversations"
        today = usage.today_of_person(platform=source.platform, user_id=source.user_id, at=at)
    else:
        where, today = "You here today", usage.today_of_session(session, at=at, user_id=source.user_id)
    return f"- This conversation: {_said(usage.of_session(session))}\n- {where}: {_said(today)}"


def _said(used: Usage) -> str:
    turns = "1 turn" if used.turns == 1 else f"{used.turns:,} turns"
    spent = cost(used)
    return f"{turns}, {tokens(used)}{f', at a cost of {spent}' if spent else ''}"


def tokens(used: Usage) -> str:
    """The tokens in words; of those that were read, how many its server had in its cache."""
    cached = f" ({used.cached_tokens:,} of them cached)" if used.cached_tokens else ""
    return f"{used.prompt_tokens:,} tokens read{cached}, {used.completion_tokens:,} written"


def cost(used: Usage) -> str:
    """What it cost, as far as that is known; empty where nothing of it is."""
    if not used.turns or used.unpriced == used.turns:
        return ""
    amount = f"{used.cost_micros / 1_000_000:,.4f}"
    return f"at least {amount}" if used.unpriced else amount


COMMAND = Command(
    name="usage",
    summary="shows the tokens, turns and cost of this conversation and of your day.",
    group=Group.FACTS,
    run=show,
)
