"""People in places who write to the agent, several workers that answer, and a check of every byte that went out.

Each message carries a mark that says who wrote it where. Whose a request to the model is says its system prompt, which
the gateway makes from the message's origin alone: so a mark that crossed over is seen wherever it came from.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from gateway_app import inbox
from gateway_app.agent import prompt
from gateway_app.mcp.pool import close_pool
from gateway_app.models import InboundMessage, OutboundPart, Session, ToolOutput
from gateway_app.sessions.source import ChatType
from gateway_app.turns import opening
from gateway_app.turns.runner import run_session
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.peers.model import ModelPeer
from tests.pipeline_case import expire_leases

PEOPLE = ("ann", "bob")
DM, OTHER_DM, GROUP, THREAD = PLACES = range(4)
SERVED = (0, OTHER_DM)
"""Where the MCP server is: in one person's other chat."""
RUNS = 100
"""Of which each has people and chats of its own, for which the server is."""
MARK = re.compile(r"mark(\d+)x(\d)x(\d)end")
FACT = re.compile(r"fact(\d+)x(\d)x(\d)end")
"""The same in long-term memory, of which a person has everything of theirs in their direct messages."""
SESSION_ID = re.compile(r"\d{8}_\d{6}_[0-9a-f]{8}")
ASKED_FOR = "You have no conversation `"
"""Begins a reply that repeats what somebody asked for, which may be another's title."""
TALK = (
    "say", "note", "note here", "notes", "notes here", "do", "to do", "search", "search for theirs", "read on",
    "ask the server", "send to them", "conclude", "conclusions", "recall", "look up",
)  # fmt: skip
COMMANDS = (
    "new", "title", "sessions", "resume by id", "resume by title", "resume by number", "branch", "undo", "redo",
    "retry", "status", "usage", "insights", "model", "approve", "deny",
)  # fmt: skip

Who = tuple[int, int]
"""A person and a place."""
EVERYBODY: list[Who] = [(person, place) for place in PLACES for person in range(len(PEOPLE))]


def place_of(who: Who, *, number: int) -> dict[str, Any]:
    """Where `who` writes in a run, for `pipeline.event()`."""
    person, place = who
    name, group = f"{PEOPLE[person]}-{number}", {"chat_type": ChatType.GROUP, "chat_id": f"group-{number}"}
    places = (
        {"chat_id": f"dm-{name}"},
        {"chat_id": f"other-{name}"},
        group,
        {**group, "thread_id": f"thread-{number}"},
    )
    return {"user": name, **places[place]}


class Crossed(AssertionError):
    """Somebody saw what is not theirs."""


