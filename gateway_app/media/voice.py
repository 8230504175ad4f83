"""Whose answers are spoken: one choice for each conversation's place, which outlasts its sessions."""

from __future__ import annotations

import re

from gateway_app.models import VoiceChoice
from gateway_app.models.media import VoiceMode

CODE = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(^ {0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")
MARKS = re.compile(r"^[ \t]*(?:#{1,6}[ ]+|>[ ]?|[-*+][ ]+)|[*_`~]{1,3}(?=\S)|(?<=\S)[*_`~]{1,3}", re.MULTILINE)


def mode_of(*, session_key: str) -> VoiceMode | None:
    """When answers are spoken there; None for never."""
    found = VoiceChoice.objects.filter(session_key=session_key).values_list("mode", flat=True).first()
    return VoiceMode(found) if found else None


def choose(mode: VoiceMode | None, *, session_key: str, user_id: str) -> None:
    """Sets it, or with None takes it back."""
    if mode is None:
        VoiceChoice.objects.filter(session_key=session_key).delete()
        return
    VoiceChoice.objects.update_or_create(session_key=session_key, defaults={"mode": mode, "chosen_by": user_id})


def spoken(text: str) -> str:
    """A Markdown text as it is read out: without code and without marks."""
    text = LINK.sub(r"\1", CODE.sub("", text))
    return re.sub(r"\n{3,}", "\n\n", MARKS.sub("", text)).strip()
