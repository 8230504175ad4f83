"""Signing in: guessing passwords takes for ever, nothing writes them down, and the admin is where the operator says."""

from __future__ import annotations

import importlib
import io
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, RequestFactory, TestCase, override_settings
from django.urls import clear_url_caches, reverse
from django.utils import timezone

from gateway_app.platforms.webchat import signin
from hermes_site import urls
from hermes_site.sign_in import client_address

PASSWORD = "correct horse battery"
WRONG = "Tr0ub4dor-and-3"


class ThrottleTests(TestCase):
    def setUp(self) -> None:
        self.ann = User.objects.create_superuser("ann", password=PASSWORD)
        self.paths = (reverse("sign-in"), reverse("admin:login"))
        self.logs = self.enterContext(self.assertLogs("axes", "WARNING"))
        self.guess("nobody", address="192.0.2.99")  # so that there is something in the log

    def guess(self, name: str = "ann", password: str = WRONG, *, path: str = "", address: str = "192.0.2.1") -> Any:
        data = {"username": name, "password": password}
        return Client().post(path or self.paths[0], data, REMOTE_ADDR=address, HTTP_USER_AGENT="a browser")

    def lock(self, **how: str) -> None:
        for _ in range(settings.LOGIN_FAILURES):
            self.guess(**how)

    def test_after_five_wrong_passwords_the_right_one_does_not_help_either(self) -> None:
        for path in self.paths:
            AccessAttempt.objects.all().delete()
            for _ in range(settings.LOGIN_FAILURES - 1):
                self.assertEqual(self.guess(path=path).status_code, 200)
            for password in (WRONG, PASSWORD, PASSWORD):
                response = self.guess(password=password, path=path)
                self.assertContains(response, "Too many wrong passwords", status_code=429)
                self.assertNotIn("sessionid", response.cookies)

    def test_who_is_locked_out_is_told_for_how_long(self) -> None:
        self.lock()
        AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(seconds=settings.LOGIN_LOCK_SECONDS - 125))
        response = self.guess()
        self.assertRegex(response.content.decode(), "for 2 min [45] s")
        self.assertIn(response["Retry-After"], ("124", "125"))

    def test_the_lock_ends_by_itself_and_trying_does_not_make_it_longer(self) -> None:
        self.lock()
        moment = timezone.now() - timedelta(seconds=settings.LOGIN_LOCK_SECONDS - 5)
        AccessAttempt.objects.update(attempt_time=moment)
        self.assertEqual(self.guess().status_code, 429)
        self.assertEqual(
            set(AccessAttempt.objects.filter(username="ann").values_list("attempt_time", flat=True)), {moment}
        )
        AccessAttempt.objects.update(attempt_time=moment - timedelta(seconds=6))
        self.assertEqual(self.guess(password=PASSWORD).status_code, 302)

    def test_both_doors_count_together_and_each_browser_too(self) -> None:
        for number in range(settings.LOGIN_FAILURES):
            data = {"username": "ann", "password": WRONG}
            Client().post(self.paths[number % 2], data, REMOTE_ADDR="192.0.2.1", HTTP_USER_AGENT=f"browser {number}")
        self.assertEqual(self.guess(password=PASSWORD).status_code, 429)

    def test_nobody_is_locked_out_by_somebody_elsewhere(self) -> None:
        self.lock()
        self.assertEqual(self.guess(password=PASSWORD, address="192.0.2.2").status_code, 302)
        User.objects.create_user("ben", password=PASSWORD)
        self.assertEqual(self.guess("ben", PASSWORD).status_code, 302)

    def test_a_right_password_begins_the_count_anew(self) -> None:
        for _ in range(3):
            for _ in range(settings.LOGIN_FAILURES - 1):
                self.guess()
            self.assertEqual(self.guess(password=PASSWORD).status_code, 302)

    def test_a_sign_in_link_works_for_who_is_locked_out(self) -> None:
        self.lock()
        link = signin.make_link(self.ann).removeprefix(signin.site_origin())
        response = Client().get(link, REMOTE_ADDR="192.0.2.1")
        self.assertRedirects(response, reverse("webchat:index"), fetch_redirect_response=False)

    def test_no_password_is_written_down(self) -> None:
        self.lock()
        self.guess(WRONG, WRONG)  # into the wrong field
        rows = [str(vars(row)) for row in AccessAttempt.objects.filter(username="ann")]
        self.assertTrue(rows)
        for text in (*rows, *self.logs.output):
            self.assertNotIn(WRONG, text)

    def test_names_that_no_account_can_have_do_no_harm(self) -> None:
        long = "x" * 10_000
        for name in ("", "a\0b", "ann\n", long, f"{long}y"):
            self.assertEqual(self.guess(name).status_code, 200, name[:10])
        counted = AccessAttempt.objects.get(username__startswith="xx")
        self.assertEqual((len(counted.username), counted.failures_since_start), (150, 2))
        self.lock(name=long)
        self.assertContains(self.guess(long), "Too many wrong passwords", status_code=429)

    def test_an_operator_ends_the_wait(self) -> None:
        self.lock()
        call_command("axes_reset_username", "ann", stdout=io.StringIO())
        self.assertEqual(self.guess(password=PASSWORD).status_code, 302)