class Workers:
    """Worker threads with a loop each, as processes have; every session is rung for in all of them at once."""

    def __init__(self, count: int = 2) -> None:
        self._loops = [asyncio.new_event_loop() for _ in range(count)]
        self._threads = [threading.Thread(target=loop.run_forever) for loop in self._loops]
        for thread in self._threads:
            thread.start()

    def ring(self, places: list[dict[str, Any]]) -> list[Future[None]]:
        """Rings for the sessions of `places`. What is returned ends when what waits there is answered."""
        return [asyncio.run_coroutine_threadsafe(_ring(place), loop) for place in places for loop in self._loops]

    def close(self) -> None:
        for loop, thread in zip(self._loops, self._threads, strict=True):
            asyncio.run_coroutine_threadsafe(_tidy(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _ring(place: dict[str, Any]) -> None:
    await run_session(pipeline.context(**place), http=http_session())


async def _tidy() -> None:
    await close_pool()
    await close_http_session()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class World:
    """One run: its people write, its workers answer, and whatever was said since the last look is looked at."""

    def __init__(
        self, *, number: int, workers: Workers, model: ModelPeer, platform: pipeline.RecordingPlatform
    ) -> None:
        assert number < RUNS
        self.number, self.workers, self.model, self.platform = number, workers, model, platform
        self.looked = (self.model.stats["calls"], len(platform.sent))
        self.touched: set[Who] = set()

    def place(self, who: Who) -> dict[str, Any]:
        return place_of(who, number=self.number)

    def write(self, who: Who, deed: str, pick: int = 0) -> None:
        inbox.accept([pipeline.event(self.text(who, deed, pick), **self.place(who))])
        self.touched.add(who)

    def write_meanwhile(self, *deeds: tuple[Who, str]) -> None:
        """Answers all that waits; the deeds are done while the model has the first call."""
        self.model.script.add(delay=0.5)
        calls = self.model.stats["calls"]

        def write() -> None:
            while self.model.stats["calls"] == calls:
                time.sleep(0.01)
            for who, deed in deeds:
                self.write(who, deed)

        self.work(meanwhile=write)

    def abandon(self, who: Who) -> None:
        """A worker begins to answer, and is gone."""
        opening.claim_and_open(session_key=self.key(who))
        expire_leases()

    def work(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Answers all that waits; `meanwhile` is done while the model has the first call. Raises `Crossed`."""
        places = [self.place(who) for who in sorted(self.touched)]
        self.touched.clear()
        rings = self.workers.ring(places)
        meanwhile()
        for ring in rings:
            ring.result()
        calls, sent = self.looked
        self.looked = (self.model.stats["calls"], len(self.platform.sent))
        for request in self.model.requests[max(0, len(self.model.requests) - (self.looked[0] - calls)) :]:
            if "body" not in request:
                raise AssertionError(f"the model's server refused a request that was none: {request}")
            self.look_at_request(request["body"])
        # What was sent, and what is in the outbox to be sent.
        for part in [*self.platform.sent[sent:], *OutboundPart.objects.filter(state="waiting")]:
            self.look_at_part(part)

    def end(self) -> None:
        """Nothing may be left unanswered."""
        left = InboundMessage.objects.filter(state__in=["waiting", "running"]).values_list(
            "state", "text", "turn__state"
        )
        if left:
            raise AssertionError(f"left unanswered: {[*left]}")
        # Nobody rings here for the chats of what is answered at once. It was looked at, and is not the next run's.
        OutboundPart.objects.filter(state="waiting").update(state="discarded")

    # What was seen

    def look_at_request(self, body: dict[str, Any]) -> None:
        told, *rest = body["messages"]
        who = self.whose(told["content"])
        seen = json.dumps(rest)
        self.check(readers=[who], seen=seen, what=f"the agent of {self.name(who)}")
        if not set(self.marks(seen)) & {who, *([(1 - who[0], THREAD)] if who[1] == THREAD else [])}:
            raise Crossed(f"the agent of {self.name(who)} was asked something that is not from there")
        if any(tool["function"]["name"].startswith("mcp_") for tool in body.get("tools", ())) != (who == SERVED):
            raise Crossed(f"a server is offered to {self.name(who)}, or is not")

    def look_at_part(self, part: Any) -> None:
        if part.text.startswith(ASKED_FOR):
            return
        at = part.chat_id, part.thread_id
        readers = [who for who in EVERYBODY if self.chat(who) == at]
        self.check(readers=readers, seen=part.text, what=f"the chat {part.chat_id} {part.thread_id}")
        named = Session.objects.filter(session_id__in=SESSION_ID.findall(part.text))
        for key in named.values_list("session_key", flat=True):
            owners = [who for who in EVERYBODY if self.key(who) == key]
            if not any(may_see(reader, owner) for reader in readers for owner in owners):
                raise Crossed(f"the chat {part.chat_id} was told of a conversation of {owners}")

    def chat(self, who: Who) -> tuple[str, str]:
        place = self.place(who)
        return place["chat_id"], place.get("thread_id", "")

    def key(self, who: Who) -> str:
        return pipeline.context(**self.place(who)).session_key

    def whose(self, told: str) -> Who:
        """Whose session it is, as its system prompt has it."""
        for who in EVERYBODY:
            at = self.place(who)
            is_here = prompt.quoted(at["chat_id"]) in told and ("thread_id" in at) == ("- Thread: " in told)
            if is_here and (who[1] == THREAD or prompt.quoted(at["user"]) in told):
                return who
        raise Crossed(f"nobody's session: {told}")

    def check(self, *, readers: list[Who], seen: str, what: str) -> None:
        for writer in self.marks(seen):
            if not any(may_see(reader, writer) for reader in readers):
                raise Crossed(f"{what} saw what {self.name(writer)} said")
        for writer in self.marks(seen, FACT):
            if not any(may_see(reader, writer) or may_recall(reader, writer) for reader in readers):
                raise Crossed(f"{what} saw what was concluded of {self.name(writer)}")

    def marks(self, seen: str, kind: re.Pattern[str] = MARK) -> Iterator[Who]:
        for number, person, place in kind.findall(seen):
            if int(number) != self.number:
                raise Crossed("somebody saw what was said in another run")
            yield int(person), int(place)

    def name(self, who: Who) -> str:
        return f"{PEOPLE[who[0]]} in {('a dm', 'another dm', 'the group', 'the thread')[who[1]]}"

    # What is written

    def text(self, who: Who, deed: str, pick: int) -> str:
        mark = f"mark{self.number}x{who[0]}x{who[1]}end"
        match deed:
            case "say":
                return f"common words {mark} {pick}"
            case "steer":
                return f"/steer common words {mark} {pick}"
            case "title":
                return f"/title {mark} {pick % 3}"
            case "undo":
                return f"/undo {pick % 3 + 1}"
            case "resume by number":
                return f"/resume {pick % 4 + 1}"
            case "resume by id" | "resume by title":
                return f"/resume {self.wanted(pick, by_title=deed.endswith('title'))}"
            case command if command in COMMANDS:
                return f"/{command}"
        name, arguments = self.call(who, deed, mark)
        return f"common {mark}\ncall:{name} {json.dumps(arguments)}"

    def wanted(self, pick: int, *, by_title: bool) -> str:
        """What somebody may ask for who has seen everybody's list."""
        keys = {self.key(who) for who in EVERYBODY}
        rows = list(Session.objects.filter(session_key__in=keys).order_by("id"))
        if not rows:
            return "1"
        row = rows[pick % len(rows)]
        return row.title or row.session_id if by_title else row.session_id

    def call(self, who: Who, deed: str, mark: str) -> tuple[str, dict[str, Any]]:
        match deed:
            case "note" | "note here":
                scope = {"scope": "session"} if deed == "note here" else {}
                return "memory", {"action": "add", "text": f"common {mark} " + "note " * 60} | scope
            case "notes" | "notes here":
                return "memory", {"action": "list"} | ({"scope": "session"} if deed == "notes here" else {})
            case "do":
                item = {"id": mark, "content": f"common {mark} " + "work " * 60}
                return "todo", {"items": [item], "merge": True}
            case "to do":
                return "todo", {}
            case "search":
                return "session_search", {"query": "common", "limit": 20}
            case "search for theirs":
                other = pipeline.context(**self.place((1 - who[0], who[1])))
                theirs = {"user_id": other.user_id, "session_key": other.session_key, "scope": "all"}
                return "session_search", {"query": "common", "limit": 20} | theirs
            case "read on":
                newest = ToolOutput.objects.order_by("-id").values_list("reference", flat=True).first()
                return "tool_output", {"reference": newest or "none", "session_id": "any"}
            case "conclude":
                return "honcho_conclude", {"conclusion": f"common fact{mark.removeprefix('mark')}"}
            case "conclusions":
                return "honcho_conclude", {"list": True}
            case "recall":
                return "honcho_context", {"query": "common"}
            case "look up":
                return "honcho_search", {"query": "common"}
            case "send to them":
                theirs = self.place((1 - who[0], DM))["chat_id"]
                return "send_message", {"target": f"recording:{theirs}", "message": f"for you {mark}"}
        return "mcp_misfit_say", {"text": f"{mark} for the server"}


def may_see(reader: Who, writer: Who) -> bool:
    """A thread is shared by all in it; in a direct message a person has all that is their own, in a group only that."""
    if THREAD in (reader[1], writer[1]):
        return reader[1] == writer[1]
    if reader[0] != writer[0]:
        return False
    return reader[1] in (DM, OTHER_DM) or reader == writer


def may_recall(reader: Who, writer: Who) -> bool:
    """In a direct message a person has what was concluded of them anywhere."""
    return reader[0] == writer[0] and reader[1] in (DM, OTHER_DM)
