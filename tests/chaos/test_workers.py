"""Workers that die or sleep at the points of a turn's road; `make chaos` has them all, and writes docs/chaos.md."""

from __future__ import annotations

from django.db import connection

from tests.chaos.case import ChaosTestCase
from tests.chaos.scenarios import sleepers, workers


class KilledWorkerTests(ChaosTestCase):
    def test_killed_after_the_claim(self) -> None:
        self.prove(workers.killed_after_the_claim)

    def test_killed_while_it_waits_for_the_model(self) -> None:
        self.prove(workers.killed_in_the_model_call)

    def test_killed_after_the_journal_row(self) -> None:
        self.prove(workers.killed_after_a_journaled_step)

    def test_killed_by_the_tool_that_it_runs(self) -> None:
        self.prove(workers.killed_by_a_tool)

    def test_killed_while_it_answers_a_command(self) -> None:
        self.prove(workers.killed_in_a_command)

    def test_killed_while_it_stops_a_turn(self) -> None:
        self.prove(workers.killed_in_a_stop)

    def test_killed_in_the_middle_of_the_transaction(self) -> None:
        self.prove(workers.killed_in_the_transaction)

    def test_killed_before_the_commit(self) -> None:
        self.prove(workers.killed_before_the_commit)

    def test_killed_after_the_commit(self) -> None:
        self.prove(workers.killed_after_the_commit)

    def test_killed_after_the_send(self) -> None:
        self.prove(workers.killed_after_the_send)

    def test_killed_between_the_parts_of_a_reply(self) -> None:
        self.prove(workers.killed_between_parts)


class SleepingWorkerTests(ChaosTestCase):
    def test_a_sleeper_in_the_model_call_changes_nothing_when_it_wakes(self) -> None:
        self.prove(sleepers.stopped_in_the_model_call)

    def test_a_sleeper_with_the_reply_in_hand_changes_nothing_when_it_wakes(self) -> None:
        self.prove(sleepers.stopped_with_the_reply_in_hand)

    def test_a_sleeper_in_a_send_changes_nothing_when_it_wakes(self) -> None:
        self.prove(sleepers.stopped_in_the_send)

    def test_a_sleeper_that_is_about_to_send_says_nothing_when_it_wakes(self) -> None:
        self.prove(sleepers.stopped_before_the_send)

    if connection.vendor == "postgresql":

        def test_a_sleeper_in_a_transaction_holds_nobody_up(self) -> None:
            self.prove(sleepers.stopped_before_the_commit)
