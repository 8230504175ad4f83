"""Writes docs/reference/ from the code: `python -m docs.generate`. With `--check` it only says what is out of date."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
SETTINGS = ROOT / "hermes_site" / "settings.py"

KINDS = {
    "text": "text",
    "boolean": "true or false",
    "number": "number",
    "whole": "whole number",
    "words": "comma-separated list",
    "url": "URL",
    "database": "URL",
    "bind": "host:port",
}
"""The readers of `hermes_site.environment.Environment`, in words."""

UNITS = {"SECONDS": "seconds", "BYTES": "bytes", "CHARS": "characters", "TOKENS": "tokens"}
"""Units by the last word of a variable's name; the others count things or say what they count in their text."""

COMPUTED = {
    "HERMES_HOME": "`~/.hermes`",
    "HERMES_SECRET_KEY": "made at the first start, kept in `state/secret_key.secret`",
    "HERMES_ALLOWED_HOSTS": "`127.0.0.1`, `localhost`, `[::1]` and the host of `HERMES_BIND`",
    "DATABASE_URL": "`state/db.sqlite3` in `HERMES_HOME`",
    "CELERY_BROKER_URL": "`REDIS_URL`",
    "HERMES_WORKERS": "one per core",
    "OPENAI_BASE_URL": "`https://api.openai.com/v1` where there is a key, else none",
    "HERMES_MODEL_LIMIT_FIELD": "`max_completion_tokens` at api.openai.com, else `max_tokens`",
    "WEBCHAT_ALLOWED_USERS": "`admin`",
    "CLI_ALLOW_ALL_USERS": "true: whoever can start it can read the database as well",
}
"""Defaults that the settings work out, in words."""

