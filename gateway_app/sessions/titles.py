"""Names that people give to their sessions."""

from __future__ import annotations

from gateway_app.models import Session

LONGEST = 100
"""Characters of a title: a line of a chat."""


class BadTitle(ValueError):
    """What is asked for is no title; the text says why."""


def clean(text: str) -> str:
    """`text` on one line. Raises `BadTitle` where it is too long."""
    title = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(title) > LONGEST:
        raise BadTitle(f"A title has at most {LONGEST} characters, and this one has {len(title):,}.")
    return title


def rename(*, session_pk: int, title: str) -> None:
    """Gives the session a title that `clean()` returned."""
    Session.objects.filter(pk=session_pk).update(title=title)


def shown(session: Session) -> str:
    """The title as it stands in a reply, whatever somebody put into it; the id where there is none."""
    return f"“{session.title}”" if session.title else f"`{session.session_id}`"
