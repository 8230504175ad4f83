"""Django and gateway settings. Every tunable is here, with its unit and its reason.

Sources, strongest first: the environment, then `$HERMES_HOME/.env`, then what a running all-in-one
recorded for its embedded services, then the defaults below.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from kombu.entity import Exchange
from kombu.entity import Queue as KombuQueue

from gateway_app.config.schema import Access, Config, PlatformAccess
from gateway_app.queues import Queue
from hermes_site import environment
from hermes_site.admin_look import UNFOLD  # noqa: F401

BASE_DIR = Path(__file__).resolve().parent.parent

HERMES_HOME = Path(os.environ.get("HERMES_HOME") or Path.home() / ".hermes").expanduser().absolute()
"""Where an installation keeps what is its own: `.env`, the embedded database and broker, generated secrets."""

STATE_DIR = HERMES_HOME / "state"
"""What the gateway itself writes: `db.sqlite3`, `valkey/`, `secrets.json`, run records, metrics files."""

environment.load_dotenv(HERMES_HOME / ".env")
environment.load_runtime_record(STATE_DIR / "runtime.json")
env = environment.Environment()

# --- Site ------------------------------------------------------------------------------------------------

SECRET_KEY = env.text("HERMES_SECRET_KEY") or environment.generated_secret(STATE_DIR, "secret_key")
"""Signs sessions and sign-in links. Several hosts need the same one, and a new one voids both."""
DEBUG = env.boolean("HERMES_DEBUG", default=False)
"""Django's own pages for errors and missing pages. They show settings and code: never on a site that others reach."""
HERMES_BIND = env.bind("HERMES_BIND", default="127.0.0.1:8000")
"""Address and port of the web process. Loopback, until an operator decides otherwise."""
ALLOWED_HOSTS = env.words("HERMES_ALLOWED_HOSTS") or ["127.0.0.1", "localhost", "[::1]", HERMES_BIND[0]]
"""Host names by which the site may be asked for. Requests that name another are refused."""
CSRF_TRUSTED_ORIGINS = env.words("HERMES_TRUSTED_ORIGINS")
"""Origins, such as https://chat.example.org, whose forms are taken; the first begins sign-in links. Behind a proxy."""
SECURE_COOKIES = env.boolean("HERMES_SECURE_COOKIES", default=False)
"""On where the site is served over HTTPS; off by default because the first start is plain HTTP on loopback."""
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "gateway_app",
    "gateway_app.platforms.webchat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "hermes_site.middleware.SecurityHeaders",
    "hermes_site.middleware.DatabaseOutage",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "hermes_site.urls"
ASGI_APPLICATION = "hermes_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "webchat:index"
LOGOUT_REDIRECT_URL = "sign-in"
SIGN_IN_LINK_SECONDS = env.number("HERMES_SIGN_IN_LINK_SECONDS", default=86_400, least=1)
"""How long a sign-in link may wait for its one use: a day, since the first start may be looked at tomorrow."""
STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "hermes_site.static.HashedStatics"},
}
WEB_THREADS = env.whole("HERMES_WEB_THREADS", default=4, least=1, most=64)
"""Threads of a web process for synchronous views and middleware, each with a database connection that stays open."""
WEB_CONNECTIONS = env.whole("HERMES_WEB_CONNECTIONS", default=5_000, least=10, most=1_000_000)
"""Connections a web process holds at once; every open chat page is one."""
WEB_MAX_BODY_BYTES = env.whole("HERMES_WEB_MAX_BODY_BYTES", default=4 * 1024 * 1024, least=1024)
"""Largest request that is read; a web chat message of INBOX_MAX_CHARS takes 600 kB at most."""
WEB_STOP_SECONDS = env.number("HERMES_WEB_STOP_SECONDS", default=3, least=0.1, most=600)
"""How long requests may go on when the web process stops; streams end at once and are taken up by their browsers."""
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
TEST_RUNNER = "hermes_site.testing.TestRunner"

# --- Database --------------------------------------------------------------------------------------------