SECTION = re.compile(r"# --- (.+?) -+$")
NOTE = "<!-- Written by `python -m docs.generate` (`make docs`) from {source}. Do not edit. -->\n\n"


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable as the settings read it."""

    name: str
    kind: str
    default: str
    reason: str
    """Empty where the variable before it gives the reason for both."""
    section: str


def variables(source: str) -> list[Variable]:
    """What `source`, the text of the settings, reads from the environment, in its order.

    The reason is the docstring after the assignment; assignments on consecutive lines share the one after the last.
    Raises ValueError for a variable without one, and for a computed default that `COMPUTED` does not put into words.
    """
    sections = {number: found[1] for number, line in enumerate(source.split("\n"), 1) if (found := SECTION.match(line))}
    body = ast.parse(source).body
    found: list[Variable] = []
    for index, statement in enumerate(body):
        calls = list(_calls(statement)) if isinstance(statement, ast.Assign) else []
        before = body[index - 1] if index else None
        is_shared = isinstance(before, ast.Assign) and _joins(before, statement) and any(_calls(before))
        reason = _reason(body, index)
        section = next(
            (name for number, name in reversed(sections.items()) if number < statement.lineno), "Installation"
        )
        for name, kind, default in calls:
            if not reason:
                raise ValueError(f"{SETTINGS.name}, line {statement.lineno}: {name} has no docstring after it.")
            found.append(Variable(name, kind, default, "" if is_shared else reason, section))
    return found


def _joins(first: ast.stmt, second: ast.stmt) -> bool:
    return second.lineno == (first.end_lineno or 0) + 1


def _reason(body: Sequence[ast.stmt], index: int) -> str:
    for statement, following in zip(body[index:], body[index + 1 :], strict=False):
        if not _joins(statement, following):
            return ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            return " ".join(str(following.value.value).split())
        if not (isinstance(following, ast.Assign) and any(_calls(following))):
            return ""
    return ""


def _calls(statement: ast.stmt) -> Iterator[tuple[str, str, str]]:
    """Name, kind and default of every variable that a statement reads."""
    names = {"name": [""]}
    for node in ast.walk(statement):
        if isinstance(node, ast.comprehension) and isinstance(node.iter, ast.Tuple):
            assert isinstance(node.target, ast.Name)
            names[node.target.id] = [str(value) for value in ast.literal_eval(node.iter)]
    for node in ast.walk(statement):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        reader = ast.unparse(node.func)
        if reader == "os.environ.get":
            name = ast.literal_eval(node.args[0])
            yield name, "folder", COMPUTED[name]
        elif reader.startswith("env."):
            for name, value in _names(node.args[0], names["name"]):
                yield name, _kind(name, node), _default(name, node, value)


def _names(node: ast.expr, values: list[str]) -> list[tuple[str, str]]:
    """The variables that an argument names, each with the value of `name` that it comes from."""
    if isinstance(node, ast.Constant):
        return [(str(node.value), "")]
    assert isinstance(node, ast.JoinedStr)  # f"{name.upper()}_…"
    rest = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    return [(value.upper() + rest, value) for value in values]


def _kind(name: str, call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    found = KINDS[call.func.attr]
    given = {word.arg: word.value for word in call.keywords}
    if unit := UNITS.get(name.rpartition("_")[2]):
        found = found.replace("number", unit) if found == "number" else f"{found} of {unit}"
    limits = [
        f"{word} {_plain(given[key])}" for key, word in (("least", "at least"), ("most", "at most")) if key in given
    ]
    if "schemes" in given:
        limits = [", ".join(f"`{scheme}://`" for scheme in ast.literal_eval(given["schemes"]))]
    return f"{found}, {' and '.join(limits)}" if limits else found


def _default(name: str, call: ast.Call, value_of_name: str) -> str:
    if name in COMPUTED:
        return COMPUTED[name]
    node = next((word.value for word in call.keywords if word.arg == "default"), None)
    node = node or (call.args[1] if len(call.args) > 1 else None)
    if node is None:
        return "none"
    if isinstance(node, ast.Compare):  # name == "…"
        return str(value_of_name == ast.literal_eval(node.comparators[0])).lower()
    try:
        value = ast.literal_eval(node)
    except ValueError:
        try:
            return _plain(node)
        except ValueError:
            raise ValueError(f"{name} has a computed default; put it into words in docs.generate.COMPUTED.") from None
    if isinstance(value, bool):
        return str(value).lower()
    return _plain(node) if isinstance(value, int | float) else f"`{value}`"


def _plain(node: ast.expr) -> str:
    """A number, or a product of numbers, as people write it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        value = 1
        for factor in ast.unparse(node).split(" * "):
            value *= int(factor)
        return f"{value:,}"
    return f"{ast.literal_eval(node):,}"


def settings_page() -> str:
    """docs/reference/settings.md."""
    found = variables(SETTINGS.read_text())
    lines = [
        "# Settings\n\n",
        NOTE.format(source="hermes_site/settings.py"),
        "Every setting is an environment variable. Sources, strongest first:\n\n",
        "1. the environment of the process,\n",
        "2. the file `.env` in `HERMES_HOME`: lines `NAME=value`, `# comments` and empty lines,\n",
        "3. what a running `manage.py up` on this machine has recorded: the addresses of its broker and its model,\n",
        "4. the default. Without `REDIS_URL` `make run` starts a broker of its own; without a model it serves one.\n\n",
        "An empty value counts as not set. A wrong value stops the start with the variable's name, what was found and"
        " what is allowed. Processes read their settings once, at their start: restart them after a change, and run"
        " `manage.py prepare` where the change is to a period that beat keeps (`HERMES_SWEEP_SECONDS`,"
        " `HERMES_CANARY_SECONDS`); `make run` does that by itself.\n",
    ]
    section = ""
    for variable in found:
        if variable.section != section:
            section = variable.section
            lines.append(f"\n## {section}\n\n| Variable | Value | Default | What it is for |\n|---|---|---|---|\n")
        reason = variable.reason or "Together with the one above."
        lines.append(
            _row(
                f"`{variable.name}`", variable.kind, variable.default, reason if reason.endswith(".") else f"{reason}."
            )
        )
    return "".join(lines)


