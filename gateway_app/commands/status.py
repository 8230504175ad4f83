"""`/status`: how the conversation stands."""

from __future__ import annotations

from gateway_app import background, clock
from gateway_app.agent.routing import models_for
from gateway_app.config import live
from gateway_app.duration import duration
from gateway_app.models import InboundMessage, Session
from gateway_app.models.inbox import InboundState
from gateway_app.models.lane import LaneKind
from gateway_app.questions import answering, wording
from gateway_app.sessions import overrides, usage
from gateway_app.sessions.source import SessionContext, SessionSource

from .base import Call, Command, Group
from .undo import excerpt


def show(call: Call) -> str:
    """The session, since when, how much was said, whether the agent is at something, which model, and what it cost."""
    lines = [status(call.context)]
    for work in background.under_way(call.source):
        lines.append(f"- In the background: `{work.work_id}`, “{excerpt(work.prompt)}”")
    return "\n".join(lines)


def status(context: SessionContext) -> str:
    session_key = context.session_key
    session = Session.objects.get(session_id=context.session_id, session_key=session_key)
    shown, undone = usage.messages(session)
    used = usage.of_session(session)
    waiting = usage.waiting(session_key=session_key)
    age = duration((clock.read() - session.started_at).total_seconds())
    title = [f"Title: “{session.title}”"] if session.title else []
    asked = answering.pending(session_key=session_key)
    running = "waits for your answer" if asked else "yes" if is_running(session_key) else "no"
    lines = [
        f"Session: `{session.session_id}`",
        *title,
        f"Since: {session.started_at:%Y-%m-%d %H:%M} UTC ({age})",
        f"Messages: {shown:,}" + (f", and {undone:,} taken back" if undone else ""),
        f"Running: {running}" + (f"; {waiting:,} waiting" if waiting else ""),
        f"Model: `{usage.last_model(session) or models_for(context, live.config(), overrides.of(session))[0]}`",
        f"Tokens: {used.prompt_tokens:,} read, {used.completion_tokens:,} written in {used.turns:,} turns",
    ]
    found = "\n".join(f"- {line}" for line in lines)
    return f"{found}\n\nI ask:\n{wording.listing(asked)}" if asked else found


def is_running(session_key: str) -> bool:
    """Whether the agent is at a message of this session; commands such as this one are not the agent's."""
    from .invocation import invoked  # the registry, which it asks, imports this module

    taken = InboundMessage.objects.filter(
        lane__kind=LaneKind.TURNS, lane__key=session_key, state=InboundState.RUNNING
    ).values_list("text", "asks", "source")
    return any(
        asks is not None or invoked(text, source=SessionSource.from_json(source)) is None
        for text, asks, source in taken
    )


COMMAND = Command(name="status", summary="shows how this conversation stands.", group=Group.FACTS, answer=show)
