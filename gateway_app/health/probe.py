"""Questions with a deadline: a broker that takes connections and says nothing is not waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from django.db import connections

T = TypeVar("T")


class NoAnswer(Exception):
    """The question failed or was not answered in time. Its text names the kind of failure and no secret."""


class Asking(Generic[T]):
    """One asking of a question, in a thread of its own, shared by everybody who waits for it."""

    def __init__(self, name: str, question: Callable[[], T]) -> None:
        self._question = question
        self._answers: list[T] = []
        self._failure = ""
        self._asked_at = time.monotonic()
        self._thread = threading.Thread(target=self._ask, name=f"probe-{name}", daemon=True)
        self._thread.start()

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def answer(self, *, deadline: float) -> T:
        """The answer. Raises `NoAnswer` at `deadline`, a moment of `time.monotonic()`."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._answers:
            return self._answers[0]
        raise NoAnswer(self._failure or f"no answer for {time.monotonic() - self._asked_at:.1f} s")

    def _ask(self) -> None:
        try:
            self._answers.append(self._question())
        except Exception as error:
            # Only the kind: the text may hold an address with a password.
            self._failure = type(error).__name__
        finally:
            connections.close_all()


class Probe(Generic[T]):
    """A question that is never asked twice at once: while one asking hangs, nobody starts another thread."""

    def __init__(self, name: str, question: Callable[[], T]) -> None:
        self._name = name
        self._question = question
        self._lock = threading.Lock()
        self._asking: Asking[T] | None = None

    def ask(self) -> Asking[T]:
        """Starts an asking, or joins the one that runs."""
        with self._lock:
            if self._asking is None or not self._asking.is_running():
                self._asking = Asking(self._name, self._question)
            return self._asking