def commands_page() -> str:
    """docs/reference/commands.md: the targets of the Makefile and the gateway's management commands."""
    from django.core.management import get_commands, load_command_class

    lines = [
        "# Commands\n\n",
        NOTE.format(source="the Makefile and gateway_app/management/commands/"),
        "## make\n\n| Command | What it does |\n|---|---|\n",
    ]
    for target, text in re.findall(r"^([a-z]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE):
        lines.append(_row(f"`make {target}`", text))
    lines.append(
        "\n## manage.py\n\nStart them with the project's Python: `.venv/bin/python manage.py <command>`. Django's own"
        " commands (`migrate`, `createsuperuser`, `changepassword` …) work too; `manage.py help` lists all.\n"
    )
    for name in sorted(name for name, app in get_commands().items() if app == "gateway_app"):
        command = load_command_class("gateway_app", name)
        parser = command.create_parser("manage.py", name)
        common = {action.dest for action in _bare_parser()._actions}
        own = [action for action in parser._actions if action.dest not in common]
        usage = " ".join(["manage.py", name, *map(_usage, own)])
        lines.append(f"\n### {name}\n\n```\n{usage}\n```\n\n{_paragraphs(command.help)}\n")
        if any(action.help for action in own):
            lines.append("\n| Argument | |\n|---|---|\n")
        for action in own:
            if action.help:
                lines.append(_row(f"`{_word(action)}`", _expanded(action)))
    return "".join(lines)


def _bare_parser() -> argparse.ArgumentParser:
    from django.core.management import BaseCommand

    return BaseCommand().create_parser("manage.py", "bare")


def _usage(action: argparse.Action) -> str:
    word = _word(action)
    if action.nargs == "*":
        return f"[{word} …]"
    return f"[{word}]" if action.option_strings or action.nargs == "?" else word


def _word(action: argparse.Action) -> str:
    value = str(action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper()))
    if not action.option_strings:
        return value
    return action.option_strings[0] if action.nargs == 0 else f"{action.option_strings[0]} {value}"


def _expanded(action: argparse.Action) -> str:
    return str(action.help).replace("%(default)s", str(action.default))


def _paragraphs(text: str) -> str:
    """Help as Markdown: what is indented is a block of its own."""
    blocks = [block.strip("\n") for block in text.split("\n\n")]
    return "\n\n".join(f"```\n{block}\n```" if block.startswith("  ") else block.strip() for block in blocks)


def metrics_page() -> str:
    """docs/reference/metrics.md: what processes count, and what /metrics reads from the database."""
    from prometheus_client.metrics import MetricWrapperBase

    from gateway_app import metrics

    lines = [
        "# Metrics\n\n",
        NOTE.format(source="gateway_app/metrics.py and gateway_app/health/exposition.py"),
        "`GET /metrics` of a web process, in Prometheus' format. Without `HERMES_METRICS_TOKEN` only callers on the"
        " same machine get it; with one, whoever sends it as bearer token. What to alarm on is in"
        " [Operating](../guide/operating.md#what-to-alarm-on).\n\n",
        "## Counted by the processes\n\n"
        "The sums over all processes that share `HERMES_HOME`, dead ones included. A restart does not reset them.\n\n"
        "| Metric | Kind | Labels | What it says |\n|---|---|---|---|\n",
    ]
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            suffix = "_total" if metric._type == "counter" else ""
            labels = "<br>".join(f"`{label}`{_values(metric._name, label)}" for label in metric._labelnames)
            lines.append(_row(f"`{metric._name}{suffix}`", metric._type, labels or "–", metric._documentation))
    lines.append(
        "\n## Read from the database at each request\n\n"
        "The same whichever web process is asked. An age is left out where there is nothing to be of an age; while the"
        " database does not answer all but `hermes_database_up` are.\n\n"
        "| Metric | Labels | What it says |\n|---|---|---|\n"
    )
    lines.append(_row("`hermes_database_up`", "–", "Whether the database answered this scrape in time."))
    for name, labels, text in _gauges():
        lines.append(_row(f"`{name}`", labels, text))
    return "".join(lines)


