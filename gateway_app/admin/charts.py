"""Charts drawn by the server: a picture of bars or lines, and the same numbers as a table for who cannot see it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 600.0, 120.0
"""Of the drawing; the page stretches it. Lines keep their thickness."""


@dataclass(frozen=True, slots=True)
class Series:
    """One number per minute; None where there is none. `colour` is a class of the stylesheet."""

    name: str
    colour: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Line:
    points: str
    colour: str


@dataclass(frozen=True, slots=True)
class Slice:
    """One minute's place in the drawing, and what is said of it."""

    x: float
    width: float
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    name: str
    title: str
    summary: str
    """The picture in words."""
    top: str
    """The value at the upper edge."""
    times: tuple[str, str, str]
    """Of the left edge, the middle and the right edge."""
    series: Sequence[Series]
    bars: list[Bar]
    lines: list[Line]
    slices: list[Slice]
    rows: list[tuple[str, list[str]]]
    """The table: minutes in which something happened, newest first."""
    is_empty: bool


def bars(
    *, name: str, title: str, minutes: Sequence[datetime], series: Sequence[Series], show: Callable[[float], str]
) -> Chart:
    """A chart of bars, the series stacked from the first at the bottom upwards."""
    totals = [sum(one.values[n] or 0 for one in series) for n in range(len(minutes))]
    top = nice_top(max(totals, default=0))
    step = WIDTH / len(minutes)
    drawn = []
    for n in range(len(minutes)):
        base = HEIGHT
        for one in series:
            height = (one.values[n] or 0) / top * HEIGHT
            if height:
                base -= height
                drawn.append(
                    Bar(round(n * step + 1, 2), round(base, 2), round(step - 2, 2), round(height, 2), one.colour)
                )
    return _chart(name, title, minutes, series, show, top=top, bars=drawn, lines=[])


def lines(
    *, name: str, title: str, minutes: Sequence[datetime], series: Sequence[Series], show: Callable[[float], str]
) -> Chart:
    """A chart of lines, broken where a minute has no value."""
    top = nice_top(max((value for one in series for value in one.values if value is not None), default=0))
    step = WIDTH / len(minutes)
    drawn = []
    for one in series:
        points: list[str] = []
        for n, value in enumerate([*one.values, None]):
            if value is not None:
                points.append(f"{(n + 0.5) * step:.2f},{HEIGHT - value / top * HEIGHT:.2f}")
            elif points:
                # A lone point is drawn as a line of no length; round ends make a dot of it.
                drawn.append(Line(" ".join(points if len(points) > 1 else points * 2), one.colour))
                points = []
    return _chart(name, title, minutes, series, show, top=top, bars=[], lines=drawn)


def nice_top(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 … that is not less than `value`; fractions likewise."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= value * 0.999999)


def _chart(
    name: str,
    title: str,
    minutes: Sequence[datetime],
    series: Sequence[Series],
    show: Callable[[float], str],
    *,
    top: float,
    bars: list[Bar],
    lines: list[Line],
) -> Chart:
    step = WIDTH / len(minutes)
    said = [
        [("–" if value is None else show(value)) for value in (one.values[n] for one in series)]
        for n in range(len(minutes))
    ]
    slices = [
        Slice(
            round(n * step, 2),
            round(step, 2),
            f"{minute:%H:%M}: " + ", ".join(f"{one.name} {text}" for one, text in zip(series, said[n], strict=True)),
        )
        for n, minute in enumerate(minutes)
    ]
    rows = [
        (f"{minute:%H:%M}", said[n])
        for n, minute in reversed(list(enumerate(minutes)))
        if any(one.values[n] for one in series)
    ]
    return Chart(
        name=name,
        title=title,
        summary=" ".join(_summary(one, minutes, show) for one in series),
        top=show(top),
        times=(f"{minutes[0]:%H:%M}", f"{minutes[len(minutes) // 2]:%H:%M}", "now"),
        series=series,
        bars=bars,
        lines=lines,
        slices=slices,
        rows=rows,
        is_empty=not rows,
    )


def _summary(one: Series, minutes: Sequence[datetime], show: Callable[[float], str]) -> str:
    found = [(value, minute) for value, minute in zip(one.values, minutes, strict=True) if value]
    if not found:
        return f"{one.name.capitalize()}: nothing."
    most, at = max(found)
    return f"{one.name.capitalize()}: at most {show(most)} in a minute, at {at:%H:%M}."