DATABASES = {"default": env.database("DATABASE_URL", default=f"sqlite:///{quote(str(STATE_DIR / 'db.sqlite3'))}")}
"""PostgreSQL beyond one machine; SQLite is enough for one."""
DATABASES["default"]["CONN_MAX_AGE"] = None
"""Connections stay open: a reconnect to PostgreSQL costs 4 ms, more than the rest of a transaction."""
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: a transaction that reads and then writes must not fail with "database is locked".
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA mmap_size=134217728;"
            "PRAGMA cache_size=-20000;PRAGMA journal_size_limit=67108864;PRAGMA busy_timeout=20000;"
        ),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASE_PREPARE = env.boolean("HERMES_DATABASE_PREPARE", default=True)
"""PostgreSQL keeps the pipeline's statements planned for each connection. Off behind a pooler that changes the server
connection between transactions, such as PgBouncer in transaction mode."""
DATABASE_THREADS = env.whole("HERMES_DATABASE_THREADS", default=2, least=1, most=64)
"""Threads (and so connections) per worker process for database work. SQLite always gets one: it has one writer."""
DATABASE_CHECK_SECONDS = env.number("HERMES_DATABASE_CHECK_SECONDS", default=5, least=0)
"""A connection idle for longer is asked whether it still lives before its next use; a busy one costs no such query."""
DATABASE_STUCK_SECONDS = env.number("HERMES_DATABASE_STUCK_SECONDS", default=8, least=0, most=3600)
"""PostgreSQL ends a transaction that does nothing for so long: a process that was stopped in one, or whose machine
vanished, would hold its locks, and so hold up whoever takes its lanes over. Shorter than the leases. 0 leaves it to the
server, as a pooler that takes no `options` at the start of a connection needs it."""
if DATABASES["default"]["ENGINE"].endswith("postgresql") and DATABASE_STUCK_SECONDS:
    options = DATABASES["default"].setdefault("OPTIONS", {})
    stuck = f"-c idle_in_transaction_session_timeout={DATABASE_STUCK_SECONDS * 1000:.0f}"
    options["options"] = f"{options.get('options', '')} {stuck}".strip()

# --- Broker ----------------------------------------------------------------------------------------------

REDIS_URL = env.url(
    "REDIS_URL", schemes=("redis", "rediss", "redis+socket", "unix"), default="redis://127.0.0.1:6379/0"
)
"""Web-chat streams, and the broker unless CELERY_BROKER_URL names another server."""
KEY_PREFIX = env.text("HERMES_KEY_PREFIX", "hermes:")
"""Begins every key in Redis, so that installations can share a server."""
CELERY_BROKER_URL = env.url(
    "CELERY_BROKER_URL", schemes=("redis", "rediss", "redis+socket", "amqp", "amqps"), default=REDIS_URL
)
"""Where tasks go, if not to Redis: RabbitMQ, with quorum queues."""
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_ACKS_LATE = False
"""Early: the database row is the truth and sweeps ring again, so a redelivery by the broker adds only doubles."""
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 4
CELERY_TASK_PUBLISH_RETRY = False
"""A ring that cannot be published is dropped at once: the sweep rings again, and nobody waits on a dead broker."""
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_DB_REUSE_MAX = 10**9
"""Celery closes the database connection after each task unless this is set; see CONN_MAX_AGE above."""
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SYNC_EVERY = 1
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
"""One try to connect when a ring is published; kombu's own would take 6 s while the broker is down."""
EXCHANGE_TYPE = "direct"
QUEUE_ARGUMENTS: dict[str, str] = {}
if CELERY_BROKER_URL.startswith("amqp"):
    EXCHANGE_TYPE = "topic"  # Celery warns that quorum queues cannot delay what comes through another
    QUEUE_ARGUMENTS = {"x-queue-type": "quorum"}
    CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum"
    CELERY_BROKER_NATIVE_DELAYED_DELIVERY_QUEUE_TYPE = "quorum"
else:
    CELERY_BROKER_TRANSPORT_OPTIONS |= {
        "global_keyprefix": KEY_PREFIX,
        "visibility_timeout": 300,
        "socket_timeout": 5,
        "socket_connect_timeout": 4,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }

