"""Spans of time as people say them."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """A span of time for people: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 1 h`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, part_size, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part_size
            return f"{whole // size} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{whole} s"
