"""The configuration in force, row by row, for people and programs that ask."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import values
from .catalogue import SETTINGS, Setting
from .schema import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting as it may be shown: no secret is in it."""

    variable: str
    key: str
    value: str
    origin: str
    default: str
    is_live: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def rows(config: Config, *, names: Sequence[str] = ()) -> list[Row]:
    """The settings that `names` name, by variable, key, or the beginning of either; without names all.

    Raises LookupError that names the nearest one.
    """
    chosen: set[str] = set()
    for name in names:
        found = {setting.variable for setting in SETTINGS if _is_meant(setting, name)}
        if not found:
            known = [word for setting in SETTINGS for word in (setting.variable, *setting.keys)]
            near = difflib.get_close_matches(name, known, n=1)
            raise LookupError(f"There is no setting {name!r}{f'; the nearest is {near[0]}' if near else ''}.")
        chosen |= found
    return [_row(setting, config) for setting in SETTINGS if not names or setting.variable in chosen]


def _is_meant(setting: Setting, name: str) -> bool:
    return setting.variable.startswith(name.upper()) or any(key.startswith(name) for key in setting.keys)


def _row(setting: Setting, config: Config) -> Row:
    return Row(
        variable=setting.variable,
        key=setting.keys[0] if setting.keys else "",
        value=values.shown(setting, setting.of(config)),
        origin=config.origin(setting.variable),
        default=values.default(setting).replace("`", ""),
        is_live=setting.is_live,
    )
