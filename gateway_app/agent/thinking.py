"""Tells what a model thinks from what it says, where it writes both into its reply: `<think>…</think>Hello!`.

A tag counts only where a line begins, and not within a code block: a reply may well speak of such tags. Text comes in
pieces that are cut anywhere, also within a tag; what may yet become a tag is held back until it is known.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TAGS = ("think", "thinking", "thought", "reasoning")
"""What models put around it, in any case."""
MOST_BLANKS = 24
"""Before a tag on its line; a line with more is not held back."""

OPENING = re.compile(rf"[ \t]{{0,{MOST_BLANKS}}}<({'|'.join(TAGS)})>", re.IGNORECASE)
FENCE = re.compile(rf"[ \t]{{0,{MOST_BLANKS}}}(`{{3,}}|~{{3,}})")
UNDECIDED = re.compile(
    rf"[ \t]{{0,{MOST_BLANKS}}}(?:`{{1,16}}|~{{1,16}}|<[a-z]{{0,{max(map(len, TAGS))}}})?", re.IGNORECASE
)


class Piece(NamedTuple):
    """What a piece of a reply adds."""

    text: str = ""
    thought: str = ""


class Thinking:
    """Sorts one reply. However it is cut into pieces, the sums of what comes back are the same."""

    def __init__(self) -> None:
        self._held = ""
        self._closing = ""
        """The tag that ends the thought, while there is one."""
        self._fence = ""
        """The marker of an open code block."""
        self._is_line_start = True
        self._drops_blanks = False
        """A thought has just ended: the blank lines after it belong to it."""

    def take(self, text: str) -> Piece:
        """Sorts what comes next."""
        rest, said, thought = self._held + text, list[str](), list[str]()
        while rest:
            if self._closing:
                rest, is_over = self._think(rest, thought)
            else:
                rest, is_over = self._say(rest, said)
            if is_over:
                break
        self._held = rest
        return Piece("".join(said), "".join(thought))

    def close(self) -> Piece:
        """What was held back; the reply is over, also in the middle of a thought."""
        held, self._held = self._held, ""
        return Piece(thought=held) if self._closing else Piece(held)

    def _think(self, rest: str, thought: list[str]) -> tuple[str, bool]:
        """Takes up to the end of the thought. Returns what is left, and whether more is needed to go on."""
        end = rest.lower().find(self._closing)
        if end >= 0:
            thought.append(rest[:end])
            rest = rest[end + len(self._closing) :]
            self._closing, self._is_line_start, self._drops_blanks = "", True, True
            return rest, False
        kept = next(
            size
            for size in range(min(len(self._closing) - 1, len(rest)), -1, -1)
            if self._closing.startswith(rest[len(rest) - size :].lower())
        )
        thought.append(rest[: len(rest) - kept])
        return rest[len(rest) - kept :], True

    def _say(self, rest: str, said: list[str]) -> tuple[str, bool]:
        """Takes up to the end of the line, or the beginning of a thought; the same result."""
        if self._drops_blanks:
            rest = rest.lstrip()
            if not rest:
                return "", True
            self._drops_blanks = False
        if self._is_line_start:
            if not self._fence and (found := OPENING.match(rest)):
                self._closing = f"</{found[1].lower()}>"
                return rest[found.end() :], False
            if UNDECIDED.fullmatch(rest):
                return rest, True
            if found := FENCE.match(rest):
                self._note_fence(found[1])
            self._is_line_start = False
        end = rest.find("\n") + 1
        if not end:
            said.append(rest)
            return "", True
        said.append(rest[:end])
        self._is_line_start = True
        return rest[end:], False

    def _note_fence(self, marker: str) -> None:
        if not self._fence:
            self._fence = marker
        elif marker.startswith(self._fence):
            self._fence = ""
