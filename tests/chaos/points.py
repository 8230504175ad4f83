"""The named points of a message's road, and the traps that a test sets at them.

A trap is a file in `<folder>/traps/<kind>/<point>/`, its name a number and what to do: `0001-kill`, `0002-stop`,
`0003-pass`. Each process that comes to the point takes the first file and does what it says, so a trap springs once,
in whichever process comes first, and `pass` lets some go by.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway_app.statements import Row
from gateway_app.steps import Road
from gateway_app.worker.gathering import Shareable

ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

POINTS: dict[str, dict[str, tuple[str, str, str]]] = {
    "listener": {
        "updates received": ("before", "gateway_app.platforms.telegram.polling", "receive"),
        "rows written, not committed": ("after", "gateway_app.inbox", "_record"),
        "rows committed": ("after", "gateway_app.inbox", "accept"),
        "about to acknowledge": ("after", "gateway_app.platforms.telegram.polling", "receive"),
    },
    "web": {
        "rows written, not committed": ("after", "gateway_app.inbox", "_record"),
        "rows committed": ("after", "gateway_app.platforms.webchat.conversations", "accept"),
    },
    "worker": {
        "turn claimed": ("found", "gateway_app.turns.runner", "claim_and_open"),
        "tool runs": ("before", "gateway_app.agent.ai_agent", "handle_function_call"),
        "step journaled": ("after", "gateway_app.turns.journal", "record"),
        "command answered": ("after", "gateway_app.turns.runner", "run_command"),
        "reply in hand": ("before", "gateway_app.turns.runner", "close"),
        "turn half written": ("between", "gateway_app.turns.closing", "close"),
        "turn written, not committed": ("after", "gateway_app.delivery.outbox", "Posting.outcome"),
        "turn committed": ("after", "gateway_app.turns.runner", "close"),
        "about to send": ("before", "gateway_app.platforms.telegram.adapter", "Adapter.send"),
        "sent, not recorded": ("after", "gateway_app.platforms.telegram.adapter", "Adapter.send"),
        "retry claimed": ("found", "gateway_app.delivery.sender", "_claim_and_take"),
        "sweep has looked": ("before", "gateway_app.doorbell", "ring"),
    },
    "beat": {},
}
"""By kind of process: when it springs, and the function, under the very name by which its callers reach it.

`found` is after a call that found something to do, `between` before the last two statements of a step's trip.
"""


def wrap(*, kind: str, folder: Path) -> None:
    """Puts the points of this kind of process in place. Raises AttributeError for a function that is not there."""
    for point, (when, module, path) in POINTS[kind].items():
        owner: Any = importlib.import_module(module)
        *outer, name = path.split(".")
        for attribute in outer:
            owner = getattr(owner, attribute)
        function, traps = getattr(owner, name), folder / "traps" / kind / point
        if when == "between":
            function.road = _in_two(function.road, folder=traps)
        elif isinstance(function, Shareable):
            setattr(owner, name, Trapped(function, when=when, folder=traps))
        else:
            setattr(owner, name, _wrapped(function, when=when, folder=traps))


class Trapped(Shareable):
    """A function for the database whose calls go on sharing transactions; each of them comes to the point."""

    def __init__(self, function: Shareable, *, when: str, folder: Path) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._is_before = when == "before"
        self._comes = functools.partial(_spring, folder)
        self._is_there: Callable[[Any], bool] = _is_something if when == "found" else lambda result: True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._trapped(lambda: [self._function(*args, **kwargs)], count=1)[0]

    def together(self, calls: Sequence[functools.partial[Any]]) -> list[Any]:
        return self._trapped(lambda: self._function.together(calls), count=len(calls))

    def _trapped(self, work: Callable[[], list[Any]], *, count: int) -> list[Any]:
        if self._is_before:
            for _ in range(count):
                self._comes()
        found = work()
        if not self._is_before:
            for _ in filter(self._is_there, found):
                self._comes()
        return found


def _is_something(result: Any) -> bool:
    return result not in (None, (None, None))


def _in_two(road: Callable[..., Road[Any]], *, folder: Path) -> Callable[..., Road[Any]]:
    """The road with each of its trips in two, while there are traps."""

    @functools.wraps(road)
    def halved(*args: Any, **kwargs: Any) -> Road[Any]:
        whole = road(*args, **kwargs)
        rows: list[list[Row]] = []
        with contextlib.closing(whole):
            try:
                statements = next(whole)
                while True:
                    if folder.exists():
                        rows = yield statements[:-2]
                        _spring(folder)
                        rows = rows + (yield statements[-2:])
                    else:
                        rows = yield statements
                    statements = whole.send(rows)
            except StopIteration as end:
                return end.value

    return halved


def _wrapped(function: Callable[..., Any], *, when: str, folder: Path) -> Callable[..., Any]:
    spring = functools.partial(_spring, folder)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                spring()
            result = await function(*args, **kwargs)
            if when == "after":
                spring()
            return result

        return coroutine

    def plain(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            spring()
        result = function(*args, **kwargs)
        if when == "after" or (when == "found" and _is_something(result)):
            spring()
        return result

    return plain


def _spring(folder: Path) -> None:
    try:
        traps = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    for trap in traps:
        action = trap.name.partition("-")[2]
        try:
            trap.rename(folder.parent.parent.parent / "sprung" / f"{folder.name}-{trap.name}-{os.getpid()}")
        except FileNotFoundError:
            continue  # another process was quicker
        if action in ACTIONS:
            # To this thread: the whole process stops or dies before the call returns.
            signal.pthread_kill(threading.get_ident(), ACTIONS[action])
        return
