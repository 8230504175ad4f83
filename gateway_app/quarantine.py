"""Runs a script of ours on bytes from anybody, in a process of its own: what they break is not a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def read(script: str, *words: str, data: bytes, seconds: float) -> Any:
    """The JSON that `script` makes of `data`, or None where there is none. Blocks for `seconds` at most.

    The process can import installed packages and nothing of ours; the script limits its own memory and CPU time.
    """
    # Nothing of our environment, which holds secrets, but where Python finds its packages.
    environment = {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "PATH")}
    try:
        done = subprocess.run(  # noqa: S603 - our own file; what came goes in as input
            [sys.executable, "-P", "-s", script, *words],
            input=data,
            capture_output=True,
            timeout=seconds,
            env=environment,
            check=True,
        )
        return json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return None
