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
import time
from pathlib import Path

from tests.postgres import postgres

ROOT = Path(__file__).resolve().parent.parent
CLOSING_LINE = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
DATABASES = ("sqlite", "postgresql")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    totals = [0, 0, 0]
    for database in DATABASES if options.database == "both" else [options.database]:
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(postgres()) if database == "postgresql" else ""
            counts = run(arguments, database_url=url)
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        passed, failed, skipped = counts
        seconds = time.monotonic() - started
        print(f"{database}: {passed} passed, {failed} failed, {skipped} skipped in {seconds:.0f} s\n", flush=True)
    passed, failed, skipped = totals
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


def run(arguments: list[str], *, database_url: str) -> tuple[int, int, int]:
    """Runs `manage.py test` and returns how many passed, failed and were skipped.

    A run that ends without its closing line, or with an exit code that contradicts it, counts as one failure.
    """
    variables = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if database_url:
        variables["DATABASE_URL"] = database_url
    command = [sys.executable, "manage.py", "test", "--no-input", *arguments, "--parallel", "--shuffle"]
    counts = None
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := CLOSING_LINE.match(line):
                    counts = (int(found[1]), int(found[2]), int(found[3]))
                else:
                    print(line, end="", flush=True)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
            counts = None
    passed, failed, skipped = counts or (0, 0, 0)
    if counts is None or (process.returncode and not failed):
        failed += 1
    return passed, failed, skipped


if __name__ == "__main__":
    sys.exit(main())
