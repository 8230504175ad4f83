"""The all-in-one's output: every line carries the name of the process it comes from."""

from __future__ import annotations

import asyncio
import codecs
import io
import os
import sys
from typing import TextIO

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
LONGEST_LINE = 64 * 1024
"""Characters held back while waiting for a line's end; a longer line is printed in pieces."""


class Console:
    """Prints lines as `name | text`, coloured on a terminal unless NO_COLOR is set."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        if isinstance(self.stream, io.TextIOWrapper):
            self.stream.reconfigure(errors="replace")  # a terminal without UTF-8 must not stop anything
        self.coloured = self.stream.isatty() and not os.environ.get("NO_COLOR")
        self._colours: dict[str, int] = {}

    def say(self, text: str = "") -> None:
        """Prints the supervisor's own words."""
        try:
            print(text, file=self.stream, flush=True)
        except OSError:
            # Nobody reads any more, as after `make run | head`; the fleet works on.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def line(self, name: str, text: str) -> None:
        """Prints one line of the process `name`; control characters cannot reach the terminal."""
        prefix = f"{name:<9} | "
        if self.coloured:
            colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
            prefix = f"\033[{colour}m{prefix}\033[0m"
        self.say(prefix + "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text))

    async def relay(self, name: str, stream: asyncio.StreamReader) -> None:
        """Prints what `stream` brings until its end."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = ""
        while chunk := await stream.read(65536):
            *lines, rest = (rest + decoder.decode(chunk)).split("\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], ""
            for text in lines:
                self.line(name, text.rstrip("\r"))
        if rest:
            self.line(name, rest)
