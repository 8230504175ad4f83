"""Makes the configuration out of its sources, or says everything that is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured
from pydantic import ValidationError

from . import sources, unknown, values
from .catalogue import BY_PATH, BY_VARIABLE, PLATFORM_DEFAULTS, SETTINGS, Setting
from .errors import Wrong, said
from .schema import Config
from .schema.platforms import PLATFORMS
from .secret_files import generated_secret
from .sources import Given, Sources


def home_of(environment: Mapping[str, str]) -> Path:
    """The installation's folder."""
    return Path(environment.get(sources.HOME) or Path.home() / ".hermes").expanduser().absolute()


def load() -> Config:
    """The configuration of a process that starts.

    What `.env` says to others than the gateway goes into the process environment. Raises ImproperlyConfigured, with a
    line for each wrong value, and BadFile.
    """
    found = sources.read(home=home_of(os.environ), environment=dict(os.environ))
    for name, value in found.foreign.items():
        os.environ.setdefault(name, value)
    return build(found)


def reread(*, home: Path) -> Config:
    """The configuration as a process that starts now would have it. Raises as `load()` does."""
    return build(sources.read(home=home, environment=os.environ))


def build(found: Sources) -> Config:
    """The configuration that `found` gives. Raises ImproperlyConfigured with a line for each wrong value."""
    given = {setting: value for setting in SETTINGS if (value := found.given(setting)) is not None}
    tree: dict[str, Any] = {
        **{name: {} for name, field in Config.model_fields.items() if field.is_required()},
        "platforms": {name: {} for name in PLATFORMS},
        "access": {"platforms": {name: {} for name in PLATFORMS}},
        "agents": {"platforms": {name: {} for name in PLATFORMS}},
        "origins": {setting.variable: value.origin for setting, value in given.items()},
        "warnings": unknown.warnings(found),
        "stamps": found.stamps,
    }
    state = found.home / "state"
    _put(tree, BY_VARIABLE["DATABASE_URL"], f"sqlite:///{quote(str(state / 'db.sqlite3'))}")
    for name, value in PLATFORM_DEFAULTS.items():
        _put(tree, BY_VARIABLE[name], value)
    for setting, value in given.items():
        _put(tree, setting, value.value)
    _put(tree, BY_VARIABLE[sources.HOME], found.home)
    problems = [*found.problems]
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += _wrong(error, given)
        raise ImproperlyConfigured("\n".join(problems)) from None
    problems += _open_without_allow_all(config)
    if problems:
        raise ImproperlyConfigured("\n".join(problems))
    if not config.site.secret_key:
        config = config.changed(site={"secret_key": generated_secret(state, "secret_key")})
    return config


def _put(tree: dict[str, Any], setting: Setting, value: Any) -> None:
    *branch, leaf = setting.path
    for name in branch:
        tree = tree[name]
    tree[leaf] = value


def _wrong(error: ValidationError, given: Mapping[Setting, Given]) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        if detail["type"] == "default_factory_not_called":
            continue  # it is worked out from another one, which is wrong
        setting = BY_PATH[tuple(str(part) for part in detail["loc"])]
        value = given.get(setting, Given(detail["input"], ""))
        cause = detail.get("ctx", {}).get("error")
        found, allowed = "", values.allowed(setting)
        if isinstance(cause, Wrong):
            found = cause.found
            if setting.kind.words not in ("number", "whole number"):
                allowed = cause.allowed
        yield said(setting.variable, found or values.found(setting, value.value), allowed, origin=value.origin)


def _open_without_allow_all(config: Config) -> Iterator[str]:
    """Everybody is only let in where somebody says in so many words that everybody is."""
    for name, access in config.access.platforms.items():
        if config.access.allow_all_users or access.allow_all_users:
            continue
        switch = f"{name.upper()}_ALLOW_ALL_USERS"
        for policy, variable, others in (
            (access.dm_policy, f"{name.upper()}_DM_POLICY", "pairing, allowlist or disabled"),
            (access.group_policy, f"{name.upper()}_GROUP_POLICY", "allowlist or disabled"),
        ):
            if policy == "open":
                words = f"{others}, unless {switch} or GATEWAY_ALLOW_ALL_USERS is true"
                yield said(variable, "'open'", words, origin=config.origin(variable))
