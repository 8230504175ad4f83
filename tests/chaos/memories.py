"""People whose every message has the agent use its memory, and a look at whose memory that was.

What is said, asked and concluded bears a mark that says by whom and where. So a request to Honcho shows by its marks
whose it should be, and by the ids that it names whose it is; and a request to the model shows what came back to whom.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway_app.sessions.source import ChatType, SessionSource
from honcho_app import names
from honcho_app.configuration import HonchoConfig
from tests.chaos.fleet import Fleet
from tests.chaos.traffic import TOKEN, Chat, Traffic

MARK = re.compile(r"own(\d+)at(-?\d+)n\d+end")
GROUP_SIZE = 4
CALLS, CALLS_IN_GROUP = 5, 4
"""Of memory tools, at once, in answer to each message. A card is not for where others read along."""
MOSTLY = 0.6
"""The part of the calls that must have come to something; others ask for what is not theirs, or were interrupted."""
OF_NOBODY = ("get_or_create_workspace", "queue_status")
"""Calls that are made for no session."""
BLOCKED = re.compile(r"^(delete|update)_")

Who = tuple[str, str]
"""A person's id and that of the chat in which they write."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose a Honcho id is, by the product's rules."""

    sessions: dict[str, Who]
    peers: dict[str, str]
    ai: str


class Remembering(Traffic):
    """`people` who write to the bot, each in a direct message and in a group of four, where each has a session."""

    def __init__(self, fleet: Fleet, *, people: int) -> None:
        super().__init__(fleet, chats=people)
        persons = [chat.name for chat in self.chats]
        groups = [f"-{persons[number - number % GROUP_SIZE]}" for number in range(people)]
        self.who = {chat.name: (chat.name, chat.name) for chat in self.chats}
        self.chats += [Chat(f"{person}at{group}") for person, group in zip(persons, groups, strict=True)]
        self.who |= {f"{person}at{group}": (person, group) for person, group in zip(persons, groups, strict=True)}
        self.resets: set[tuple[str, int]] = set()

    @property
    def users(self) -> list[str]:
        return list(dict.fromkeys(person for person, _ in self.who.values()))

    def remember(self) -> None:
        """Each person writes in each of their chats, and the agent answers with calls of all its memory tools."""
        for chat in self.chats:
            chat.sent += 1
            lines = [f"call:{name} {json.dumps(arguments)}" for name, arguments in self._calls(chat)]
            self._write(chat, "\n".join([f"‹{chat.name}.{chat.sent}› {self._mark(chat)}", *lines]))

    def reset(self, chats: list[Chat]) -> None:
        """Begins new conversations. The title comes back in the answer."""
        for chat in chats:
            chat.sent += 1
            self.resets.add((chat.name, chat.sent))
            self._write(chat, f"/new ‹{chat.name}.{chat.sent}›")

    def _calls(self, chat: Chat) -> list[tuple[str, dict[str, Any]]]:
        mark, number = self._mark(chat), chat.sent
        card = {"card": [f"{mark} likes tea"]} if number % 4 == 1 else {}
        calls: list[tuple[str, dict[str, Any]]] = [
            ("honcho_profile", card),
            ("honcho_search", {"query": f"{mark} what do I drink"}),
            ("honcho_context", {}),
            ("honcho_conclude", {"conclusion": f"{mark} drinks tea, and said so {number} times"}),
        ]
        return [*calls, self._trespass(chat) if number % 3 == 2 else ("honcho_conclude", {"list": True})]

    def _trespass(self, chat: Chat) -> tuple[str, dict[str, Any]]:
        """What a model tries that was talked into it: to reach somebody else's memory by its name."""
        owners, (person, _) = self.owners(), self.who[chat.name]
        peer = next((peer for peer, other in owners.peers.items() if other != person), "bob")
        session = next((session for session, who in owners.sessions.items() if who[0] != person), "theirs")
        theirs = (found["id"] for found in self.fleet.honcho.conclusions() if found["observed_id"] == peer)
        ways: list[tuple[str, dict[str, Any]]] = [
            ("honcho_search", {"query": self._mark(chat), "peer": peer}),
            ("honcho_conclude", {"delete_id": f"../sessions/{session}"}),
            ("honcho_conclude", {"delete_id": next(theirs, "unknown")}),
            ("honcho_conclude", {"conclusion": f"{self._mark(chat)} was here", "peer": peer}),
        ]
        return ways[chat.sent // 3 % len(ways)]

    def _mark(self, chat: Chat) -> str:
        return "own{}at{}n{}end".format(*self.who[chat.name], chat.sent)

    def _write(self, chat: Chat, text: str) -> None:
        person, place = map(int, self.who[chat.name])
        kind = "private" if person == place else "supergroup"
        self.fleet.telegram.push_text(text, chat_id=place, user_id=person, chat_type=kind)

    # --- What was seen -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """What a group was shown is counted for the one to whom it is said."""
        shown: dict[str, list[str]] = {chat.name: [] for chat in self.chats}
        places: dict[str, list[str]] = {}
        for name, (_, place) in self.who.items():
            places.setdefault(place, []).append(name)
        for message in self.fleet.telegram.messages():
            here = places.get(str(message["chat_id"]), [])
            said_to = [name for name, _ in TOKEN.findall(message["shown"])]
            for name in [name for name in here if name in said_to] or here[:1]:
                shown[name].append(message["shown"])
        for chat in self.chats:
            chat.shown = shown[chat.name]

    def owners(self) -> Owners:
        """By the sessions there are, and the names that they and their people must have at Honcho."""
        config = HonchoConfig()
        sessions, peers = {}, {}
        rows = self.rows(
            "SELECT DISTINCT session_key, account, chat_id, user_id FROM gateway_app_session WHERE user_id IN {users}"
        )
        for key, account, chat_id, user_id in rows:
            source = SessionSource(
                platform="telegram", account=account, chat_id=chat_id, chat_type=ChatType.DM, user_id=user_id
            )
            sessions[names.session_name(key)] = (user_id, chat_id)
            peers[names.peer_name(source, config)] = user_id
        return Owners(sessions, peers, names.ai_peer_name(config))

    def crossed_sessions(self) -> int:
        """Requests to Honcho and to the model about more than one person, and what is kept of the wrong one."""
        return len([*self.crossings()])

    def crossings(self) -> Iterator[str]:
        owners = self.owners()
        for request in self.fleet.honcho.requests:
            if wrong := crossing(request, owners):
                yield f"{wrong}: {request['operation']} {request['path']} {request['query']} {request['body']}"[:500]
        for session, messages in self.fleet.honcho.all_messages().items():
            marks = set(MARK.findall(json.dumps(messages)))
            if session in owners.sessions and marks - {owners.sessions[session]}:
                yield f"{session} has what {marks} said"
        for found in self.fleet.honcho.conclusions():
            people = {person for person, _ in MARK.findall(found["content"])}
            if people - {owners.peers.get(found["observed_id"])} and found["observed_id"] in owners.peers:
                yield f"{found} is of somebody else"
        own = set(self.users)
        for request in self.fleet.model.requests:
            text = json.dumps(request.get("body", {}).get("messages", ()), ensure_ascii=False)
            people = {person for person, _ in MARK.findall(text)}
            if len(people) > 1 and people & own:
                yield f"the agent of one of {people} was shown what the others said"

    @property
    def calls_each_round(self) -> int:
        return (CALLS + CALLS_IN_GROUP) * len(self.users)

    def check_use(self) -> None:
        """Raises AssertionError where the calls came to nothing, so that nothing could have crossed."""
        answers = self.answers()
        good = [answer for answer in answers if '"error"' not in answer]
        recalled = [answer for answer in good if MARK.search(answer)]
        if len(good) < MOSTLY * len(answers) or len(recalled) < len(answers) / 4:
            wrong = next((answer for answer in answers if '"error"' in answer), "")
            raise AssertionError(f"{len(good)} of {len(answers)} calls succeeded, {len(recalled)} recalled: {wrong}")

    def check_written(self) -> None:
        """Waits until all that people said is at Honcho. Raises AssertionError unless it is there once, in order."""
        waiting = "SELECT count(*) FROM honcho_app_honchowrite WHERE state = 'waiting'"
        self.fleet.wait(lambda: self.fleet.database.query(waiting) == [(0,)], "everything to be written to Honcho")
        owners = self.owners()
        sessions = {who: session for session, who in owners.sessions.items()}
        for chat in self.chats:
            said = self.fleet.honcho.messages(sessions[self.who[chat.name]])
            found = [TOKEN.findall(message["content"]) for message in said if message["peer_id"] != owners.ai]
            wanted = [
                (chat.name, str(number)) for number in range(1, chat.sent + 1) if (chat.name, number) not in self.resets
            ]
            if list(itertools.chain(*found)) != wanted:
                raise AssertionError(f"Honcho has {found} of {chat.name}, which said {wanted}")

    def calls_made(self) -> int:
        """Calls of memory tools that the model made, each once."""
        return len(dict(self._results()))

    def answers(self) -> list[str]:
        """What the memory tools gave back."""
        return [result for _, result in self._results()]

    def _results(self) -> Iterator[tuple[str, str]]:
        messages = itertools.chain.from_iterable(
            request.get("body", {}).get("messages", ()) for request in self.fleet.model.requests
        )
        seen: set[str] = set()
        asked: set[str] = set()
        for message in messages:
            for call in message.get("tool_calls") or ():
                if call["function"]["name"].startswith("honcho_"):
                    asked.add(call["id"])
            identifier = message.get("tool_call_id", "")
            if identifier in asked and identifier not in seen:
                seen.add(identifier)
                yield identifier, str(message["content"])


def crossing(request: dict[str, Any], owners: Owners) -> str:
    """What is wrong with a request to Honcho; empty where it is about one person's memory alone."""
    if request["operation"] in OF_NOBODY:
        return ""
    if BLOCKED.match(request["operation"]):
        return "nobody asked for that"
    marks = set(MARK.findall(json.dumps([request.get("body"), request["query"]])))
    sessions, peers = set(request["sessions"]), set(request["peers"]) - {owners.ai}
    if unknown := (sessions - owners.sessions.keys()) | (peers - owners.peers.keys()):
        return f"nobody's: {unknown}"
    whose = {owners.sessions[session] for session in sessions}
    if len(whose | marks if whose else marks) > 1:
        return f"of {whose}, about {marks}"
    people = {person for person, _ in whose | marks} | {owners.peers[peer] for peer in peers}
    if len(people) > 1:
        return f"of several people: {people}"
    if not people and owners.ai not in request["peers"]:
        return "of everybody"
    return ""
