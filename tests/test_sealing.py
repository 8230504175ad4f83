"""Texts that the database never holds in clear: sealed, sent, erased, and shown to nobody."""

from __future__ import annotations

import io
from typing import Any

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import SimpleTestCase, override_settings
from django.urls import reverse

from gateway_app import dead_letters, sealing
from gateway_app.delivery import outbox
from gateway_app.models import OutboundPart
from gateway_app.platforms.base import SendError, UnknownOutcome
from gateway_app.platforms.webchat import conversations
from tests.pipeline_case import PipelineTestCase

SECRET = "your code is ABCD2345"


class SealTests(SimpleTestCase):
    def test_what_is_sealed_shows_nothing_and_opens_again(self) -> None:
        token = sealing.seal(SECRET)
        self.assertNotIn("ABCD2345", token)
        self.assertNotEqual(token, sealing.seal(SECRET))
        self.assertEqual(sealing.unseal(token), SECRET)

    def test_a_replaced_key_opens_what_it_sealed_while_it_is_remembered(self) -> None:
        with override_settings(SECRET_KEY="old"):
            token = sealing.seal(SECRET)
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
            self.assertEqual(sealing.unseal(token), SECRET)
        with override_settings(SECRET_KEY="new"), self.assertRaisesRegex(sealing.CannotUnseal, "not known any more"):
            sealing.unseal(token)

    def test_what_was_tampered_with_does_not_open(self) -> None:
        for token in ("", "ABCD2345", sealing.seal(SECRET)[:-4] + "AAA="):
            with self.assertRaises(sealing.CannotUnseal):
                sealing.unseal(token)

    def test_an_error_that_repeats_the_text_is_made_silent(self) -> None:
        self.assertEqual(
            sealing.redacted("bad request: 'your code is ABCD2345'", secret=SECRET),
            "bad request: 'your code is (sealed)'",
        )


class SealedPartTests(PipelineTestCase):
    def post(self, **values: Any) -> None:
        given = {"key": "k", "platform": "recording", "account": "", "chat_id": "c", "text": SECRET, "is_secret": True}
        with transaction.atomic():
            outbox.enqueue(outbox.Draft(**given | values))

    def part(self) -> OutboundPart:
        return OutboundPart.objects.get()

    def test_a_secret_waits_sealed_is_sent_in_clear_and_erased(self) -> None:
        self.post()
        self.assertNotIn("ABCD2345", self.part().text)
        self.deliver()
        self.assertEqual(self.platform.texts, [SECRET])
        self.assertEqual((self.part().state, self.part().text, self.part().is_sealed), ("sent", "", True))

    @override_settings(DELIVERY_BACKOFF_SECONDS=60)
    def test_a_secret_that_is_tried_again_stays_sealed_meanwhile(self) -> None:
        self.platform.failures = [SendError(f"cannot take '{SECRET}'"), UnknownOutcome(SECRET), ValueError(SECRET)]
        self.post()
        with self.assertLogs("gateway_app", "WARNING") as logs:
            for _ in range(3):
                OutboundPart.objects.update(next_attempt_at=None)
                self.deliver()
                self.assertEqual(self.part().state, "waiting")
                self.assertNotIn("ABCD2345", self.part().text + self.part().error)
        self.assertNotIn("ABCD2345", "".join(logs.output))
        OutboundPart.objects.update(next_attempt_at=None)
        self.deliver()
        self.assertEqual(self.platform.texts, [SECRET])

    def test_a_long_secret_is_sealed_part_by_part(self) -> None:
        self.post(text="ABCD2345 " * 200)
        for part in OutboundPart.objects.all():
            self.assertNotIn("ABCD2345", sealing.PLACEHOLDER + part.text)
        self.deliver()
        self.assertEqual("".join(self.platform.texts), "ABCD2345 " * 200)

    def test_an_ordinary_text_after_a_secret_stays_what_it_is(self) -> None:
        self.post()
        self.post(key="l", text="hello", is_secret=False)
        self.deliver()
        self.assertEqual(self.platform.texts, [SECRET, "hello"])
        self.assertEqual(list(OutboundPart.objects.order_by("seq").values_list("text", flat=True)), ["", "hello"])

    def bury(self) -> OutboundPart:
        self.platform.failures = [SendError("blocked", permanent=True)]
        self.post()
        with self.assertLogs("gateway_app", "WARNING"):
            self.deliver()
        return self.part()

    def test_a_secret_that_is_given_up_is_erased_and_says_that_it_cannot_be_sent_again(self) -> None:
        part = self.bury()
        self.assertEqual((part.state, part.text), ("dead", ""))
        self.assertEqual(part.error, "blocked; the text was a secret and is erased, so this cannot be sent again")
        self.assertEqual(dead_letters.replay_outbound(ids=[part.pk]), [])
        self.assertEqual(dead_letters.discard_outbound(ids=[part.pk]), [part.pk])

    def test_the_command_line_shows_no_secret_and_says_why_one_is_not_replayed(self) -> None:
        part, out = self.bury(), io.StringIO()
        call_command("dead_letters", "list", stdout=out)
        self.assertIn("'(sealed)'", out.getvalue())
        with self.assertRaisesRegex(CommandError, f"Secrets are erased .* cannot be sent again: out:{part.pk}"):
            call_command("dead_letters", "replay", f"out:{part.pk}", stdout=out)

    def test_the_admin_shows_no_secret_and_does_not_offer_to_send_it_again(self) -> None:
        part = self.bury()
        OutboundPart.objects.update(text=sealing.seal(SECRET))  # as if it still waited
        self.client.force_login(User.objects.create_superuser("admin"))
        outbox_path = reverse("admin:gateway_app_outboundpart_changelist")
        for path in (f"{outbox_path}?state__exact=dead", f"{outbox_path}{part.pk}/change/"):
            response = self.client.get(path)
            self.assertContains(response, "(sealed)")
            self.assertNotContains(response, self.part().text[:20])
        self.assertContains(response, "discard_one")
        self.assertNotContains(response, "replay_one")
        asked = self.client.get(f"{outbox_path}{part.pk}/replay_one/")
        self.assertContains(asked, "There is nothing to replay")

    def test_a_secret_whose_key_was_lost_is_given_up_with_the_reason(self) -> None:
        self.post()
        with override_settings(SECRET_KEY="another"), self.assertLogs("gateway_app", "ERROR"):
            self.deliver()
        self.assertEqual((self.part().state, self.part().text, self.platform.texts), ("dead", "", []))
        self.assertIn("the key that sealed it is not known any more (HERMES_SECRET_KEY was changed)", self.part().error)

    def test_a_secret_is_not_put_where_readers_see_the_outbox(self) -> None:
        with self.assertRaisesRegex(ValueError, "cli, which shows what stands in the outbox"):
            self.post(platform="cli")
        self.assertFalse(OutboundPart.objects.exists())

    def test_a_page_of_the_web_chat_would_show_no_secret(self) -> None:
        self.post()
        row = conversations.with_work(OutboundPart.objects.all()).values(*conversations.OUTBOUND).get()
        self.assertEqual(conversations.outbound_item(row)["text"], "(sealed)")
