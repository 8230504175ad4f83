"""Reads the scripts of conversations; the package says how they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

FOLDER = Path(__file__).parent
AGENT = "Hermes"
HEADING = re.compile(r"== (In a [a-z ]+?)(?:: (.+))?")
DIRECTION = re.compile(r"\((.+)\)")
SPEECH = re.compile(r"([A-Z][a-z]+)(?: to ([A-Z][a-z]+))?: (.*)")
PRESS = re.compile(r"\(([A-Z][a-z]+) presses (.+)\.\)")
DENIAL = re.compile(r"Not: (.+)")
NAME = re.compile(r"\{([a-z_]+)\}")
ANYTHING = "…"
LIST_MARK = re.compile(r"^\s*(?:[-•*]|\d+\.)\s+", re.MULTILINE)


class BadScript(Exception):
    """A script that cannot be read; says where."""


class Place(StrEnum):
    """Where a scene is played, as its heading says it."""

    DIRECT = "In a direct message"
    GROUP = "In a group"
    TOPIC = "In a topic"


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that happens, in `line` of its file."""

    line: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Direction(Step):
    """What happens on the stage without a word."""


@dataclass(frozen=True, kw_only=True)
class Speech(Step):
    """What a person writes."""

    who: str


@dataclass(frozen=True, kw_only=True)
class Press(Step):
    """A button that a person presses, by its label."""

    who: str


@dataclass(frozen=True, kw_only=True)
class Answer(Step):
    """What the agent writes next, in the chat of `to`."""

    to: str
    denied: tuple[str, ...] = ()
    """What must not be in it."""


@dataclass(kw_only=True)
class Scene:
    place: Place
    title: str
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Script:
    """A file of this folder, `name` its own without the suffix."""

    name: str
    about: str
    scenes: list[Scene]


def shipped() -> list[Script]:
    """All that there are, by name."""
    return [read(path.read_text(), name=path.stem) for path in sorted(FOLDER.glob("*.txt"))]


def read(text: str, *, name: str) -> Script:
    """Raises BadScript."""
    about: list[str] = []
    scenes: list[Scene] = []
    last = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if found := HEADING.fullmatch(line):
            if found[1] not in set(Place):
                raise BadScript(f"{name}:{number}: there is no place {found[1]!r}; allowed: {', '.join(Place)}")
            scenes.append(Scene(place=Place(found[1]), title=found[2] or ""))
            last = ""
        elif not scenes:
            about.append(line)
        else:
            last = _read_step(line, scenes[-1].steps, where=f"{name}:{number}", number=number, last=last)
    if not scenes or not all(scene.steps for scene in scenes):
        raise BadScript(f"{name}: a script has scenes, and each of them steps")
    return Script(name=name, about=" ".join(about), scenes=scenes)


def _read_step(line: str, steps: list[Step], *, where: str, number: int, last: str) -> str:
    """Adds what `line` says to the steps of its scene. Returns who spoke last, in whose chat the agent answers."""
    if line[0].isspace():
        _go_on(line.strip(), steps, where=where)
    elif found := PRESS.fullmatch(line):
        steps.append(Press(line=number, text=found[2], who=found[1]))
        return found[1]
    elif found := DIRECTION.fullmatch(line):
        steps.append(Direction(line=number, text=found[1]))
    elif not (found := SPEECH.fullmatch(line)):
        raise BadScript(f"{where}: neither a speech nor a direction in parentheses: {line!r}")
    elif found[1] == AGENT:
        if not (found[2] or last):
            raise BadScript(f"{where}: nobody has spoken yet whom {AGENT} could answer")
        steps.append(Answer(line=number, text=found[3], to=found[2] or last))
    else:
        steps.append(Speech(line=number, text=found[3], who=found[1]))
        return found[1]
    return last


def _go_on(line: str, steps: list[Step], *, where: str) -> None:
    step = steps[-1] if steps else None
    if isinstance(step, Answer) and (found := DENIAL.fullmatch(line)):
        steps[-1] = replace(step, denied=(*step.denied, found[1]))
    elif isinstance(step, Speech | Answer):
        steps[-1] = replace(step, text=f"{step.text}\n{line}")
    else:
        raise BadScript(f"{where}: there is nothing that {line!r} could go on with")


def plain(text: str) -> str:
    """A message without the marks of its lists, and with all white space alike: what both stages show."""
    return " ".join(LIST_MARK.sub("", text).split())


def filled(text: str, names: dict[str, str]) -> str:
    """`text` with the names that are known."""
    return NAME.sub(lambda found: names.get(found[1], found[0]), text)


def matched(pattern: str, text: str, names: dict[str, str]) -> dict[str, str] | None:
    """Whether `pattern` is all of `text`: the names that it gave, or None."""
    expression, new = "", set()
    for piece in re.split(rf"({ANYTHING}|{NAME.pattern.replace('(', '(?:')})", plain(filled(pattern, names))):
        if piece == ANYTHING:
            expression += ".*?"
        elif found := NAME.fullmatch(piece):
            expression += rf"(?P={found[1]})" if found[1] in new else rf"(?P<{found[1]}>\S+?)"
            new.add(found[1])
        else:
            expression += re.escape(piece)
    match = re.fullmatch(expression, plain(text))
    return None if match is None else match.groupdict()