CELERY_TASK_QUEUES = [
    KombuQueue(
        queue.value, Exchange(queue.value, EXCHANGE_TYPE), routing_key=queue.value, queue_arguments=QUEUE_ARGUMENTS
    )
    for queue in Queue
]
"""Each with an exchange of its own: queues that leave it out share the default queue's, and get all its messages."""
CELERY_TASK_DEFAULT_QUEUE = Queue.MAINTENANCE.value

# --- Workers ---------------------------------------------------------------------------------------------

WORKERS = env.whole("HERMES_WORKERS", default=os.cpu_count() or 1, least=1, most=256)
"""Worker processes of the all-in-one; one per core, since one process fills one core."""
WORKER_CONCURRENCY = env.whole("HERMES_WORKER_CONCURRENCY", default=600, least=1, most=10_000)
"""Turns one worker process holds in flight; each costs about 50 kB while it waits for the model."""
CELERY_WORKER_POOL = "gateway_app.worker.pool:TaskPool"
"""Used without `-P`; `-P threads` and `-P solo` run the same tasks."""
CELERY_WORKER_CONCURRENCY = WORKER_CONCURRENCY
WORKER_THREADS = env.whole("HERMES_WORKER_THREADS", default=2, least=1, most=64)
"""Threads (and so connections) per worker process for tasks that are not coroutines: sweeps, pruning."""
CANCEL_GRACE_SECONDS = env.number("HERMES_CANCEL_GRACE_SECONDS", default=5, least=0.1, most=300)
"""How long a cancelled task's `finally` blocks may take, at a cold shutdown too, before it is left to itself."""

# --- Lanes -----------------------------------------------------------------------------------------------

LANE_LEASE_SECONDS = env.number("HERMES_LANE_LEASE_SECONDS", default=20, least=1, most=3600)
"""How long a dead worker's lane stays closed. Held lanes are renewed every third of this."""
LANE_MAX_DEPTH = env.whole("HERMES_LANE_MAX_DEPTH", default=50, least=1)
"""Messages that may wait in one session; beyond it the person is told to wait instead of being queued for ever."""
SWEEP_SECONDS = env.number("HERMES_SWEEP_SECONDS", default=3, least=0.2, most=300)
"""How often beat rings for lanes with waiting rows and no live lease; the longest a lost ring costs."""
RING_BATCH = env.whole("HERMES_RING_BATCH", default=8, least=1, most=100)
"""Sessions that share one Celery task where they are rung for at the same moment. Under load this saves most of what
Celery costs; more would let one worker have what two could share."""
SWEEP_BATCH = env.whole("HERMES_SWEEP_BATCH", default=500, least=1)
"""Lanes one sweep rings for; the next sweep takes the rest."""

# --- Turns and model -------------------------------------------------------------------------------------

TURN_MAX_ATTEMPTS = env.whole("HERMES_TURN_MAX_ATTEMPTS", default=3, least=1)
"""Starts of one turn (a crash costs one) before it becomes a dead letter and the session goes on."""
TURN_TIMEOUT_SECONDS = env.number("HERMES_TURN_TIMEOUT_SECONDS", default=600, least=1)
"""Longest that one turn may take, tools included; then the person is told so."""
TURN_MAX_STEPS = env.whole("HERMES_TURN_MAX_STEPS", default=90, least=1)
"""Model calls in one turn."""
INBOX_MAX_CHARS = env.whole("HERMES_INBOX_MAX_CHARS", default=100_000, least=1)
"""Longest text of one incoming message; a longer one is answered with a clear refusal."""

OPENAI_BASE_URL = env.url("OPENAI_BASE_URL", schemes=("http", "https"))
"""The model server's address with its `/v1`: any that speaks `/chat/completions`. A key without one means OpenAI's."""
OPENAI_API_KEY = env.text("OPENAI_API_KEY")
"""Sent to the model's server as a bearer token; empty for servers that ask for none."""
if OPENAI_API_KEY and not OPENAI_BASE_URL:
    OPENAI_BASE_URL = "https://api.openai.com/v1"
