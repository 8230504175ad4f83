"""Django's settings, and the gateway's under the names by which its code asks for them.

What an operator can set is in `gateway_app/config/schema/`, each with its unit and its reason; here it is passed on.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Any

from kombu.entity import Exchange
from kombu.entity import Queue as KombuQueue

from gateway_app.config import loading
from gateway_app.config.addresses import database_entry
from gateway_app.queues import Queue
from hermes_site.admin_look import UNFOLD  # noqa: F401

BASE_DIR = Path(__file__).resolve().parent.parent

CONFIG = loading.load()
"""The configuration in force. `gateway_app.config.live` puts a new one in its place where a file changes."""

HERMES_HOME = CONFIG.installation.home
STATE_DIR = HERMES_HOME / "state"
"""What the gateway itself writes: `db.sqlite3`, `valkey/`, `secrets.json`, run records, metrics files."""

# --- Site ------------------------------------------------------------------------------------------------

SECRET_KEY = CONFIG.site.secret_key
DEBUG = CONFIG.site.debug
HERMES_BIND = CONFIG.site.bind
ALLOWED_HOSTS = list(CONFIG.site.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(CONFIG.site.trusted_origins)
SECURE_COOKIES = CONFIG.site.secure_cookies
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
"""Lax, so that a link from a mail opens a page signed in; what changes anything is never a GET."""
SESSION_COOKIE_AGE = CONFIG.site.session_days * 86_400
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_celery_beat",
    "gateway_app",
    "gateway_app.platforms.webchat",
    "honcho_app",
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
    "axes.middleware.AxesMiddleware",
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
ADMIN_PATH = CONFIG.site.admin_path
LOGIN_FAILURES = CONFIG.site.login_failures
LOGIN_LOCK_SECONDS = CONFIG.site.login_lock_seconds
TRUSTED_PROXIES = [ipaddress.ip_network(network) for network in CONFIG.site.trusted_proxies]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # the first: it refuses before a password is looked at
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = LOGIN_FAILURES
AXES_COOLOFF_TIME = timedelta(seconds=LOGIN_LOCK_SECONDS)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
"""Who goes on trying while locked out costs no write, and does not make the wait of others at the address longer."""
AXES_CLIENT_IP_CALLABLE = "hermes_site.sign_in.client_address"
AXES_USERNAME_CALLABLE = "hermes_site.sign_in.counted_name"
AXES_LOCKOUT_CALLABLE = "hermes_site.sign_in.locked_out"
AXES_SENSITIVE_PARAMETERS = ["username"]
"""Beside passwords, which it never logs: people type those into the wrong field."""
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "webchat:index"
LOGOUT_REDIRECT_URL = "sign-in"
SIGN_IN_LINK_SECONDS = CONFIG.site.sign_in_link_seconds
STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "hermes_site.static.HashedStatics"},
    "media": {"BACKEND": CONFIG.media.storage},
}
MEDIA_FOLDER = HERMES_HOME / CONFIG.media.folder
if CONFIG.media.storage == "django.core.files.storage.FileSystemStorage":
    STORAGES["media"]["OPTIONS"] = {
        "location": MEDIA_FOLDER,
        "base_url": None,
        "file_permissions_mode": 0o600,
        "directory_permissions_mode": 0o700,
    }
WEB_THREADS = CONFIG.site.web_threads
WEB_CONNECTIONS = CONFIG.site.web_connections
WEB_MAX_BODY_BYTES = CONFIG.site.web_max_body_bytes
WEB_STOP_SECONDS = CONFIG.site.web_stop_seconds
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
TEST_RUNNER = "hermes_site.testing.TestRunner"

# --- Database --------------------------------------------------------------------------------------------

DATABASES = {"default": database_entry(CONFIG.database.url)}
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

DATABASE_PREPARE = CONFIG.database.prepare
DATABASE_THREADS = CONFIG.database.threads
DATABASE_BATCH = CONFIG.database.batch
DATABASE_CHECK_SECONDS = CONFIG.database.check_seconds
DATABASE_STUCK_SECONDS = CONFIG.database.stuck_seconds
if DATABASES["default"]["ENGINE"].endswith("postgresql") and DATABASE_STUCK_SECONDS:
    options = DATABASES["default"].setdefault("OPTIONS", {})
    stuck = f"-c idle_in_transaction_session_timeout={DATABASE_STUCK_SECONDS * 1000:.0f}"
    options["options"] = f"{options.get('options', '')} {stuck}".strip()

# --- Broker ----------------------------------------------------------------------------------------------

REDIS_URL = CONFIG.broker.redis_url
KEY_PREFIX = CONFIG.broker.key_prefix
CELERY_BROKER_URL = CONFIG.broker.url
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

WORKERS = CONFIG.workers.processes
WORKER_CONCURRENCY = CONFIG.workers.concurrency
CELERY_WORKER_POOL = "gateway_app.worker.pool:TaskPool"
"""Used without `-P`; `-P threads` and `-P solo` run the same tasks."""
CELERY_WORKER_CONCURRENCY = WORKER_CONCURRENCY
WORKER_THREADS = CONFIG.workers.threads
CANCEL_GRACE_SECONDS = CONFIG.workers.cancel_grace_seconds

# --- Lanes -----------------------------------------------------------------------------------------------

LANE_LEASE_SECONDS = CONFIG.lanes.lease_seconds
LANE_MAX_DEPTH = CONFIG.lanes.max_depth
SWEEP_SECONDS = CONFIG.lanes.sweep_seconds
RING_BATCH = CONFIG.lanes.ring_batch
SWEEP_BATCH = CONFIG.lanes.sweep_batch

# --- Turns and model -------------------------------------------------------------------------------------

TURN_MAX_ATTEMPTS = CONFIG.turns.max_attempts
TURN_TIMEOUT_SECONDS = CONFIG.turns.timeout_seconds
TURN_MAX_STEPS = CONFIG.turns.max_steps
INBOX_MAX_CHARS = CONFIG.turns.inbox_max_chars

OPENAI_BASE_URL = CONFIG.model.base_url
OPENAI_API_KEY = CONFIG.model.api_key
HERMES_MODEL = CONFIG.model.name
MODEL_FALLBACKS = list(CONFIG.model.fallbacks)
MODEL_TIMEOUT_SECONDS = CONFIG.model.timeout_seconds
MODEL_CONNECT_SECONDS = CONFIG.model.connect_seconds
MODEL_RETRIES = CONFIG.model.retries
MODEL_BACKOFF_SECONDS = CONFIG.model.backoff_seconds
MODEL_BACKOFF_MAX_SECONDS = CONFIG.model.backoff_max_seconds
MODEL_RETRY_AFTER_MAX_SECONDS = CONFIG.model.retry_after_max_seconds
MODEL_REPLY_MAX_BYTES = CONFIG.model.reply_max_bytes
MODEL_CONTEXT_TOKENS = CONFIG.model.context_tokens
MODEL_MAX_OUTPUT_TOKENS = CONFIG.model.max_output_tokens
MODEL_LIMIT_FIELD = CONFIG.model.limit_field
MODEL_STREAM_USAGE = CONFIG.model.stream_usage
MODEL_TOOLS = CONFIG.model.tools
MODEL_IS_DEMONSTRATION = CONFIG.model.is_demonstration
SYSTEM_PROMPT = CONFIG.model.system_prompt

TOOL_TIMEOUT_SECONDS = CONFIG.tools.timeout_seconds
TOOL_RESULT_MAX_CHARS = CONFIG.tools.result_max_chars
TOOLS_PARALLEL = CONFIG.tools.parallel
TOOLS_MAX_CALLS = CONFIG.tools.max_calls

# --- Sessions --------------------------------------------------------------------------------------------

GROUP_SESSIONS_PER_USER = CONFIG.sessions.group_sessions_per_user
THREAD_SESSIONS_PER_USER = CONFIG.sessions.thread_sessions_per_user

HISTORY_MAX_MESSAGES = CONFIG.sessions.history_max_messages

# --- Delivery --------------------------------------------------------------------------------------------

DELIVERY_MAX_ATTEMPTS = CONFIG.delivery.max_attempts
DELIVERY_BACKOFF_SECONDS = CONFIG.delivery.backoff_seconds
DELIVERY_BACKOFF_MAX_SECONDS = CONFIG.delivery.backoff_max_seconds
TYPING_PER_SECOND = CONFIG.delivery.typing_per_second
SEND_TIMEOUT_SECONDS = CONFIG.delivery.send_timeout_seconds

# --- Listeners and platforms -----------------------------------------------------------------------------

ACCESS_CHECK_SECONDS = CONFIG.access.check_seconds
LISTENER_LEASE_SECONDS = CONFIG.listeners.lease_seconds
LISTENER_BACKOFF_SECONDS = CONFIG.listeners.backoff_seconds
LISTENER_BACKOFF_MAX_SECONDS = CONFIG.listeners.backoff_max_seconds
TELEGRAM_BOT_TOKEN = CONFIG.platforms.telegram.token if CONFIG.platforms.telegram.enabled else ""
TELEGRAM_BASE_URL = CONFIG.platforms.telegram.base_url
TELEGRAM_POLL_DISTANCE_SECONDS = CONFIG.platforms.telegram.poll_distance_seconds
TELEGRAM_POLL_SECONDS = CONFIG.platforms.telegram.poll_seconds
TELEGRAM_REQUIRE_MENTION = CONFIG.platforms.telegram.require_mention
TELEGRAM_REFUSED_SECONDS = CONFIG.platforms.telegram.refused_seconds

WEBCHAT_STREAM_LENGTH = CONFIG.platforms.webchat.stream_length
WEBCHAT_STREAM_SECONDS = CONFIG.platforms.webchat.stream_seconds
WEBCHAT_CHECK_SECONDS = CONFIG.platforms.webchat.check_seconds
WEBCHAT_IDLE_CHECK_SECONDS = CONFIG.platforms.webchat.idle_check_seconds
WEBCHAT_POLL_SECONDS = CONFIG.platforms.webchat.poll_seconds
WEBCHAT_CONNECTION_SECONDS = CONFIG.platforms.webchat.connection_seconds

# --- All-in-one (`manage.py up`) --------------------------------------------------------------------------

STOP_SECONDS = CONFIG.fleet.stop_seconds
RESTART_BACKOFF_SECONDS = CONFIG.fleet.restart_backoff_seconds
RESTART_BACKOFF_MAX_SECONDS = CONFIG.fleet.restart_backoff_max_seconds
RESTART_HEALTHY_SECONDS = CONFIG.fleet.restart_healthy_seconds

# --- Health ----------------------------------------------------------------------------------------------

CANARY_SECONDS = CONFIG.health.canary_seconds
READY_MAX_AGE_SECONDS = CONFIG.health.ready_max_age_seconds
CHECK_SECONDS = CONFIG.health.check_seconds
METRICS_DIR = STATE_DIR / "metrics"
"""Each process counts in files of its own here, and those of dead ones are merged. May be shared by machines."""
METRICS_TOKEN = CONFIG.health.metrics_token
LOG_LEVEL = CONFIG.health.log_level
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "gateway_app": {"level": LOG_LEVEL},
        "hermes_site": {"level": LOG_LEVEL},
        "honcho_app": {"level": LOG_LEVEL},
        # Below this it writes a line for each page that was not found.
        "django.request": {"level": "ERROR"},
    },
}
