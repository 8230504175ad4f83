"""What the agent may send: lines `MEDIA:<reference or path>` of its reply, each judged before anything is read.

A reference is good in the sessions that the file belongs to. A path is good in the folders that the operator allows,
once every link on the way is followed, and what it leads to is copied at once: whoever changes the file afterwards, or
sends from another machine, changes nothing.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from gateway_app.config import live
from gateway_app.models import MediaFile

from . import cache
from .attachment import MediaProblem

MARK = "MEDIA:"
LINE = re.compile(r"[ ]{0,3}MEDIA:[ \t]*(\S.*?)[ \t]*")
FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})")
REFERENCE = re.compile(r"media_[0-9a-f]{24}")
PIECE_BYTES = 256 * 1024
NOT_YOURS = "there is no such file in this conversation"
NOT_HERE = "it is not in a folder that I may send from"
SECRETS = (
    "*.pem", "*.key", "*.p12", "*.pfx", "*.kdbx", "*.keystore", "*.sqlite3", "*.sqlite3-*", "id_rsa*", "id_ed25519*",
    "id_ecdsa*", "*credential*", "*secret*", "*password*", "auth.json", "config.yaml", "gateway.json", "*token*",
)  # fmt: skip
"""Names of files that are not sent from any folder, in any case."""


class Line(NamedTuple):
    """A line of a reply."""

    text: str
    wanted: str = ""
    """The file that it asks for; empty for all other lines."""


def lines(reply: str) -> list[Line]:
    """The lines of a reply. In code, and behind anything else on the line, `MEDIA:` is only a word."""
    found, fence = [], ""
    for text in reply.split("\n"):
        mark = FENCE.match(text)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and text.strip() == mark[1]:
            fence = ""
        asks = None if fence else LINE.fullmatch(text)
        found.append(Line(text, asks[1] if asks else ""))
    return found


def unasked(text: str) -> str:
    """What people see of a reply while it is written: no line that asks for a file, nor one that may become such."""
    if MARK not in text and not MARK.startswith(text.rpartition("\n")[2].lstrip(" ") or "-"):
        return text
    shown = [line.text for line in lines(text) if not line.wanted]
    if shown and MARK.startswith(shown[-1].strip() or "-"):
        shown.pop()
    return "\n".join(shown)


def name_of(wanted: str) -> str:
    """What a file that was asked for is called where it is not sent: not its path, which says how the machine looks."""
    return wanted.replace("\\", "/").rstrip("/").rpartition("/")[2][:80] or "file"


def referred(wanted: str, *, session_key: str) -> MediaFile | None:
    """The file of these sessions that a reference names, or a path in the cache; None for any other path.

    Asks the database. Raises `MediaProblem` for one that is not theirs, or is not kept.
    """
    if REFERENCE.fullmatch(wanted):
        found = cache.find(wanted, session_key=session_key)
    elif in_cache := _name_in_cache(wanted):
        found = MediaFile.objects.filter(stored_as=in_cache, session_key=session_key).first()
    else:
        return None
    if found is None or not cache.is_kept(found):
        raise MediaProblem(NOT_YOURS)
    return found


def _name_in_cache(wanted: str) -> str:
    path, folder = _resolved(wanted), settings.MEDIA_FOLDER.resolve()
    return path.relative_to(folder).as_posix() if path and path.is_relative_to(folder) else ""


def copy(wanted: str, *, spool: cache.Spool) -> None:
    """Reads the file at a path into `spool`. Blocks, and asks no database. Raises `MediaProblem`."""
    path = _resolved(wanted)
    roots = [(settings.HERMES_HOME / root).resolve() for root in live.config().media.outgoing_roots]
    root = next((root for root in roots if path and path.is_relative_to(root)), None)
    if path is None or root is None:
        raise MediaProblem(NOT_HERE)
    inner = path.relative_to(root)
    if any(step.startswith(".") for step in inner.parts):
        raise MediaProblem("hidden files are not sent")
    if any(fnmatch.fnmatchcase(inner.name.lower(), pattern) for pattern in SECRETS):
        raise MediaProblem("a file of this name may hold a secret, and is not sent")
    try:
        # O_NONBLOCK: a pipe must not keep us waiting. O_NOFOLLOW: a link that was put there since is not followed.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MediaProblem("there is no such file") from None
    except OSError:
        raise MediaProblem("it cannot be read") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise MediaProblem("it is no file")
    with os.fdopen(handle, "rb") as file:
        if _resolved(wanted) != path:
            raise MediaProblem(NOT_HERE)
        while piece := file.read(PIECE_BYTES):
            spool.write(piece)


def _resolved(wanted: str) -> Path | None:
    """The absolute path `wanted` without links; None for what is no such path."""
    if not wanted.startswith("/") or "\0" in wanted:
        return None
    try:
        return Path(wanted).resolve()
    except (OSError, RuntimeError):  # a circle of links
        return None
