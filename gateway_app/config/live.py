"""The configuration in force in this process, and how a change of its files gets into it.

Each process looks at the files by itself, once a second: whenever somebody asks for the configuration, and by the clock
where it runs for long. Only what is safe to change while messages are on their way is taken over; for the rest the log
says that a restart is needed. A file that cannot be used changes nothing. Whoever derives something from the
configuration compares the object: a change is always another one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from . import files, loading, values
from .catalogue import SETTINGS, Setting
from .schema import Config

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""Between two looks at the files: three calls of stat, so that a change holds everywhere soon and costs nothing."""
SETTLE_SECONDS = 0.5
"""A file younger than this may still be being written; it is looked at again after the next pause."""
LIVE = frozenset(setting.variable for setting in SETTINGS if setting.is_live)
LOGGERS = ("gateway_app", "hermes_site", "honcho_app")


class Watch:
    """Looks after the files for one process. Never raises."""

    def __init__(self) -> None:
        self.next_check = 0.0
        self._lock = threading.Lock()
        self._seen: files.Stamps | None = None
        self._loaded: Config | None = None
        self._said: set[str] = set()

    def look(self) -> bool:
        """Takes over what has changed; returns whether another configuration is in force now."""
        if not self._lock.acquire(blocking=False):
            return False  # another thread is at it
        try:
            self.next_check = time.monotonic() + CHECK_SECONDS
            return self._look(settings.CONFIG)
        except Exception:
            log.exception("The configuration could not be looked at; the one in force stays")
            return False
        finally:
            self._lock.release()

    def warn(self, config: Config) -> None:
        """Says what is odd about `config`, each line once in a process."""
        for line in config.warnings:
            if line not in self._said:
                self._said.add(line)
                log.warning("%s", line)

    def _look(self, old: Config) -> bool:
        home = old.installation.home
        stamps = files.stamps(home)
        if stamps == (old.stamps if self._seen is None else self._seen) or not _is_settled(old, stamps):
            return False
        found, problem = None, ""
        try:
            found = loading.reread(home=home)
        except ImproperlyConfigured as error:
            problem = str(error).replace("\n", " ")
        if files.stamps(home) != stamps:
            return False  # written to while it was read
        self._seen = stamps
        if found is None:
            log.error("The configuration has changed and cannot be used; the one in force stays. %s", problem)
            return False
        before, self._loaded = self._loaded or old, found
        self.warn(found)
        for setting in SETTINGS:
            if not setting.is_live and setting.of(found) not in (setting.of(before), setting.of(old)):
                log.warning("%s changed; it takes effect at the next restart", setting.variable)
        new = _taken_over(old, found)
        if new == old:
            return False
        for setting in _changes(old, new):
            log.info(
                "Configuration changed: %s: %s → %s (%s)",
                setting.variable,
                values.shown(setting, setting.of(old)),
                values.shown(setting, setting.of(new)),
                new.origin(setting.variable),
            )
        _put_in_force(new)
        return True


_watch = Watch()


def config() -> Config:
    """The configuration in force. Never raises, and costs a look at the clock."""
    if time.monotonic() >= _watch.next_check:
        _watch.look()
    found: Config = settings.CONFIG
    return found


def reload_if_changed() -> bool:
    """Looks at the files now, for those who have a clock and no message. Returns whether anything else holds now."""
    return _watch.look()


async def watch() -> None:
    """Looks at the files once a second until it is cancelled, for processes that nobody may write to for hours."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        reload_if_changed()


def warn() -> None:
    """Says what is odd about the configuration that this process started with."""
    _watch.warn(settings.CONFIG)


def _is_settled(old: Config, stamps: files.Stamps) -> bool:
    """Whether what changed is old enough to be whole. Where a file is gone, the folder says since when."""
    home = old.installation.home
    now = time.time()
    for name, stamp, before in zip(files.NAMES, stamps, old.stamps, strict=True):
        if stamp == before:
            continue
        try:
            age = now - (home / name if stamp else home).stat().st_mtime
        except OSError:
            return False
        if 0 <= age < SETTLE_SECONDS:
            return False
    return True


def _taken_over(old: Config, found: Config) -> Config:
    """`old` with the values of `found` that may change while a process runs."""
    changes: dict[str, Any] = {}
    origins = {name: origin for name, origin in old.origins.items() if name not in LIVE}
    for setting in SETTINGS:
        if setting.is_live:
            *branch, leaf = setting.path
            tree = changes
            for name in branch:
                tree = tree.setdefault(name, {})
            tree[leaf] = setting.of(found)
            if found.is_given(setting.variable):
                origins[setting.variable] = found.origin(setting.variable)
    # What was read when and what was odd about it is no change by itself.
    return old.changed(**changes).model_copy(update={"origins": origins})


def _changes(old: Config, new: Config) -> Iterator[Setting]:
    return (setting for setting in SETTINGS if setting.of(old) != setting.of(new))


def _put_in_force(new: Config) -> None:
    settings.CONFIG = new
    settings.TELEGRAM_REQUIRE_MENTION = new.platforms.telegram.require_mention
    if new.health.log_level != settings.LOG_LEVEL:
        settings.LOG_LEVEL = new.health.log_level
        for name in LOGGERS:
            logging.getLogger(name).setLevel(new.health.log_level)
