"""What is made of names, first bytes, models' names and replies; nothing here needs a database."""

from __future__ import annotations

from django.test import SimpleTestCase

from gateway_app.config.schema.media import SEEING
from gateway_app.media import outgoing, sniffing, vision, voice
from gateway_app.media.attachment import Attachment, Kind, clean_name, described
from tests import media


class NameTests(SimpleTestCase):
    def test_a_name_is_one_line_without_folders_and_tricks(self) -> None:
        for name, shown in (
            ("plan.pdf", "plan.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\evil.exe", "evil.exe"),
            ("\u202egpj.exe", "gpj.exe"),
            ("a\x00b\nc.txt", "abc.txt"),
            (".bashrc", "bashrc"),
            ("[x]: y.txt", "(x): y.txt"),
            ("", "file"),
            ("...", "file"),
            ("x" * 500 + ".png", "x" * 116 + ".png"),
        ):
            self.assertEqual(clean_name(name), shown)

    def test_attachments_come_back_as_they_were_written(self) -> None:
        one = Attachment(kind=Kind.VOICE, name="a.ogg", file_id="x", size=5, album="7")
        self.assertEqual(Attachment.from_json(one.to_json() | {"new": 1}), one)
        self.assertEqual(described([one, one]), "[voice: a.ogg] [voice: a.ogg]")


class SniffingTests(SimpleTestCase):
    def test_a_file_is_what_its_first_bytes_say(self) -> None:
        for body, content_type, kind in (
            (media.PNG, "image/png", Kind.IMAGE),
            (media.POLYGLOT, "image/jpeg", Kind.IMAGE),
            (media.OGG, "audio/ogg", Kind.AUDIO),
            (media.HTML, "text/plain", Kind.DOCUMENT),
            (b"<svg xmlns='x'/>", "text/plain", Kind.DOCUMENT),
            (media.pdf("x"), "application/pdf", Kind.DOCUMENT),
            (b"BM" + bytes(60), "image/bmp", Kind.DOCUMENT),
            (bytes(60), "application/octet-stream", Kind.DOCUMENT),
            ("é".encode() * 3000 + b"\xc3", "text/plain", Kind.DOCUMENT),
        ):
            self.assertEqual(sniffing.sniff(body[: sniffing.HEAD_BYTES])[:2], (content_type, kind))

    def test_what_is_said_to_be_a_recording_is_one_only_if_it_is_a_sound(self) -> None:
        self.assertEqual(sniffing.sniff(media.OGG, is_voice=True).kind, Kind.VOICE)
        self.assertEqual(sniffing.sniff(media.HTML, is_voice=True).kind, Kind.DOCUMENT)


class UnaskedTests(SimpleTestCase):
    def test_a_line_that_asks_for_a_file_is_not_seen_while_it_is_written(self) -> None:
        reply = "Look:\nMEDIA:/tmp/plan.png\nDone."
        for end in range(len("Look:\nM"), len("Look:\nMEDIA:/tmp/plan.png") + 1):
            self.assertEqual(outgoing.unasked(reply[:end]), "Look:", reply[:end])
        self.assertEqual(outgoing.unasked(reply), "Look:\nDone.")
        self.assertEqual(outgoing.unasked("MEDIA:/tmp/plan.png"), "")

    def test_everything_else_is(self) -> None:
        for text in ("", "\n", "Look:\n", "Mark my words", "a MEDIA:/b", "```\nMEDIA:/b\n```", "Look:\nMEDIAN"):
            self.assertEqual(outgoing.unasked(text), text)


class VisionTests(SimpleTestCase):
    def test_models_are_known_by_their_names_whoever_serves_them(self) -> None:
        for model in (
            "gpt-4o",
            "GPT-5-mini",
            "anthropic/claude-sonnet-4",
            "google/gemini-3",
            "qwen2.5-vl-7b",
            "llava:7b",
        ):
            self.assertTrue(vision.sees(model, SEEING), model)
        for model in ("gpt-3.5-turbo", "llama-3.1-8b", "deepseek/deepseek-chat", "qwen3-4b"):
            self.assertFalse(vision.sees(model, SEEING), model)


class LineTests(SimpleTestCase):
    def test_only_a_line_of_its_own_outside_of_code_asks_for_a_file(self) -> None:
        for reply, wanted in (
            ("MEDIA:/a/b.png", ["/a/b.png"]),
            ("text\nMEDIA: /a/b c.png \nMEDIA:media_1", ["/a/b c.png", "media_1"]),
            ("```\nMEDIA:/a\n```\nMEDIA:/b", ["/b"]),
            ("````\n```\nMEDIA:/a\n```\n````\nMEDIA:/b", ["/b"]),
            ("~~~\nMEDIA:/a", []),
            ("see MEDIA:/a", []),
            ("> MEDIA:/a", []),
            ("    MEDIA:/a", []),
            ("`MEDIA:/a`", []),
            ("MEDIA:", []),
        ):
            self.assertEqual([line.wanted for line in outgoing.lines(reply) if line.wanted], wanted, reply)


class SpokenTests(SimpleTestCase):
    def test_marks_and_code_are_not_read_out(self) -> None:
        for text, spoken in (
            ("# Hello\n\n**bold** and `code`, [a link](http://a.b)", "Hello\n\nbold and code, a link"),
            ("- one\n- two", "one\ntwo"),
            ("```python\nx = 1\n```", ""),
            ("2 * 3 = 6", "2 * 3 = 6"),
        ):
            self.assertEqual(voice.spoken(text), spoken)