class AddressTests(TestCase):
    def address(self, peer: str, *forwarded: str) -> str | None:
        headers = {"HTTP_X_FORWARDED_FOR": ", ".join(forwarded)} if forwarded else {}
        return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, **headers))

    def test_what_a_browser_says_of_itself_is_not_believed(self) -> None:
        self.assertEqual(self.address("192.0.2.1", "198.51.100.7"), "192.0.2.1")

    @override_settings(TRUSTED_PROXIES=[ip_network("127.0.0.1"), ip_network("10.0.0.0/8")])
    def test_of_what_proxies_say_only_the_trusted_part_counts(self) -> None:
        self.assertEqual(self.address("127.0.0.1", "198.51.100.7"), "198.51.100.7")
        self.assertEqual(self.address("127.0.0.1", "6.6.6.6", "198.51.100.7", "10.1.2.3"), "198.51.100.7")
        self.assertEqual(self.address("192.0.2.1", "198.51.100.7"), "192.0.2.1")
        self.assertEqual(self.address("127.0.0.1", "6.6.6.6", "nonsense"), "127.0.0.1")
        self.assertEqual(self.address("127.0.0.1"), "127.0.0.1")
        self.assertEqual(self.address("127.0.0.1", "10.0.0.1"), "10.0.0.1")

    def test_an_ipv6_address_is_its_network_and_a_mapped_one_an_ipv4_one(self) -> None:
        self.assertEqual(self.address("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::")
        self.assertEqual(self.address("2001:db8:1:2:ffff::1"), "2001:db8:1:2::")
        self.assertEqual(self.address("::ffff:192.0.2.1"), "192.0.2.1")

    def test_a_socket_without_an_address_has_none(self) -> None:
        self.assertIsNone(self.address(""))


class SessionTests(TestCase):
    def setUp(self) -> None:
        User.objects.create_superuser("ann", password=PASSWORD)

    def test_cookies_are_for_this_site_and_not_for_scripts(self) -> None:
        client = Client()
        client.get(reverse("sign-in"))
        client.post(reverse("sign-in"), {"username": "ann", "password": PASSWORD})
        for name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME):
            cookie = client.cookies[name]
            self.assertEqual((cookie["httponly"], cookie["samesite"]), (True, "Lax"), name)
        self.assertEqual(client.cookies[settings.SESSION_COOKIE_NAME]["max-age"], settings.SESSION_COOKIE_AGE)

    def test_a_session_gets_another_key_at_the_sign_in(self) -> None:
        client = Client()
        session = client.session
        session["planted"] = True
        session.save()
        before = session.session_key
        client.post(reverse("sign-in"), {"username": "ann", "password": PASSWORD})
        self.assertNotEqual(client.session.session_key, before)


class AdminPathTests(TestCase):
    def setUp(self) -> None:
        self.addCleanup(self.reload)  # comes last, when the setting is as it was
        self.enterContext(override_settings(ADMIN_PATH="back/office"))
        self.reload()
        self.client.force_login(User.objects.create_superuser("ann"))

    def reload(self) -> None:
        importlib.reload(urls)
        clear_url_caches()

    def test_the_admin_is_where_the_setting_says_and_nowhere_else(self) -> None:
        self.assertEqual(reverse("admin:index"), "/back/office/")
        for path in ("/back/office/", reverse("admin:gateway_app_pairingrequest_changelist")):
            response = self.client.get(path)
            self.assertEqual(response.status_code, 200)
            self.assertNotIn('"/admin/', response.content.decode())
            self.assertIn("'unsafe-eval'", response["Content-Security-Policy"])
        self.assertEqual(self.client.get("/admin/").status_code, 404)
        self.client.logout()
        self.assertRedirects(self.client.get("/back/office/"), "/back/office/login/?next=/back/office/")
