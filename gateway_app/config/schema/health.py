from __future__ import annotations

from typing import Annotated, Any, Literal

from gateway_app.config.kinds import Kind, Number, Text, read_text
from gateway_app.config.setting import Section, setting


def _upper(value: Any) -> str:
    return read_text(value).upper()


class Health(Section):
    key = "health"
    heading = "Health"

    canary_seconds: Number = setting("HERMES_CANARY_SECONDS", 15, least=1)
    """How often a task is sent through the queue to prove that the fleet works, not just that it lives."""
    ready_max_age_seconds: Number = setting("HERMES_READY_MAX_AGE_SECONDS", 60, least=1)
    """Older than this, the last canary, the oldest waiting row or a listener's last poll make /readyz fail."""
    check_seconds: Number = setting("HERMES_CHECK_SECONDS", 2, least=0.1, most=60)
    """Longest that /readyz and /metrics wait for the database or the broker; shorter than most probes' own patience."""
    metrics_token: Text = setting("HERMES_METRICS_TOKEN", is_secret=True)
    """Bearer token for /metrics and for all of /readyz. Without one they are for callers on this machine only."""
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Kind("one of", _upper)] = setting(
        "HERMES_LOG_LEVEL", "INFO", is_live=True
    )
    """Of the gateway's own messages."""
