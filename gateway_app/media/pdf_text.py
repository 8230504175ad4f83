"""The text of a PDF document: `python pdf_text.py <characters>` reads it and writes `{"text", "pages"}` as JSON.

It runs in a process of its own, without anything of ours in it, as pages of the web are read (`agent/page_text.py`): a
document that is made to take for ever costs this process and not a worker with hundreds of turns.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from typing import NamedTuple

CPU_SECONDS = 15
MEMORY_BYTES = 1024 * 1024 * 1024
WAIT_SECONDS = 25
"""For the process, which on a busy machine gets its CPU time late."""


class Document(NamedTuple):
    text: str
    pages: int


def read(pdf: bytes, *, most: int) -> Document | None:
    """The first `most` characters of its text; None where it could not be had. Blocks for WAIT_SECONDS at most."""
    from gateway_app import quarantine  # not above: the other process has nothing of ours

    found = quarantine.read(__file__, str(most), data=pdf, seconds=WAIT_SECONDS)
    return Document(found["text"], found["pages"]) if found else None


def extracted(pdf: bytes, *, most: int) -> Document:
    """What `read()` has another process do."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(pdf))
    text = ""
    for page in reader.pages:
        text += f"{page.extract_text()}\n\n"
        if len(text) > most:
            break
    return Document(text.strip()[:most], len(reader.pages))


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    found = extracted(sys.stdin.buffer.read(), most=int(sys.argv[1]))
    sys.stdout.write(json.dumps(found._asdict()))


if __name__ == "__main__":
    _main()
