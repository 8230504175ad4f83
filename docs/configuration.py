"""docs/reference/configuration.md, written from the schema."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from gateway_app.config import values
from gateway_app.config.catalogue import BY_VARIABLE, PER_PLATFORM, PLATFORM_DEFAULTS, SETTINGS, Setting, plain
from gateway_app.config.entries import Entry
from gateway_app.config.kinds import Kind
from gateway_app.config.schema.platforms import PLATFORMS
from gateway_app.config.words import of_field

UNITS = {"SECONDS": "seconds", "BYTES": "bytes", "CHARS": "characters", "TOKENS": "tokens", "DAYS": "days"}
"""Units by the last word of a variable's name; the others count things or say what they count in their text."""

SAMPLE = "telegram"
"""The platform whose settings stand for those of each."""

REPEATED = tuple(PER_PLATFORM.values())

EXAMPLE = """\
model:
  base_url: https://api.openai.com/v1
  name: gpt-5-mini

group_sessions_per_user: true
unauthorized_dm_behavior: pair

platforms:
  telegram:
    allow_from: [987654321]              # direct messages
    group_allowed_chats: [-1001234567890]
    require_mention: true
    group_allow_admin_from: [987654321]
    group_user_allowed_commands: [new, stop]

limits:
  sender_per_minute: 30

mcp_servers:
  time:
    command: uvx
    args: [mcp-server-time]
"""

SOURCES = f"""\
Every setting has an environment variable and, but for `HERMES_HOME`, a key in `config.yaml`. Sources, strongest first:

1. the environment of the process,
2. the file `.env` in `HERMES_HOME`: lines `NAME=value`, `# comments` and empty lines,
3. what a running `manage.py up` on this machine has recorded: the addresses of its broker and its model,
4. the file `config.yaml` in `HERMES_HOME`,
5. the file `gateway.json` there, with the same keys,
6. the default. Without `REDIS_URL` `make run` starts a broker of its own; without a model it serves one.

`manage.py gateway config` prints every setting that is in force, where it comes from and its default.

An empty value, and `null` in a file, counts as not set; an empty list in a file (`[]`) is a list with nobody in it.
A list is comma-separated in a variable; in a file it is a list, or a text with commas.

A key is also taken under `gateway:`, where the top level does not have it. What belongs to a platform is taken, the
strongest first, from `<platform>:`, from `platforms.<platform>:` and from `gateway.platforms.<platform>:`; an `extra:`
in one of them counts as part of it.

A **secret** may be kept in a file of its own: `<VARIABLE>_FILE` names it. To set both is an error.

## When something is wrong

- A wrong value stops the start. All of them are named at once, each with what was found, what is allowed, and where it
  stands; secrets are not repeated.
- A key or a variable that is not known is left out of account, with a warning that names the nearest known one.
- A file that cannot be read, is no YAML or JSON, is not UTF-8, belongs to somebody else than the process's user or
  root, or can be written by everybody stops the start. The same goes for a secret's file that cannot be read.

## Changes while it runs

Every process looks at `.env`, `config.yaml` and `gateway.json` once a second. Settings that are **live** are taken up
at once, and the log says `Configuration changed: …` for each. For others it says that the change takes effect at the
next restart; run `manage.py prepare` too where it is to a period that beat keeps (`HERMES_SWEEP_SECONDS`,
`HERMES_CANARY_SECONDS`), which `make run` does by itself. A file that cannot be used changes nothing: the last good
configuration stays in force, and the log says so as an error, once for each change of the file. A variable in the
environment of a process can only change with a restart, and is stronger than the files.

## An example

`config.yaml`:

```yaml
{EXAMPLE}```

and the secrets in `.env`:

```
OPENAI_API_KEY=sk-…
TELEGRAM_BOT_TOKEN=123456789:AA…
```
"""


def page(note: str) -> str:
    """The whole page; `note` says for editors where it comes from."""
    lines = ["# Configuration\n\n", note.format(source="gateway_app/config/schema/"), SOURCES]
    for heading, found in itertools.groupby(_documented(), key=lambda setting: setting.section.heading):
        lines.append(f"\n## {heading}\n\n")
        settings = list(found)
        if settings[0].section in REPEATED:
            names = ", ".join(f"`{name}`" for name in PLATFORMS)
            lines.append(f"`<platform>` is one of {names}; in a variable it is in capitals.\n\n")
        lines.append("| Variable | Key | Value | Default | Live | What it is for |\n|---|---|---|---|---|---|\n")
        lines += [_setting(setting) for setting in settings]
        lines += [_entry(setting, setting.entry) for setting in settings if setting.entry]
    return "".join(lines)


def _entry(setting: Setting, entry: type[Entry]) -> str:
    """What may stand under each name of a mapping."""
    about = " ".join((entry.__doc__ or "").split())
    lines = [
        f"\n`{setting.keys[0]}.<name>`: {about}\n\n",
        "| Key | Value | Default | What it is for |\n|---|---|---|---|\n",
    ]
    for name, field in entry.model_fields.items():
        if name == "name":
            continue
        kind = next(item for item in field.metadata if isinstance(item, Kind))
        default = field.get_default(call_default_factory=True)
        if isinstance(default, bool):
            words = str(default).lower()
        elif isinstance(default, int):
            words = plain(default)
        else:
            words = ", ".join(f"`{item}`" for item in default) or "none"
        lines.append(row(f"`{name}`", kind.words, words, of_field(entry, name)))
    return "".join(lines)


def _documented() -> Iterator[Setting]:
    return (setting for setting in SETTINGS if setting.section not in REPEATED or SAMPLE in setting.path)


def _setting(setting: Setting) -> str:
    variable, keys, default = setting.variable, setting.keys, values.default(setting)
    if setting.section in REPEATED:
        rest = variable.removeprefix(SAMPLE.upper())
        variable = f"<PLATFORM>{rest}"
        keys = tuple(key.replace(SAMPLE, "<platform>") for key in keys)
        for other in (f"{name.upper()}{rest}" for name in PLATFORMS):
            if other in PLATFORM_DEFAULTS:
                default += f"; `{other}`: {values.default(BY_VARIABLE[other])}"
    return row(
        f"`{variable}`",
        ", ".join(f"`{key}`" for key in keys) or "–",
        f"{'secret, ' if setting.is_secret else ''}{_kind(setting)}",
        default,
        "live" if setting.is_live else "",
        setting.text,
    )


def _kind(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    found = setting.kind.words
    if unit := UNITS.get(setting.variable.rpartition("_")[2]):
        found = unit if found == "number" else f"{found} of {unit}"
    return f"{found}, {setting.limits}" if setting.limits else found


def row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
