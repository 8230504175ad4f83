"""`/background`: a request that is worked on beside the conversation, and answered in this chat when it is done."""

from __future__ import annotations

from gateway_app import background
from gateway_app.config import live

from .base import Answer, Call, Command, Group
from .invocation import parse


def begin(call: Call) -> str | Answer:
    """Speaks of the message that was written in the same transaction."""
    if not call.arguments:
        return f"What shall I work on? Write it behind the command: `/{call.name} compare these two offers`."
    if parse(call.arguments):
        return "A command cannot be run in the background."
    if call.place is None:
        return f"/{call.name} cannot be queued, since it waits for nothing. Please send it by itself."
    most = live.config().sessions.background_max
    if len(background.under_way(call.source)) >= most:
        return f"I work on {most} things in the background already, so I did not take this one. /status lists them."
    work_id, context = background.begin(call.source, place=call.place, prompt=call.arguments)
    return Answer(
        text=f"I work on it in the background, as `{work_id}`, and answer here. `/stop {work_id}` ends it.",
        rings=(context,),
    )


COMMAND = Command(
    name="background",
    aliases=("btw",),
    summary="has what follows worked on beside this conversation, which goes on.",
    group=Group.WORK,
    usage="<message>",
    answer=begin,
)
