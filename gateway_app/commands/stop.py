"""`/stop`: ends what the agent is at. The session stays, and what was said so far with it."""

from __future__ import annotations

from dataclasses import replace

from gateway_app import background
from gateway_app.sessions.routing import context_of
from gateway_app.sessions.source import SessionSource
from gateway_app.turns import stopping
from gateway_app.turns.stopping import Asked

from .base import Answer, Call, Command, Group

ALL = 2**62
"""A place in a lane that nothing comes after."""
NOTHING = "There is nothing to stop: I am not working on anything here."
REPLIES = {
    Asked.STOPPING: "I stop.",
    Asked.ALREADY: "I am stopping already.",
    Asked.WITHDRAWN: "I stop. I had not begun yet, so your message is left unanswered.",
    Asked.NOTHING: NOTHING,
}


def stop(call: Call) -> str | Answer:
    """Stops the running turn, whoever of the chat it answers; said once that is a row."""
    if work_id := work(call.arguments):
        return stop_work(call, work_id)
    if call.place is None:  # it waited for its turn, so that nothing runs but itself
        return NOTHING
    return REPLIES[stopping.ask(session_key=call.context.session_key, by=call.source, before=call.place)]


def stop_work(call: Call, work_id: str) -> str | Answer:
    """Stops what is worked on in the background under this id."""
    if work_id not in {found.work_id for found in background.under_way(call.source)}:
        return f"There is nothing `{work_id}` to stop in the background. /status lists what there is."
    key = background.key_of(call.source, work_id)
    asked = stopping.ask(session_key=key, by=call.source, before=ALL)
    beside = context_of(replace(call.source, background=work_id), session_id="")
    return Answer(text=REPLIES[asked], rings=(beside,))  # it may wait for an answer, without a worker


def reaches(source: SessionSource, arguments: str) -> str:
    """The lane of the work that is to be stopped."""
    work_id = work(arguments)
    return background.key_of(source, work_id) if work_id else ""


def work(arguments: str) -> str:
    """The id of work that somebody typed; empty for anything else, such as “please”."""
    typed = arguments.lower().strip("`")
    return typed if background.ID.fullmatch(typed) else ""


COMMAND = Command(
    name="stop",
    summary="stops what I am working on; our conversation stays.",
    group=Group.WORK,
    usage="[<background id>]",
    answer=stop,
    reaches=reaches,
)
