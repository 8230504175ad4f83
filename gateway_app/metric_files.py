"""Where metrics live: two files per process, and an archive of what processes that are gone have counted.

prometheus_client never removes a process's counters, so without the archive the folder would grow with every
restart. A process keeps its lock file locked for as long as it lives; the kernel unlocks it however that ends. So
whoever can lock a file knows its process to be dead, also across containers and machines that share the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

log = logging.getLogger(__name__)

KINDS = ("counter", "histogram")
"""What `gateway_app.metrics` has, and so the files that a process needs."""
FILE_BYTES = 1 << 18
"""Reserved for each file, about a thousand series: on a disk that fills up, a write to an unreserved page of a
mapped file would kill the process."""
ARCHIVE = "0"
"""Stands for all dead processes in file names."""
TIDY_FROM = 64
"""Files from which a starting process merges; /metrics does so whenever it is read, where anything reads it."""
LOCK_SECONDS = 2.0
"""Longest wait for the folder's lock, which is held for milliseconds unless its holder was stopped."""


class _Own:
    """The files of the process `pid`; a forked child makes its own when it first counts."""

    folder: Path
    pid = 0
    identifier = ""
    lock: IO[str]


def claim(folder: Path) -> bool:
    """Makes this process's files in `folder` and has prometheus_client count in them; call before making metrics.

    False where the folder cannot be written to: then the process counts in memory, and /metrics of other processes
    does not show it. Counting must not be what keeps the gateway from working.
    """
    _Own.folder = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if len(list(folder.glob("*.db"))) >= TIDY_FROM:
            with merged(folder):
                pass
        _make_files()
    except OSError as error:
        log.warning("Metrics of this process are not shown: %s: %s.", folder, error.strerror or error)
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        values.ValueClass = values.MutexValue
        return False
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(process_identifier=_identifier)
    return True


@contextlib.contextmanager
def merged(folder: Path) -> Iterator[None]:
    """Merges the files of dead processes, and keeps the folder as it is for the block's length."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_exclusive(folder))
        except TimeoutError:
            log.warning("%s has been locked for %g s; its files are read as they are.", folder, LOCK_SECONDS)
        else:
            _merge_dead(folder)
        yield


def _identifier() -> str:
    if _Own.pid != os.getpid():
        _make_files()
    return _Own.identifier


def _make_files() -> None:
    """Reserves the files under a new name. The folder's lock keeps others from seeing them half made."""
    identifier = f"{os.getpid()}-{secrets.token_hex(4)}"
    with _exclusive(_Own.folder):
        lock = (_Own.folder / f"{identifier}.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for kind in KINDS:
            with (_Own.folder / f"{kind}_{identifier}.db").open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, FILE_BYTES)
    _Own.pid, _Own.identifier, _Own.lock = os.getpid(), identifier, lock


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_SECONDS
    with (folder / "folder.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"locked by another process for {LOCK_SECONDS:g} s") from None
                time.sleep(0.01)
        yield


def _merge_dead(folder: Path) -> None:
    _finish_interrupted(folder)
    dead = {path.name: owner for path in folder.glob("*.db") if _is_dead(folder, owner := _owner(path))}
    kinds = defaultdict(list)
    for name in sorted(dead):
        kinds[name.split("_")[0]].append(name)
    for kind, names in kinds.items():
        if kind == "gauge":  # says how something is, which a dead process does not know
            _remove(folder, names)
        else:
            _archive(folder, kind, names)
    for path in folder.glob("*.lock"):
        if path.name != "folder.lock" and _is_dead(folder, path.stem):
            path.unlink()


def _owner(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _is_dead(folder: Path, owner: str) -> bool:
    if owner == ARCHIVE:
        return False
    try:
        with (folder / f"{owner}.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _archive(folder: Path, kind: str, names: list[str]) -> None:
    """Adds the files up into the archive, each once even if this process is killed on the way.

    The note says which files the new archive contains, and is believed only if that archive took its place.
    """
    archive, draft, note = folder / f"{kind}_{ARCHIVE}.db", folder / f"{kind}.draft", folder / "merging.json"
    sums: dict[str, float] = defaultdict(float)
    for path in [archive, *(folder / name for name in names)]:
        try:
            for key, value in _read(path).items():
                sums[key] += value
        except FileNotFoundError:
            continue
        except Exception as error:  # such as after a power failure; what it raises depends on what is broken
            log.warning("%s is damaged (%s) and was removed.", path, type(error).__name__)
    draft.unlink(missing_ok=True)
    written = MmapedDict(str(draft))
    for key, value in sums.items():
        written.write_value(key, value, 0.0)
    written.close()
    note.write_text(json.dumps({"archive": archive.name, "inode": draft.stat().st_ino, "files": names}))
    draft.replace(archive)
    _remove(folder, names)
    note.unlink()


def _finish_interrupted(folder: Path) -> None:
    note = folder / "merging.json"
    try:
        found = json.loads(note.read_text())
        if (folder / found["archive"]).stat().st_ino == found["inode"]:
            _remove(folder, found["files"])
    except FileNotFoundError:
        pass
    except ValueError:
        log.warning("%s is damaged and was removed.", note)
    note.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, float]:
    if not path.stat().st_size:  # its process died while it was starting
        return {}
    return {key: value for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path))}


def _remove(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)
