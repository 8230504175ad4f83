"""How a field of the schema says where its value comes from: its variable, its key in config.yaml, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypedDict, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """Settings that belong together. The docstring under a field is its documentation.

    `key` is where the section stands in config.yaml, empty for the top level, `heading` its name in the reference.
    `{p}` in keys and `{P}` in variables stand for a platform's name.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        # Sections are only validated as parts of the whole; a validator of each one's own costs every start 70 ms.
        defer_build=True,
    )

    key: ClassVar[str] = ""
    heading: ClassVar[str] = ""


class Facts(TypedDict):
    """What `setting()` notes of a field beside what pydantic knows."""

    variable: str
    keys: list[str]
    is_secret: bool
    is_live: bool
    default: str


def setting(
    variable: str,
    default: Any = "",
    *,
    key: str = "",
    alias: str = "",
    least: float | None = None,
    most: float | None = None,
    is_secret: bool = False,
    is_live: bool = False,
    default_words: str = "",
    work_out: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """A field that is read from the environment variable `variable` and from the files.

    `key` is its path in config.yaml where that is not the section's with the field's name after it (`-`: it has none),
    `alias` another one that is taken too. Numbers are 0 or more unless `least` says otherwise. A secret is never shown,
    and `<variable>_FILE` may name a file that holds it. A live one is taken up while processes run. `work_out` makes
    the default from the fields before it, and `default_words` describes that.
    """
    if isinstance(default, int | float) and not isinstance(default, bool) and least is None:
        least = 0
    facts = Facts(
        variable=variable,
        keys=[key, *([alias] if alias else [])],
        is_secret=is_secret,
        is_live=is_live,
        default=default_words,
    )
    given: dict[str, Any] = {"default_factory": work_out} if work_out else {"default": default}
    return Field(**given, ge=least, le=most, json_schema_extra=cast("dict[str, Any]", facts))


def facts_of(field: FieldInfo) -> Facts:
    """What `setting()` noted of a field."""
    assert isinstance(field.json_schema_extra, dict)
    return cast("Facts", field.json_schema_extra)
