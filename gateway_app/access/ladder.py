"""Every layer of a decision with what it says, also those that are not asked any more once one has decided.

`decide()` stops at the first layer that has an answer. An operator who wants somebody in, or out, has to know of the
others as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from gateway_app.access.decision import ANYONE, Asked, Decision, Facts, Ground, RuleFact, RuleKey, by_row
from gateway_app.models.access import Effect, Origin, SubjectKind
from gateway_app.sessions.source import SessionSource


@dataclass(frozen=True, slots=True)
class Rung:
    """One layer, and what it says about the sender."""

    layer: str
    decision: Decision | None
    """None where the layer leaves the answer to the next one."""
    remark: str = ""
    """Why it leaves it."""


def ladder(source: SessionSource, facts: Facts, *, at: datetime) -> list[Rung]:
    """The layers in their order. The first one with a decision is what `decide()` answers; the last always has one."""
    asked = Asked(source, facts, at)
    return [
        *_rules("Bans of the sender", asked, Effect.DENY, SubjectKind.USER),
        *_rules("Bans of the chat", asked, Effect.DENY, SubjectKind.CHAT),
        _disabled(asked),
        *_chats(asked),
        _bots(asked),
        _ids(asked),
        *_people(asked),
        Rung("Otherwise", Decision(False, Ground.NOTHING, "nothing allows the sender")),
    ]


def deciding(rungs: list[Rung]) -> Decision:
    """What the ladder comes to."""
    return next(rung.decision for rung in rungs if rung.decision)


def _rows(asked: Asked, effect: Effect, subject: SubjectKind) -> list[tuple[RuleKey, RuleFact]]:
    found = ((key, asked.facts.rules.get(key)) for key in asked.keys(effect, subject))
    # Two ids that are the same would name one row twice.
    return list(dict.fromkeys((key, row) for key, row in found if row and row.is_in_force(asked.at)))


def _rules(layer: str, asked: Asked, effect: Effect, subject: SubjectKind) -> Iterator[Rung]:
    rows = _rows(asked, effect, subject)
    for key, row in rows:
        yield Rung(layer, by_row(effect is Effect.ALLOW, _ground(effect, subject), key, row))
    if not rows:
        yield Rung(layer, None, f"no {effect} rule about the {'chat' if subject is SubjectKind.CHAT else 'sender'}")


def _ground(effect: Effect, subject: SubjectKind) -> Ground:
    if effect is Effect.DENY:
        return Ground.BANNED
    return Ground.CHAT_ALLOWED if subject is SubjectKind.CHAT else Ground.ALLOWED


def _disabled(asked: Asked) -> Rung:
    layer = "Are such chats enabled?"
    if asked.policy == "disabled":
        return Rung(layer, asked.by_setting(False, Ground.CHATS_DISABLED, asked.policy_name, " is disabled"))
    return Rung(layer, None, f"{asked.setting(asked.policy_name)} is {asked.policy}")


def _chats(asked: Asked) -> Iterator[Rung]:
    layer = "Chats in which everybody may speak"
    if asked.is_direct:
        yield Rung(layer, None, "this is a direct message")
        return
    chats = asked.platform.group_allowed_chats
    if ANYONE in chats or asked.source.chat_id in chats:
        yield Rung(layer, asked.by_setting(True, Ground.CHAT_ALLOWED, "GROUP_ALLOWED_CHATS"))
    else:
        yield Rung(layer, None, _not_named(asked.setting("GROUP_ALLOWED_CHATS"), chats, "chat"))
    yield from _rules("Rules that allow the chat", asked, Effect.ALLOW, SubjectKind.CHAT)


def _bots(asked: Asked) -> Rung:
    bots = asked.platform.allow_bots
    if not asked.source.is_bot:
        return Rung("Bots", None, "the sender is none")
    if asked.ids and (bots == "all" or (bots == "mentions" and asked.source.is_mention)):
        return Rung("Bots", asked.by_setting(True, Ground.BOT_ALLOWED, "ALLOW_BOTS", f" is {bots}"))
    return Rung("Bots", Decision(False, Ground.BOT, "sender is a bot"))


def _ids(asked: Asked) -> Rung:
    if asked.ids:
        return Rung("An id", None, "the sender has one")
    return Rung("An id", Decision(False, Ground.NO_ID, "sender without an id"))


def _people(asked: Asked) -> Iterator[Rung]:
    platform, facts = asked.platform, asked.facts
    rows = _rows(asked, Effect.ALLOW, SubjectKind.USER)
    yield _switch(
        asked, "Everybody on the platform", Ground.PLATFORM_ALLOW_ALL, "ALLOW_ALL_USERS", platform.allow_all_users
    )
    if rows and rows[0][1].origin == Origin.PAIRING:
        yield Rung("Pairing", by_row(True, Ground.PAIRED, *rows.pop(0)))
    else:
        yield Rung("Pairing", None, "no approved pairing decides" if rows else "no approved pairing")
    if asked.policy == "open":
        yield Rung("Open chats", asked.by_setting(True, Ground.CHATS_OPEN, asked.policy_name, " is open"))
    else:
        yield Rung("Open chats", None, f"{asked.setting(asked.policy_name)} is {asked.policy}")
    lists = [("ALLOWED_USERS", platform.allowed_users), (asked.own_list_name, asked.own_list)]
    for name, names in lists:
        if asked.is_listed(names):
            yield Rung("The platform's lists", asked.by_setting(True, Ground.PLATFORM_LIST, name))
        else:
            yield Rung("The platform's lists", None, _not_named(asked.setting(name), names, "sender"))
    for key, row in rows:
        yield Rung("Rules that allow the sender", by_row(True, Ground.ALLOWED, key, row))
    if not rows:
        yield Rung("Rules that allow the sender", None, "no allow rule about the sender")
    yield from _gateway(asked, facts)


def _gateway(asked: Asked, facts: Facts) -> Iterator[Rung]:
    layer, name = "The gateway's list", "GATEWAY_ALLOWED_USERS"
    if asked.is_listed(facts.allowed_users):
        yield Rung(layer, Decision(True, Ground.GATEWAY_LIST, name, setting=name))
    else:
        yield Rung(layer, None, _not_named(name, facts.allowed_users, "sender"))
    layer, name = "Everybody", "GATEWAY_ALLOW_ALL_USERS"
    if facts.allow_all_users:
        yield Rung(layer, Decision(True, Ground.GATEWAY_ALLOW_ALL, name, setting=name))
    else:
        yield Rung(layer, None, f"{name} is off")


def _switch(asked: Asked, layer: str, ground: Ground, name: str, is_on: bool) -> Rung:
    return (
        Rung(layer, asked.by_setting(True, ground, name))
        if is_on
        else Rung(layer, None, f"{asked.setting(name)} is off")
    )


def _not_named(setting: str, names: frozenset[str], whom: str) -> str:
    return f"{setting} does not name the {whom}" if names else f"{setting} is empty"
