"""Writes docs/reference/ from the code: `python -m docs.generate`. With `--check` it only says what is out of date."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from docs import configuration, honcho
from docs.configuration import row

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
NOTE = "<!-- Written by `python -m docs.generate` (`make docs`) from {source}. Do not edit. -->\n\n"


def commands_page() -> str:
    """docs/reference/commands.md: the slash commands, the Makefile's targets, and the management commands."""
    from django.core.management import get_commands, load_command_class

    lines = [
        "# Commands\n\n",
        NOTE.format(source="gateway_app/commands/, the Makefile and gateway_app/management/commands/"),
        *_slash_commands(),
        "## make\n\n| Command | What it does |\n|---|---|\n",
    ]
    for target, text in re.findall(r"^([a-z]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE):
        lines.append(row(f"`make {target}`", text))
    lines.append(
        "\n## manage.py\n\nStart them with the project's Python: `.venv/bin/python manage.py <command>`. Django's own"
        " commands (`migrate`, `createsuperuser`, `changepassword` …) work too; `manage.py help` lists all.\n"
    )
    for name, app in sorted(
        (name, app) for name, app in get_commands().items() if app in ("gateway_app", "honcho_app")
    ):
        command = load_command_class(app, name)
        parser = command.create_parser("manage.py", name)
        common = {action.dest for action in _bare_parser()._actions}
        own = [action for action in parser._actions if action.dest not in common]
        inner = next((action for action in own if isinstance(action, argparse._SubParsersAction)), None)
        if inner is None:
            lines.append(_command(3, name, command.help, own))
            continue
        lines.append(f"\n### {name}\n\n{_paragraphs(command.help)}\n")
        for word, subparser in inner.choices.items():
            actions = [action for action in subparser._actions if action.dest != "help"]
            lines.append(_command(4, f"{name} {word}", subparser.description, actions))
    return "".join(lines)


def _slash_commands() -> Iterator[str]:
    from gateway_app.commands.base import Group
    from gateway_app.commands.menu import described
    from gateway_app.commands.registry import shipped

    yield (
        "## In chats\n\nWhat people do with them: [Commands](../guide/commands.md). `<this>` is put in by the person,"
        " and what stands in `[]` may be left out. Those that are answered at once wait for no turn.\n"
    )
    for group in Group:
        found = [command for command in shipped().commands if command.group is group]
        if found:
            yield f"\n### {group}\n\n| Command | Also | What it does | Answered |\n|---|---|---|---|\n"
        for command in found:
            also = ", ".join(f"`/{alias}`" for alias in command.aliases)
            when = "at once" if command.is_control else "in its turn"
            who = " Admins only." if command.for_admins else ""
            yield row(f"`{command.form}`", also or "–", f"{described(command)}.{who}", when)
    yield "\n"


def _command(level: int, name: str, text: str, actions: list[argparse.Action]) -> str:
    usage = " ".join(["manage.py", name, *map(_usage, actions)])
    lines = [f"\n{'#' * level} {name}\n\n```\n{usage}\n```\n\n{_paragraphs(text)}\n"]
    if any(action.help for action in actions):
        lines.append("\n| Argument | |\n|---|---|\n")
    lines += [row(f"`{_word(action)}`", _expanded(action)) for action in actions if action.help]
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
            lines.append(row(f"`{metric._name}{suffix}`", metric._type, labels or "–", metric._documentation))
    lines.append(
        "\n## Read from the database at each request\n\n"
        "The same whichever web process is asked. An age is left out where there is nothing to be of an age; while the"
        " database does not answer all but `hermes_database_up` are.\n\n"
        "| Metric | Labels | What it says |\n|---|---|---|\n"
    )
    lines.append(row("`hermes_database_up`", "–", "Whether the database answered this scrape in time."))
    for name, labels, text in _gauges():
        lines.append(row(f"`{name}`", labels, text))
    return "".join(lines)


def _gauges() -> Iterator[tuple[str, str, str]]:
    from django.utils import timezone

    from gateway_app.backlog import Backlog, Box, Lanes, ListenerState
    from gateway_app.health.exposition import gauges
    from gateway_app.models.lane import LaneKind

    box = Box(waiting=1, running=1, dead=1, oldest_seconds=1)
    turns, delivery, honcho = (Lanes(kind=kind, held=1, due=1, overdue_seconds=1) for kind in LaneKind)
    listener = ListenerState(platform="telegram", account="1", is_held=True, poll_seconds=1, error="")
    state = Backlog(
        read_at=timezone.now(), inbox=box, outbox=box, turns=turns, delivery=delivery, listeners=[listener],
        canary_seconds=1, honcho=box, honcho_lanes=honcho,
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
    from gateway_app.models.flush import FlushOutcome
    from gateway_app.models.turn import TurnState
    from gateway_app.turns.compression import Result
    from honcho_app.recall import Fetched, Recalled

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
        ("hermes_model_tokens", "kind"): ("prompt", "cached", "completion"),
        ("hermes_compressions", "outcome"): (
            result.value for result in Result if result not in (Result.BUSY, Result.OFF)
        ),
        ("hermes_flushes", "outcome"): (*(outcome.value for outcome in FlushOutcome), "retried", "failed"),
        ("hermes_model_failures", "kind"): (kind.value for kind in ModelErrorKind),
        ("hermes_recalls", "outcome"): (recalled.value for recalled in Recalled),
        ("hermes_recall_fetches", "outcome"): (fetched.value for fetched in Fetched),
        ("hermes_deliveries", "outcome"): ("sent", "failed", "unknown", "dead"),
        ("hermes_honcho_writes", "outcome"): ("sent", "failed", "unknown", "found", "not_found", "dead"),
    }
    values = ", ".join(known.get((metric, label), ()))
    return f": {values}" if values else ""


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
    for case in TABLE:
        decision = decide(case.asked(), case.facts(), at=NOW)
        lines.append(row(case.sentence(), decision.ground.value, f"`{decision.rule}`"))
    return "".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": lambda: configuration.page(NOTE),
    "honcho.md": lambda: honcho.page(NOTE),
    "decisions.md": decisions_page,
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
