from __future__ import annotations

from typing import Any

from gateway_app.config.kinds import AdminPath, Bind, Flag, Folder, Networks, Number, Text, Whole, Words
from gateway_app.config.setting import Section, setting

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Installation(Section):
    heading = "Installation"

    home: Folder = setting("HERMES_HOME", key="-", default_words="`~/.hermes`")
    """Where an installation keeps what is its own: `.env`, the embedded database and broker, generated secrets."""


def _own_hosts(values: dict[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*LOOPBACK_NAMES, values["bind"][0])))


class Site(Section):
    key = "site"
    heading = "Site"

    secret_key: Text = setting(
        "HERMES_SECRET_KEY",
        is_secret=True,
        default_words="made at the first start, kept in `state/secret_key.secret`",
    )
    """Signs sessions and sign-in links, and seals pairing codes that wait to be sent. Several hosts need the same one,
    and a new one voids all three."""
    debug: Flag = setting("HERMES_DEBUG", False)
    """Django's own pages for errors and missing pages. They show settings and code: never on a site that others
    reach."""
    bind: Bind = setting("HERMES_BIND", ("127.0.0.1", 8000))
    """Address and port of the web process. Loopback, until an operator decides otherwise."""
    allowed_hosts: Words = setting(
        "HERMES_ALLOWED_HOSTS",
        work_out=_own_hosts,
        default_words="`127.0.0.1`, `localhost`, `[::1]` and the host of `HERMES_BIND`",
    )
    """Host names by which the site may be asked for. Requests that name another are refused."""
    trusted_origins: Words = setting("HERMES_TRUSTED_ORIGINS", ())
    """Origins, such as https://chat.example.org, whose forms are taken; the first begins sign-in links. Behind a
    proxy."""
    secure_cookies: Flag = setting("HERMES_SECURE_COOKIES", False)
    """On where the site is served over HTTPS; off by default because the first start is plain HTTP on loopback."""
    admin_path: AdminPath = setting("HERMES_ADMIN_PATH", "admin")
    """Where the admin is. Another path keeps it out of the way of those who try the usual ones."""
    session_days: Whole = setting("HERMES_SESSION_DAYS", 14, least=1, most=365)
    """Days after which somebody who signed in has to do so again."""
    login_failures: Whole = setting("HERMES_LOGIN_FAILURES", 5, least=1, most=1000)
    """Wrong passwords in a row after which a name and an address cannot sign in for a while."""
    login_lock_seconds: Number = setting("HERMES_LOGIN_LOCK_SECONDS", 900, least=1, most=604_800)
    """How long that while is: long enough that guessing is hopeless, short enough to wait for."""
    trusted_proxies: Networks = setting("HERMES_TRUSTED_PROXIES", ())
    """Addresses or networks of proxies, such as 127.0.0.1 or 10.0.0.0/8, whose X-Forwarded-For is believed: wrong
    passwords are counted by the address that it names. Without one all who come through a proxy share its address."""
    sign_in_link_seconds: Number = setting("HERMES_SIGN_IN_LINK_SECONDS", 86_400, least=1)
    """How long a sign-in link may wait for its one use: a day, since the first start may be looked at tomorrow."""
    web_threads: Whole = setting("HERMES_WEB_THREADS", 4, least=1, most=64)
    """Threads of a web process for synchronous views and middleware, each with a database connection that stays
    open."""
    web_connections: Whole = setting("HERMES_WEB_CONNECTIONS", 5_000, least=10, most=1_000_000)
    """Connections a web process holds at once; every open chat page is one."""
    web_max_body_bytes: Whole = setting("HERMES_WEB_MAX_BODY_BYTES", 4 * 1024 * 1024, least=1024)
    """Largest request that is read; a web chat message of INBOX_MAX_CHARS takes 600 kB at most."""
    web_stop_seconds: Number = setting("HERMES_WEB_STOP_SECONDS", 3, least=0.1, most=600)
    """How long requests may go on when the web process stops; streams end at once and are taken up by their
    browsers."""
