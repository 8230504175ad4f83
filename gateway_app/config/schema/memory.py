from __future__ import annotations

from gateway_app.config.kinds import Number, Whole
from gateway_app.config.setting import Section, setting


class Memory(Section):
    """What becomes of what is worth remembering of a session that is put aside."""

    key = "memory"
    heading = "Flushes of memory"

    flush_min_messages: Whole = setting("HERMES_FLUSH_MIN_MESSAGES", 4, is_live=True)
    """Messages of a session below which it is not gone through as it is put aside: one exchange tells little."""
    flush_max_steps: Whole = setting("HERMES_FLUSH_MAX_STEPS", 8, least=2, is_live=True)
    """Most model calls of one flush. It has one thing to do, and nobody watches it."""
    flush_timeout_seconds: Number = setting("HERMES_FLUSH_TIMEOUT_SECONDS", 180, least=0.1, is_live=True)
    """Longest that an attempt at a flush may take. A dead worker's is taken over half a minute after that."""
    flush_attempts: Whole = setting("HERMES_FLUSH_ATTEMPTS", 3, least=1, is_live=True)
    """How often a flush is tried; then it is given up, visibly, until an operator has it tried again."""
    flush_backoff_seconds: Number = setting("HERMES_FLUSH_BACKOFF_SECONDS", 60, is_live=True)
    """Wait before a flush's second attempt; it doubles with each further one."""
    flush_at_once: Whole = setting("HERMES_FLUSH_AT_ONCE", 2, least=1, is_live=True)
    """Flushes that a worker process carries out at once. Few, since people's turns need the model more."""
    flush_ahead_seconds: Number = setting("HERMES_FLUSH_AHEAD_SECONDS", 900, is_live=True)
    """How long before the clock ends a session it is flushed, so that this is done when its person comes back. 0: only
    once it has ended."""
    flush_keep_days: Number = setting("HERMES_FLUSH_KEEP_DAYS", 30, is_live=True)
    """How long flushes that are done stay in the admin."""
