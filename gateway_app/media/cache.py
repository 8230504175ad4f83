"""The cache: bytes in the media storage, a row for each file. Synchronous.

A storage may be slow: what touches bytes is called in a thread, and not in one of the few that have the database.

A file's reference is made from where it came from, under a key of ours: fetching it once more, after a crash or by
another worker, leads to the same row and the same place, and nobody can guess it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from typing import BinaryIO, Self

from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models import Exists, OuterRef, Sum
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import salted_hmac

from gateway_app.config import live
from gateway_app.inbox import clean
from gateway_app.models import MediaFile, OutboundPart
from gateway_app.models.outbox import OPEN_STATES

from . import sniffing
from .attachment import MediaProblem, clean_name

log = logging.getLogger(__name__)

STORAGE = "media"
REFERENCE_CHARS = 24
PREFIX = "media_"
IN_MEMORY_BYTES = 1024 * 1024
"""A file on its way is in memory up to here, and in a temporary one beyond."""


class Spool:
    """A file on its way into the cache: counted, digested, and refused once it is too large."""

    def __init__(self, *, most: int) -> None:
        self.size = 0
        self.head = b""
        self._most = most
        self._digest = hashlib.sha256()
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - closed by close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, piece: bytes) -> None:
        """Raises `MediaProblem` beyond the cap; what came before it is not kept either."""
        self.size += len(piece)
        if self.size > self._most:
            raise MediaProblem(too_large(self.size, most=self._most))
        if len(self.head) < sniffing.HEAD_BYTES:
            self.head += piece[: sniffing.HEAD_BYTES - len(self.head)]
        self._digest.update(piece)
        self._file.write(piece)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def file(self) -> File[bytes]:
        """All of it, from the beginning."""
        self._file.seek(0)
        return File(self._file)


def too_large(size: int, *, most: int) -> str:
    """Why a file of `size` bytes is not taken."""
    return f"it has more than {shown_size(most)}, the most that I take" if size else "it is too large"


def shown_size(size: int) -> str:
    """`size` bytes for people."""
    for unit, count in (("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)):
        if size >= count:
            return f"{size / count:.3g} {unit}"
    return f"{size} bytes"


def storage() -> Storage:
    return storages[STORAGE]


def reference_for(origin: str, *, session_key: str) -> str:
    """What a file that came from `origin` in a session of `session_key` is called. The same for the same."""
    digest = salted_hmac("gateway_app.media", f"{len(session_key)}/{session_key}/{origin}", algorithm="sha256")
    return PREFIX + digest.hexdigest()[:REFERENCE_CHARS]


def find(reference: str, *, session_key: str) -> MediaFile | None:
    """The file, where it is one of these sessions'; whether its bytes are still there is another question."""
    return MediaFile.objects.filter(reference=reference, session_key=session_key).first()


def check_room(size: int, *, platform: str, user_id: str) -> None:
    """Raises `MediaProblem` where a file of `size` bytes is more than one person's files may take together."""
    kept = MediaFile.objects.filter(platform=platform, user_id=user_id, removed_at__isnull=True)
    if (kept.aggregate(sum=Sum("size"))["sum"] or 0) + size > live.config().media.person_max_bytes:
        raise MediaProblem("you have sent me more files lately than I can keep at once")


def is_kept(found: MediaFile) -> bool:
    return found.removed_at is None and found.expires_at > timezone.now()


def store(
    spool: Spool, *, origin: str, session_key: str, platform: str, user_id: str, name: str, is_voice: bool = False
) -> MediaFile:
    """Puts the bytes into the storage; `record()` what is returned. Asks no database, and may take long.

    Raises `MediaProblem` for a file that is empty or cannot be stored.
    """
    if not spool.size:
        raise MediaProblem("it is empty")
    found = sniffing.sniff(spool.head, is_voice=is_voice)
    reference = reference_for(origin, session_key=session_key)
    folder = hashlib.sha256(session_key.encode("utf-8", "replace")).hexdigest()[:32]
    return MediaFile(
        reference=reference,
        session_key=session_key,
        platform=platform,
        user_id=user_id,
        name=clean_name(clean(name), default=found.kind.value),
        kind=found.kind.value,
        content_type=found.content_type,
        size=spool.size,
        sha256=spool.sha256,
        stored_as=_store(spool, f"{folder}/{reference}{found.ending}"),
        expires_at=timezone.now() + timedelta(hours=live.config().media.keep_hours),
    )


RECORDED = (
    "session_key", "platform", "user_id", "name", "kind", "content_type", "size", "sha256", "stored_as", "expires_at",
    "removed_at",
)  # fmt: skip


def record(stored: MediaFile) -> MediaFile:
    """Writes the file's row, or brings the one up to date that the same file has already."""
    with transaction.atomic():
        found, _ = MediaFile.objects.update_or_create(
            reference=stored.reference, defaults={name: getattr(stored, name) for name in RECORDED}
        )
    return found


def _store(spool: Spool, name: str) -> str:
    kept = storage()
    try:
        if kept.exists(name):
            kept.delete(name)  # of an attempt that ended before its row, or let go of meanwhile
        return kept.save(name, spool.file())
    except OSError as error:
        log.error("The media storage does not take %s: %s", name, error.strerror or type(error).__name__)
        raise MediaProblem("it could not be stored here") from None


@contextlib.contextmanager
def opened(found: MediaFile) -> Iterator[BinaryIO]:
    """The file's bytes. Raises `MediaProblem` where they are not there any more."""
    if not is_kept(found):
        raise MediaProblem("it is not kept any more")
    try:
        file = storage().open(found.stored_as)
    except OSError as error:
        log.warning("The media storage does not have %s (%s).", found.stored_as, type(error).__name__)
        raise MediaProblem("it is not kept any more") from None
    with file:
        yield file  # type: ignore[misc]


def read(found: MediaFile, *, most: int) -> bytes:
    """The first `most` bytes of it. Raises `MediaProblem` as `opened()` does."""
    with opened(found) as file:
        return file.read(most)


def due(*, limit: int) -> list[MediaFile]:
    """Files whose time is over, and which no part waits to be sent with."""
    waiting = OutboundPart.objects.filter(media=OuterRef("pk"), state__in=[*OPEN_STATES])
    over = MediaFile.objects.filter(removed_at__isnull=True, expires_at__lte=timezone.now()).exclude(Exists(waiting))
    return list(over.order_by("expires_at")[:limit])


def remove(found: MediaFile) -> bool:
    """Lets go of a file's bytes; false where the storage does not."""
    try:
        storage().delete(found.stored_as)
    except OSError as error:
        log.error("The media storage does not let go of %s: %s", found.stored_as, error.strerror)
        return False
    return True


def note_removed(found: MediaFile) -> None:
    """Unless it was fetched again meanwhile, which puts its end off."""
    MediaFile.objects.filter(pk=found.pk, expires_at=found.expires_at).update(removed_at=Now())
