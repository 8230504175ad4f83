"""Summaries where messages are taken back, put back, asked again, or left behind in another conversation."""

from __future__ import annotations

from gateway_app.models import Compression, Session, TranscriptMessage
from gateway_app.sessions import compression
from tests.test_compression import SUMMARY, CompressionCase, words


class EditedCase(CompressionCase):
    def contents(self) -> list[str]:
        return [each["content"] for each in self.given()]

    def has_summary(self) -> bool:
        return any(SUMMARY in content for content in self.contents())

    def sees(self, number: int) -> bool:
        return any(f"number {number} " in content for content in self.contents())

    def present(self) -> Session:
        return Session.objects.get(ended_at=None)


class TakenBackTests(EditedCase):
    def test_what_a_summary_stands_for_takes_it_along(self) -> None:
        self.sums_up()
        self.count(0, 14)
        self.say("/undo 12", "and now?")
        expected = [words(0), f"echo: {words(0)}", words(1), f"echo: {words(1)}", "and now?"]
        self.assertEqual(self.contents(), expected)

    def test_what_came_after_a_summary_leaves_it(self) -> None:
        self.sums_up()
        self.count(0, 14)
        self.say("/undo", "and now?")
        self.assertTrue(self.has_summary())
        self.assertFalse(self.sees(13))
        self.assertTrue(self.sees(12))

    def test_putting_back_brings_back_every_message_or_a_summary_that_stands_for_it(self) -> None:
        self.sums_up()
        self.count(0, 14)
        self.say("/undo 9", "/compress", "/redo")
        kept = compression.current(session_pk=self.present().pk)
        back = TranscriptMessage.objects.filter(content=words(5)).get()
        self.assertTrue(kept is None or kept.last_message < back.pk, kept)
        self.say("and now?")
        self.assertTrue(self.sees(13))
        self.assertTrue(self.has_summary())

    def test_asking_again_leaves_the_answer_of_before_in_no_summary(self) -> None:
        self.sums_up()
        self.count(0, 14)
        row = Compression.objects.latest("id")
        newest = TranscriptMessage.objects.filter(role="user").latest("id")
        Compression.objects.filter(pk=row.pk).update(last_message=newest.pk + 1)
        self.say("/retry")
        self.assertFalse(Session.objects.filter(compression=row).exists())
        self.assertTrue(Compression.objects.get(pk=row.pk).is_void)
        self.assertEqual(self.contents()[-1], words(13))

    def test_a_summary_of_what_was_once_taken_back_is_never_in_force_again(self) -> None:
        self.sums_up()
        self.count(0, 24)
        first, second, *_ = Compression.objects.order_by("id")
        session = Session.objects.get()
        compression.forget(session_pk=session.pk, first_message=second.last_message)
        compression.forget(session_pk=session.pk, first_message=10**9)
        self.assertEqual(Session.objects.get().compression, first)


class BranchedTests(EditedCase):
    def test_a_branch_goes_on_with_the_summary(self) -> None:
        self.sums_up()
        self.count(0, 12)
        self.say("/branch b", "and now?")
        self.assertEqual(self.contents()[0], words(0))
        self.assertIn(SUMMARY, self.contents()[2])
        self.assertFalse(self.sees(3))
        self.assertEqual(self.contents()[-2:], [f"echo: {words(11)}", "and now?"])
        in_branch = self.contents()
        trunk = self.present().parent
        assert trunk
        self.say(f"/resume {trunk.session_id}", "and now?")
        self.assertEqual(self.contents(), in_branch)

    def test_a_summary_that_is_written_in_a_branch_begins_with_what_it_starts_from_and_stays_in_it(self) -> None:
        self.sums_up()
        self.count(0, 4)
        trunk = self.present()
        self.say("/branch b")
        self.count(4, 14)
        self.assertEqual(self.contents()[0], words(0))
        self.assertTrue(self.has_summary())
        self.assertTrue(self.sees(13))
        self.assertEqual({row.session for row in Compression.objects.all()}, {self.present()})
        self.say(f"/resume {trunk.session_id}", "and now?")
        self.assertFalse(self.has_summary())
        self.assertEqual(len(self.contents()), 2 * 4 + 1)

    def test_what_a_branch_takes_back_leaves_the_other_its_summary(self) -> None:
        self.sums_up()
        self.count(0, 14)
        trunk = self.present()
        self.say("/branch b", "/undo 12", "and now?")
        self.assertEqual(self.contents()[-3:], [words(1), f"echo: {words(1)}", "and now?"])
        self.assertFalse(self.has_summary())
        self.say(f"/resume {trunk.session_id}", "and now?")
        self.assertTrue(self.has_summary())

    def test_what_the_other_takes_back_leaves_a_branch_its_summary(self) -> None:
        self.sums_up()
        self.count(0, 14)
        trunk = self.present()
        self.say("/branch b", f"/resume {trunk.session_id}", "/undo 12", "/resume b", "and now?", "/undo", "and then?")
        self.assertTrue(self.has_summary())
        self.assertTrue(self.sees(13))

    def test_a_new_conversation_has_none_and_an_earlier_one_keeps_its_own(self) -> None:
        self.sums_up()
        self.count(0, 14)
        before = self.present()
        self.say("/new", "hello")
        self.assertEqual(self.contents(), ["hello"])
        self.say(f"/resume {before.session_id}", "and now?")
        self.assertTrue(self.has_summary())
