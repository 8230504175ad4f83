"""Messages through a fleet, and what became of them, counted from what the people saw."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.fleet import Fleet

TOKEN = re.compile(r"‹([\w-]+)\.(\d+)›")
"""Stands in every message, and comes back in its answer: whose it is, and its number."""
ANSWERED_COMMAND = re.compile(r"User id: `?([\w-]+)")
"""In the answer to `/whoami`: whose it is."""
MARK = "♻️"
"""Begins a part that may be a repetition."""

_chat_ids = itertools.count(10_001)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of some traffic. Only `sent`, `accepted` and `answered` may be other than 0 without a reason."""

    sent: int = 0
    accepted: int = 0
    answered: int = 0
    lost: int = 0
    """Accepted and never answered."""
    duplicated: int = 0
    """Answers shown again without a word."""
    repeated: int = 0
    """Answers shown again and marked as a possible repetition, since the first attempt's outcome was unknown."""
    unknown: int = 0
    """Send attempts of which nobody can say whether they arrived, as the outbox recorded them."""
    out_of_order: int = 0
    crossed: int = 0
    """Texts of one chat that another chat got, or that the model saw in another's session."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in Tally.__slots__))


@dataclass(slots=True)
class Chat:
    """One person's chat: how much they wrote and, in order, what they were shown."""

    name: str
    sent: int = 0
    shown: list[str] = field(default_factory=list)

    def tally(self) -> Tally:
        seen: set[int] = set()
        duplicated = repeated = out_of_order = crossed = highest = 0
        previous: list[int] = []
        for text in self.shown:
            found = TOKEN.findall(text)
            crossed += sum(name != self.name for name, _ in found)
            numbers = [int(number) for name, number in found if name == self.name]
            if not numbers:
                continue
            again = len(set(numbers) - seen) < len(numbers)
            if MARK in text:
                repeated += again
            else:
                duplicated += again
            # A repetition that follows at once is in its place.
            in_order = numbers == sorted(numbers) and (numbers[0] > highest or numbers == previous)
            out_of_order += not in_order
            seen.update(numbers)
            highest = max(highest, *numbers)
            previous = numbers
        answered = len(seen & set(range(1, self.sent + 1)))
        return Tally(
            sent=self.sent, answered=answered, duplicated=duplicated, repeated=repeated, out_of_order=out_of_order,
            crossed=crossed,
        )  # fmt: skip


