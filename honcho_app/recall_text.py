"""Puts what was recalled into words for the model, and cuts it to what it may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTERS_PER_TOKEN = 4
CUT = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What Honcho remembers that may be shown beside a message."""

    summary: str = ""
    """Of this conversation, also of what was said in it before a reset."""
    representation: str = ""
    """What was worked out of the person's own messages."""
    card: Sequence[str] = ()
    """Lasting facts of the person."""
    own_card: Sequence[str] = ()
    """Lasting facts of how the agent is to be with the person."""
    own_representation: str = ""
    """What was worked out of that."""


def worded(memory: Memory, *, tokens: int) -> str:
    """The memory as the model gets it, within `tokens`; empty where there is none.

    Honcho counts tokens only where it chooses messages, so that a representation may be of any length. Each part has
    an equal share; what a short one leaves is for the longer ones.
    """
    parts = [
        ("Facts about the person:", _listed(memory.card)),
        ("Summary of this conversation so far:", memory.summary.strip()),
        ("What was worked out about the person:", memory.representation.strip()),
        ("Facts about yourself, for this person:", _listed(memory.own_card)),
        ("What was worked out about yourself, for this person:", memory.own_representation.strip()),
    ]
    found = [f"{heading}\n{text}" for heading, text in parts if text]
    longest = tokens * CHARACTERS_PER_TOKEN - 2 * max(len(found) - 1, 0)
    return "\n\n".join(_shared(found, longest=longest))


def _shared(parts: Sequence[str], *, longest: int) -> list[str]:
    """The parts, each cut to its share of `longest` characters."""
    shares = dict[int, int]()
    left = longest
    by_length = sorted(range(len(parts)), key=lambda place: len(parts[place]))
    for done, place in enumerate(by_length):
        shares[place] = min(len(parts[place]), max(left, 0) // (len(parts) - done))
        left -= shares[place]
    return [text for place, part in enumerate(parts) if (text := cut(part, longest=shares[place]))]


def cut(text: str, *, longest: int) -> str:
    """`text` up to the last whole line that fits, or the last whole word of its first one; empty for no room at all."""
    if len(text) <= longest:
        return text
    kept = text[: max(longest - len(CUT) - 1, 0)]
    for end in ("\n", " "):
        if (place := kept.rfind(end)) > len(kept) // 2:
            kept = kept[:place]
            break
    return f"{kept.rstrip()} {CUT}" if kept.strip() else ""


def _listed(facts: Sequence[str]) -> str:
    lines = (" ".join(fact.split()) for fact in facts)
    return "\n".join(f"- {line}" for line in lines if line)
