"""`make bench ARGS=interrupts`: how soon a turn that waits for the model ends when it is told to stop."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable

from benchmarks.fleet import WAIT_SECONDS, Fleet
from benchmarks.pipeline import percentile
from benchmarks.report import Report, machine
from tests.peers.model import ModelPeer
from tests.peers.model_script import Behaviour
from tests.peers.telegram import TelegramPeer

PROMISED_SECONDS = 1.0
LONG_SECONDS = 600.0
"""What the model takes for an answer that nobody stops."""
CHAT = 7_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interrupts", description=__doc__)
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="worker processes (default: one per core)"
    )
    parser.add_argument("--stops", type=int, default=50, help="stops of each kind (default: 50)")
    parser.add_argument("--turns", type=int, nargs="*", default=[0, 500], help="turns that run meanwhile")
    parser.add_argument("--write", action="store_true", help="write the result to docs/benchmarks.md")
    options = parser.parse_args()
    report = Report("interrupts")
    report.say(
        "## Stops",
        "",
        f"{machine()} PostgreSQL, the broker, {options.workers} worker processes, the listener, beat and both peers"
        " share it. From the moment that Telegram has the message to the end of the model's call that it stops.",
    )
    missed = []
    rows: list[list[object]] = []
    with Fleet(workers=options.workers) as fleet, ModelPeer() as model, TelegramPeer() as telegram:
        fleet.environment["TELEGRAM_BUSY_MODE"] = "interrupt"
        fleet.start_gateway(model_url=model.base_url, telegram_url=telegram.url)
        until(lambda: answered(telegram, "hello"), "the fleet to answer")
        model.script.set(default=Behaviour(delay=LONG_SECONDS))
        for turns in options.turns:
            for number in range(turns):
                telegram.push_text("think", chat_id=CHAT + 1 + number, user_id=CHAT + 1 + number)
            until(lambda turns=turns: model.stats["in_flight"] >= turns, "the turns to run")  # type: ignore[misc]
            for words in ("/stop", "no, this instead"):
                times = [stop(model, telegram, words) for _ in range(options.stops)]
                rows.append([words, turns, *[f"{percentile(times, share):.0f}" for share in (0.5, 0.95, 1)]])
                if max(times) > PROMISED_SECONDS:
                    missed.append(f"{words} took {max(times):.2f} s beside {turns} turns")
    report.table(head=["message", "turns that run meanwhile", "p50 ms", "p95 ms", "longest ms"], rows=rows)
    report.say(f"Promised: {PROMISED_SECONDS:g} s.")
    if options.write:
        report.write()
    for what in missed:
        print(f"MISSED: {what}")
    return 1 if missed else 0


def answered(telegram: TelegramPeer, text: str) -> bool:
    """Writes `text` again until it is answered: the listener may still be starting."""
    telegram.push_text(text, chat_id=CHAT, user_id=CHAT)
    time.sleep(0.5)
    return bool(telegram.texts(CHAT))


def stop(model: ModelPeer, telegram: TelegramPeer, words: str) -> float:
    """Begins a turn, stops it with `words`, and returns the seconds until its model call was cut."""
    calls, cut = model.stats["calls"], model.stats["cut"]
    telegram.push_text("think", chat_id=CHAT, user_id=CHAT)
    until(lambda: model.stats["calls"] > calls, "the model to be asked")
    time.sleep(random.uniform(0.5, 1.5))
    started = time.perf_counter()
    telegram.push_text(words, chat_id=CHAT, user_id=CHAT)
    until(lambda: model.stats["cut"] > cut, f"{words!r} to stop the turn")
    took = time.perf_counter() - started
    if not words.startswith("/"):  # its own turn runs now; three in a row would be the most
        cut = model.stats["cut"]
        until(lambda: model.stats["calls"] > calls + 1, "the next turn")
        telegram.push_text("/stop", chat_id=CHAT, user_id=CHAT)
        until(lambda: model.stats["cut"] > cut, "the next turn to be stopped")
    return took


def until(is_so: Callable[[], bool], what: str) -> None:
    """Waits until it is so. Raises TimeoutError."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {WAIT_SECONDS} s for {what}")
        time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())
