"""Slash commands on their road: in order with the messages around them, once, and without a trace in the transcript."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

from django.db import connection
from django.test import SimpleTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_app import inbox, lanes
from gateway_app.access import audit, rules
from gateway_app.access.command_access import Scope
from gateway_app.commands import registry
from gateway_app.commands.base import Call, Command
from gateway_app.models import OutboundPart, TranscriptMessage, Turn, TurnStep
from gateway_app.models.inbox import BusyMode
from gateway_app.models.turn import TurnState
from gateway_app.platforms.cli.conversation import ask, source_of_terminal
from gateway_app.sessions.source import ChatType
from gateway_app.turns import opening, runner
from gateway_app.turns.waiting import Waiting, collected
from tests import pipeline
from tests.configuration import configured
from tests.pipeline_case import PipelineTestCase, expire_leases

GROUP: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP}
THREAD: dict[str, Any] = {**GROUP, "thread_id": "t"}


def gated(**changes: Any) -> override_settings:
    """Admins for both scopes of the recording platform: boss."""
    lists = {"allow_admin_from": ["boss"], "group_allow_admin_from": ["boss"]}
    return configured(access={"platforms": {"recording": lists | changes}})


class Recorder:
    """A command that remembers its calls; `failures` are raised first."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.failures: list[BaseException] = []

    async def run(self, call: Call) -> str:
        self.calls.append(call)
        if self.failures:
            raise self.failures.pop(0)
        return f"did {call.arguments}"


