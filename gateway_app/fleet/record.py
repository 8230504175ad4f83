"""The run record: which process serves an installation, and where its embedded services are found.

The settings read it, so this module imports nothing of Django.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

KIND = "up"
"""The management command whose process a record speaks of."""

MODEL_CHOICES = frozenset({"OPENAI_BASE_URL", "OPENAI_API_KEY"})
"""Whoever sets one of these has chosen a model."""
MODEL_SETTINGS = MODEL_CHOICES | {
    "HERMES_DEMONSTRATION_MODEL",
    "HERMES_MODEL",
    "HERMES_MODEL_CONTEXT_TOKENS",
    "HERMES_MODEL_MAX_OUTPUT_TOKENS",
    "HERMES_MODEL_TOOLS",
    "HERMES_SYSTEM_PROMPT",
}
"""What belongs to one model and would be wrong with another."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of the all-in-one.

    `started` is the process's start time as `started()` gives it, `site` the address of its pages, and
    `environment` the settings by which another process on this machine joins the run: addresses of its
    stores and its model, with passwords.
    """

    pid: int
    started: str
    kind: str
    site: str
    environment: dict[str, str]

    @classmethod
    def of_this_process(cls, *, site: str, environment: Mapping[str, str]) -> RunRecord:
        begun = started(os.getpid()) or ""
        return cls(pid=os.getpid(), started=begun, kind=KIND, site=site, environment=dict(environment))

    def joinable(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The part of `environment` that a process with `variables` lacks.

        Whoever has chosen a model gets nothing of the run's: a key must not go to another's address.
        """
        foreign = MODEL_SETTINGS if any(variables.get(name) for name in MODEL_CHOICES) else frozenset()
        wanted = self.environment.keys() - foreign
        return {name: self.environment[name] for name in wanted if not variables.get(name)}


def write(path: Path, record: RunRecord) -> None:
    """Puts `record` at `path` in one step, readable by its owner only, since it holds passwords."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(record), file)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def running(path: Path) -> RunRecord | None:
    """The record at `path` if the very process that wrote it still runs, else None: a missing file,
    a broken one, a process that ended, and another process that got its number are all the same."""
    record = _read(path)
    if record is None or record.kind != KIND or not record.started or started(record.pid) != record.started:
        return None
    words = command_line(record.pid)
    # Where the command line cannot be read, pid and start time are believed.
    return record if words is None or is_run(words) else None


def remove(path: Path) -> None:
    """Takes away this process's own record."""
    record = _read(path)
    if record is not None and record.pid == os.getpid():
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Holds the lock file `path` for the block's length; yields whether it could be had.

    The kernel drops the lock with the process, however that ends, and children do not inherit it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def started(pid: int) -> str | None:
    """When process `pid` began, in a form that no later process with this number shares; None if there is none.

    On Linux that is the boot's id and the kernel's own count, which a change of the clock does not move.
    """
    if not Path("/proc/self/stat").exists():
        return _started_elsewhere(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}/{ticks}"


def command_line(pid: int) -> list[str] | None:
    """The words process `pid` was started with; None where they cannot be read."""
    try:
        found = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return [os.fsdecode(word) for word in found.split(b"\0")] if found else None


def is_run(words: list[str]) -> bool:
    """Whether a command line is one of `manage.py up`."""
    return any(Path(word).name == "manage.py" and after == KIND for word, after in itertools.pairwise(words))


def _read(path: Path) -> RunRecord | None:
    try:
        found = json.loads(path.read_text())
        pid, environment = found["pid"], found["environment"]
        if not (isinstance(pid, int) and pid > 0 and isinstance(environment, dict)):
            return None
        texts = {name: str(found[name]) for name in ("started", "kind", "site")}
        return RunRecord(pid=pid, **texts, environment={str(name): str(value) for name, value in environment.items()})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _started_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except (psutil.Error, ValueError, OverflowError):
        return None