def _gauges() -> Iterator[tuple[str, str, str]]:
    from django.utils import timezone

    from gateway_app.backlog import Backlog, Box, Lanes, ListenerState
    from gateway_app.health.exposition import gauges
    from gateway_app.models.lane import LaneKind

    box = Box(waiting=1, running=1, dead=1, oldest_seconds=1)
    turns, delivery = (
        Lanes(kind=kind, held=1, due=1, overdue_seconds=1) for kind in (LaneKind.TURNS, LaneKind.DELIVERY)
    )
    listener = ListenerState(platform="telegram", account="1", is_held=True, poll_seconds=1, error="")
    state = Backlog(
        read_at=timezone.now(), inbox=box, outbox=box, turns=turns, delivery=delivery, listeners=[listener],
        canary_seconds=1,
    )  # fmt: skip
    for metric in gauges(state):
        labels: dict[str, list[str]] = {}
        for sample in metric.samples:
            for label, value in sample.labels.items():
                labels.setdefault(label, []).append(value)
        named = "<br>".join(
            f"`{label}`" + (f": {', '.join(values)}" if len(values) > 1 else "") for label, values in labels.items()
        )
        yield metric.name, named or "–", metric.documentation


def _values(metric: str, label: str) -> str:
    from gateway_app.agent.model_errors import ModelErrorKind
    from gateway_app.models.turn import TurnState

    known: dict[tuple[str, str], Iterable[str]] = {
        ("hermes_inbound", "outcome"): (
            "accepted",
            "duplicate",
            "refused",
            "limited",
            "denied",
            "unreadable",
            "ignored",
        ),
        ("hermes_rings", "outcome"): ("published", "failed"),
        ("hermes_turns", "outcome"): (state.value for state in TurnState if state is not TurnState.RUNNING),
        ("hermes_model_tokens", "kind"): ("prompt", "completion"),
        ("hermes_model_failures", "kind"): (kind.value for kind in ModelErrorKind),
        ("hermes_deliveries", "outcome"): ("sent", "failed", "unknown", "dead"),
    }
    values = ", ".join(known.get((metric, label), ()))
    return f": {values}" if values else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def decisions_page() -> str:
    """docs/reference/decisions.md: the table that the tests hold, as `decide()` answers it."""
    from gateway_app.access.decision import decide
    from gateway_app.access.tests.decision_table import NOW, TABLE

    lines = [
        "# Who may speak\n\n",
        NOTE.format(source="gateway_app/access/tests/decision_table.py"),
        "What comes of which facts. The layers are asked in the order of `Ground` in"
        " `gateway_app/access/decision.py`; the first that has something to say decides. Why the order is as it"
        " is: [ADR 17](../adr/0017-allowances-only-add-and-a-ban-comes-first.md).\n\n",
        "| | Layer | Rule |\n|---|---|---|\n",
    ]
    for row in TABLE:
        decision = decide(row.asked(), row.facts(), at=NOW)
        lines.append(_row(row.sentence(), decision.ground.value, f"`{decision.rule}`"))
    return "".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "decisions.md": decisions_page,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "metrics.md": metrics_page,
}


def outdated() -> list[Path]:
    """The pages that are not what the code says now."""
    found = []
    for name, page in PAGES.items():
        path = DOCS / "reference" / name
        if not path.is_file() or path.read_text() != page():
            found.append(path)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    options = parser.parse_args()
    from hermes_site.isolation import isolate

    isolate()
    import django

    django.setup(set_prefix=False)
    found = outdated()
    for path in found:
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(PAGES[path.name]())
        sys.stdout.write(f"{path.relative_to(ROOT)} {'is out of date: make docs' if options.check else 'written'}\n")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
