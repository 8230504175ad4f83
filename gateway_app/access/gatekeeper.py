"""The decisions of this process: the facts in force, kept up to date, and what was decided under them.

Every change of access raises one version in the database (`gateway_app.access.audit`). A process asks for it at most
each ACCESS_CHECK_SECONDS (1 s) and then reads only the rows that are newer; so a ban holds everywhere within two
seconds, and a flood of senders who are not let in costs a look into a dictionary each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
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
from gateway_app.models import AccessRule, AccessState, AuditEntry
from gateway_app.models.access import Effect, SubjectKind
from gateway_app.sessions.source import SessionSource

REMEMBERED = 50_000
"""Decisions a process keeps; then it starts anew, which costs microseconds each."""

STATE = AccessState._meta.db_table

Question = tuple[str, str, str, str, str, bool, bool]


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one state of all access from every other. A version alone does not: where a change was read by the
    transaction that made it and then rolled back, the next one has the same."""

    epoch: str = ""
    version: int = -1
    audit_count: int = 0
    audit_hash: str = ""

    def is_before(self, later: _Stamp) -> bool:
        """Whether the state of this stamp was committed, and `later` came of it by further changes."""
        if self.epoch != later.epoch or self.version > later.version:
            return False
        return not self.audit_count or AuditEntry.objects.filter(pk=self.audit_count, hash=self.audit_hash).exists()


@dataclass(frozen=True, slots=True)
class _View:
    """What a process knows. Replaced as a whole when anything changes, the decisions with it."""

    config: Access | None = None
    stamp: _Stamp = _Stamp()
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
        return self._decided(source, self._current(), self._now())

    def decide_all(self, sources: Iterable[SessionSource]) -> list[Decision]:
        """The decisions for many senders, all of one moment. Raises as `decide()` does."""
        view, at = self._current(), self._now()
        return [self._decided(source, view, at) for source in sources]

    def _decided(self, source: SessionSource, view: _View, at: datetime) -> Decision:
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

    def moment(self) -> datetime:
        """The database's time, as far as this process has followed it."""
        self._current()
        return self._now()

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
        stamp = self._read_stamp()
        if stamp == view.stamp:
            return view if config is view.config else _View(config, stamp, facts_of(config, view.facts.rules))
        if view.stamp.is_before(stamp):
            rules = _rules(view.facts.rules, since=view.stamp.version)
        else:
            rules = _rules({}, since=-1)
        return _View(config, stamp, facts_of(config, rules))

    def _read_stamp(self) -> _Stamp:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT state.epoch, state.version, state.audit_count, state.audit_hash, {clock.now()}"
                f" FROM (SELECT 1) one LEFT JOIN {STATE} state ON state.id = %s",
                [AccessState.ONLY],
            )
            epoch, version, count, head, now = cursor.fetchone()
        moment = clock.moment(now)
        assert moment is not None
        self._offset = moment - _monotonic()
        return _Stamp(epoch or "", version or 0, count or 0, head or "")

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


def facts_of(config: Access, rules: Mapping[RuleKey, RuleFact]) -> Facts:
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
