from __future__ import annotations

from gateway_app.config.kinds import Number, Whole
from gateway_app.config.setting import Section, setting


class Recall(Section):
    key = "recall"
    heading = "Recall (memory beside messages)"

    wait_seconds: Number = setting("HERMES_RECALL_WAIT_SECONDS", 0.3, most=10, is_live=True)
    """Longest that a message waits for memory where what was fetched before is missing or old."""
    first_wait_seconds: Number = setting("HERMES_RECALL_FIRST_WAIT_SECONDS", 2, most=30, is_live=True)
    """The same for a session's first message, for which nothing can have been fetched before."""
    timeout_seconds: Number = setting("HERMES_RECALL_TIMEOUT_SECONDS", 10, least=0.1, most=120, is_live=True)
    """Longest that fetching a person's memory may take in the background."""
    fresh_seconds: Number = setting("HERMES_RECALL_FRESH_SECONDS", 1800, least=1, is_live=True)
    """Memory that was fetched longer ago is fetched anew when the next message comes: Honcho works things out of a
    conversation within half an hour or so."""
    conclusions: Whole = setting("HERMES_RECALL_CONCLUSIONS", 25, least=1, most=100, is_live=True)
    """Of what Honcho has worked out about a person, so many statements are asked for."""
    at_once: Whole = setting("HERMES_RECALL_AT_ONCE", 8, least=1, most=100, is_live=True)
    """Memories that one process fetches at once in the background."""
    most_waiting: Whole = setting("HERMES_RECALL_MOST_WAITING", 200, least=1, is_live=True)
    """Memories that wait to be fetched in one process; what is beyond is left out until the next message."""
    breaker_failures: Whole = setting("HERMES_RECALL_BREAKER_FAILURES", 3, least=1, is_live=True)
    """After so many failures in a row Honcho is not asked for a while; after so many waits in vain no message waits."""
    breaker_seconds: Number = setting("HERMES_RECALL_BREAKER_SECONDS", 30, least=0.1, is_live=True)
    """For how long; then one tries again."""
    keep_days: Number = setting("HERMES_RECALL_KEEP_DAYS", 30, least=1, is_live=True)
    """Memory that was fetched so long ago is deleted here; the next message of its session has it fetched anew."""
