"""Server-sent events: from the bytes of a stream, cut anywhere, to the data of each event."""

from __future__ import annotations

DONE = b"[DONE]"
"""The data of the event that ends a stream of chat completions."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Takes a stream's bytes in pieces of any size and gives back the data of each event that is complete.

    Lines may end in LF, CRLF or CR; comments, and fields other than `data`, are skipped. It works on bytes, so a
    character cut in two by a piece's end is never decoded by halves.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._after_cr = False
        self._first = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that `piece` completes."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            self._after_cr = False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        events: list[bytes] = []
        for line in piece.splitlines(keepends=True):
            if line.endswith((b"\n", b"\r")):
                self._take_line(b"".join([*self._line, line]).rstrip(b"\r\n"), events)
                self._line.clear()
            else:
                self._line.append(line)
        return events

    def close(self) -> list[bytes]:
        """The data of a last event that the stream's end cut off from its blank line."""
        events: list[bytes] = []
        self._take_line(b"".join(self._line), events)
        self._line.clear()
        self._take_line(b"", events)
        return events

    def _take_line(self, line: bytes, events: list[bytes]) -> None:
        if self._first:
            line = line.removeprefix(BYTE_ORDER_MARK)
            self._first = False
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        elif line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            self._data.append(b"")
