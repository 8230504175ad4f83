"""The text of an HTML page: `python page_text.py [charset]` reads the page and writes `{"title", "text"}` as JSON.

It runs in a process of its own, without anything of ours in it: pages come from anybody, and one that is made to take
for ever, or to bring the parser down, costs this process and not a worker with hundreds of turns.
"""

from __future__ import annotations

import codecs
import json
import resource
import sys
from typing import NamedTuple

CPU_SECONDS = 10
MEMORY_BYTES = 1024 * 1024 * 1024
WAIT_SECONDS = 15
"""For the process, which on a busy machine gets its CPU time late."""
SHORTEST_ARTICLE = 500
"""Characters below which the main part of a page is not trusted to be that, and all of it is taken."""
LONGEST_TITLE = 300


class Page(NamedTuple):
    """A page as people read it."""

    title: str
    text: str


def read(html: bytes, *, charset: str = "") -> Page | None:
    """The page's text, main part first; None where it could not be had. Blocks for WAIT_SECONDS at most."""
    from gateway_app import quarantine  # not above: the other process has nothing of ours

    found = quarantine.read(__file__, charset, data=html, seconds=WAIT_SECONDS)
    return Page(found["title"], found["text"]) if found else None


def extracted(html: bytes, *, charset: str) -> Page:
    """What `read()` has another process do."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    from resiliparse.parse.html import HTMLTree

    try:
        codecs.lookup(charset)
    except LookupError:
        charset = str(detect_encoding(html, from_html_meta=True))
    tree = HTMLTree.parse(bytes_to_str(html, charset))
    text = extract_plain_text(tree, main_content=True, links=True)
    if len(text) < SHORTEST_ARTICLE:
        text = extract_plain_text(tree, main_content=False, links=True)
    return Page(" ".join((tree.title or "").split())[:LONGEST_TITLE], text.strip())


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    found = extracted(sys.stdin.buffer.read(), charset=sys.argv[1])
    sys.stdout.write(json.dumps(found._asdict()))


if __name__ == "__main__":
    _main()
