from __future__ import annotations

from gateway_app.config.kinds import Flag, HttpUrl, Number, TelegramToken, Whole
from gateway_app.config.setting import Section, setting


class Platform(Section):
    """What one platform needs. The name of its folder is its field in `Platforms`."""


class Telegram(Platform):
    key = "platforms.telegram"
    heading = "Telegram"

    enabled: Flag = setting("TELEGRAM_ENABLED", True)
    """Off: the gateway has no bot, whatever else is set. `enabled: false` in a file is stronger than a token in the
    environment."""
    token: TelegramToken = setting("TELEGRAM_BOT_TOKEN", is_secret=True)
    """The bot's token from BotFather. Without one nothing listens to Telegram."""
    base_url: HttpUrl = setting("TELEGRAM_BASE_URL", "https://api.telegram.org")
    """What stands before `/bot<token>/<method>`: another address for a Bot API server of one's own."""
    poll_distance_seconds: Number = setting("HERMES_TELEGRAM_POLL_DISTANCE_SECONDS", 0.03, most=5)
    """Between the starts of two polls while updates keep coming; a quiet bot's next update is never kept waiting."""
    poll_seconds: Whole = setting("HERMES_TELEGRAM_POLL_SECONDS", 25, most=50)
    """How long Telegram holds a poll open while nothing happens; shorter than the idle limit of common proxies
    (60 s)."""
    require_mention: Flag = setting("HERMES_TELEGRAM_REQUIRE_MENTION", True, alias="require_mention", is_live=True)
    """In groups and channels only mentions of the bot, replies to it and commands are answered; off: everything."""
    refused_seconds: Number = setting("HERMES_TELEGRAM_REFUSED_SECONDS", 120, least=1)
    """Pause of polls and sends after Telegram refused the token: only an operator can mend that."""


class Webchat(Platform):
    key = "platforms.webchat"
    heading = "Web chat"

    stream_length: Whole = setting("HERMES_WEBCHAT_STREAM_LENGTH", 200, least=10, most=100_000)
    """Entries kept of a conversation's stream, 2 kB each at most; they overlap, and the database has what they show."""
    stream_seconds: Whole = setting("HERMES_WEBCHAT_STREAM_SECONDS", 900, least=10)
    """A conversation's stream is dropped when nothing was added for so long."""
    check_seconds: Number = setting("HERMES_WEBCHAT_CHECK_SECONDS", 5, least=0.05)
    """An open page looks into the database this often although nothing rang, while an answer is due."""
    idle_check_seconds: Number = setting("HERMES_WEBCHAT_IDLE_CHECK_SECONDS", 30, least=0.05)
    """The same while no answer is due."""
    poll_seconds: Number = setting("HERMES_WEBCHAT_POLL_SECONDS", 2, least=0.05)
    """The same while Redis cannot be read, so that nothing can ring."""
    connection_seconds: Number = setting("HERMES_WEBCHAT_CONNECTION_SECONDS", 600, least=0.1)
    """Events of one page end after so long; the browser comes back at once and is checked again."""


class Cli(Platform):
    key = "platforms.cli"
    heading = "Command line"


class Platforms(Section):
    """One field for each folder in `gateway_app/platforms/`."""

    cli: Cli
    telegram: Telegram
    webchat: Webchat


PLATFORMS = tuple(Platforms.model_fields)
"""The platforms that are shipped, by name."""
