from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest import mock

from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.test import AsyncClient, override_settings
from django.urls import reverse

from gateway_app.models import InboundMessage, OutboundPart, WebConversation
from gateway_app.platforms.webchat import conversations, views
from tests.configuration import configured

from .case import Events, WebchatCase, until, web_process

NO_DATABASE = "django.db.backends.utils.CursorWrapper._execute"


class ViewCase(WebchatCase):
    async def as_ann(self, **options: Any) -> AsyncClient:
        client = AsyncClient(**options)
        await client.aforce_login(self.ann)
        return client

    async def post(self, client: AsyncClient, chat_id: str = "", **fields: Any) -> Any:
        fields = {"id": "client-0001", "text": "Hello"} | fields
        url = f"/chat/{chat_id or self.chat}/post"
        return await client.post(url, json.dumps(fields), content_type="application/json")


class PostTests(ViewCase):
    async def test_a_message_is_accepted_and_its_session_rung(self) -> None:
        async with web_process():
            response = await self.post(await self.as_ann())
            await until(lambda: self.ring.called)
        self.assertEqual(response.status_code, 202)
        self.assertEqual(response.json()["item"]["client"], "client-0001")
        self.assertEqual(response.json()["title"], "Hello")
        row = await InboundMessage.objects.aget()
        self.assertEqual((row.text, row.user_id, row.message_id), ("Hello", "ann", "client-0001"))

    async def test_sending_it_again_is_the_same_message_and_no_second_ring(self) -> None:
        client = await self.as_ann()
        async with web_process():
            first = await self.post(client)
            again = await self.post(client)
            await until(lambda: self.ring.called)
            await asyncio.sleep(0.05)
        self.assertEqual((again.status_code, again.json()), (202, first.json()))
        self.assertEqual(await InboundMessage.objects.acount(), 1)
        self.assertEqual(self.ring.call_count, 1)

    async def test_many_at_once_under_one_id_are_one_message(self) -> None:
        client = await self.as_ann()
        async with web_process():
            responses = await asyncio.gather(*(self.post(client) for _ in range(8)))
        self.assertEqual({response.status_code for response in responses}, {202})
        self.assertEqual(await InboundMessage.objects.acount(), 1)

    async def test_a_ring_that_fails_does_not_fail_the_message(self) -> None:
        self.ring.side_effect = OSError("no broker")
        async with web_process():
            response = await self.post(await self.as_ann())
        self.assertEqual(response.status_code, 202)

    async def test_what_is_not_a_message_is_refused_with_a_reason(self) -> None:
        client = await self.as_ann()
        for fields, reason in (
            ({"text": ""}, "empty"),
            ({"text": " \n "}, "empty"),
            ({"text": " \x00 "}, "empty"),
            ({"text": None}, "empty"),
            ({"text": ["a"]}, "empty"),
            ({"id": "short"}, "no usable id"),
            ({"id": "x" * 65}, "no usable id"),
            ({"id": "../../etc"}, "no usable id"),
            ({"id": 12345678}, "no usable id"),
        ):
            with self.subTest(fields):
                response = await self.post(client, **fields)
                self.assertEqual(response.status_code, 400)
                self.assertIn(reason, response.json()["error"])
        for body in ("", "{", "[]", '"text"', "[" * 100_000):
            response = await client.post(f"/chat/{self.chat}/post", body, content_type="application/json")
            self.assertEqual(response.status_code, 400, body[:20])
        self.assertFalse(await InboundMessage.objects.aexists())

    async def test_nul_and_half_surrogates_do_no_harm(self) -> None:
        async with web_process():
            response = await self.post(await self.as_ann(), text="a\x00b\ud83dc")
        self.assertEqual(response.status_code, 202)
        self.assertEqual(response.json()["item"]["text"], "ab?c")

    @override_settings(INBOX_MAX_CHARS=10)
    async def test_a_message_that_is_too_long_is_kept_as_refused(self) -> None:
        async with web_process():
            response = await self.post(await self.as_ann(), text="x" * 11)
        self.assertEqual((response.status_code, response.json()["item"]["state"]), (202, "refused"))
        self.assertFalse(self.ring.called)

    @configured(limits={"sender_per_minute": 2, "sender_burst": 1})
    async def test_who_writes_too_fast_is_told_when_to_go_on_and_nothing_is_kept(self) -> None:
        client = await self.as_ann()
        async with web_process():
            await self.post(client, id="client-0001")
            for _ in range(2):
                response = await self.post(client, id="client-0002")
                self.assertEqual(response.status_code, 429)
                self.assertIn(response.headers["Retry-After"], ("29", "30"))
                self.assertIn("writing faster than I can answer", response.json()["error"])
            # The first one is known, and a page that did not hear so may ask again.
            self.assertEqual((await self.post(client, id="client-0001")).status_code, 202)
        self.assertEqual(await InboundMessage.objects.acount(), 1)
        self.assertFalse(await OutboundPart.objects.aexists())

    async def test_without_the_pages_token_nothing_is_taken(self) -> None:
        response = await self.post(await self.as_ann(enforce_csrf_checks=True))
        self.assertEqual(response.status_code, 403)
        self.assertFalse(await InboundMessage.objects.aexists())

    async def test_with_the_pages_token_it_is_taken(self) -> None:
        client = await self.as_ann(enforce_csrf_checks=True)
        page = (await client.get(f"/chat/{self.chat}/")).content.decode()
        token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        async with web_process():
            response = await client.post(
                f"/chat/{self.chat}/post",
                json.dumps({"id": "client-0001", "text": "Hello"}),
                content_type="application/json",
                headers={"X-CSRFToken": token},
            )
        self.assertEqual(response.status_code, 202)

    async def test_while_the_database_is_away_the_page_is_told_to_keep_the_text(self) -> None:
        client = await self.as_ann()
        with mock.patch(NO_DATABASE, side_effect=OperationalError("gone")), self.assertLogs(views.log, "ERROR"):
            response = await self.post(client)
        self.assertEqual(response.status_code, 503)
        self.assertIn("was not taken", response.json()["error"])
        async with web_process():
            self.assertEqual((await self.post(client)).status_code, 202)


