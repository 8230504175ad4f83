"""`python -m tests`: the whole suite on SQLite, then on a PostgreSQL server of its own, and one total.

Arguments other than `--database` go to `manage.py test`, for example test labels, `-k` or `-v 2`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from gateway_app.fleet.death import dying_with_parent
from tests.postgres import postgres

THOROUGH = "TESTS_THOROUGH"
"""Set for the processes that run tests; see `tests.dear`."""
ROOT = Path(__file__).resolve().parent.parent
CLOSING_LINE = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
DATABASES = ("sqlite", "postgresql")
PROCESSES = max(2, (os.cpu_count() or 1) * 3 // 2)
"""That run tests: more than cores, since tests wait for others' processes a third of the time."""
STOP_SECONDS = 10
"""How long a run that is cut off may take to report what it has."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument(
        "--thorough", action="store_true", help="run the dearest tests on both databases, and not each on one"
    )
    options, arguments = parser.parse_known_args()
    if options.thorough:
        os.environ[THOROUGH] = "1"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    passed = failed = skipped = 0
    try:
        for database in DATABASES if options.database == "both" else [options.database]:
            counts = run_on(database, arguments)
            passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    except KeyboardInterrupt:
        print("The run was cut off, which counts as a failure.")
        failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


def run_on(database: str, arguments: list[str]) -> tuple[int, int, int]:
    """Runs the suite on one database and returns how many tests passed, failed and were skipped."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        variables = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        if database == "postgresql":
            variables["DATABASE_URL"] = stack.enter_context(postgres())
        # Whatever a test leaves behind goes with this folder.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-tests-"))
        Path(folder).chmod(0o711)  # root's PostgreSQL runs as another user, who must reach its own folder below
        variables["TMPDIR"] = folder
        passed, failed, skipped = run(arguments, variables=variables)
    seconds = time.monotonic() - started
    print(f"{database}: {passed} passed, {failed} failed, {skipped} skipped in {seconds:.0f} s\n", flush=True)
    return passed, failed, skipped


def run(arguments: list[str], *, variables: dict[str, str]) -> tuple[int, int, int]:
    """Runs `manage.py test` and returns its counts.

    A run that ends without its closing line, or with an exit code that contradicts it, counts as one failure.
    """
    spread = ["--parallel", str(PROCESSES), "--shuffle"]
    command = [sys.executable, "manage.py", "test", "--no-input", *arguments, *spread]
    counts = None
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=dying_with_parent(),
    )
    assert process.stdout is not None
    # A process that a test forgot would hold the output open for ever.
    threading.Thread(target=end_with_children, args=[process], daemon=True).start()
    try:
        for line in process.stdout:
            if found := CLOSING_LINE.match(line):
                counts = (int(found[1]), int(found[2]), int(found[3]))
            else:
                print(line, end="", flush=True)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS)
        process.kill()
        raise
    process.wait()
    passed, failed, skipped = counts or (0, 0, 0)
    if counts is None or (process.returncode and not failed):
        failed += 1
    return passed, failed, skipped


def end_with_children(process: subprocess.Popen[str]) -> None:
    """Waits for `process` and then kills what is left of its session."""
    process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
