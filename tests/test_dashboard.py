"""The dashboard: what the last hour's rows add up to, and how that is drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest import mock

from django.contrib.auth.models import Permission, User
from django.test import SimpleTestCase, TestCase
from django.urls import reverse
from django.utils import timezone

from gateway_app import dashboard
from gateway_app.admin import charts
from gateway_app.admin.charts import Series
from gateway_app.dashboard import CLASSES, GROWTH, SHORTEST, percentile
from gateway_app.duration import duration
from gateway_app.health import record_canary
from gateway_app.models import Listener
from tests.factories import make_inbound, make_outbound, make_turn

ADMIN = reverse("admin:index")
NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


class SlotTests(TestCase):
    def test_rows_are_counted_in_their_minutes(self) -> None:
        for minute, state in ((0, "done"), (0, "waiting"), (3, "dead"), (3, "refused"), (3, "rejected")):
            make_inbound(state=state, accepted_at=NOW - timedelta(minutes=minute))
        for minute, state in ((1, "sent"), (1, "sent"), (2, "dead")):
            make_outbound(state=state, finished_at=NOW - timedelta(minutes=minute))
        slots = dashboard.read_slots(now=NOW)
        self.assertEqual(len(slots), 60)
        self.assertEqual((slots[0].at, slots[-1].at), (datetime(2026, 3, 1, 11, 1, tzinfo=UTC), NOW.replace(second=0)))
        self.assertEqual([slot.accepted for slot in slots[-4:]], [1, 0, 0, 2])
        self.assertEqual([slot.not_taken for slot in slots[-4:]], [2, 0, 0, 0])
        self.assertEqual([slot.delivered for slot in slots[-4:]], [0, 0, 2, 0])
        self.assertEqual([slot.undelivered for slot in slots[-4:]], [0, 1, 0, 0])

    def test_turns_bring_their_cost_and_their_time(self) -> None:
        for state, seconds in (("done", 1.0), ("done", 1.0), ("failed", 20.0), ("dead", 0.001)):
            make_turn(
                state=state, started_at=NOW - timedelta(seconds=seconds), finished_at=NOW, prompt_tokens=100,
                completion_tokens=20, model_seconds=0.5,
            )  # fmt: skip
        make_turn(state="running", started_at=NOW)
        slot = dashboard.read_slots(now=NOW)[-1]
        self.assertEqual((slot.answered, slot.failed, slot.turns), (2, 2, 4))
        self.assertEqual((slot.prompt_tokens, slot.completion_tokens, slot.model_seconds), (400, 80, 2.0))
        self.assertEqual(sum(slot.durations), 4)
        self.assertEqual(slot.durations[0], 1)

    def test_what_is_older_than_an_hour_is_left_out(self) -> None:
        for minutes in (59, 60, 61, 1000):
            make_inbound(accepted_at=NOW - timedelta(minutes=minutes))
        self.assertEqual(sum(slot.accepted for slot in dashboard.read_slots(now=NOW)), 1)

    def test_the_edge_of_a_minute_belongs_to_the_later_one(self) -> None:
        make_inbound(accepted_at=NOW.replace(second=0))
        make_inbound(accepted_at=NOW.replace(second=0) - timedelta(milliseconds=1))
        self.assertEqual([slot.accepted for slot in dashboard.read_slots(now=NOW)[-2:]], [1, 1])

    def test_three_questions_are_asked_however_many_rows_there_are(self) -> None:
        for _ in range(5):
            make_inbound(accepted_at=NOW)
            make_turn(started_at=NOW, finished_at=NOW)
        with self.assertNumQueries(3):
            dashboard.read_slots(now=NOW)

    def test_percentiles_of_real_turns_are_close(self) -> None:
        for seconds in range(1, 101):
            make_turn(started_at=NOW - timedelta(seconds=seconds / 10), finished_at=NOW)
        found = dashboard.Dashboard(dashboard.read_slots(now=NOW), mock.Mock())
        half, most = found.percentile(0.5), found.percentile(0.95)
        assert half and most
        self.assertAlmostEqual(half, 5.0, delta=1.0)
        self.assertAlmostEqual(most, 9.5, delta=1.9)


class PercentileTests(SimpleTestCase):
    def counts(self, **classes: int) -> list[int]:
        return [classes.get(f"c{number}", 0) for number in range(CLASSES)]

    def test_nothing_has_no_percentile(self) -> None:
        self.assertIsNone(percentile(self.counts(), 0.5))

    def test_it_lies_within_the_class_it_falls_in(self) -> None:
        counts = self.counts(c4=10, c8=90)
        low, high = SHORTEST * GROWTH**8, SHORTEST * GROWTH**9
        found = percentile(counts, 0.5)
        assert found
        self.assertTrue(low <= found <= high)
        self.assertAlmostEqual(percentile(counts, 0.1) or 0, SHORTEST * GROWTH**5)
        self.assertAlmostEqual(percentile(counts, 1.0) or 0, high)

    def test_the_last_class_is_open_and_gives_its_start(self) -> None:
        found = percentile(self.counts(**{f"c{CLASSES - 1}": 3}), 0.95)
        self.assertAlmostEqual(found or 0, SHORTEST * GROWTH ** (CLASSES - 1))


class ChartTests(SimpleTestCase):
    minutes = [NOW + timedelta(minutes=n) for n in range(4)]

    def test_bars_are_stacked_and_fit(self) -> None:
        series = [Series("a", "blue", [1, 0, 4, 2]), Series("b", "red", [1, 0, 1, None])]
        chart = charts.bars(name="x", title="X", minutes=self.minutes, series=series, show=str)
        self.assertEqual(chart.top, "5.0")
        third = [bar for bar in chart.bars if bar.x == 301.0]
        self.assertEqual([(bar.y, bar.height) for bar in third], [(24.0, 96.0), (0.0, 24.0)])
        self.assertTrue(all(bar.y >= 0 and bar.y + bar.height <= charts.HEIGHT + 0.01 for bar in chart.bars))

    def test_a_line_breaks_where_there_is_no_value(self) -> None:
        series = [Series("a", "blue", [1, None, 2, 2])]
        chart = charts.lines(name="x", title="X", minutes=self.minutes, series=series, show=str)
        self.assertEqual([line.points for line in chart.lines], ["75.00,60.00 75.00,60.00", "375.00,0.00 525.00,0.00"])

    def test_the_table_and_the_words_say_what_is_drawn(self) -> None:
        series = [Series("turns", "blue", [0, 3, 0, 1]), Series("other", "red", [0, None, 0, 0])]
        chart = charts.bars(name="x", title="X", minutes=self.minutes, series=series, show=lambda value: f"{value:g}")
        self.assertEqual(chart.rows, [("12:03", ["1", "0"]), ("12:01", ["3", "–"])])
        self.assertEqual(chart.summary, "Turns: at most 3 in a minute, at 12:01. Other: nothing.")
        self.assertEqual(chart.slices[1].said, "12:01: turns 3, other –")

    def test_an_empty_chart_says_so(self) -> None:
        chart = charts.lines(name="x", title="X", minutes=self.minutes, series=[Series("a", "b", [0] * 4)], show=str)
        self.assertTrue(chart.is_empty)

    def test_the_upper_edge_is_a_round_number(self) -> None:
        found = [charts.nice_top(value) for value in (0, 0.3, 1, 1.1, 5, 7, 10, 11, 499, 501)]
        self.assertEqual(found, [1, 0.5, 1, 2, 5, 10, 10, 20, 500, 1000])


class DurationTests(SimpleTestCase):
    def test_spans_are_said_as_people_say_them(self) -> None:
        said = {
            0.04: "0.0 s",
            9.94: "9.9 s",
            59: "59 s",
            60: "1 min",
            185: "3 min 5 s",
            7800: "2 h 10 min",
            349200: "4 d 1 h",
        }
        self.assertEqual({seconds: duration(seconds) for seconds in said}, said)
        self.assertEqual(duration(None), "–")


class PageTests(TestCase):
    def setUp(self) -> None:
        self.user = User.objects.create_superuser("admin")
        self.client.force_login(self.user)

    def page(self) -> str:
        response = self.client.get(ADMIN)
        self.assertEqual(response.status_code, 200)
        return " ".join(response.content.decode().split())

    def test_an_idle_gateway_has_a_dashboard(self) -> None:
        record_canary()
        page = self.page()
        self.assertIn("Nothing in the last hour", page)
        self.assertIn("nothing was given up", page)
        self.assertNotIn('class="hermes-alarm"', page)

    def test_it_shows_ages_dead_letters_and_where_they_are(self) -> None:
        record_canary()
        make_inbound(accepted_at=timezone.now() - timedelta(seconds=185))
        make_outbound(state="dead")
        page = self.page()
        self.assertIn("3 min 5 s", page)
        self.assertIn("0 incoming, 1 outgoing", page)
        self.assertIn(f"{ADMIN}gateway_app/outboundpart/?state__exact=dead", page)

    def test_what_is_wrong_is_said_at_the_top(self) -> None:
        Listener.objects.create(platform="telegram", account="12", error="<b>401</b>")
        page = self.page()
        self.assertIn("no canary task has come through the queue yet", page)
        self.assertIn("&lt;b&gt;401&lt;/b&gt;", page)

    def test_each_chart_has_a_picture_with_words_and_a_table(self) -> None:
        make_turn(started_at=timezone.now(), finished_at=timezone.now(), prompt_tokens=5)
        page = self.page()
        self.assertEqual(page.count('role="img" aria-label='), 5)
        self.assertIn("Turns: at most 1 in a minute", page)
        self.assertIn("<caption", page)

    def test_failed_turns_are_listed(self) -> None:
        turn = make_turn(state="failed", error="server_error <503>", finished_at=timezone.now())
        page = self.page()
        self.assertIn(f"{ADMIN}gateway_app/turn/{turn.pk}/change/", page)
        self.assertIn("server_error &lt;503&gt;", page)

    def test_the_cost_does_not_grow_with_the_rows(self) -> None:
        # Session, user, 2 dead letter counts of the menu, 12 of the backlog, 3 of the hour, 2 of failed turns.
        counts = []
        for _ in range(2):
            for _ in range(4):
                make_turn(state="failed", finished_at=timezone.now())
                make_inbound(state="dead")
                Listener.objects.create(platform="telegram", account=str(Listener.objects.count()))
            with self.assertNumQueries(27):
                self.page()
            counts.append(1)

    def test_who_may_not_see_the_parts_does_not_see_the_sum(self) -> None:
        clerk = User.objects.create_user("clerk", is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_turn", "view_listener"]))
        self.client.force_login(clerk)
        page = self.page()
        self.assertNotIn("Throughput", page)
        self.assertIn(f"{ADMIN}gateway_app/turn/", page)
