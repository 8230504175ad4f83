"""Decides which of a session's messages a summary is to stand for. Pure.

Everything is cut between exchanges: a message of a person and all that followed it. So no call is ever torn from its
result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import history
from .compression import Material
from .history import Compressed, Message

TAIL_SHARE = 0.5
"""Of the tokens that the history is to have: the newest messages, as they are."""
HEAD_SHARE = 0.15
"""Its beginning."""
SUMMARY_SHARE = 0.15
"""The summary. The rest is room until the next one is due."""
SHORTEST_SUMMARY = 64
LONGEST_SUMMARY = 2_000
"""Tokens of a summary: a longer one is read less well, and written for minutes."""
WORTH_SHARE = 0.1
"""Of those tokens: what a summary that nobody asked for must stand for to be worth its call."""
WORTH_ASKED = 100
"""Tokens, the same for one that somebody asked for, or that a model needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the history is to come to."""

    tokens: int
    messages: int
    protect_first: int
    """Exchanges, at most."""
    protect_last: int
    is_needed: bool = False
    """Little is worth it, too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the messages."""

    head_until: int
    middle: list[Message]
    """What the summary is to stand for, without old results of tools. Empty where leaving those out is enough."""
    pruned_until: int
    summary_tokens: int
    """Longest summary."""
    tokens: int
    """Of the middle, and of the summary that is there, as they are given now."""


def plan(material: Material, *, compressed: Compressed | None, limits: Limits) -> Plan | None:
    """The plan; nothing where there is too little to be gained."""
    summary = history.summary_tokens(compressed)
    has_summary = bool(compressed and compressed.summary)
    kept_until = compressed.head_until if compressed else 0
    open_messages = [each for each in material.newest if not has_summary or each.pk > kept_until]
    rest, tail = _cut_tail(_exchanges(open_messages), limits=limits)
    if not rest:
        return None
    if not has_summary:
        kept_until = _head_until(_exchanges(material.beginning), before=tail[0].pk, limits=limits)
    head = [each for each in (material.newest if has_summary else material.beginning) if each.pk <= kept_until]
    middle = [each for each in rest if each.pk > kept_until]
    if not middle:
        return None
    pruned = [history.pruned(each) for each in middle]
    saved = _tokens(middle) - _tokens(pruned)
    whole = _tokens(map(history.pruned, head)) + summary + _tokens(pruned) + _tokens(tail)
    count = len(head) + len(middle) + len(tail)
    share = TAIL_SHARE + HEAD_SHARE + SUMMARY_SHARE
    worth = WORTH_ASKED if limits.is_needed else max(WORTH_ASKED, WORTH_SHARE * limits.tokens)
    if saved >= worth and whole <= share * limits.tokens and count <= share * limits.messages:
        return Plan(kept_until, [], middle[-1].pk, 0, saved)
    many = not limits.is_needed and len(middle) >= WORTH_SHARE * limits.messages
    if _tokens(middle) < worth and not many:
        return None
    longest = int(min(max(SUMMARY_SHARE * limits.tokens, SHORTEST_SUMMARY), LONGEST_SUMMARY))
    return Plan(kept_until, pruned, middle[-1].pk, longest, _tokens(middle) + summary)


def _exchanges(found: Iterable[Message]) -> list[list[Message]]:
    grouped: list[list[Message]] = []
    for each in found:
        if each.role == "user" or not grouped:
            grouped.append([])
        grouped[-1].append(each)
    return grouped


def _cut_tail(exchanges: Sequence[list[Message]], *, limits: Limits) -> tuple[list[Message], list[Message]]:
    """The messages before the newest exchanges that are kept, and those."""
    kept = 0
    tokens, count = TAIL_SHARE * limits.tokens, TAIL_SHARE * limits.messages
    for exchange in itertools.islice(reversed(exchanges), limits.protect_last):
        tokens -= _tokens(exchange)
        count -= len(exchange)
        if kept and (tokens < 0 or count < 0):
            break
        kept += 1
    place = len(exchanges) - kept
    return [*itertools.chain(*exchanges[:place])], [*itertools.chain(*exchanges[place:])]


def _head_until(exchanges: Sequence[list[Message]], *, before: int, limits: Limits) -> int:
    """The last message of the beginning that is kept: whole exchanges, which another one follows."""
    until, tokens = 0, HEAD_SHARE * limits.tokens
    for exchange in exchanges[: min(limits.protect_first, len(exchanges) - 1)]:
        tokens -= _tokens(map(history.pruned, exchange))
        if tokens < 0 or exchange[-1].pk >= before:
            break
        until = exchange[-1].pk
    return until


def _tokens(found: Iterable[Message]) -> int:
    return sum(each.tokens for each in found)