class WhoMayTests(ViewCase):
    async def everything(self, client: AsyncClient, chat_id: str) -> dict[str, int]:
        """The status of every request that a conversation knows."""
        found = {
            "page": (await client.get(f"/chat/{chat_id}/")).status_code,
            "messages": (await client.get(f"/chat/{chat_id}/messages")).status_code,
            "events": (await client.get(f"/chat/{chat_id}/events")).status_code,
            "post": (await self.post(client, chat_id)).status_code,
        }
        rename = await client.post(f"/chat/{chat_id}/rename", '{"title": "Mine"}', content_type="application/json")
        return found | {"rename": rename.status_code}

    async def test_somebody_elses_conversation_is_not_there(self) -> None:
        found = await self.everything(await self.as_ann(), self.bobs_chat)
        self.assertEqual(set(found.values()), {404}, found)
        self.assertEqual((await WebConversation.objects.aget(chat_id=self.bobs_chat)).title, "")

    async def test_a_conversation_that_never_was_looks_the_same(self) -> None:
        found = await self.everything(await self.as_ann(), "AAAAAAAAAAAAAAAAAAAAAA")
        self.assertEqual(set(found.values()), {404}, found)

    async def test_an_administrator_does_not_read_along(self) -> None:
        self.ann.is_superuser = self.ann.is_staff = True
        await self.ann.asave()
        found = await self.everything(await self.as_ann(), self.bobs_chat)
        self.assertEqual(set(found.values()), {404}, found)

    async def test_whoever_is_signed_out_signs_in_first(self) -> None:
        client = AsyncClient()
        found = await self.everything(client, self.chat)
        self.assertEqual(found, {"page": 302, "messages": 401, "events": 401, "post": 401, "rename": 401})
        response = await client.get(f"/chat/{self.chat}/")
        self.assertEqual(response.headers["Location"], f"/sign-in/?next=/chat/{self.chat}/")

    async def test_whoever_was_deactivated_is_signed_out(self) -> None:
        client = await self.as_ann()
        self.ann.is_active = False
        await self.ann.asave()
        self.assertEqual((await self.post(client)).status_code, 401)

    async def test_a_person_on_no_list_reads_an_honest_page_and_cannot_write(self) -> None:
        client = AsyncClient()
        await client.aforce_login(self.bob)
        page = (await client.get(f"/chat/{self.bobs_chat}/")).content.decode()
        self.assertIn("signed in as bob", page)
        self.assertIn("WEBCHAT_ALLOWED_USERS", page)
        self.assertNotIn('id="composer"', page)
        response = await self.post(client, self.bobs_chat)
        self.assertEqual(response.status_code, 403)
        self.assertIn("WEBCHAT_ALLOWED_USERS", response.json()["error"])
        self.assertFalse(await InboundMessage.objects.aexists())


