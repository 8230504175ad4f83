"""docs/reference/honcho.md, written from the schema of honcho.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from docs.configuration import row
from gateway_app.config.catalogue import plain
from gateway_app.config.kinds import Kind
from gateway_app.config.words import of_field

INTRODUCTION = """\
`honcho.json` in `HERMES_HOME` says how memory is used; where there is none, the file that `HONCHO_CONFIG_FILE` names
(`~/.honcho/config.json`), which Honcho's other tools share. A value comes from the block of this host under `hosts`
(`HONCHO_HOST`, `hermes`), else from the file's top level, else from a
[setting](configuration.md#honcho-memory), else it is the default. Limits of the gateway itself are settings only.

```json
{
  "baseUrl": "https://honcho.example.com",
  "hosts": {"hermes": {"workspace": "family", "recallMode": "tools"}}
}
```

The file is looked at once a second: a change holds from the next turn on. One that cannot be used changes nothing, and
the log says so; at a start it stops the start. Keys that mean nothing here are named in the log at the start.

| Key | Value | Default | What it is for |
|---|---|---|---|
"""


def page(note: str) -> str:
    """The whole page; `note` says for editors where it comes from."""
    from honcho_app.configuration import HonchoConfig

    return "".join(
        ["# honcho.json\n\n", note.format(source="honcho_app/configuration.py"), INTRODUCTION, *_rows(HonchoConfig)]
    )


def _rows(part: Any, before: str = "") -> Iterator[str]:
    for name, field in part.model_fields.items():
        key = f"{before}{field.alias}"
        if hasattr(field.annotation, "model_fields"):
            yield from _rows(field.annotation, f"{key}.")
        else:
            yield row(f"`{key}`", _kind(field), _default(field, before), _text(part, name, before))


def _kind(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation) if choice)
    kinds = [item for item in field.metadata if isinstance(item, Kind)]
    words = kinds[0].words if kinds else ("secret" if field.alias == "apiKey" else "true or false")
    limits = [f"at least {plain(item.ge)}" for item in field.metadata if isinstance(item, Ge)]
    limits += [f"at most {plain(item.le)}" for item in field.metadata if isinstance(item, Le)]
    return f"{words}, {' and '.join(limits)}" if limits else words


def _default(field: FieldInfo, before: str) -> str:
    from honcho_app.configuration import HonchoConfig

    if before:
        value: Any = HonchoConfig()
        for name in (*before.strip(".").split("."), field.alias or ""):
            value = value.model_dump(by_alias=True)[name] if not isinstance(value, dict) else value[name]
    else:
        value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return plain(value)
    return f"`{value}`" if isinstance(value, str) and value else "none"


def _text(part: Any, name: str, before: str) -> str:
    from honcho_app.configuration import Observation

    if before:
        whose = before.split(".")[1]
        about = of_field(Observation, whose)
        return about if name == "observe_me" else f"What others say, for `{whose}`."
    return of_field(part, name)