HERMES_MODEL = env.text("HERMES_MODEL", "gpt-5-mini")
"""The model's name as its server knows it."""
MODEL_FALLBACKS = env.words("HERMES_MODEL_FALLBACKS")
"""Models tried in order when HERMES_MODEL fails in a way another model may not."""
MODEL_TIMEOUT_SECONDS = env.number("HERMES_MODEL_TIMEOUT_SECONDS", default=120, least=0.1)
"""Longest silence of the model's server: to the first byte, and between two bytes of a stream."""
MODEL_CONNECT_SECONDS = env.number("HERMES_MODEL_CONNECT_SECONDS", default=10, least=0.1)
"""Longest wait for a connection; far shorter than the above, since a server that is there accepts at once."""
MODEL_RETRIES = env.whole("HERMES_MODEL_RETRIES", default=3, least=0, most=20)
"""Times one model is asked again after a failure that may pass; a time-out is repeated once at most."""
MODEL_BACKOFF_SECONDS = env.number("HERMES_MODEL_BACKOFF_SECONDS", default=0.5, least=0)
MODEL_BACKOFF_MAX_SECONDS = env.number("HERMES_MODEL_BACKOFF_MAX_SECONDS", default=20, least=0)
"""A retry waits at random between 0 and the first of these, which doubles with each failure up to the second."""
MODEL_RETRY_AFTER_MAX_SECONDS = env.number("HERMES_MODEL_RETRY_AFTER_MAX_SECONDS", default=60, least=0)
"""Longest Retry-After of the model's server that is waited out; beyond it the next model is asked."""
MODEL_REPLY_MAX_BYTES = env.whole("HERMES_MODEL_REPLY_MAX_BYTES", default=8 * 1024 * 1024, least=1024)
"""An answer larger than this on the wire is damaged or hostile; 4,096 streamed tokens take about 1 MB."""
MODEL_CONTEXT_TOKENS = env.whole("HERMES_MODEL_CONTEXT_TOKENS", default=32_000, least=512)
"""The history sent with a turn is cut, oldest first, so that prompt and reply fit in this."""
MODEL_MAX_OUTPUT_TOKENS = env.whole("HERMES_MODEL_MAX_OUTPUT_TOKENS", default=4_096, least=16)
"""Longest reply that the model is asked for; longer ones are cut off by its server."""
MODEL_LIMIT_FIELD = env.text(
    "HERMES_MODEL_LIMIT_FIELD",
    "max_completion_tokens" if OPENAI_BASE_URL.startswith("https://api.openai.com/") else "max_tokens",
)
"""The request's name for the limit above: OpenAI's newer models refuse the old one, others know no other."""
if MODEL_LIMIT_FIELD not in {"max_tokens", "max_completion_tokens"}:
    raise environment.wrong("HERMES_MODEL_LIMIT_FIELD", MODEL_LIMIT_FIELD, "max_tokens or max_completion_tokens")
MODEL_STREAM_USAGE = env.boolean("HERMES_MODEL_STREAM_USAGE", default=True)
"""Asks for token counts at the end of a stream; off for old servers that refuse `stream_options`."""
MODEL_TOOLS = env.boolean("HERMES_MODEL_TOOLS", default=True)
"""Off for models that cannot call tools, such as the demonstration model."""
MODEL_IS_DEMONSTRATION = env.boolean("HERMES_DEMONSTRATION_MODEL", default=False)
"""Set by the all-in-one when it serves its own small model, so that pages can say so."""
SYSTEM_PROMPT = env.text(
    "HERMES_SYSTEM_PROMPT", "You are Hermes, a helpful assistant in a chat. Answer briefly and clearly."
)
"""What the model is told before every conversation."""

# --- Sessions --------------------------------------------------------------------------------------------

GROUP_SESSIONS_PER_USER = env.boolean("HERMES_GROUP_SESSIONS_PER_USER", default=True)
"""In groups and channels each person has a conversation of their own; off: one that all of them share."""
THREAD_SESSIONS_PER_USER = env.boolean("HERMES_THREAD_SESSIONS_PER_USER", default=False)
"""The same for threads and topics, which are shared by default: people open them to talk about one thing."""

HISTORY_MAX_MESSAGES = env.whole("HERMES_HISTORY_MAX_MESSAGES", default=200, least=1)
"""Most messages of history sent with a turn, however short; the token budget usually ends it earlier."""

