"""Steps of a message's road: each is one transaction, and several of a kind that wait at once share one.

A step is written as a generator: it yields the statements of a trip, gets their rows, and returns its result. So steps
of many sessions can be walked side by side, and what they send at the same point travels together: a transaction and
its trips cost nearly the same whatever they carry. Where nothing else waits, each is walked by itself, at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Generic, ParamSpec, TypeVar

from django.db import transaction

from gateway_app.lanes import Claim, fenced
from gateway_app.statements import Row, Statement, execute
from gateway_app.worker.gathering import Shareable

P = ParamSpec("P")
T = TypeVar("T")

Road = Generator[Sequence[Statement], list[list[Row]], T]


class Step(Shareable, Generic[P, T]):
    """What a road does, in a transaction of its own; called like the function that it is made of.

    With `claim_of` it is fenced.
    """

    def __init__(self, road: Callable[P, Road[T]], *, claim_of: Callable[P, Claim] | None = None) -> None:
        functools.update_wrapper(self, road)
        self.road = road
        self._claim_of = claim_of

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._transaction([self._claim_of(*args, **kwargs)] if self._claim_of else []):
            return walk(self.road(*args, **kwargs))

    def together(self, calls: Sequence[functools.partial[T]]) -> list[T]:
        claims = [self._claim_of(*call.args, **call.keywords) for call in calls] if self._claim_of else []
        with self._transaction(claims):
            return walk_together([self.road(*call.args, **call.keywords) for call in calls])

    @staticmethod
    def _transaction(claims: Sequence[Claim]) -> AbstractContextManager[None]:
        return fenced(*claims) if claims else transaction.atomic()


def step(road: Callable[P, Road[T]]) -> Step[P, T]:
    """Makes a step of a road."""
    return Step(road)


def fenced_step(*, claim_of: Callable[P, Claim]) -> Callable[[Callable[P, Road[T]]], Step[P, T]]:
    """Makes a step of a road that commits the results of the lane that `claim_of` finds in a call's arguments."""

    def made(road: Callable[P, Road[T]]) -> Step[P, T]:
        return Step(road, claim_of=claim_of)

    return made


def walk(road: Road[T]) -> T:
    """Walks a road to its end. Must run in a transaction."""
    return walk_together([road])[0]


def walk_together(roads: Sequence[Road[T]]) -> list[T]:
    """Walks roads side by side and returns their results in order. Must run in a transaction.

    A trip carries first the first statements of all roads, then the second ones, and so on; among these, statements
    that lock a lane go in the order of the lanes' names, so that two such walks do not wait for each other.
    """
    results: dict[int, T] = {}
    rows: dict[int, list[list[Row]]] = {}
    waiting: dict[int, Sequence[Statement]] = {}
    moving: Sequence[int] = range(len(roads))
    while moving:
        for number in moving:
            try:
                road = roads[number]
                waiting[number] = road.send(rows[number]) if number in rows else next(road)
            except StopIteration as end:
                waiting.pop(number, None)
                results[number] = end.value
        moving = list(waiting)
        rows = _sent(waiting) if waiting else {}
    return [results[number] for number in range(len(roads))]


def _sent(waiting: dict[int, Sequence[Statement]]) -> dict[int, list[list[Row]]]:
    """The rows of each road's statements, which travel in one trip."""
    if len(waiting) == 1:
        ((number, statements),) = waiting.items()
        return {number: execute(*statements)}
    places = [
        (place, statement.locks, number)
        for number, statements in waiting.items()
        for place, statement in enumerate(statements)
    ]
    places.sort()
    found = execute(*(waiting[number][place] for place, _, number in places))
    rows: dict[int, dict[int, list[Row]]] = {number: {} for number in waiting}
    for (place, _, number), received in zip(places, found, strict=True):
        rows[number][place] = received
    return {number: [by_place[place] for place in range(len(by_place))] for number, by_place in rows.items()}
