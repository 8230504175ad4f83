from __future__ import annotations

from gateway_app.config.kinds import Number, Whole
from gateway_app.config.setting import Section, setting


class Lanes(Section):
    key = "lanes"
    heading = "Lanes"

    lease_seconds: Number = setting("HERMES_LANE_LEASE_SECONDS", 20, least=1, most=3600)
    """How long a dead worker's lane stays closed. Held lanes are renewed every third of this."""
    max_depth: Whole = setting("HERMES_LANE_MAX_DEPTH", 50, least=1)
    """Messages that may wait in one session; beyond it the person is told to wait instead of being queued for ever."""
    sweep_seconds: Number = setting("HERMES_SWEEP_SECONDS", 3, least=0.2, most=300)
    """How often beat rings for lanes with waiting rows and no live lease; the longest a lost ring costs."""
    ring_batch: Whole = setting("HERMES_RING_BATCH", 8, least=1, most=100)
    """Sessions that share one Celery task where they are rung for at the same moment. Under load this saves most of
    what Celery costs; more would let one worker have what two could share."""
    sweep_batch: Whole = setting("HERMES_SWEEP_BATCH", 500, least=1)
    """Lanes one sweep rings for; the next sweep takes the rest."""


class Turns(Section):
    key = "turns"
    heading = "Turns"

    max_attempts: Whole = setting("HERMES_TURN_MAX_ATTEMPTS", 3, least=1)
    """Starts of one turn (a crash costs one) before it becomes a dead letter and the session goes on."""
    timeout_seconds: Number = setting("HERMES_TURN_TIMEOUT_SECONDS", 600, least=1)
    """Longest that one turn may take, tools included; then the person is told so."""
    max_steps: Whole = setting("HERMES_TURN_MAX_STEPS", 90, key="agent.max_turns", least=1)
    """Model calls in one turn; then the model is asked once more, without tools, to sum up."""
    inbox_max_chars: Whole = setting("HERMES_INBOX_MAX_CHARS", 100_000, least=1)
    """Longest text of one incoming message; a longer one is answered with a clear refusal."""


class Delivery(Section):
    key = "delivery"
    heading = "Delivery"

    max_attempts: Whole = setting("HERMES_DELIVERY_MAX_ATTEMPTS", 8, least=1)
    """Failed sends of one part before it becomes a dead letter and the chat goes on."""
    backoff_seconds: Number = setting("HERMES_DELIVERY_BACKOFF_SECONDS", 2, least=0.05)
    """The wait after a failed send, which doubles with each further one, with jitter; a platform's retry_after wins."""
    backoff_max_seconds: Number = setting("HERMES_DELIVERY_BACKOFF_MAX_SECONDS", 300, least=1)
    """The longest that this wait becomes."""
    typing_per_second: Whole = setting("HERMES_TYPING_PER_SECOND", 10)
    """Typing signs a worker process shows in a second, over all its chats; in a rush replies need the calls."""
    send_timeout_seconds: Number = setting("HERMES_SEND_TIMEOUT_SECONDS", 20, least=0.1)
    """Longest wait for a platform's answer to one send; after it the outcome is unknown."""


class Listeners(Section):
    key = "listeners"
    heading = "Listeners"

    lease_seconds: Number = setting("HERMES_LISTENER_LEASE_SECONDS", 9, least=1, most=300)
    """A dead listener's standby takes over within this plus its pause between two tries: a third of this, 1 s at
    most."""
    backoff_seconds: Number = setting("HERMES_LISTENER_BACKOFF_SECONDS", 1, least=0.05)
    """The wait after a failed poll or a crashed adapter, which doubles with each further one, with jitter."""
    backoff_max_seconds: Number = setting("HERMES_LISTENER_BACKOFF_MAX_SECONDS", 30, least=0.1)
    """The longest that this wait becomes."""
