"""Listeners and web processes that die; `make chaos` has more, and writes docs/chaos.md."""

from __future__ import annotations

from tests.chaos.case import ChaosTestCase
from tests.chaos.scenarios import listeners, web


class KilledListenerTests(ChaosTestCase):
    fleet_options = {"listeners": 2, "workers": 1}

    def test_killed_with_updates_in_hand(self) -> None:
        self.prove(listeners.killed_before_accepting)

    def test_killed_before_the_commit(self) -> None:
        self.prove(listeners.killed_before_the_commit)

    def test_killed_after_the_commit(self) -> None:
        self.prove(listeners.killed_after_the_commit)

    def test_a_standby_takes_over_from_one_that_was_killed(self) -> None:
        self.prove(listeners.killed_while_polling)

    def test_a_sleeper_writes_nothing_when_it_wakes(self) -> None:
        self.prove(listeners.stopped_with_updates)


class KilledWebProcessTests(ChaosTestCase):
    fleet_options = {"webs": 1}

    def test_killed_in_a_post_before_the_commit(self) -> None:
        self.prove(web.killed_in_a_post)

    def test_killed_in_a_post_after_the_commit(self) -> None:
        self.prove(web.killed_before_answering_a_post)

    def test_killed_while_it_streams(self) -> None:
        self.prove(web.killed_while_streaming)

    def test_a_worker_is_killed_while_pages_show_what_it_writes(self) -> None:
        self.prove(web.worker_killed_while_streaming)
