"""`manage.py dead_letters`: see what was given up, put it back, or let it go."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app import dead_letters
from gateway_app.dead_letters import Box
from gateway_app.models import InboundMessage, OutboundPart

BOXES: dict[str, Box] = {"in": InboundMessage, "out": OutboundPart}
LISTED = 200
"""Letters that `list` prints of each box; the admin pages through all."""

REPLAY: dict[str, Callable[..., list[int]]] = {
    "in": dead_letters.replay_inbound,
    "out": dead_letters.replay_outbound,
}
DISCARD: dict[str, Callable[..., list[int]]] = {
    "in": dead_letters.discard_inbound,
    "out": dead_letters.discard_outbound,
}


class Command(BaseCommand):
    help = """\
Dead letters are messages that could not be answered (in:<id>) and parts of replies that could
not be sent (out:<id>), each after all its attempts. They stay until somebody decides.

  manage.py dead_letters list                     what there is, oldest first, and why
  manage.py dead_letters replay in:12 out:34      try these again, in their old place
  manage.py dead_letters replay --all             try everything again, once
  manage.py dead_letters discard out:34           let it go; the row stays, marked discarded
"""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["list", "replay", "discard"])
        parser.add_argument("letters", nargs="*", metavar="in:<id>|out:<id>", help="names as `list` prints them")
        parser.add_argument("--all", action="store_true", help="every dead letter of both boxes")

    def handle(self, *args: Any, what: str, letters: list[str], **options: Any) -> None:
        if what == "list":
            self._list()
            return
        if bool(letters) == options["all"]:
            raise CommandError(f"Name the letters to {what}, such as in:12 out:34, or give --all.")
        functions, verb = (REPLAY, "Replayed") if what == "replay" else (DISCARD, "Discarded")
        named = _read(letters)
        changed: list[str] = []
        for prefix, box in BOXES.items():
            for ids in dead_letters.every_id(box) if options["all"] else [named[prefix]]:
                changed += [f"{prefix}:{pk}" for pk in functions[prefix](ids=ids)]
        self.stdout.write(f"{verb} {len(changed)} dead {'letter' if len(changed) == 1 else 'letters'}.")
        if missed := [name for prefix in BOXES for pk in named[prefix] if (name := f"{prefix}:{pk}") not in changed]:
            raise CommandError(f"Not a dead letter (any more): {' '.join(missed)}{_why_not(what, named['out'])}")

    def _list(self) -> None:
        counts = {prefix: dead_letters.dead_rows(box).count() for prefix, box in BOXES.items()}
        for prefix, row in self._rows():
            chat = row.chat_id if isinstance(row, OutboundPart) else row.source.get("chat_id", "")
            text = row.shown_text if isinstance(row, OutboundPart) else row.text
            why = row.error if isinstance(row, OutboundPart) else row.reason
            when = f"{row.finished_at:%Y-%m-%d %H:%M:%S}" if row.finished_at else "?"
            self.stdout.write(
                f"{prefix}:{row.pk}  {when}  {row.platform} {chat}  {_line(text, 40)!r}  {_line(why, 80)}"
            )
        total = sum(counts.values())
        if not total:
            self.stdout.write("There are no dead letters.")
            return
        self.stdout.write(
            f"{total} dead {'letter' if total == 1 else 'letters'}: {counts['in']} in, {counts['out']} out."
        )
        if max(counts.values()) > LISTED:
            self.stdout.write(f"The oldest {LISTED} of each kind are shown.")

    def _rows(self) -> Iterator[tuple[str, InboundMessage | OutboundPart]]:
        for prefix, box in BOXES.items():
            for row in dead_letters.dead_rows(box).order_by("pk")[:LISTED]:
                yield prefix, row


def _line(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _why_not(what: str, ids: list[int]) -> str:
    """What is to be said of secrets among the parts that were not replayed."""
    erased = OutboundPart.objects.filter(pk__in=ids, state="dead", is_sealed=True).values_list("pk", flat=True)
    names = " ".join(f"out:{pk}" for pk in erased) if what == "replay" else ""
    return f". Secrets are erased when they are given up and cannot be sent again: {names}" if names else ""


def _read(names: list[str]) -> dict[str, list[int]]:
    """Ids by box. Raises `CommandError` for a name that is none."""
    found: dict[str, list[int]] = {prefix: [] for prefix in BOXES}
    for name in names:
        prefix, _, number = name.partition(":")
        if prefix not in BOXES or not re.fullmatch(r"[0-9]{1,18}", number):
            raise CommandError(f"{name!r} names no dead letter; allowed: in:<id> or out:<id>, as `list` prints them.")
        found[prefix].append(int(number))
    return found
