"""Uploads, and the files that a page shows: whose they are, and that none of them is ever a page."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.test import AsyncClient
from django.utils import timezone

from gateway_app.media import cache
from gateway_app.models import InboundMessage, MediaFile
from gateway_app.platforms.webchat import conversations, files
from gateway_app.sessions.key import session_key
from gateway_app.turns.opening import claim_and_open
from tests import media
from tests.configuration import configured

from .case import web_process
from .test_views import ViewCase


class FileCase(ViewCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = media.use_media_folder(self)

    async def upload(
        self, client: AsyncClient, body: bytes, *, name: str = "a.png", chat: str = "", **more: str
    ) -> Any:
        number = await MediaFile.objects.acount()
        query = "&".join([f"name={name}", *(f"{key}={value}" for key, value in more.items())])
        url = f"/chat/{chat or self.chat}/upload/upload-{number:04}?{query}"
        return await client.post(url, body, content_type="application/octet-stream")

    async def uploaded(self, body: bytes = media.PNG, **values: Any) -> str:
        """The reference of a file that Ann uploads."""
        response = await self.upload(await self.as_ann(), body, **values)
        self.assertEqual(response.status_code, 201, response.content)
        return str(response.json()["file"]["id"])

    async def get(self, client: AsyncClient, reference: str, *, chat: str = "", **headers: str) -> Any:
        response = await client.get(f"/chat/{chat or self.chat}/media/{reference}", headers=headers)
        if response.streaming:
            response.body = b"".join([piece async for piece in response.streaming_content])
        return response


class UploadTests(FileCase):
    async def test_a_message_comes_with_what_was_uploaded_for_it(self) -> None:
        client = await self.as_ann()
        references = [await self.uploaded(), await self.uploaded(b"hello", name="notes.txt")]
        async with web_process():
            response = await self.post(client, text="", files=references)
        self.assertEqual(response.status_code, 202, response.content)
        item = response.json()["item"]
        self.assertEqual((item["text"], [each["id"] for each in item["files"]]), ("", references))
        self.assertEqual(item["files"][0], {"id": references[0], "name": "a.png", "kind": "image", "size": "70 bytes"})
        row = await InboundMessage.objects.aget()
        self.assertEqual(row.text, "[image: a.png] [document: notes.txt]")
        turn = await sync_to_async(claim_and_open)(
            session_key=(await MediaFile.objects.afirst()).session_key  # type: ignore[union-attr]
        )
        assert turn
        self.assertEqual([each.reference for each in turn.messages[0].attachments], references)

    async def test_what_cannot_be_taken_is_refused_with_a_reason(self) -> None:
        client = await self.as_ann()
        with configured(media={"max_bytes": 1000}):
            for body, reason in ((b"", "it is empty"), (bytes(2000), "more than 1000 bytes")):
                response = await self.upload(client, body)
                self.assertEqual(response.status_code, 400)
                self.assertIn(reason, response.json()["error"])
        with configured(media={"person_max_bytes": 1000}):
            response = await self.upload(client, bytes(2000))
            self.assertIn("more files lately", response.json()["error"])
        response = await client.post(f"/chat/{self.chat}/upload/short?name=a", b"x", content_type="text/plain")
        self.assertEqual(response.status_code, 400)
        bob = AsyncClient()
        await bob.aforce_login(self.bob)
        self.assertEqual((await self.upload(bob, b"x", chat=self.bobs_chat)).status_code, 403)
        self.assertEqual((await self.upload(bob, b"x")).status_code, 404)
        self.assertEqual((await self.upload(AsyncClient(), b"x")).status_code, 401)
        self.assertFalse(await MediaFile.objects.aexists())

    async def test_a_name_leads_nowhere(self) -> None:
        await self.uploaded(name="..%2F..%2F..%2Fetc%2Fpasswd%00.png")
        file = await MediaFile.objects.aget()
        self.assertEqual(file.name, "passwd.png")
        kept = [path for path in self.home.rglob("*") if path.is_file()]
        self.assertEqual(
            [path.relative_to(self.home / "cache" / "media").as_posix() for path in kept], [file.stored_as]
        )
        self.assertEqual(kept[0].stat().st_mode & 0o777, 0o600)

    async def test_nobody_can_send_what_another_person_or_conversation_has(self) -> None:
        reference = await self.uploaded()
        other = await sync_to_async(conversations.WebConversation.objects.create)(owner=self.ann)
        bob = AsyncClient()
        await bob.aforce_login(self.bob)
        with configured(access={"platforms": {"webchat": {"allowed_users": ("ann", "bob")}}}):
            for client, chat in ((await self.as_ann(), other.chat_id), (bob, self.bobs_chat)):
                for files_ in ([reference], ["media_" + "0" * 24], [1], "x", [reference] * 11):
                    response = await self.post(client, chat, text="look", files=files_)
                    self.assertEqual(response.status_code, 400, files_)
        self.assertFalse(await InboundMessage.objects.aexists())

    async def test_an_upload_that_is_repeated_is_one_file(self) -> None:
        client = await self.as_ann()
        url = f"/chat/{self.chat}/upload/upload-same?name=a.png"
        first, again = [await client.post(url, media.PNG, content_type="application/octet-stream") for _ in "ab"]
        self.assertEqual(first.json(), again.json())
        self.assertEqual(await MediaFile.objects.acount(), 1)

    def test_only_a_ticket_of_ours_lets_large_requests_in(self) -> None:
        given = files.ticket(self.ann)
        with configured(media={"max_bytes": 5_000_000}):
            self.assertGreater(files.body_limit(given) or 0, 5_000_000)
        for wrong in ("", "1", f"{given}x", given.replace(str(self.ann.pk), "0", 1)):
            self.assertIsNone(files.body_limit(wrong), wrong)


class MediaTests(FileCase):
    async def test_images_and_sounds_are_shown_and_all_else_is_saved(self) -> None:
        client = await self.as_ann()
        for body, name, content_type, disposition in (
            (media.PNG, "a.html", "image/png", "inline"),
            (media.POLYGLOT, "cat.jpg", "image/jpeg", "inline"),
            (media.OGG, "a.ogg", "audio/ogg", "inline"),
            (media.HTML, "cat.jpg", "application/octet-stream", "attachment"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "application/octet-stream", "attachment"),
            (media.pdf("x"), "a.pdf", "application/octet-stream", "attachment"),
        ):
            with self.subTest(name):
                response = await self.get(client, await self.uploaded(body, name=name))
                self.assertEqual((response.status_code, response.body), (200, body))
                self.assertEqual(response["Content-Type"], content_type)
                self.assertTrue(response["Content-Disposition"].startswith(f'{disposition}; filename="{name}"'))
                self.assertEqual(response["X-Content-Type-Options"], "nosniff")
                self.assertIn("sandbox", response["Content-Security-Policy"])
                self.assertIn("private", response["Cache-Control"])

    async def test_a_file_is_given_to_its_owner_in_its_conversation_alone(self) -> None:
        reference = await self.uploaded()
        ann, bob = await self.as_ann(), AsyncClient()
        await bob.aforce_login(self.bob)
        other = await sync_to_async(conversations.WebConversation.objects.create)(owner=self.ann)
        for client, chat, status in (
            (ann, self.chat, 200),
            (ann, other.chat_id, 404),
            (bob, self.chat, 404),
            (bob, self.bobs_chat, 404),
            (AsyncClient(), self.chat, 401),
        ):
            self.assertEqual((await self.get(client, reference, chat=chat)).status_code, status)
        file = await MediaFile.objects.aget()
        for key, status in ((f"{file.session_key}:user=ann:background=0a1b2c", 200), (f"{file.session_key}x", 404)):
            await MediaFile.objects.aupdate(session_key=key)
            self.assertEqual((await self.get(ann, reference)).status_code, status)

    async def test_a_file_that_is_over_or_lost_is_not_found(self) -> None:
        client = await self.as_ann()
        over, lost = await self.uploaded(), await self.uploaded(media.JPEG)
        await MediaFile.objects.filter(reference=over).aupdate(expires_at=timezone.now())
        await sync_to_async(cache.storage().delete)((await MediaFile.objects.aget(reference=lost)).stored_as)
        self.assertEqual((await self.get(client, over)).status_code, 404)
        self.assertEqual((await self.get(client, lost)).status_code, 404)
        self.assertEqual((await self.post(client, text="look", files=[over])).status_code, 400)

    async def test_a_player_may_ask_for_a_part(self) -> None:
        client = await self.as_ann()
        reference, body = await self.uploaded(media.OGG), media.OGG
        for wanted, status, part in (
            ("bytes=0-3", 206, body[:4]),
            ("bytes=4-", 206, body[4:]),
            ("bytes=-5", 206, body[-5:]),
            ("bytes=0-99999", 206, body),
            ("bytes=99999-", 416, b""),
            ("pages=1-2", 200, body),
            ("bytes=-", 200, body),
        ):
            response = await self.get(client, reference, Range=wanted)
            found = response.body if response.streaming else response.content
            self.assertEqual((response.status_code, found), (status, part), wanted)

    def test_what_the_agent_sends_is_shown_with_its_message(self) -> None:
        conversation = conversations.owned(self.ann, self.chat)
        file = self.kept(conversation)
        self.write("a picture, please")
        turn = self.open_turn()
        self.close_turn(turn, "Here it is.", files=[file])
        found = conversations.news(self.chat, after=conversations.Cursor())
        shown = [(item["text"], [each["name"] for each in item["files"]]) for item in found.items[1:]]
        self.assertEqual(shown, [("Here it is.", []), ("", ["a.png"])])

    def kept(self, conversation: conversations.WebConversation) -> MediaFile:
        with cache.Spool(most=1000) as spool:
            spool.write(media.PNG)
            key = session_key(conversations.source_of(self.ann, conversation))
            stored = cache.store(spool, origin="test", session_key=key, platform="webchat", user_id="ann", name="a.png")
        return cache.record(stored)
