"""Files from the agent to a person, and spoken replies: the whole road, against the peers."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from gateway_app.models import MediaFile, OutboundPart, TranscriptMessage, VoiceChoice
from gateway_app.turns import runner
from tests import media, pipeline
from tests.configuration import configured
from tests.pipeline_case import Killed, expire_leases
from tests.test_media_in import TelegramMediaCase


class OutgoingCase(TelegramMediaCase):
    def setUp(self) -> None:
        super().setUp()
        self.outbox = self.home / "outbox"
        self.outbox.mkdir()

    def file(self, name: str, body: bytes = media.PNG) -> Path:
        path = self.outbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return path

    def say(self, reply: str, *, chat: int = 501) -> list[dict[str, object]]:
        """The agent answers `reply`; what came of it."""
        self.model.script.set()
        self.model.script.add(answer=reply)
        before = len(self.telegram.messages())
        self.telegram.push_text("please", chat_id=chat, user_id=chat)
        self.take()
        return self.telegram.messages(since=before)

    def assert_refused(self, wanted: str, reason: str) -> None:
        """Nothing is sent but the text, and the person, the model and the log know why."""
        with self.assertLogs("gateway_app.turns.enclosures", "WARNING"):
            (message,) = self.say(f"Here:\nMEDIA:{wanted}\nBye")
        self.assertNotIn("MEDIA:", str(message["text"]))
        self.assertIn("I could not attach", str(message["text"]))
        self.assertIn(reason, str(message["text"]))
        newest = TranscriptMessage.objects.filter(role="assistant").order_by("-id")[0]
        self.assertIn(reason, newest.content)


class Sending(OutgoingCase):
    def test_files_follow_the_text_in_order_each_as_what_it_is(self) -> None:
        paths = [self.file("a.png"), self.file("b.bin", b"\x00\x01"), self.file("c.mp3", b"ID3\x03" + bytes(300))]
        paths += [self.file("d.jpg", media.HTML)]
        found = self.say("Look:\n" + "\n".join(f"MEDIA:{path}" for path in paths) + "\nDone.")
        self.assertEqual(found[0]["text"], "Look:\nDone.")
        self.assertEqual(
            [(each["method"], each["file_name"], each["bytes"]) for each in found[1:]],
            [
                ("sendPhoto", "a.png", media.PNG),
                ("sendDocument", "b.bin", b"\x00\x01"),
                ("sendAudio", "c.mp3", b"ID3\x03" + bytes(300)),
                ("sendDocument", "d.jpg", media.HTML),
            ],
        )
        self.assertEqual(set(pipeline.outbound_states()), {"sent"})
        self.assertEqual(OutboundPart.objects.exclude(media=None).order_by("seq")[0].text, "[image: a.png]")

    def test_a_picture_that_telegram_does_not_show_as_one_goes_as_a_document(self) -> None:
        self.telegram.fault(
            "error", method="sendPhoto", status=400, description="Bad Request: PHOTO_INVALID_DIMENSIONS"
        )
        (found,) = self.say(f"MEDIA:{self.file('a.png')}")
        self.assertEqual((found["method"], found["bytes"]), ("sendDocument", media.PNG))
        self.assertEqual(OutboundPart.objects.get().attempts, 1)

    def test_a_line_in_code_or_within_a_sentence_is_only_text(self) -> None:
        path = self.file("a.png")
        reply = f"```\nMEDIA:{path}\n```\nWrite MEDIA:{path} yourself.\n> MEDIA:{path}"
        (message,) = self.say(reply)
        self.assertEqual(str(message["shown"]).count("MEDIA:"), 3)

    def test_a_file_that_somebody_sent_can_be_sent_back_to_them_and_to_nobody_else(self) -> None:
        self.telegram.push_file("photo", media.PNG)
        self.take()
        reference = MediaFile.objects.get().reference
        (photo,) = self.say(f"MEDIA:{reference}")
        self.assertEqual((photo["method"], photo["bytes"]), ("sendPhoto", media.PNG))
        (theirs,) = self.say(f"MEDIA:{reference}", chat=502)
        self.assertIn("there is no such file in this conversation", str(theirs["text"]))
        path = self.home / "cache" / "media" / MediaFile.objects.get().stored_as
        (mine,) = self.say(f"MEDIA:{path}")
        self.assertEqual(mine["bytes"], media.PNG)
        (theirs,) = self.say(f"MEDIA:{path}", chat=502)
        self.assertIn("there is no such file in this conversation", str(theirs["text"]))

    def test_what_is_not_allowed_is_refused_and_told_of(self) -> None:
        secret = self.home / "config.yaml"
        secret.write_text("token: 1")
        (self.outbox / "link").symlink_to(secret)
        (self.outbox / "circle").symlink_to(self.outbox / "circle")
        os.mkfifo(self.outbox / "pipe")
        outside = "it is not in a folder that I may send from"
        for wanted, reason in (
            ("/etc/passwd", outside),
            (str(secret), outside),
            (str(self.outbox / ".." / "config.yaml"), outside),
            (str(self.outbox / "link"), outside),
            (str(self.outbox / "circle"), outside),
            ("relative.png", outside),
            (str(self.file(".env")), "hidden files are not sent"),
            (str(self.file(".ssh/key.png")), "hidden files are not sent"),
            (str(self.file("My-Credentials.txt")), "may hold a secret"),
            (str(self.outbox / "pipe"), "it is no file"),
            (str(self.outbox), "it is no file"),
            (str(self.outbox / "none.png"), "there is no such file"),
            (str(self.file("empty.png", b"")), "it is empty"),
        ):
            with self.subTest(wanted):
                self.assert_refused(wanted, reason)
        with configured(media={"max_bytes": 10}):
            self.assert_refused(str(self.file("big.png")), "it has more than 10 bytes")
        self.assertFalse(MediaFile.objects.exists())

    def test_a_file_that_changed_since_or_went_is_sent_as_it_was(self) -> None:
        path = self.file("a.png")

        def die(*args: object) -> None:
            path.unlink()
            raise Killed

        with mock.patch.object(runner, "close", die), self.assertRaises(Killed):
            self.say(f"MEDIA:{path}")
        expire_leases()
        self.say(f"MEDIA:{path}")
        self.assertEqual([each.get("bytes") for each in self.telegram.messages()], [media.PNG, None])
        self.assertEqual(MediaFile.objects.count(), 1)

    def test_a_photo_that_telegram_does_not_show_is_sent_as_a_document(self) -> None:
        self.telegram.fault(
            "error", method="sendPhoto", status=400, description="Bad Request: PHOTO_INVALID_DIMENSIONS"
        )
        (found,) = self.say(f"MEDIA:{self.file('a.png')}")
        self.assertEqual((found["method"], found["bytes"]), ("sendDocument", media.PNG))

    def test_a_send_whose_outcome_is_unknown_is_repeated_visibly(self) -> None:
        self.telegram.fault("drop", method="sendPhoto", times=1)
        self.say(f"MEDIA:{self.file('a.png')}")
        OutboundPart.objects.update(next_attempt_at=None)
        self.deliver()
        first, second = self.telegram.messages()
        self.assertEqual(first["caption"], "")
        self.assertIn("this may be a repetition", str(second["caption"]))

    def test_a_file_that_is_gone_when_it_is_sent_is_told_of(self) -> None:
        self.telegram.fault("error", method="sendPhoto", status=500, times=1)
        self.say(f"MEDIA:{self.file('a.png')}")
        MediaFile.objects.update(removed_at="2026-01-01T00:00Z")
        OutboundPart.objects.update(next_attempt_at=None)
        self.deliver()
        self.assertEqual(self.telegram.texts(), ["⚠️ [image: a.png] could not be sent: it is not kept any more."])

    def test_a_chat_that_takes_no_files_gets_the_reason(self) -> None:
        pipeline.accept("please")
        self.model.script.add(answer=f"MEDIA:{self.file('a.png')}")
        self.answer()
        self.assertIn("no files can be sent to this chat", self.platform.texts[0])


class Speaking(OutgoingCase):
    def command(self, text: str) -> str:
        self.telegram.push_text(text)
        self.take()
        return self.telegram.texts()[-1]

    def test_voice_is_chosen_for_a_conversation_and_outlasts_its_sessions(self) -> None:
        self.assertIn("not set up", self.command("/voice all"))
        with configured(tts={"enabled": True}):
            self.assertIn("no way to answer", self.command("/voice loud"))
            self.assertIn("all my answers", self.command("/voice all"))
            self.command("/new")
            self.assertIn("I speak all my answers here", self.command("/voice"))
            _, voice = self.say("**Hello** [there](http://a.b)\n```\ncode\n```")
            self.assertEqual((voice["method"], voice["bytes"]), ("sendVoice", self.model.sound))
            self.assertEqual(self.model.audio[-1]["input"], "Hello there")
            self.assertEqual(len(self.say("hi", chat=502)), 1)
            self.command("/voice off")
            self.assertFalse(VoiceChoice.objects.exists())

    def test_on_answers_voice_with_voice(self) -> None:
        with configured(tts={"enabled": True}, stt={"enabled": True}):
            self.command("/voice on")
            self.assertEqual(len(self.say("hi")), 1)
            before = len(self.telegram.messages())
            self.telegram.push_file("voice", media.OGG)
            self.take()
            self.assertEqual([each.get("method") for each in self.telegram.messages(since=before)], [None, "sendVoice"])

    def test_a_server_that_cannot_speak_costs_no_text(self) -> None:
        with configured(tts={"enabled": True}):
            self.command("/voice all")
            self.model.audio_status = 500
            (text,) = self.say("hello")
            self.assertEqual(text["text"], "hello")
            self.model.audio_status, self.model.sound = 200, b""
            (text,) = self.say("hello again")
            with configured(tts={"max_chars": 3}):
                (text,) = self.say("too long to speak")
        self.assertEqual(text["text"], "too long to speak")
