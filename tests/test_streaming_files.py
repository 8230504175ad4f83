"""A reply that asks for files and is shown while it is written: the lines that ask are never seen, and nothing of the
preview is left that the reply has not.
"""

from __future__ import annotations

from pathlib import Path

from gateway_app.models import OutboundPart
from gateway_app.turns import runner
from tests import media
from tests.streaming_case import CHAT, STORY, StreamingCase


class StreamedFileTests(StreamingCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = media.use_media_folder(self)

    def picture(self) -> Path:
        path = self.home / "outbox" / "a.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(media.PNG)
        return path

    def test_files_follow_the_reply_which_takes_the_previews_place(self) -> None:
        self.write(f"{STORY}\nMEDIA:{self.picture()}\n{STORY * 3}", piece_delay=0.03)
        self.ask("a picture story")
        self.answer_chat()
        story, photo = self.peer.messages(chat_id=CHAT)
        self.assertEqual((story["shown"], photo["method"]), (f"{STORY}\n{STORY * 3}".strip(), "sendPhoto"))
        self.assertGreater(len(story["history"]), 1)
        for text in self.history():
            self.assertNotIn("MEDIA", text)
        self.assertEqual(
            list(OutboundPart.objects.order_by("seq").values_list("replaces", "removes")),
            [(str(story["message_id"]), ""), ("", "")],
        )

    def test_a_reply_of_files_alone_takes_the_preview_out(self) -> None:
        # What was written before is not what the model says when it is asked once more.
        self.write(cut="drop", cut_after=30)
        self.write(f"MEDIA:{self.picture()}")
        self.ask("a picture")
        self.answer_chat()
        story, photo = self.peer.messages(chat_id=CHAT)
        self.assertTrue(story["deleted_at"])
        self.assertEqual((photo["method"], photo["bytes"]), ("sendPhoto", media.PNG))
        part = OutboundPart.objects.get()
        self.assertEqual((part.replaces, part.removes), ("", str(story["message_id"])))

    def test_a_stop_shows_no_line_that_asks_for_a_file(self) -> None:
        self.write(f"{STORY}\nMEDIA:/tmp/plan.png\n{STORY * 40}", piece_delay=0.05)
        self.ask("a story")
        self.answer_chat(self.until_shown(f"{STORY}\nOnce upon"), lambda: self.ask("/stop"))
        self.deliver()
        shown = self.peer.shown(CHAT)
        self.assertTrue(shown[0].endswith(runner.STOPPED), shown)
        self.assertNotIn("MEDIA", shown[0])
