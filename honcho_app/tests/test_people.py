"""What operators see of what Honcho knows of a person."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.urls import reverse

from gateway_app.models import Person, Session
from honcho_app import people
from honcho_app.manager import Whom
from honcho_app.tests.case import HonchoCase
from tests import pipeline


class PeopleTests(HonchoCase):
    def setUp(self) -> None:
        super().setUp()
        self.person = Person.objects.create(platform="telegram", user_id="5", name="Anna")
        Session.objects.create(
            session_id="s1", session_key="agent:main:telegram:dm:5", platform="telegram", account="1", chat_id="5",
            chat_type="dm", user_id="5",
        )  # fmt: skip
        self.client.force_login(User.objects.create_superuser("admin"))

    def remember(self) -> None:
        async def write() -> None:
            manager = self.manager()
            await manager.set_profile(Whom.USER, ["likes <b>tea"])
            await manager.conclude(Whom.USER, "lives in Oslo")
            await self.manager(user_id="6", session_key="other").conclude(Whom.USER, "lives in Rome")

        pipeline.run(write())

    def page(self) -> str:
        path = reverse("admin:gateway_app_person_change", args=[self.person.pk])
        return self.client.get(path).content.decode()

    def test_a_persons_page_shows_their_card_and_conclusions_and_nobody_elses(self) -> None:
        self.remember()
        content = self.page()
        self.assertIn("likes &lt;b&gt;tea", content)
        self.assertIn("lives in Oslo", content)
        self.assertNotIn("lives in Rome", content)

    def test_where_honcho_is_away_the_page_says_so(self) -> None:
        self.peer.fault("refuse")
        self.assertIn("It could not be read: Honcho cannot be reached", self.page())

    def test_of_whom_nothing_is_known_nothing_is_shown(self) -> None:
        (found,) = people.known_of(platform="telegram", user_id="5")
        self.assertEqual((found.card, found.conclusions, found.problem), ((), (), ""))
        self.assertEqual(people.known_of(platform="telegram", user_id="7"), [])
