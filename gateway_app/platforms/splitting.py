"""Cuts a long text into parts that a platform takes, without breaking a code fence, a word or a character.

A part may end inside a fenced code block; then the block is closed there and opened again, with its language,
in the next part. Nothing else is added, and nothing that can be seen is left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

LEAST_LIMIT = 400
"""Room for the longest fence lines that `FENCE` knows, twice, in any encoding, and some text."""

FENCE = re.compile(r"[ \t]{0,24}(?P<marker>`{3,8}|~{3,8})(?P<info>[\t -_a-~]{0,30})\r?")
"""A line that opens a code block, and, where nothing follows the marker, one that may close it."""

MOST_STEPS_BACK = 64
"""Characters that a cut in a line may move back: more than a line has that `FENCE` knows."""

JOINERS = frozenset("\u200d\ufe0e\ufe0f\u20e3") | frozenset(map(chr, range(0x1F3FB, 0x1F400)))
"""What belongs to the character before it and is no combining mark: joiners, variants, keycaps, skin tones."""


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code block."""

    marker: str
    info: str

    def is_closed_by(self, line: str) -> bool:
        found = FENCE.fullmatch(line)
        return bool(found and not found["info"].strip() and found["marker"].startswith(self.marker))

    @property
    def opening(self) -> str:
        return f"{self.marker}{self.info}\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """One part: `body` is the text's own, `opening` and `closing` only keep its code block whole."""

    opening: str
    body: str
    closing: str

    def __str__(self) -> str:
        return f"{self.opening}{self.body}{self.closing}"


def split(text: str, *, limit: int, length: Callable[[str], int] = len) -> list[str]:
    """`text` in parts of at most `limit` by `length`, which counts at least 1 for each character.

    Cuts after a newline in the second half of the room if there is one, else after a space, else anywhere but
    within inline code or a visible character. Parts that would show nothing are left out, so a blank text has
    none. Raises ValueError for a limit under `LEAST_LIMIT`.
    """
    return [str(piece) for piece in pieces(text, limit=limit, length=length) if piece.body.strip()]


def pieces(text: str, *, limit: int, length: Callable[[str], int] = len) -> list[Piece]:
    """The parts of `text` before blank ones are left out; their bodies joined are exactly `text`."""
    if limit < LEAST_LIMIT:
        raise ValueError(f"The limit is {limit}; allowed: {LEAST_LIMIT} or more.")
    found: list[Piece] = []
    start = 0
    fence: Fence | None = None
    while start < len(text):
        opening = fence.opening if fence else ""
        end = len(text)
        after = fence_after(text[start:], fence) if end - start <= limit else None
        if end - start > limit or length(f"{opening}{text[start:]}{_closing(text, after)}") > limit:
            # Eight of a marker and a newline: the longest closing.
            room = limit - length(opening) - 9
            end = _cut(text, start, _fitting(text, start, room, length), fence)
            after = fence_after(text[start:end], fence)
            line_end = _closing_line(text, end, after) if after else end
            if line_end > end and length(f"{opening}{text[start:line_end]}") <= limit:
                end, after = line_end, None
        body = text[start:end]
        found.append(Piece(opening, body, _closing(body, after)))
        start, fence = end, after
    return found


def utf16_length(text: str) -> int:
    """UTF-16 code units, by which Telegram and Discord count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def fence_after(text: str, fence: Fence | None = None) -> Fence | None:
    """The code block that is open after `text`, where `fence` is open before it."""
    if "```" not in text and "~~~" not in text:
        return fence
    for line in text.split("\n"):
        if fence:
            if fence.is_closed_by(line):
                fence = None
        elif found := FENCE.fullmatch(line):
            fence = Fence(found["marker"], found["info"].strip())
    return fence


def _closing(text: str, fence: Fence | None) -> str:
    if fence is None:
        return ""
    return fence.marker if text.endswith("\n") else f"\n{fence.marker}"


def _closing_line(text: str, start: int, fence: Fence) -> int:
    """The end of the line at `start` if that line closes the block, else `start`."""
    line_end = _line_end(text, start)
    is_line_start = start == 0 or text[start - 1] == "\n"
    return min(line_end + 1, len(text)) if is_line_start and fence.is_closed_by(text[start:line_end]) else start


def _fitting(text: str, start: int, room: int, length: Callable[[str], int]) -> int:
    """The furthest end for which `text[start:end]` takes no more than `room`."""
    low, high = start + 1, min(start + room, len(text))
    if length(text[start:high]) <= room:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if length(text[start:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _cut(text: str, start: int, end: int, fence: Fence | None) -> int:
    """Where to cut, at most at `end` and after `start`."""
    middle = start + (end - start) // 2
    cut = text.rfind("\n", middle, end) + 1 or text.rfind(" ", middle, end) + 1 or end
    line_start = max(text.rfind("\n", start, cut) + 1, start)
    if cut > line_start:
        is_code = fence_after(text[start:line_start], fence) is not None
        cut = _within_line(text, start, line_start, cut, least=middle, is_code=is_code)
    # A block that would be opened in the last line is left to the next part.
    last_line = text.rfind("\n", start, cut - 1) + 1
    if text[cut - 1] == "\n" and last_line > start and fence_after(text[start:last_line], fence) is None:
        return last_line if FENCE.fullmatch(text, last_line, cut - 1) else cut
    return cut


def _within_line(text: str, start: int, line_start: int, cut: int, *, least: int, is_code: bool) -> int:
    """A cut in a line moved back so that it breaks neither a fence, nor inline code, nor a visible character."""
    line_end = _line_end(text, cut)
    is_whole_line = line_start == 0 or text[line_start - 1] == "\n"
    if is_whole_line and line_start > start and FENCE.fullmatch(text, line_start, line_end):
        return line_start
    if not is_code and text.count("`", line_start, cut) % 2:
        opening = text.rfind("`", line_start, cut)
        if opening > least:
            cut = opening
    for earlier in range(cut, max(cut - MOST_STEPS_BACK, line_start), -1):
        # Neither half of the line may look like a fence where it is a part's last or first line.
        looks = FENCE.fullmatch(text, line_start, earlier) or FENCE.fullmatch(text, earlier, line_end)
        if not looks and not _is_cluster(text, earlier):
            return earlier
    return cut


def _is_cluster(text: str, index: int) -> bool:
    """Whether the characters before and after `index` show as one."""
    before, after = text[index - 1], text[index] if index < len(text) else ""
    if not after:
        return False
    is_joined = after in JOINERS or before == "\u200d" or unicodedata.category(after).startswith("M")
    return is_joined or before + after == "\r\n"


def _line_end(text: str, start: int) -> int:
    found = text.find("\n", start)
    return len(text) if found < 0 else found
