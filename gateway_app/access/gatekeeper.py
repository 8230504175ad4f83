"""The decisions of this process: the facts in force, kept up to date, and what was decided under them.

Every change of access raises one version in the database (`gateway_app.access.audit`). A process asks for it at most
each ACCESS_CHECK_SECONDS (1 s) and then reads only the rows that are newer; so a ban holds everywhere within two
seconds, and a flood of senders who are not let in costs a look into a dictionary each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from gateway_app import clock
from gateway_app.access.decision import (
    ANYONE,
    Decision,
    Facts,
    PlatformFacts,
    RuleFact,
    RuleKey,
    decide,
    identities,
)
from gateway_app.config import live
from gateway_app.config.schema.access import Access, PlatformAccess
from gateway_app.models import AccessRule, AccessState
from gateway_app.models.access import Effect, SubjectKind
from gateway_app.sessions.source import SessionSource

REMEMBERED = 50_000
"""Decisions a process keeps; then it starts anew, which costs microseconds each."""

STATE = AccessState._meta.db_table

Question = tuple[str, str, str, str, str, bool, bool]


@dataclass(frozen=True, slots=True)
class _View:
    """What a process knows. Replaced as a whole when anything changes, the decisions with it."""

    config: Access | None = None
    epoch: str = ""
    version: int = -1
    facts: Facts = field(default_factory=Facts)
    decided: dict[Question, Decision] = field(default_factory=dict)


class Gatekeeper:
    """Decides for one process. May be called by any thread that may use the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._view = _View()
        self._checked_at = float("-inf")
        self._offset = timedelta()
        """The database's clock less this machine's monotonic one, seen from the epoch."""

    def decide(self, source: SessionSource) -> Decision:
        """The decision for whoever wrote `source`. Raises `django.db.Error` where it would rest on old facts."""
        view = self._current()
        at = self._now()
        question = (
            source.platform, source.chat_type.value, source.chat_id, source.user_id, source.user_id_alt, source.is_bot,
            source.is_mention,
        )  # fmt: skip
        known = view.decided.get(question)
        if known and (known.expires_at is None or at < known.expires_at):
            return known
        decision = decide(source, view.facts, at=at)
        if len(view.decided) >= REMEMBERED:
            view.decided.clear()
        view.decided[question] = decision
        return decision

    def facts(self) -> Facts:
        """The facts in force, as of a second ago at most. Raises `django.db.Error`."""
        return self._current().facts

    def forget(self) -> None:
        """Reads everything again at the next question; for the process that has just changed something itself."""
        self._checked_at = float("-inf")

    def _current(self) -> _View:
        config = live.config().access
        if config is self._view.config and time.monotonic() - self._checked_at < settings.ACCESS_CHECK_SECONDS:
            return self._view
        with self._lock:
            started = time.monotonic()
            if config is not self._view.config or started - self._checked_at >= settings.ACCESS_CHECK_SECONDS:
                self._view = self._refreshed(self._view, config)
                self._checked_at = started
            return self._view

    def _refreshed(self, view: _View, config: Access) -> _View:
        epoch, version = self._read_state()
        if config is view.config and (epoch, version) == (view.epoch, view.version):
            return view
        is_newer = epoch == view.epoch and version >= view.version
        rules = _rules(view.facts.rules if is_newer else {}, since=view.version if is_newer else -1)
        return _View(config=config, epoch=epoch, version=version, facts=facts_of(config, rules))

    def _read_state(self) -> tuple[str, int]:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT state.epoch, state.version, {clock.now()} FROM (SELECT 1) one"
                f" LEFT JOIN {STATE} state ON state.id = %s",
                [AccessState.ONLY],
            )
            epoch, version, now = cursor.fetchone()
        moment = now if isinstance(now, datetime) else datetime.fromisoformat(now).replace(tzinfo=UTC)
        self._offset = moment - _monotonic()
        return epoch or "", version or 0

    def _now(self) -> datetime:
        return _monotonic() + self._offset


def decide_now(source: SessionSource, *, at: datetime) -> Decision:
    """The decision by the rows that the caller's transaction sees, for changes that depend on it.

    Nothing of it is kept: the transaction may yet be rolled back, and its version be given to another.
    """
    rows = AccessRule.objects.filter(
        is_active=True,
        effect__in=Effect.values,
        subject__in=SubjectKind.values,
        platform__in=[source.platform, ""],
        subject_id__in=[*identities(source), source.chat_id, ANYONE],
    )
    facts = facts_of(live.config().access, {key: row for key, row, _ in _read(rows)})
    return decide(source, facts, at=at)


def facts_of(config: Access, rules: dict[RuleKey, RuleFact]) -> Facts:
    """The facts that a configuration and the active rows make together."""
    return Facts(
        platforms={name: _platform_facts(platform) for name, platform in config.platforms.items()},
        allowed_users=frozenset(config.allowed_users),
        allow_all_users=config.allow_all_users,
        rules=rules,
    )


def _platform_facts(platform: PlatformAccess) -> PlatformFacts:
    return PlatformFacts(
        allowed_users=frozenset(platform.allowed_users),
        allow_all_users=platform.allow_all_users,
        allow_bots=platform.allow_bots,
        dm_policy=platform.dm_policy,
        group_policy=platform.group_policy,
        allow_from=frozenset(platform.allow_from),
        group_allow_from=frozenset(platform.group_allow_from),
        group_allowed_chats=frozenset(platform.group_allowed_chats),
    )


def _rules(known: Mapping[RuleKey, RuleFact], *, since: int) -> dict[RuleKey, RuleFact]:
    """The active rows: `known` ones and what has changed since that version."""
    rules: dict[RuleKey, RuleFact] = dict(known)
    for key, row, is_active in _read(AccessRule.objects.filter(version__gt=since)):
        if is_active:
            rules[key] = row
        else:
            rules.pop(key, None)
    return rules


def _read(rows: QuerySet[AccessRule]) -> Iterator[tuple[RuleKey, RuleFact, bool]]:
    found = rows.values_list("effect", "subject", "platform", "subject_id", "id", "origin", "expires_at", "is_active")
    for effect, subject, platform, subject_id, row_id, origin, expires_at, is_active in found.iterator():
        yield (effect, subject, platform, subject_id), RuleFact(row_id, origin, expires_at), is_active


def _monotonic() -> datetime:
    return datetime.fromtimestamp(time.monotonic(), UTC)


gatekeeper = Gatekeeper()
"""This process's gatekeeper."""
