"""`/undo`: the agent forgets what was said last."""

from __future__ import annotations

from gateway_app.models import Session
from gateway_app.models.session import UndoKind
from gateway_app.sessions import undoing

from .base import Call, Command, Effect, Group, Held

USAGE = "`/undo` takes your last message and its answer back, and `/undo 3` the last three."
MOST_DIGITS = 4
SHOWN_CHARS = 80
"""Characters of the message that was taken back which a reply repeats."""


async def take_back(call: Call) -> str | Effect:
    """Takes the newest exchanges out of the model's view."""
    wanted = call.arguments or "1"
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= MOST_DIGITS and int(wanted)):
        return USAGE

    def undo(held: Held) -> str:
        first = undoing.undo(
            session=Session.objects.get(pk=held.session_pk),
            exchanges=int(wanted),
            kind=UndoKind.UNDO,
            user_id=call.source.user_id,
            user_name=call.source.user_name,
        )
        if first is None:
            return "There is nothing to take back: nothing has been said in this conversation."
        return (
            f"Taken back, from “{excerpt(first.content)}” on. The agent does not see it any more."
            " /redo puts it back, as long as nothing else is said."
        )

    return undo


def excerpt(text: str) -> str:
    """The beginning of a message, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS else f"{line[:SHOWN_CHARS]}…"


COMMAND = Command(
    name="undo",
    summary="takes your last message and its answer back, or the last few.",
    group=Group.CONVERSATION,
    usage="[<number>]",
    run=take_back,
    leaves=True,
)