class CommandTestCase(PipelineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder()
        do = Command(name="do", aliases=("make",), summary="does it.", run=self.recorder.run)
        alone = Command(name="alone", summary="works alone.", run=self.recorder.run, scopes=frozenset({Scope.DM}))
        found = registry.Registry([*registry.shipped().commands, do, alone])
        self.enterContext(mock.patch.object(registry, "shipped", lambda: found))

    def tell(self, *texts: str, user: str = "ann", **place: Any) -> list[str]:
        """The answers to `texts`, which wait together."""
        before = len(self.platform.texts)
        inbox.accept([pipeline.event(text, user=user, **place) for text in texts])
        self.answer(user, **place)
        self.deliver()
        return self.platform.texts[before:]


class RoadTests(CommandTestCase):
    def test_a_command_between_messages_is_answered_in_its_place(self) -> None:
        self.assertEqual(
            self.tell("one", "two", "/do it", "three", "four"),
            ["echo: one\n\ntwo", "did it", "echo: three\n\nfour"],
        )
        self.assertEqual(pipeline.inbound_states(), ["done"] * 5)
        self.assertEqual(pipeline.outbound_states(), ["sent"] * 3)
        self.assertEqual(lanes.due(limit=10), [])

    def test_commands_in_a_row_are_a_turn_each(self) -> None:
        self.assertEqual(self.tell("/do a", "/do b", "/MAKE c"), ["did a", "did b", "did c"])
        self.assertEqual(Turn.objects.count(), 3)

    def test_nothing_of_a_command_reaches_the_model_or_the_transcript(self) -> None:
        self.tell("one", "/do it", "two")
        messages = self.model.requests[-1]["body"]["messages"]
        self.assertEqual([message["content"] for message in messages[1:]], ["one", "echo: one", "two"])
        said = list(TranscriptMessage.objects.order_by("id").values_list("content", flat=True))
        self.assertEqual(said, ["one", "echo: one", "two", "echo: two"])
        self.assertEqual(self.model.stats["calls"], 2)

    def test_a_commands_turn_has_no_model_and_no_cost(self) -> None:
        self.tell("/do it")
        turn = Turn.objects.get()
        self.assertEqual((turn.state, turn.model, turn.prompt_tokens, turn.error), ("done", "", 0, ""))
        self.assertFalse(TurnStep.objects.exists())

    def test_a_command_knows_whose_it_is_and_what_was_decided(self) -> None:
        with gated(group_user_allowed_commands=["do"]):
            self.tell("/make  it  so ", **GROUP)
        (call,) = self.recorder.calls
        self.assertEqual((call.name, call.arguments), ("make", "it  so"))
        self.assertEqual(call.source, pipeline.source(**GROUP))
        self.assertEqual(call.context.session_key, pipeline.context(**GROUP).session_key)
        self.assertEqual(call.context.session_id, Turn.objects.get().session.session_id)
        self.assertEqual(call.admission.rule, "RECORDING_ALLOW_ALL_USERS")
        self.assertEqual(call.decision.rule, "RECORDING_GROUP_USER_ALLOWED_COMMANDS")
        self.assertEqual([command.name for command in call.permitted], ["do", "help", "whoami"])

    def test_a_path_is_for_the_agent(self) -> None:
        self.assertEqual(self.tell("/path/to/file", "/"), ["echo: /path/to/file\n\n/"])

    def test_in_a_shared_thread_each_persons_command_is_their_own(self) -> None:
        inbox.accept([pipeline.event(text, user=text[-3:], **THREAD) for text in ("hi ann", "/do ann", "/do bob")])
        self.answer(**THREAD)
        self.assertEqual(self.platform.texts, ["echo: [Ann] hi ann", "did ann", "did bob"])
        self.assertEqual([call.source.user_id for call in self.recorder.calls], ["ann", "bob"])

    def test_the_command_line_runs_commands_too(self) -> None:
        answer = pipeline.run(ask("/whoami", source=source_of_terminal(conversation="main")))
        self.assertTrue(answer.is_answered)
        self.assertIn("Platform: `cli`", answer.texts[0])
        answer = pipeline.run(ask("/help", source=source_of_terminal(conversation="main")))
        self.assertTrue(answer.is_answered)
        self.assertIn("Commands that you may use here", answer.texts[0])
        self.assertEqual(self.model.stats["calls"], 0)

    def test_opening_a_command_takes_no_more_statements_than_opening_a_message(self) -> None:
        self.tell("the session's first message pins its prompt")
        counts = []
        for text in ("hello", "/do it"):
            pipeline.accept(text)
            with CaptureQueriesContext(connection) as queries:
                turn = opening.claim_and_open(session_key=pipeline.context().session_key)
            assert turn
            counts.append(len(queries))
            runner.close(turn, runner.Outcome(state=TurnState.DONE, reply="done"))
        self.assertEqual(counts[0], counts[1])

    def test_a_command_that_takes_too_long_is_stopped_and_says_so(self) -> None:
        async def wait(call: Call) -> str:
            await asyncio.sleep(30)
            return "late"

        found = registry.Registry([Command(name="wait", summary="waits.", run=wait)])
        with (
            mock.patch.object(registry, "shipped", lambda: found),
            override_settings(TURN_TIMEOUT_SECONDS=0.1),
            self.assertLogs("gateway_app"),
        ):
            (said,) = self.tell("/wait")
        self.assertIn("took longer than I am allowed", said)
        self.assertFalse(TranscriptMessage.objects.exists())

    def test_a_command_that_fails_every_time_becomes_a_dead_letter_and_the_session_goes_on(self) -> None:
        self.recorder.failures = [ZeroDivisionError()] * 3
        pipeline.accept("/do it", "hello")
        with self.assertLogs("gateway_app"):
            for _ in range(4):
                self.answer()
        self.assertIn("kept for the operator", self.platform.texts[0])
        self.assertEqual(self.platform.texts[1:], ["echo: hello"])
        self.assertEqual(pipeline.inbound_states(), ["dead", "done"])
        self.assertEqual(list(TranscriptMessage.objects.values_list("role", flat=True)), ["user", "assistant"])


class CrashTests(CommandTestCase):
    def test_a_worker_that_dies_after_the_command_leaves_it_to_the_next_and_one_answer_is_seen(self) -> None:
        pipeline.accept("one", "/do it", "two")
        real = runner.close

        def die_at_the_command(turn: opening.OpenTurn, outcome: Any) -> Any:
            if turn.invocation:
                raise asyncio.CancelledError
            return real(turn, outcome)

        with (
            mock.patch.object(runner, "close", die_at_the_command),
            mock.patch.object(runner, "give_up_early"),
            self.assertRaises(asyncio.CancelledError),
        ):
            self.answer()
        self.assertEqual(self.platform.texts, ["echo: one"])
        expire_leases()
        self.answer()
        self.assertEqual(self.platform.texts, ["echo: one", "did it", "echo: two"])
        self.assertEqual(len(self.recorder.calls), 2)
        self.assertEqual(pipeline.inbound_states(), ["done"] * 3)
        self.assertEqual(Turn.objects.order_by("id")[1].attempts, 2)

    def test_a_worker_that_slept_over_a_command_says_nothing_when_it_wakes(self) -> None:
        # Seen to fail with `AND fence = %s` taken out of lanes.holding_or_releasing().
        pipeline.accept("/do it")
        sleeper = opening.claim_and_open(session_key=pipeline.context().session_key)
        expire_leases()
        successor = opening.claim_and_open(session_key=pipeline.context().session_key)
        assert sleeper and sleeper.invocation and successor and successor.invocation == sleeper.invocation
        with self.assertRaises(lanes.LaneLost):
            runner.close(sleeper, runner.Outcome(state=TurnState.DONE, reply="from the sleeper"))
        runner.close(successor, runner.Outcome(state=TurnState.DONE, reply="from its successor"))
        self.assertEqual(OutboundPart.objects.get().text, "from its successor")


class AccessTests(CommandTestCase):
    def test_who_may_not_run_a_command_is_told_what_they_may_use(self) -> None:
        with gated(user_allowed_commands=["alone"]), self.assertLogs("gateway_app", "INFO") as logs:
            (said,) = self.tell("/do it")
        self.assertEqual(said, "⛔ /do is admin-only here. You may use: /alone, /help, /whoami")
        self.assertEqual(self.recorder.calls, [])
        self.assertIn("Denied /do to recording user 'ann'", logs.output[0])

    def test_a_denial_names_twelve_commands_at_most(self) -> None:
        names = [f"c{number:02}" for number in range(20)]
        commands = [Command(name=name, summary="does.", run=self.recorder.run) for name in names]
        found = registry.Registry([*registry.shipped().commands, *commands])
        with mock.patch.object(registry, "shipped", lambda: found), gated(user_allowed_commands=names):
            (said,) = self.tell("/do it")
        self.assertEqual(said, f"⛔ /do is admin-only here. You may use: {', '.join(f'/{n}' for n in names[:12])}, …")

    def test_an_admin_may_and_plain_messages_are_never_gated(self) -> None:
        with gated():
            self.assertEqual(self.tell("/do it", user="boss"), ["did it"])
            self.assertEqual(self.tell("hello"), ["echo: hello"])

    def test_the_scopes_have_lists_of_their_own(self) -> None:
        with gated(allow_admin_from=["ann"]):
            self.assertEqual(self.tell("/do it"), ["did it"])
            self.assertEqual(self.tell("/do it", **GROUP), ["⛔ /do is admin-only here. You may use: /help, /whoami"])

    def test_what_is_in_force_when_the_command_runs_decides(self) -> None:
        pipeline.accept("/do it")
        with gated():
            self.answer()
        self.assertIn("admin-only", self.platform.texts[0])

    def test_whoever_is_banned_before_their_command_runs_does_not_get_it_run(self) -> None:
        pipeline.accept("/do it", "/whoami")
        rules.deny(platform="", subject_id="ann", by=audit.SYSTEM)
        self.answer()
        self.assertEqual(
            self.platform.texts,
            [f"⛔ I did not run /{name}: you may not speak to me here any more." for name in ("do", "whoami")],
        )

    def test_a_command_is_refused_where_it_does_not_work(self) -> None:
        self.assertEqual(
            self.tell("/alone", **GROUP), ["/alone does not work in this kind of chat. /help lists what does."]
        )

    def test_an_unknown_command_gets_a_notice_in_a_direct_message_and_goes_to_the_agent_in_a_group(self) -> None:
        self.assertEqual(self.tell("/dance"), ["There is no command /dance. /help lists those that there are."])
        self.assertEqual(self.tell("/dance", **GROUP), ["echo: /dance"])
        self.assertEqual(self.tell("/do@other_bot it", **GROUP), ["echo: /do@other_bot it"])


class ShippedCommandTests(CommandTestCase):
    maxDiff = None

    def test_help_lists_what_the_person_may_run_here(self) -> None:
        with gated(group_user_allowed_commands=["/do"]):
            (in_group,) = self.tell("/help", **GROUP)
            to_boss = self.tell("/help", user="boss")
        self.assertEqual(
            in_group,
            "Commands that you may use here:\n"
            "- What there is to know: /help, /whoami\n"
            "- Further commands: /do\n\n"
            "`/help <command>` explains one. Anything else is for the agent.",
        )
        self.assertIn("- Further commands: /alone, /do", "\n".join(to_boss))

    def test_whoever_opens_a_bot_is_greeted_and_shown_the_commands_also_where_commands_are_gated(self) -> None:
        with gated():
            (said,) = self.tell("/start")
        self.assertTrue(said.startswith("Hello!"))
        self.assertIn("/help, /whoami", said)
        self.assertNotIn("/do", said)

    def test_whoami_says_who_and_why_and_what(self) -> None:
        with gated(group_user_allowed_commands=["do"]):
            (said,) = self.tell("/whoami", user_id_alt="a`b\nc", **GROUP)
        key = pipeline.context(user_id_alt="a`b\nc", **GROUP).session_key
        self.assertEqual(
            said,
            "- Platform: `recording`\n"
            "- User id: `ann`\n"
            "- Alternative id: `a?b?c`\n"
            "- Place: a group, channel or thread\n"
            f"- Session: `{key}`\n"
            "- Allowed by: `RECORDING_ALLOW_ALL_USERS (default)`\n"
            "- Commands: user: you may run the commands below\n"
            "- You may use: /do, /help, /whoami",
        )

    def test_whoami_tells_the_tiers_apart_and_names_nobody_else(self) -> None:
        (ungated,) = self.tell("/whoami")
        with gated():
            (admin,) = self.tell("/whoami", user="boss")
            (user,) = self.tell("/whoami")
        self.assertIn("Commands: ungated", ungated)
        self.assertIn("Commands: admin", admin)
        self.assertIn("Commands: user", user)
        self.assertNotIn("boss", user)


messages = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]), st.sampled_from(["hi", "/help", "/nonsense"]), st.sampled_from(BusyMode)
    ),
    min_size=1,
)


class CollectingProperties(SimpleTestCase):
    @given(messages, st.sampled_from([ChatType.THREAD, ChatType.DM]))
    @settings(max_examples=500, deadline=None)
    def test_turns_keep_the_order_and_mix_neither_people_nor_commands(
        self, written: list[tuple[str, str, BusyMode]], chat_type: ChatType
    ) -> None:
        waiting = [
            Waiting(number, pipeline.source(user, chat_id="t", chat_type=chat_type), text, "", mode)
            for number, (user, text, mode) in enumerate(written)
        ]
        taken: list[int] = []
        while len(taken) < len(waiting):
            turn = collected(waiting[len(taken) :])
            taken += [message.row_id for message in turn]
            self.assertEqual(len({message.source.user_id for message in turn}), 1)
            if any(message.invocation or message.mode is BusyMode.QUEUE for message in turn):
                self.assertEqual(len(turn), 1)
        self.assertEqual(taken, list(range(len(waiting))))