class Traffic:
    """`chats` people who write numbered messages to the bot of the fleet's Telegram peer."""

    platform = "telegram"

    def __init__(self, fleet: Fleet, *, chats: int = 6) -> None:
        self.fleet = fleet
        self.chats = [Chat(self._new_name(number)) for number in range(chats)]

    def _new_name(self, number: int) -> str:
        return str(next(_chat_ids))

    @property
    def users(self) -> list[str]:
        """The platform's ids of the people, as the inbox has them."""
        return [chat.name for chat in self.chats]

    def write(self, *, rounds: int = 1, more: str = "") -> None:
        """Each person writes once in each round; `more` follows the token."""
        self._write_rounds(self.chats, rounds, more)

    def _write_rounds(self, chats: list[Chat], rounds: int, more: str) -> None:
        for _ in range(rounds):
            for chat in chats:
                chat.sent += 1
                self._write(chat, f"‹{chat.name}.{chat.sent}› {more}".rstrip())

    def _write(self, chat: Chat, text: str) -> None:
        self.fleet.telegram.push_text(text, chat_id=int(chat.name), user_id=int(chat.name))

    def look(self) -> None:
        """Reads what the people were shown so far."""
        shown: dict[str, list[str]] = {chat.name: [] for chat in self.chats}
        for message in self.fleet.telegram.messages():
            if str(message["chat_id"]) in shown:
                shown[str(message["chat_id"])].append(message["shown"])
        for chat in self.chats:
            chat.shown = shown[chat.name]

    def answered(self) -> int:
        self.look()
        return sum(chat.tally().answered for chat in self.chats)

    def wait_answered(self, count: int) -> None:
        self.fleet.wait(lambda: self.answered() >= count, f"{count} answers; there are {self.answered()}")

    def settle(self) -> Tally:
        """Waits until every message is answered and nobody works any more; returns what came of it all."""
        try:
            self.fleet.wait(self.is_settled, "everything to be answered", seconds=self.fleet.patience)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[(chat.name, chat.tally()) for chat in self.chats]}") from None
        return self.tally()

    def is_settled(self) -> bool:
        if self.answered() < sum(chat.sent for chat in self.chats):
            return False
        return self.is_idle()

    def is_idle(self) -> bool:
        """Nothing waits and no lane is held: whatever happens now is not of this traffic."""
        query = self.fleet.database.query
        ((open_rows,),) = query("SELECT count(*) FROM gateway_app_inboundmessage WHERE state IN ('waiting', 'running')")
        ((parts,),) = query("SELECT count(*) FROM gateway_app_outboundpart WHERE state IN ('waiting', 'sending')")
        ((held,),) = query("SELECT count(*) FROM gateway_app_lane WHERE lease_until IS NOT NULL")
        return not (open_rows or parts or held)

    def tally(self) -> Tally:
        self.look()
        total = Tally()
        for chat in self.chats:
            total += chat.tally()
        ((accepted,),) = self.rows("SELECT count(*) FROM gateway_app_inboundmessage WHERE user_id IN {users}")
        # Of all parts in these chats: what answers a control command belongs to no turn.
        ((unknown,),) = self.rows(
            "SELECT coalesce(sum(unknown_outcomes), 0) FROM gateway_app_outboundpart WHERE lane_id IN"
            " (SELECT lane_id FROM gateway_app_outboundpart WHERE turn_id IN"
            " (SELECT turn_id FROM gateway_app_inboundmessage WHERE user_id IN {users}))"
        )
        lost = accepted - total.answered
        return total + Tally(accepted=accepted, lost=lost, unknown=unknown, crossed=self.crossed_sessions())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database; `{users}` stands for this traffic's people."""
        users = ", ".join(["%s"] * len(self.users))
        return self.fleet.database.query(sql.replace("{users}", f"({users})"), *self.users)

    def crossed_sessions(self) -> int:
        """Requests to the model that hold texts of more than one chat."""
        own = set(self.users)
        requests = (request.get("body", {}).get("messages", ()) for request in self.fleet.model.requests)
        return sum(len(found) > 1 and bool(found & own) for found in map(_people_in, requests))


class Commanding(Traffic):
    """People who also send a command, once each. Its answer stands for the number that it has in its chat."""

    def __init__(self, fleet: Fleet, *, chats: int = 6) -> None:
        super().__init__(fleet, chats=chats)
        self.commands: dict[str, int] = {}

    def command(self) -> None:
        """Each person asks who they are."""
        for chat in self.chats:
            chat.sent += 1
            self.commands[chat.name] = chat.sent
            self._write(chat, "/whoami")

    def look(self) -> None:
        super().look()
        for chat in self.chats:
            chat.shown = [self._numbered(text) for text in chat.shown]

    def _numbered(self, text: str) -> str:
        found = ANSWERED_COMMAND.search(text)
        return f"{MARK if MARK in text else ''} ‹{found[1]}.{self.commands.get(found[1], 0)}›" if found else text


class Stopping(Traffic):
    """People who stop what they asked for. The word on that answers both, the stop and what it stopped."""

    def __init__(self, fleet: Fleet, *, chats: int = 6) -> None:
        super().__init__(fleet, chats=chats)
        self.stops: dict[str, int] = {}

    def stop(self) -> None:
        """Each person sends `/stop`, once."""
        for chat in self.chats:
            chat.sent += 1
            self.stops[chat.name] = chat.sent
            self._write(chat, "/stop")

    def look(self) -> None:
        super().look()
        for chat in self.chats:
            number = self.stops.get(chat.name, 0)
            said = f"‹{chat.name}.{number - 1}› ‹{chat.name}.{number}›"
            chat.shown = [text.replace("I stop.", said) if number else text for text in chat.shown]


def _people_in(messages: Iterable[dict[str, Any]]) -> set[str]:
    return {name for message in messages for name, _ in TOKEN.findall(message.get("content") or "")}
