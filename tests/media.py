"""What tests of media share: small files of each kind, and a cache of the test's own."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any
from unittest import TestCase

from django.conf import settings
from django.test import override_settings

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""One pixel."""
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + bytes(40) + b"\xff\xd9"
POLYGLOT = b"\xff\xd8\xff\xe0<html><script>alert(1)</script></html>"
"""An image to whoever looks at its first bytes, a page to whoever guesses."""
OGG = b"OggS\x00\x02" + bytes(22) + b"\x01\x13OpusHead" + bytes(60)
HTML = b"<!doctype html><script>alert(1)</script>"


def pdf(text: str) -> bytes:
    """A document of one page that says `text`."""
    content = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + b"xref\n0 6\n0000000000 65535 f \n%strailer\n<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(body),
    )


def use_media_folder(test: TestCase) -> Path:
    """A home of the test's own, with a cache in it; returns the home."""
    home = Path(test.enterContext(tempfile.TemporaryDirectory())).resolve()
    folder = home / "cache" / "media"
    storage: dict[str, Any] = settings.STORAGES["media"]
    changed = override_settings(
        HERMES_HOME=home,
        MEDIA_FOLDER=folder,
        STORAGES=settings.STORAGES | {"media": storage | {"OPTIONS": storage["OPTIONS"] | {"location": folder}}},
    )
    changed.enable()
    test.addCleanup(changed.disable)
    return home
