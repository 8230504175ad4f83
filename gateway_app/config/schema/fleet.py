from __future__ import annotations

from gateway_app.config.kinds import Number
from gateway_app.config.setting import Section, setting


class Fleet(Section):
    key = "up"
    heading = "All-in-one (`manage.py up`)"

    stop_seconds: Number = setting("HERMES_STOP_SECONDS", 15, least=1, most=600)
    """How long each process may take to finish what it does when the all-in-one stops; then it is killed, which costs
    nothing but a little time: what it had not committed is taken up again at the next start."""
    restart_backoff_seconds: Number = setting("HERMES_RESTART_BACKOFF_SECONDS", 0.5, least=0.01)
    """A process that ends is started again after this; the wait doubles with each failure in a row."""
    restart_backoff_max_seconds: Number = setting("HERMES_RESTART_BACKOFF_MAX_SECONDS", 30, least=0.01)
    """The longest that this wait becomes."""
    restart_healthy_seconds: Number = setting("HERMES_RESTART_HEALTHY_SECONDS", 10, least=0.1)
    """A process that ran this long counts as healthy: its next failure is a first one again."""
