"""What a benchmark prints, and its part of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from pathlib import Path

import psutil

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PARTS = ("pipeline", "access", "interrupts", "agent", "memory")
"""The page's parts in their order, each after a comment with its name."""


class Report:
    """Lines that are printed as they come and can be written to the page, where the other parts stay as they are."""

    def __init__(self, part: str, *, heading: str = "") -> None:
        assert part in PARTS
        self.part = part
        self.heading = heading
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        self.lines += lines
        print(*lines, sep="\n", flush=True)

    def table(self, *, head: list[str], rows: list[list[object]]) -> None:
        self.say("", "| " + " | ".join(head) + " |", "|" + "---|" * len(head))
        self.say(*["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows], "")

    def write(self) -> None:
        parts = _parts(PAGE.read_text() if PAGE.exists() else "")
        parts[self.part] = "\n".join(
            [
                *[f"## {self.heading}", ""] * bool(self.heading),
                f'Made by `make bench ARGS="{self.part} --write"` on {date.today():%Y-%m-%d}; each figure is the median'
                " of its rounds in one run of it.",
                "",
                *self.lines,
            ]
        )
        texts = [f"<!-- {name} -->\n{parts[name].strip()}\n" for name in PARTS if name in parts]
        PAGE.write_text("\n".join(["# Benchmarks\n", *texts]))
        print(f"Written to {PAGE.relative_to(PAGE.parent.parent)}.")


def _parts(page: str) -> dict[str, str]:
    words = re.split(rf"^<!-- ({'|'.join(PARTS)}) -->$", page, flags=re.MULTILINE)
    return dict(zip(words[1::2], words[2::2], strict=True))


def machine() -> str:
    """The machine in a sentence."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    kernel = f"{platform.system()} {platform.release().split('-')[0]}"
    return (
        f"Machine: {os.cpu_count()} cores ({names[0] if names else platform.machine()}), {memory:.0f} GiB, {kernel},"
        f" Python {platform.python_version()}."
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
