"""Every setting of the schema, in its order, with its names in each source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from . import words
from .entries import Entry
from .kinds import Kind
from .schema import Config
from .schema.access import PlatformAccess
from .schema.agent import PlatformAgent
from .schema.display import PlatformDisplay
from .schema.platforms import PLATFORMS, Platform
from .setting import Section, facts_of

FILE_SUFFIX = "_FILE"
"""After a secret's variable: names a file that holds it."""
NO_KEY = "-"
FOREIGN_PREFIXES = ("HERMES_", "GATEWAY_", "HONCHO_", *(f"{name.upper()}_" for name in PLATFORMS))
"""Variables that begin so are meant for the gateway: one that it does not know is a mistake."""
PLATFORM_DEFAULTS: dict[str, Any] = {
    # The account that the first start makes: whoever has it can change everything else too.
    "WEBCHAT_ALLOWED_USERS": ("admin",),
    # Whoever can start `manage.py chat` can read the database and its secrets as well.
    "CLI_ALLOW_ALL_USERS": True,
}
"""Where a platform's default is not that of all platforms."""
PER_PLATFORM: Mapping[str, type[Section]] = {
    "access": PlatformAccess,
    "agents": PlatformAgent,
    "display": PlatformDisplay,
}
"""Sections that have the same settings for each platform, in a field `platforms`."""
DEFAULT_WORDS = {
    "WEBCHAT_ALLOWED_USERS": "`admin`",
    "CLI_ALLOW_ALL_USERS": "true: whoever can start it can read the database as well",
}

Place = tuple[str, ...]
"""A path in a file, key by key."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """One setting.

    `path` leads to it in a `Config`, `keys` are its dotted paths in config.yaml, the one that is documented first, and
    `places` all paths that are looked at in a file, the strongest first.
    """

    path: tuple[str, ...]
    variable: str
    keys: tuple[str, ...]
    places: tuple[Place, ...]
    section: type[Section]
    field: FieldInfo
    is_secret: bool
    is_live: bool
    default_words: str
    """The default where it is worked out, as Markdown; empty where it is in `field`."""

    def of(self, config: Config) -> Any:
        """The setting's value in `config`."""
        found: Any = config
        for name in self.path:
            found = found[name] if isinstance(found, Mapping) else getattr(found, name)
        return found

    @property
    def kind(self) -> Kind:
        return next(item for item in self.field.metadata if isinstance(item, Kind))

    @property
    def entry(self) -> type[Entry] | None:
        """What stands under each name, where the setting is a mapping of free names to settings of their own."""
        kinds = get_args(self.field.annotation)
        return kinds[0] if kinds and isinstance(kinds[0], type) and issubclass(kinds[0], Entry) else None

    @property
    def text(self) -> str:
        """What the setting is for: the docstring under its field, in one line."""
        return words.of_field(self.section, self.path[-1])

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it takes where it takes only some."""
        kind = self.field.annotation
        return tuple(filter(None, get_args(kind))) if get_origin(kind) is Literal else ()

    @property
    def limits(self) -> str:
        """`at least 1 and at most 3`, or nothing."""
        found = [f"at least {plain(item.ge)}" for item in self.field.metadata if isinstance(item, Ge)]
        found += [f"at most {plain(item.le)}" for item in self.field.metadata if isinstance(item, Le)]
        return " and ".join(found)


def plain(number: Any) -> str:
    """A number as people write it."""
    return f"{number:,.0f}" if number == int(number) else f"{number:g}"


def _settings(section: type[Section], path: tuple[str, ...] = (), platform: str = "") -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _settings(inner, (*path, name), name if issubclass(inner, Platform) else platform)
        elif name == "platforms" and len(path) == 1:
            for platform_name in PLATFORMS:
                yield from _settings(PER_PLATFORM[path[0]], (*path, name, platform_name), platform_name)
        elif field.json_schema_extra is not None:
            yield _setting(section, field, (*path, name), platform)


def _setting(section: type[Section], field: FieldInfo, path: tuple[str, ...], platform: str) -> Setting:
    facts = facts_of(field)
    own, *aliases = facts["keys"]
    own = own or ".".join(filter(None, (section.key, path[-1])))
    keys = tuple(key.replace("{p}", platform) for key in (own, *aliases) if key != NO_KEY)
    variable = facts["variable"].replace("{P}", platform.upper())
    return Setting(
        path=path,
        variable=variable,
        keys=keys,
        places=tuple(place for key in keys for place in _places(key)),
        section=section,
        field=field,
        is_secret=facts["is_secret"],
        is_live=facts["is_live"],
        default_words=DEFAULT_WORDS.get(variable) or facts["default"],
    )


def _places(key: str) -> Iterator[Place]:
    """Where a file may have `key`, the strongest place first."""
    first, *rest = key.split(".")
    if first == "platforms":
        name, *names = rest
        for block in ((name,), ("platforms", name), ("gateway", "platforms", name)):
            yield (*block, *names)
            yield (*block, "extra", *names)
    else:
        yield (first, *rest)
        yield ("gateway", first, *rest)


SETTINGS = tuple(_settings(Config))
BY_VARIABLE = {setting.variable: setting for setting in SETTINGS}
BY_PATH = {setting.path: setting for setting in SETTINGS}
FILE_VARIABLES = {f"{setting.variable}{FILE_SUFFIX}": setting for setting in SETTINGS if setting.is_secret}