class PageTests(ViewCase):
    async def test_the_beginning_leads_to_the_conversation_used_last(self) -> None:
        client = await self.as_ann()
        self.assertEqual((await client.get("/")).headers["Location"], "/chat/")
        self.assertEqual((await client.get("/chat/")).headers["Location"], f"/chat/{self.chat}/")

    async def test_a_new_conversation_needs_a_form(self) -> None:
        client = await self.as_ann()
        await sync_to_async(self.write)("Hello")
        self.assertEqual((await client.get("/chat/new")).status_code, 405)
        response = await client.post("/chat/new")
        self.assertNotEqual(response.headers["Location"], f"/chat/{self.chat}/")
        self.assertEqual((await client.get(response.headers["Location"])).status_code, 200)

    async def test_the_page_carries_its_messages_as_data_that_cannot_become_markup(self) -> None:
        await sync_to_async(self.write)("</script><script>alert(1)</script>")
        page = (await (await self.as_ann()).get(f"/chat/{self.chat}/")).content.decode()
        self.assertNotIn("<script>alert", page)
        data = page.partition('<script id="state" type="application/json">')[2].partition("</script>")[0]
        self.assertEqual(json.loads(data)["items"][0]["text"], "</script><script>alert(1)</script>")
        self.assertIn("&lt;/script&gt;", page.partition('id="title"')[2])

    async def test_it_says_so_where_the_model_is_a_demonstration(self) -> None:
        client = await self.as_ann()
        self.assertNotIn("Demonstration", (await client.get(f"/chat/{self.chat}/")).content.decode())
        with override_settings(MODEL_IS_DEMONSTRATION=True, HERMES_MODEL="tiny-model"):
            page = (await client.get(f"/chat/{self.chat}/")).content.decode()
        self.assertIn("Demonstration", page)
        self.assertIn("tiny-model", page)

    async def test_earlier_messages_are_fetched_by_cursor(self) -> None:
        for text in ("One", "Two", "Three"):
            await sync_to_async(self.write)(text)
        client = await self.as_ann()
        with mock.patch.object(conversations, "PAGE_MESSAGES", 2):
            first = (await client.get(f"/chat/{self.chat}/messages?before=99.99")).json()
            second = (await client.get(f"/chat/{self.chat}/messages?before={first['before']}")).json()
        self.assertEqual([item["text"] for item in first["items"]], ["Two", "Three"])
        self.assertEqual([item["text"] for item in second["items"]], ["One"])
        self.assertEqual([first["hasEarlier"], second["hasEarlier"]], [True, False])

    async def test_a_title_is_changed(self) -> None:
        client = await self.as_ann()
        url = f"/chat/{self.chat}/rename"
        response = await client.post(url, '{"title": " Rome  in May "}', content_type="application/json")
        self.assertEqual(response.json(), {"title": "Rome in May"})
        response = await client.post(url, '{"title": " "}', content_type="application/json")
        self.assertEqual(response.status_code, 400)

    async def test_while_the_database_is_away_there_is_a_page_that_says_so(self) -> None:
        client = await self.as_ann()
        with mock.patch(NO_DATABASE, side_effect=OperationalError("gone")), self.assertLogs("hermes_site", "ERROR"):
            response = await client.get(f"/chat/{self.chat}/")
        self.assertContains(response, "Nothing that was accepted is lost", status_code=503)


class HeaderTests(ViewCase):
    async def test_the_chat_allows_the_browser_no_script_but_its_own_files(self) -> None:
        for client, url in ((await self.as_ann(), f"/chat/{self.chat}/"), (AsyncClient(), "/sign-in/")):
            response = await client.get(url)
            policy = response.headers["Content-Security-Policy"]
            self.assertIn("default-src 'none'; script-src 'self'; style-src 'self';", policy)
            self.assertNotIn("unsafe", policy)
            self.assertIn("require-trusted-types-for 'script'", policy)
            page = response.content.decode()
            for inline in (" style=", " onclick=", "<style", "javascript:"):
                self.assertNotIn(inline, page)
            self.assertEqual(response.headers["X-Frame-Options"], "DENY")
            self.assertIn("no-store", response.headers["Cache-Control"])

    async def test_the_admin_has_a_policy_of_its_own(self) -> None:
        response = await AsyncClient().get(reverse("admin:login"))
        self.assertIn("'unsafe-eval'", response.headers["Content-Security-Policy"])
        self.assertIn("frame-ancestors 'none'", response.headers["Content-Security-Policy"])

    async def test_events_are_neither_stored_nor_buffered(self) -> None:
        async with web_process():
            response = await (await self.as_ann()).get(f"/chat/{self.chat}/events")
            self.assertEqual(response.headers["Content-Type"], "text/event-stream")
            self.assertEqual(response.headers["X-Accel-Buffering"], "no")
            self.assertEqual(response.headers["Cache-Control"], "no-store")
            await Events(aiter(response.streaming_content)).close()


@override_settings(WEBCHAT_POLL_SECONDS=0.05)
class EventsTests(ViewCase):
    async def test_a_browser_goes_on_after_the_last_event_it_has(self) -> None:
        await sync_to_async(self.write)("One")
        await sync_to_async(self.answer)("First")
        client = await self.as_ann()
        async with web_process():
            response = await client.get(f"/chat/{self.chat}/events?after=0.0")
            events = Events(aiter(response.streaming_content))
            self.assertEqual(await events.texts(2), ["One", "First"])
            await events.close()
            await sync_to_async(self.write)("Two")
            response = await client.get(
                f"/chat/{self.chat}/events?after=0.0", headers={"Last-Event-ID": events.last_id}
            )
            events = Events(aiter(response.streaming_content))
            self.assertEqual(await events.texts(1), ["Two"])
            await events.close()
