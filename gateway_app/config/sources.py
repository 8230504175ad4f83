"""The sources of the configuration, and what each gives to a setting.

Strongest first: the environment, `.env`, what a running all-in-one recorded, `config.yaml`, `gateway.json`. What none
of them gives is the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway_app.fleet.record import MODEL_CHOICES, MODEL_SETTINGS, running

from . import files
from .catalogue import BY_VARIABLE, FILE_VARIABLES, FOREIGN_PREFIXES, Place, Setting

ENVIRONMENT = "environment"
RECORD = "running installation"
HOME = "HERMES_HOME"
LARGEST_SECRET = 64 * 1024
"""Characters of a secret's file; a larger one is the wrong file."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a source gives, and where it stands there."""

    value: Any
    origin: str


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What all sources say, before anybody has checked whether it makes sense.

    `variables` are the names of those that count in the environment and in `.env`, secrets from files included.
    `problems` are secrets that could not be had, a line each. `foreign` is what `.env` says to others than the gateway.
    """

    home: Path
    environment: Mapping[str, str]
    dotenv: Mapping[str, str]
    yaml: Mapping[str, Any]
    json: Mapping[str, Any]
    variables: Mapping[str, Given]
    recorded: Mapping[str, str]
    problems: tuple[str, ...]
    stamps: files.Stamps

    def given(self, setting: Setting) -> Given | None:
        """What the strongest source that has a value for `setting` gives; None leaves it at its default."""
        name = setting.variable
        if found := self.variables.get(name):
            return found
        if name in self.recorded:
            return Given(self.recorded[name], f"{RECORD} {name}")
        return _in_files(setting, self.yaml, self.json)

    @property
    def foreign(self) -> dict[str, str]:
        """The variables of `.env` that are not the gateway's: for what runs in its processes, such as a proxy's."""
        return {
            name: value
            for name, value in self.dotenv.items()
            if name not in BY_VARIABLE and name not in FILE_VARIABLES and not name.startswith(FOREIGN_PREFIXES)
        }


def read(*, home: Path, environment: Mapping[str, str]) -> Sources:
    """Reads every source. Raises BadFile for a file of the configuration that cannot be used."""
    stamps = files.stamps(home)
    dotenv = files.read_dotenv(home / files.DOTENV)
    yaml = files.read_yaml(home / files.YAML)
    json = files.read_json(home / files.JSON)
    variables: dict[str, Given] = {}
    for label, found in ((files.DOTENV, dotenv), (ENVIRONMENT, environment)):
        for name in BY_VARIABLE:
            if name != HOME and found.get(name, "").strip():
                variables[name] = Given(found[name], f"{label} {name}")
    if environment.get(HOME):
        variables[HOME] = Given(environment[HOME], f"{ENVIRONMENT} {HOME}")
    problems = _add_secrets(variables, environment=environment, dotenv=dotenv)
    sources = Sources(
        home=home,
        environment=environment,
        dotenv=dotenv,
        yaml=yaml,
        json=json,
        variables=variables,
        recorded={},
        problems=tuple(problems),
        stamps=stamps,
    )
    return replace(sources, recorded=_joined(sources))


def _add_secrets(
    variables: dict[str, Given], *, environment: Mapping[str, str], dotenv: Mapping[str, str]
) -> list[str]:
    """Adds the secrets that files hold to `variables`. Returns what went wrong, a line each, without any content."""
    problems = []
    for name, setting in FILE_VARIABLES.items():
        in_environment = environment.get(name, "").strip()
        path = in_environment or dotenv.get(name, "").strip()
        if not path:
            continue
        origin = f"{ENVIRONMENT if in_environment else files.DOTENV} {name}"
        if other := variables.get(setting.variable):
            problems.append(
                f"{name} and {setting.variable} are both set ({origin}, {other.origin}); allowed: one of them."
            )
            continue
        try:
            with Path(path).expanduser().open(encoding="utf-8") as file:
                text = file.read(LARGEST_SECRET + 1).rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            problems.append(f"{name} is {path!r}, which cannot be read: {reason}. Found in: {origin}.")
            continue
        if not text.strip() or len(text) > LARGEST_SECRET:
            problems.append(
                f"{name} is {path!r}, which {'is empty' if not text.strip() else 'is too large for a secret'}."
                f" Found in: {origin}."
            )
            continue
        variables[setting.variable] = Given(text, origin)
    return problems


def _joined(sources: Sources) -> dict[str, str]:
    """The addresses of a running `manage.py up`, so that a command in a second terminal joins it.

    The record counts only while the very process that wrote it lives.
    """
    record = running(sources.home / "state" / "runtime.json")
    if record is None:
        return {}
    found = record.joinable({name: str(given.value) for name, given in sources.variables.items()})
    chosen = any(_in_files(BY_VARIABLE[name], sources.yaml, sources.json) for name in MODEL_CHOICES)
    return {name: value for name, value in found.items() if not (chosen and name in MODEL_SETTINGS)}


def _in_files(setting: Setting, yaml: Mapping[str, Any], json: Mapping[str, Any]) -> Given | None:
    """What config.yaml gives, or gateway.json where that says nothing."""
    for label, content in ((files.YAML, yaml), (files.JSON, json)):
        for place in setting.places:
            is_there, value = look_up(content, place)
            if is_there:
                if value is not None and value != "":
                    return Given(value, f"{label} {'.'.join(place)}")
                break
    return None


def look_up(content: Mapping[str, Any], place: Place) -> tuple[bool, Any]:
    """Whether `content` has something at `place`, and what."""
    found: Any = content
    for key in place:
        if not isinstance(found, Mapping) or key not in found:
            return False, None
        found = found[key]
    return True, found
