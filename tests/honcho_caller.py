"""A worker process whose agents call memory's tools: `python -m tests.honcho_caller --calls 1250 --seed 1`.

32 people have two sessions each, a direct message and a group; any process may be asked for any of them at any time,
and reset it. Whatever is written carries its session's mark, so that a mark in the wrong place is seen wherever it came
from. The last line of the output is what came of it, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
from collections import Counter
from typing import Any

PEOPLE = 32
SESSIONS = 64
AT_ONCE = 16
"""Conversations that a process has at once."""
ROUNDS, CALLS_A_ROUND = 2, 5
MARK = re.compile(r"mark\d\dend")
EXPECTED = re.compile(r"There is no such conclusion")
"""Errors that are as it should be: another process deleted the same one."""


def mark(session: int) -> str:
    return f"mark{session:02d}end"


def is_direct(session: int) -> bool:
    return session < PEOPLE


def marks_seen(session: int) -> set[str]:
    """The marks that a session may see: a direct message both of the person's, a group its own."""
    return {mark(session), mark(session + PEOPLE)} if is_direct(session) else {mark(session)}


def context_of(session: int, *, reset: int = 0) -> Any:
    from gateway_app.sessions.source import SessionContext

    person = f"p{session % PEOPLE}"
    chat = f"dm:{person}" if is_direct(session) else f"group:g{session % 4}:user={person}"
    key = f"agent:main:telegram:{chat}"
    return SessionContext(
        session_key=key, session_id=f"s{session}-{reset}", honcho_session_key=key, platform="telegram", account="1",
        chat_id=chat.split(":")[1], chat_type="dm" if is_direct(session) else "group", thread_id="", user_id=person,
        user_name=person,
    )  # fmt: skip


class Script:
    """A model that calls tools for a while, and then has nothing more to say."""

    def __init__(self, session: int, dice: random.Random) -> None:
        self._session, self._dice = session, dice
        self._rounds = 0
        self._known: list[str] = []
        self.wrong: list[str] = []
        self.calls = 0

    async def complete(self, messages: list[dict[str, Any]], **_: Any) -> Any:
        from gateway_app.agent.model_client import ModelReply, ToolCall

        self._check(messages)
        self._rounds += 1
        calls = []
        if self._rounds <= ROUNDS:
            chosen = self._dice.sample(self._choices(), CALLS_A_ROUND)
            calls = [
                ToolCall(f"c{self._rounds}-{place}", name, json.dumps(args))
                for place, (name, args) in enumerate(chosen)
            ]
        self.calls += len(calls)
        return ModelReply("" if calls else "done", tuple(calls), "stop", "script", 1, 1, 0.0)

    def _choices(self) -> list[tuple[str, dict[str, Any]]]:
        own = mark(self._session)
        choices: list[tuple[str, dict[str, Any]]] = [
            ("honcho_search", {"query": own}),
            ("honcho_context", {"query": own}),
            ("honcho_conclude", {"conclusion": f"{own} {self._dice.randrange(8)}"}),
            ("honcho_conclude", {"list": True}),
            ("honcho_conclude", {"list": True, "query": own}),
        ]
        if self._known:
            choices.append(("honcho_conclude", {"delete_id": self._known.pop()}))
        if is_direct(self._session):
            choices += [
                ("honcho_profile", {"card": [own]}),
                ("honcho_profile", {}),
                ("honcho_reasoning", {"query": own}),
            ]
        return choices

    def _check(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["role"] != "tool":
                continue
            text = message["content"]
            crossed = set(MARK.findall(text)) - marks_seen(self._session)
            if crossed or ('"error"' in text and not EXPECTED.search(text)):
                self.wrong.append(f"session {self._session} got {sorted(crossed)} {text[:200]}")
            self._known = re.findall(r'"id": "([A-Za-z0-9_-]{21})"', text) or self._known


class Fallback:
    """What was wrong once: each agent set the process's session, and calls asked for that."""

    def __init__(self, is_on: bool) -> None:
        self._is_on = is_on

    def carried(self, manager: Any) -> dict[str, Any]:
        """What an agent is given of `manager`."""
        from honcho_app import context

        if not self._is_on:
            return {"honcho_manager": manager, "honcho_session_key": manager.honcho_session_key}
        context._session_manager, context._session_key = manager, manager.honcho_session_key
        return {}


async def converse(session: int, *, reset: int, dice: random.Random, fallback: Fallback) -> Script:
    from gateway_app.agent.ai_agent import AIAgent
    from gateway_app.agent.tools import registry
    from honcho_app.managers import manager_for

    async def nothing(*_: Any) -> None:
        pass

    context, script = context_of(session, reset=reset), Script(session, dice)
    manager = manager_for(context)
    assert manager is not None
    agent = AIAgent(
        model=script,
        models=["script"],
        tools=registry(context),
        context=context,
        record=nothing,
        commit=nothing,
        **fallback.carried(manager),
    )
    script.wrong.extend([] if (await agent.run_conversation(mark(session))).reply == "done" else ["no reply"])
    return script


async def work(*, calls: int, seed: int, sessions: int, fallback: Fallback) -> dict[str, Any]:
    from honcho_app import context, managers

    dice, resets, busy = random.Random(seed), Counter[int](), Counter[int]()
    made, wrong = 0, list[str]()

    async def one_after_the_other() -> None:
        nonlocal made
        while made < calls:
            session = dice.randrange(sessions)
            if dice.random() < 0.2:
                ended = context_of(session, reset=resets[session])
                resets[session] += 1
                if not busy[session] and dice.random() < 0.5:  # of the others this process is not told
                    managers.shut_down(ended.honcho_session_key, session_id=ended.session_id)
            busy[session] += 1
            script = await converse(session, reset=resets[session], dice=dice, fallback=fallback)
            busy[session] -= 1
            made += script.calls
            wrong.extend(script.wrong)

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    # In a worker nothing but a call itself says whose it is.
    if context._session_manager is not None:
        wrong.append("the CLI's session is set")
    return {"calls": made, "resets": sum(resets.values()), "managers": managers.count(), "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.honcho_caller", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--fall-back", action="store_true", help="have handlers ask the process whose call it is")
    options = parser.parse_args()
    import django

    django.setup()
    from gateway_app.worker.database import close_database_threads

    try:
        found = asyncio.run(
            work(
                calls=options.calls,
                seed=options.seed,
                sessions=options.sessions,
                fallback=Fallback(options.fall_back),
            )
        )
    finally:
        close_database_threads()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
