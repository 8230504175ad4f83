"""Brings the memory files of before Honcho to it: MEMORY.md and USER.md, and SOUL.md, each once.

They are the owner's, the one person whom honcho.json pins or gives an alias as `peerName`. Where it names nobody they
stay where they are: under whoever wrote first they would be a stranger's. What they say becomes conclusions, an entry
each. A conclusion that is there already is not made again, so that an upload whose end is not known can be repeated.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from gateway_app.config.errors import BadFile
from gateway_app.config.files import read_text
from gateway_app.statements import execute, insert
from gateway_app.worker.database import in_database

from . import client, configuration, fences
from .configuration import HonchoConfig
from .errors import HonchoError
from .manager import LONGEST_CONCLUSION
from .models import MemoryUpload
from .models.upload import UploadState
from .names import ai_peer_name, checked_id

if TYPE_CHECKING:
    from honcho.conclusions import ConclusionsView

log = logging.getLogger(__name__)

AGAIN = timedelta(hours=1)
"""After which an upload that failed is tried again."""
PAGE = 100
UNDER_WAY = "it is under way, or its worker died"
ENTRIES = re.compile(r"^\s*§\s*$|§|\n\s*\n", re.MULTILINE)
"""What stands between two entries: the sign that the files are written with, or an empty line."""


class File(NamedTuple):
    """A memory file, and what it is about."""

    name: str
    path: Path
    is_about_ai: bool


def files() -> tuple[File, ...]:
    """The files that are brought to Honcho where they are there."""
    home = settings.HERMES_HOME
    return (
        File("MEMORY.md", home / "memories" / "MEMORY.md", is_about_ai=False),
        File("USER.md", home / "memories" / "USER.md", is_about_ai=False),
        File("SOUL.md", home / "SOUL.md", is_about_ai=True),
    )


def owner(config: HonchoConfig) -> str:
    """The peer whose files they are; empty where the configuration names nobody."""
    is_named = config.pin_user_peer or config.peer_name in config.user_peer_aliases.values()
    return config.peer_name if is_named else ""


async def upload_due() -> None:
    """Uploads the files that were not, so far. Never raises but `django.db.Error`."""
    config = configuration.live()
    if not config.is_active or not owner(config):
        return
    for file in files():
        if file.path.is_file() and await in_database(_claim, file, config):
            await _upload(file, config)


def _claim(file: File, config: HonchoConfig) -> bool:
    """Whether the file is to be uploaded now, by this worker alone. Who dies with it leaves it to be tried again."""
    row = (config.workspace, owner(config), file.name, UploadState.FAILED.value, "", 0, UNDER_WAY)
    columns = ("workspace", "peer", "name", "state", "digest", "facts", "error")
    with transaction.atomic():
        (made,) = execute(insert(MemoryUpload, columns=columns, rows=[row], returning=("id",), ignore_conflicts=True))
    waited = _rows(file, config).filter(state=UploadState.FAILED, tried_at__lt=Now() - AGAIN)
    return bool(made) or bool(waited.update(tried_at=Now(), error=UNDER_WAY))


async def _upload(file: File, config: HonchoConfig) -> None:
    try:
        text = read_text(file.path) or ""
        found = entries(text)
        await client.run_writing(_write, found, file, config)
    except (BadFile, HonchoError) as error:
        log.warning("%s was not brought to Honcho: %s", file.name, error)
        await in_database(_note, file, config, state=UploadState.FAILED, error=str(error)[:200])
        return
    digest = hashlib.sha256(text.encode()).hexdigest()
    await in_database(_note, file, config, state=UploadState.DONE, digest=digest, facts=len(found))
    log.info("%s was brought to Honcho, as %d conclusions about %s.", file.name, len(found), _about(file, config))


def entries(text: str) -> list[str]:
    """The entries of a file, each once and none too long for a conclusion; without what looks like our own marks."""
    found: list[str] = []
    for entry in ENTRIES.split(fences.stripped(text)):
        words = entry.strip()
        found += [words[start : start + LONGEST_CONCLUSION] for start in range(0, len(words), LONGEST_CONCLUSION)]
    return list(dict.fromkeys(found))


def _write(found: list[str], file: File, config: HonchoConfig) -> None:
    """Makes a conclusion of each entry for which there is none."""
    from honcho.peer import Peer

    honcho = client.writing(config.workspace)
    person, about = checked_id(owner(config)), checked_id(_about(file, config))
    for peer in {person, about}:
        honcho.peer(peer)  # made where nobody has, so far
    observer = Peer(person, honcho)
    view = observer.conclusions_of(about) if about != person else observer.conclusions
    known = _known(view)
    missing = [entry for entry in found if entry not in known]
    for start in range(0, len(missing), PAGE):
        view.create([{"content": entry} for entry in missing[start : start + PAGE]])


def _known(view: ConclusionsView) -> set[str]:
    found: set[str] = set()
    page = view.list(size=PAGE)
    number = 1
    while True:
        found |= {each.content for each in page.items}
        if not page.has_next_page():
            return found
        number += 1
        page = view.list(page=number, size=PAGE)


def told() -> Iterator[str]:
    """How it stands with each file that is there, in lines."""
    config = configuration.live()
    for file in files():
        if not config.is_active or not file.path.is_file():
            continue
        row = _rows(file, config).first()
        if not owner(config):
            yield f"{file.name} stays here: honcho.json names nobody as its owner, by peerName."
        elif row is None:
            yield f"{file.name} is yet to be brought to Honcho."
        elif row.state == UploadState.DONE:
            yield f"{file.name} was brought to Honcho, as {row.facts} conclusions about {_about(file, config)}."
        else:
            yield f"{file.name} was not brought to Honcho so far: {row.error}"


def _about(file: File, config: HonchoConfig) -> str:
    """The peer that the file is about: the agent, as its owner wants it to be, or the owner."""
    return ai_peer_name(config) if file.is_about_ai else owner(config)


def _rows(file: File, config: HonchoConfig) -> QuerySet[MemoryUpload]:
    return MemoryUpload.objects.filter(workspace=config.workspace, peer=owner(config), name=file.name)


def _note(file: File, config: HonchoConfig, *, error: str = "", **values: object) -> None:
    _rows(file, config).update(error=error, tried_at=Now(), **values)