# --- Delivery --------------------------------------------------------------------------------------------

DELIVERY_MAX_ATTEMPTS = env.whole("HERMES_DELIVERY_MAX_ATTEMPTS", default=8, least=1)
"""Failed sends of one part before it becomes a dead letter and the chat goes on."""
DELIVERY_BACKOFF_SECONDS = env.number("HERMES_DELIVERY_BACKOFF_SECONDS", default=2, least=0.05)
DELIVERY_BACKOFF_MAX_SECONDS = env.number("HERMES_DELIVERY_BACKOFF_MAX_SECONDS", default=300, least=1)
"""The wait doubles from the first to the second of these, with jitter; a platform's retry_after wins."""
TYPING_PER_SECOND = env.whole("HERMES_TYPING_PER_SECOND", default=10, least=0)
"""Typing signs a worker process shows in a second, over all its chats; in a rush replies need the calls."""
SEND_TIMEOUT_SECONDS = env.number("HERMES_SEND_TIMEOUT_SECONDS", default=20, least=0.1)
"""Longest wait for a platform's answer to one send; after it the outcome is unknown."""

# --- Listeners and platforms -----------------------------------------------------------------------------

LISTENER_LEASE_SECONDS = env.number("HERMES_LISTENER_LEASE_SECONDS", default=9, least=1, most=300)
"""A dead listener's standby takes over within this plus its pause between two tries: a third of this, 1 s at most."""
LISTENER_BACKOFF_SECONDS = env.number("HERMES_LISTENER_BACKOFF_SECONDS", default=1, least=0.05)
LISTENER_BACKOFF_MAX_SECONDS = env.number("HERMES_LISTENER_BACKOFF_MAX_SECONDS", default=30, least=0.1)
"""The wait after a failed poll or a crashed adapter doubles from the first to the second of these, with jitter."""
TELEGRAM_BOT_TOKEN = env.text("TELEGRAM_BOT_TOKEN")
"""The bot's token from BotFather. Without one nothing listens to Telegram."""
if TELEGRAM_BOT_TOKEN and not re.fullmatch(r"[0-9]+:[^\s/?#%]+", TELEGRAM_BOT_TOKEN):
    raise environment.wrong("TELEGRAM_BOT_TOKEN", "(not shown)", "number:secret, as BotFather gives it")
TELEGRAM_BASE_URL = env.url("TELEGRAM_BASE_URL", schemes=("http", "https"), default="https://api.telegram.org")
"""What stands before `/bot<token>/<method>`: another address for a Bot API server of one's own."""
TELEGRAM_POLL_DISTANCE_SECONDS = env.number("HERMES_TELEGRAM_POLL_DISTANCE_SECONDS", default=0.03, least=0, most=5)
"""Between the starts of two polls while updates keep coming; a quiet bot's next update is never kept waiting."""
TELEGRAM_POLL_SECONDS = env.whole("HERMES_TELEGRAM_POLL_SECONDS", default=25, least=0, most=50)
"""How long Telegram holds a poll open while nothing happens; shorter than the idle limit of common proxies (60 s)."""
TELEGRAM_REQUIRE_MENTION = env.boolean("HERMES_TELEGRAM_REQUIRE_MENTION", default=True)
"""In groups and channels only mentions of the bot, replies to it and commands are answered; off: everything."""
TELEGRAM_REFUSED_SECONDS = env.number("HERMES_TELEGRAM_REFUSED_SECONDS", default=120, least=1)
"""Pause of polls and sends after Telegram refused the token: only an operator can mend that."""

