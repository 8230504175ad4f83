from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.core import signing
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client, TestCase, TransactionTestCase, override_settings
from django.urls import reverse

from gateway_app.platforms.webchat import signin


def path(link: str) -> str:
    return link.removeprefix(signin.site_origin())


class LinkTests(TestCase):
    def setUp(self) -> None:
        self.ann = User.objects.create_user("ann", password="correct horse")
        self.link = path(signin.make_link(self.ann))

    def signed_in(self, client: Client) -> str:
        return client.session.get("_auth_user_id", "")

    def test_a_link_signs_in_and_leads_to_the_chat(self) -> None:
        response = self.client.get(self.link)
        self.assertRedirects(response, "/chat/", fetch_redirect_response=False)
        self.assertEqual(self.signed_in(self.client), str(self.ann.pk))

    def test_a_link_works_once(self) -> None:
        self.client.get(self.link)
        other = Client()
        response = other.get(self.link)
        self.assertContains(response, "works once", status_code=410)
        self.assertEqual(self.signed_in(other), "")

    def test_whoever_is_signed_in_gets_to_the_chat_with_a_used_link(self) -> None:
        self.client.get(self.link)
        self.assertRedirects(self.client.get(self.link), "/chat/", fetch_redirect_response=False)

    def test_a_look_ahead_does_not_use_the_link_up(self) -> None:
        self.assertEqual(self.client.head(self.link).status_code, 204)
        for purpose in ("prefetch", "prefetch;prerender"):
            self.assertEqual(self.client.get(self.link, headers={"Sec-Purpose": purpose}).status_code, 204)
        self.assertEqual(self.signed_in(self.client), "")
        self.client.get(self.link)
        self.assertEqual(self.signed_in(self.client), str(self.ann.pk))

    def test_a_link_that_waited_too_long_is_refused(self) -> None:
        with override_settings(SIGN_IN_LINK_SECONDS=0):
            self.assertEqual(self.client.get(self.link).status_code, 410)

    def test_a_new_password_and_another_sign_in_void_the_link(self) -> None:
        self.ann.set_password("another horse")
        self.ann.save()
        self.assertEqual(self.client.get(self.link).status_code, 410)
        link = path(signin.make_link(self.ann))
        self.client.post(reverse("sign-in"), {"username": "ann", "password": "another horse"})
        self.assertEqual(Client().get(link).status_code, 410)

    def test_a_changed_link_is_refused(self) -> None:
        other = User.objects.create_user("bob")
        token = signing.TimestampSigner(salt="something else").sign(f"{other.pk}-{signin._state(other)}")
        another = self.link.replace(f"={self.ann.pk}-", f"={other.pk}-")
        self.assertNotEqual(another, self.link)
        for bad in (self.link[:-1], another, f"/sign-in/link?token={token}", "/sign-in/link"):
            self.assertEqual(self.client.get(bad).status_code, 410, bad)

    def test_a_link_of_an_inactive_or_removed_person_is_refused(self) -> None:
        User.objects.filter(pk=self.ann.pk).update(is_active=False)
        self.assertEqual(self.client.get(self.link).status_code, 410)
        self.ann.delete()
        self.assertEqual(self.client.get(self.link).status_code, 410)

    def test_a_failure_does_not_write_the_link_into_the_log(self) -> None:
        away = mock.patch.object(User.objects, "filter", side_effect=OperationalError("gone"))
        with away, self.assertLogs("", "DEBUG") as logs:
            self.assertEqual(self.client.get(self.link).status_code, 503)
        token = urlsplit(self.link).query
        self.assertTrue(logs.output)
        self.assertFalse([line for line in logs.output if token in line or token.partition("=")[2] in line])

    @override_settings(HERMES_BIND=("0.0.0.0", 8123))
    def test_the_links_address_is_one_that_a_browser_reaches(self) -> None:
        self.assertTrue(signin.make_link(self.ann).startswith("http://127.0.0.1:8123/sign-in/link?token="))
        with override_settings(HERMES_BIND=("::", 80)):
            self.assertTrue(signin.make_link(self.ann).startswith("http://[::1]:80/"))
        with override_settings(CSRF_TRUSTED_ORIGINS=["https://chat.example.org"]):
            self.assertTrue(signin.make_link(self.ann).startswith("https://chat.example.org/sign-in/"))


class RaceTests(TransactionTestCase):
    def test_of_many_that_use_a_link_at_once_one_is_signed_in(self) -> None:
        ann = User.objects.create_user("ann")
        token = signin.make_link(ann).partition("token=")[2]
        together = threading.Barrier(8)

        def redeem(_: int) -> bool:
            together.wait()
            try:
                signin.redeem(token)
            except signin.LinkRefused:
                return False
            finally:
                connection.close()
            return True

        with ThreadPoolExecutor(8) as threads:
            self.assertEqual(sum(threads.map(redeem, range(8))), 1)


class CommandTests(TestCase):
    def printed(self, *words: str) -> str:
        out = io.StringIO()
        call_command("signin_link", *words, stdout=out)
        return out.getvalue().strip()

    def test_it_prints_a_link_for_the_first_administrator(self) -> None:
        User.objects.create_user("ann")
        owner = User.objects.create_superuser("olga")
        User.objects.create_superuser("second")
        self.client.get(path(self.printed()))
        self.assertEqual(self.client.session["_auth_user_id"], str(owner.pk))

    def test_it_prints_a_link_for_whom_it_is_asked(self) -> None:
        ann = User.objects.create_user("ann")
        self.client.get(path(self.printed("ann")))
        self.assertEqual(self.client.session["_auth_user_id"], str(ann.pk))

    def test_it_says_who_there_is_and_what_is_missing(self) -> None:
        User.objects.create_user("ann")
        with self.assertRaisesRegex(CommandError, "no active user 'bob'; there are: ann"):
            self.printed("bob")
        with self.assertRaisesRegex(CommandError, "createsuperuser"):
            self.printed()


class PasswordTests(TestCase):
    def setUp(self) -> None:
        User.objects.create_user("ann", password="correct horse")

    def test_the_password_signs_in_and_leads_back(self) -> None:
        response = self.client.post("/sign-in/", {"username": "ann", "password": "correct horse", "next": "/chat/abc/"})
        self.assertRedirects(response, "/chat/abc/", fetch_redirect_response=False)

    def test_it_does_not_lead_to_another_site(self) -> None:
        fields = {"username": "ann", "password": "correct horse", "next": "https://evil.example/"}
        self.assertRedirects(self.client.post("/sign-in/", fields), "/chat/", fetch_redirect_response=False)

    def test_a_wrong_password_an_unknown_name_and_an_inactive_account_look_the_same(self) -> None:
        User.objects.create_user("idle", password="correct horse", is_active=False)
        pages = []
        for name, password in (("ann", "wrong"), ("nobody", "wrong"), ("idle", "correct horse")):
            with self.assertLogs("axes", "WARNING"):
                response = self.client.post("/sign-in/", {"username": name, "password": password})
            pages.append(response.content.decode().replace(f'value="{name}"', "").partition("<form")[0])
            self.assertContains(response, "do not match an active account")
        self.assertEqual(len(set(pages)), 1)

    def test_signing_out_needs_a_form(self) -> None:
        self.client.post(reverse("sign-in"), {"username": "ann", "password": "correct horse"})
        self.assertEqual(self.client.get("/sign-out/").status_code, 405)
        self.client.post("/sign-out/")
        self.assertNotIn("_auth_user_id", self.client.session)
