"""`make bench`: every benchmark one after the other, or the one that is named, with its own options."""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.report import PARTS


def main() -> int:
    if sys.argv[1:] and sys.argv[1] in PARTS:
        return _run(sys.argv[1], *sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"One of them: {' or '.join(PARTS)}, then its options; `pipeline --help` lists those.",
    )
    parser.add_argument("--write", action="store_true", help="write the results to docs/benchmarks.md")
    options = parser.parse_args()
    return max(_run(part, *["--write"] * options.write) for part in PARTS)


def _run(part: str, *words: str) -> int:
    return subprocess.run([sys.executable, "-m", f"benchmarks.{part}", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