WEBCHAT_STREAM_LENGTH = env.whole("HERMES_WEBCHAT_STREAM_LENGTH", default=200, least=10, most=100_000)
"""Entries kept of a conversation's stream, 2 kB each at most; they overlap, and the database has what they show."""
WEBCHAT_STREAM_SECONDS = env.whole("HERMES_WEBCHAT_STREAM_SECONDS", default=900, least=10)
"""A conversation's stream is dropped when nothing was added for so long."""
WEBCHAT_CHECK_SECONDS = env.number("HERMES_WEBCHAT_CHECK_SECONDS", default=5, least=0.05)
WEBCHAT_IDLE_CHECK_SECONDS = env.number("HERMES_WEBCHAT_IDLE_CHECK_SECONDS", default=30, least=0.05)
"""An open page looks into the database this often although nothing rang: while an answer is due, and else."""
WEBCHAT_POLL_SECONDS = env.number("HERMES_WEBCHAT_POLL_SECONDS", default=2, least=0.05)
"""The same while Redis cannot be read, so that nothing can ring."""
WEBCHAT_CONNECTION_SECONDS = env.number("HERMES_WEBCHAT_CONNECTION_SECONDS", default=600, least=0.1)
"""Events of one page end after so long; the browser comes back at once and is checked again."""

CONFIG = Config(
    access=Access(
        allowed_users=tuple(env.words("GATEWAY_ALLOWED_USERS")),
        allow_all_users=env.boolean("GATEWAY_ALLOW_ALL_USERS", default=False),
        platforms={
            name: PlatformAccess(
                allowed_users=tuple(env.words(f"{name.upper()}_ALLOWED_USERS") or ["admin"] * (name == "webchat")),
                allow_all_users=env.boolean(f"{name.upper()}_ALLOW_ALL_USERS", default=name == "cli"),
            )
            for name in ("telegram", "webchat", "cli")
        },
    )
)
ACCESS_CHECK_SECONDS = env.number("HERMES_ACCESS_CHECK_SECONDS", default=1, least=0, most=60)
"""How often a process looks whether access was changed elsewhere; a ban holds everywhere within twice this."""

# --- All-in-one (`manage.py up`) --------------------------------------------------------------------------

STOP_SECONDS = env.number("HERMES_STOP_SECONDS", default=15, least=1, most=600)
"""How long each process may take to finish what it does when the all-in-one stops; then it is killed, which
costs nothing but a little time: what it had not committed is taken up again at the next start."""
RESTART_BACKOFF_SECONDS = env.number("HERMES_RESTART_BACKOFF_SECONDS", default=0.5, least=0.01)
RESTART_BACKOFF_MAX_SECONDS = env.number("HERMES_RESTART_BACKOFF_MAX_SECONDS", default=30, least=0.01)
"""A process that ends is started again after the first of these; the wait doubles with each failure in a row
up to the second."""
RESTART_HEALTHY_SECONDS = env.number("HERMES_RESTART_HEALTHY_SECONDS", default=10, least=0.1)
"""A process that ran this long counts as healthy: its next failure is a first one again."""

# --- Health ----------------------------------------------------------------------------------------------

CANARY_SECONDS = env.number("HERMES_CANARY_SECONDS", default=15, least=1)
"""How often a task is sent through the queue to prove that the fleet works, not just that it lives."""
READY_MAX_AGE_SECONDS = env.number("HERMES_READY_MAX_AGE_SECONDS", default=60, least=1)
"""Older than this, the last canary, the oldest waiting row or a listener's last poll make /readyz fail."""
CHECK_SECONDS = env.number("HERMES_CHECK_SECONDS", default=2, least=0.1, most=60)
"""Longest that /readyz and /metrics wait for the database or the broker; shorter than most probes' own patience."""
METRICS_DIR = STATE_DIR / "metrics"
"""Each process counts in files of its own here, and those of dead ones are merged. May be shared by machines."""
METRICS_TOKEN = env.text("HERMES_METRICS_TOKEN")
"""Bearer token for /metrics and for all of /readyz. Without one they are for callers on this machine only."""
LOG_LEVEL = env.text("HERMES_LOG_LEVEL", "INFO").upper()
"""Of the gateway's own messages: DEBUG, INFO, WARNING or ERROR."""
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
    raise environment.wrong("HERMES_LOG_LEVEL", LOG_LEVEL, "DEBUG, INFO, WARNING or ERROR")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "gateway_app": {"level": LOG_LEVEL},
        "hermes_site": {"level": LOG_LEVEL},
        # Below this it writes a line for each page that was not found.
        "django.request": {"level": "ERROR"},
    },
}
