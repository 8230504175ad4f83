from __future__ import annotations

from unittest import mock

from django.test import SimpleTestCase

from honcho_app import breaker
from honcho_app.breaker import Breaker


class BreakerTests(SimpleTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        clock = mock.Mock(monotonic=lambda: self.now)
        self.enterContext(mock.patch.object(breaker, "time", clock))
        self.breaker = Breaker()

    def let_fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.failed(failures=3, seconds=30)

    def takes(self) -> bool:
        return self.breaker.takes(seconds=30)

    def test_it_opens_after_failures_in_a_row(self) -> None:
        self.let_fail(2)
        self.assertTrue(self.takes())
        self.breaker.succeeded()
        self.let_fail(2)
        self.assertTrue(self.takes())
        self.let_fail()
        self.assertFalse(self.takes())

    def test_one_call_tries_again_when_the_time_is_over(self) -> None:
        self.let_fail(3)
        self.now += 29
        self.assertFalse(self.takes())
        self.now += 1
        self.assertEqual([self.takes() for _ in range(3)], [True, False, False])

    def test_what_that_call_comes_to_decides(self) -> None:
        self.let_fail(3)
        self.now += 30
        self.assertTrue(self.takes())
        self.let_fail()
        self.now += 29
        self.assertFalse(self.takes())
        self.now += 1
        self.assertTrue(self.takes())
        self.breaker.succeeded()
        self.assertEqual([self.takes() for _ in range(3)], [True] * 3)

    def test_a_call_whose_outcome_is_never_told_keeps_it_shut_no_longer_than_any(self) -> None:
        self.let_fail(3)
        self.now += 30
        self.assertTrue(self.takes())
        self.now += 30
        self.assertTrue(self.takes())
