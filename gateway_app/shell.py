"""Runs a command of the operator's in the shell, within bounds of time, output and environment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway_app.fleet.death import dying_with_parent

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What the command gets of the worker's environment, which holds the gateway's secrets too."""
LONGEST_OUTPUT = 64 * 1024
"""Bytes that are kept of each of its outputs; the rest is read and dropped, so that it is not held up."""
KILL_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the command ended."""

    code: int | None
    """Its exit code; negative where a signal ended it, None where it took too long."""
    output: str
    """What it wrote, or the errors that it wrote where it wrote nothing else."""


async def run(command: str, *, arguments: Sequence[str], folder: Path, seconds: float) -> Ended:
    """Runs `command` in `/bin/sh`, with `arguments` as its `$1`, `$2` …; kills it, and all that it started, at the end.

    Raises OSError where the shell cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        command,
        "sh",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: os.environ[name] for name in INHERITED if name in os.environ},
        cwd=folder,
        preexec_fn=dying_with_parent(),
        start_new_session=True,
    )
    assert process.stdout and process.stderr
    outputs = [bytearray(), bytearray()]
    readers = [
        asyncio.create_task(_read(stream, kept))
        for stream, kept in zip((process.stdout, process.stderr), outputs, strict=True)
    ]
    is_late = False
    try:
        async with asyncio.timeout(seconds):
            # Until its outputs are closed too: what it left running in the background may hold them.
            await asyncio.gather(process.wait(), *readers)
    except TimeoutError:
        is_late = process.returncode is None
    finally:
        await asyncio.shield(_end(process, readers))
    said, errors = (kept.decode("utf-8", "replace").strip() for kept in outputs)
    return Ended(code=None if is_late else process.returncode, output=said or errors)


async def _read(stream: asyncio.StreamReader, kept: bytearray) -> None:
    while piece := await stream.read(LONGEST_OUTPUT):
        kept += piece[: LONGEST_OUTPUT - len(kept)]


async def _end(process: Process, readers: Sequence[asyncio.Task[None]]) -> None:
    """Kills the command's process group; the shell's own end is waited for, so that no zombie stays."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), KILL_SECONDS)
