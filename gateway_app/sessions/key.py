"""Session and lane keys: readable, and injective whatever characters the platform's ids contain."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from django.conf import settings

from .source import ChatType, SessionSource

# Kept as they are for readability. `:` and `=` separate and tag, `%` escapes, so these three never pass.
PLAIN = "@+-._~!$'()*,;/"
LONGEST_COMPONENT = 120
"""A longer component keeps its beginning and gets a hash of the whole; keys stay within their column."""


def escape(component: str) -> str:
    """`component` with everything that means something in a key escaped; two components never become one."""
    escaped = quote(component, safe=PLAIN, errors="surrogatepass")
    if len(escaped) <= LONGEST_COMPONENT:
        return escaped
    # `%~` cannot come out of quote(), so a shortened component never equals a plain one.
    return f"{escaped[:48]}%~{hashlib.sha256(component.encode('utf-8', 'surrogatepass')).hexdigest()}"


def session_key(source: SessionSource) -> str:
    """The session that a message of `source` belongs to: `agent:main:<platform>:<chat type>:<chat>[:tag=value…]`.

    A direct message is one session per chat; a group has one per person unless GROUP_SESSIONS_PER_USER is off;
    a thread is shared by its people unless THREAD_SESSIONS_PER_USER is on. What is worked on in the background is one
    person's, wherever.
    """
    parts = ["agent", "main", escape(source.platform), source.chat_type.value, escape(source.chat_id)]
    if source.thread_id:
        parts.append(f"thread={escape(source.thread_id)}")
    if is_per_user(source) and source.participant:
        parts.append(f"user={escape(source.participant)}")
    if source.account:
        parts.append(f"account={escape(source.account)}")
    if source.background:
        parts.append(f"background={escape(source.background)}")
    return ":".join(parts)


def is_per_user(source: SessionSource) -> bool:
    """Whether each person has their own session in this chat."""
    if source.background:
        return True
    if source.chat_type is ChatType.DM:
        return not source.chat_id
    if source.thread_id or source.chat_type is ChatType.THREAD:
        return bool(settings.THREAD_SESSIONS_PER_USER)
    return bool(settings.GROUP_SESSIONS_PER_USER)


def is_shared(source: SessionSource) -> bool:
    """Whether several people write in one session, so that each message must say whose it is."""
    return source.chat_type is not ChatType.DM and not is_per_user(source)


def delivery_key(*, platform: str, account: str, chat_id: str) -> str:
    """The lane of everything sent to one chat."""
    return ":".join((escape(platform), escape(account), escape(chat_id)))
