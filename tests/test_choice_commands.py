"""Commands by which people choose how their conversation is answered, and those that tell what there is."""

from __future__ import annotations

from typing import Any

from django.test import override_settings

from gateway_app.commands import registry
from gateway_app.config.errors import Wrong
from gateway_app.config.mappings import read_personalities
from gateway_app.models import Turn
from gateway_app.sessions import overrides
from gateway_app.sessions.source import ChatType
from tests.agent_case import calls
from tests.configuration import configured
from tests.session_case import SessionTestCase

GROUP: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP}


class ListTests(SessionTestCase):
    def test_help_is_short_and_explains_one_and_commands_explains_all_in_pages(self) -> None:
        (short,) = self.tell("/help")
        self.assertLess(len(short.splitlines()), 12)
        self.assertIn("/model", short)
        (one,) = self.tell("/help reset")
        self.assertIn("`/new [<title>]` begins a new conversation", one)
        self.assertIn("Also: /reset\nIt waits its turn while I work.", one)
        self.assertIn("no command /dance here", self.tell("/help /dance")[0])
        pages = ["".join(self.tell(f"/commands {number}")) for number in (1, 2)]
        self.assertIn("Page 1 of ", pages[0])
        self.assertIn("`/commands 2` shows the next", pages[0])
        every = "".join("".join(self.tell(f"/commands {number}")) for number in range(1, 5))
        for command in registry.shipped().commands:
            self.assertIn(f"`{command.form}` {command.summary}", every)
        self.assertIn("There is no page 99", self.tell("/commands 99")[0])
        self.assertIn("lists the commands", self.tell(f"/commands {'9' * 10_000}")[0])

    def test_what_a_person_may_not_run_is_in_no_list(self) -> None:
        lists = {"allow_admin_from": ["boss"], "user_allowed_commands": ["commands", "sethome", "model"]}
        with configured(access={"platforms": {"recording": lists}}):
            (mine,) = self.tell("/commands")
            self.assertIn("/model", mine)
            self.assertNotIn("/undo", mine)
            self.assertNotIn("/sethome", mine)
            self.assertIn("admin-only", self.tell("/sethome")[0])
            self.assertIn("/sethome", self.tell("/help", user="boss")[0])


@override_settings(HERMES_MODEL="gpt-5-mini", MODEL_FALLBACKS=["spare"])
@configured(model={"allowed": ("gpt-5-large",)})
class ModelTests(SessionTestCase):
    def asked(self) -> str:
        return str(self.model.requests[-1]["body"]["model"])

    def test_it_shows_the_model_why_it_is_that_and_what_may_be_chosen(self) -> None:
        (said,) = self.tell("/model")
        self.assertIn("`gpt-5-mini` answers here, as the configuration says for all chats.", said)
        self.assertIn("- `gpt-5-mini`\n- `spare`\n- `gpt-5-large`", said)
        with configured(agents={"platforms": {"recording": {"model": "here"}}}):
            self.assertIn("`here` answers here, as the configuration says for recording.", self.tell("/model")[0])

    def test_one_that_may_be_chosen_answers_until_default(self) -> None:
        self.assertIn("From now on `gpt-5-large` answers", self.tell("/model GPT-5-Large")[0])
        self.tell("one")
        self.assertEqual(self.asked(), "gpt-5-large")
        self.assertIn("`gpt-5-large` answers here, as chosen for this conversation.", self.tell("/model")[0])
        self.assertIn("Model: `gpt-5-large`", self.tell("/status")[0])
        self.tell("/new", "two")
        self.assertEqual(self.asked(), "gpt-5-large")
        self.assertIn("`gpt-5-mini` answers here again", self.tell("/model default")[0])
        self.tell("three")
        self.assertEqual(self.asked(), "gpt-5-mini")

    def test_any_other_is_refused_with_what_it_may_have_meant(self) -> None:
        self.assertIn("Did you mean `gpt-5-large`?", self.tell("/model large")[0])
        self.assertIn("Did you mean `gpt-5-mini`", self.tell("/model gpt5mini")[0])
        (said,) = self.tell(f"/model {'x' * 10_000}")
        self.assertIn("/model lists those that you may.", said)
        self.assertLess(len(said), 200)
        self.assertEqual(overrides.of(self.present()).model, "")

    def test_another_persons_conversation_is_not_changed(self) -> None:
        self.tell("/model spare")
        self.tell("hello", user="bob")
        self.assertEqual(self.asked(), "gpt-5-mini")


@configured(agents={"personalities": {"Pirate": "Speak like a pirate.", "brief": "Use few words."}})
class PersonalityTests(SessionTestCase):
    def prompt(self) -> str:
        return str(self.model.requests[-1]["body"]["messages"][0]["content"])

    def test_a_personality_is_a_tier_of_the_prompt_until_default(self) -> None:
        self.tell("one")
        plain = self.prompt()
        self.assertIn("- pirate\n- brief", self.tell("/personality")[0])
        self.assertIn("From now on I am “pirate”", self.tell("/personality PIRATE")[0])
        self.tell("two")
        self.assertIn("\n\nIn this conversation you are to be so:\nSpeak like a pirate.\n\n", self.prompt())
        with_it = self.prompt()
        self.assertIn("- pirate ← chosen", self.tell("/personality")[0])
        self.tell("three")
        self.assertEqual(self.prompt(), with_it)
        self.tell("/personality default", "four")
        self.assertEqual(self.prompt(), plain)

    def test_one_that_there_is_not_changes_nothing(self) -> None:
        self.assertIn("There is no such personality. There are:", self.tell("/personality robot")[0])
        with configured(agents={"personalities": {}}):
            self.assertIn("`agent.personalities`", self.tell("/personality")[0])
        self.assertEqual(overrides.of(self.present()).personality, "")

    def test_wrong_names_and_texts_are_refused_where_they_are_read(self) -> None:
        self.assertEqual(read_personalities(read_personalities('{"A": " b "}')), (("a", "b"),))
        for wrong in ({"default": "x"}, {"a b": "x"}, {"x" * 33: "x"}, {"a": ""}, {"a": 5}, {"a": "x" * 8001}, "x", 5):
            with self.subTest(str(wrong)[:40]), self.assertRaises(Wrong):
                read_personalities(wrong)


class DisplayTests(SessionTestCase):
    def test_verbose_goes_round_and_takes_a_name(self) -> None:
        found = []
        for command in ("/verbose",) * 4 + ("/verbose verbose", "/verbose default"):
            self.tell(command)
            found.append(overrides.of(self.present()).tool_progress)
        self.assertEqual(found, ["new", "all", "verbose", "off", "verbose", ""])
        self.assertIn("goes to the next of off, new, all, verbose", self.tell("/verbose loud")[0])

    def test_reasoning_is_shown_or_not_and_the_effort_goes_to_the_model(self) -> None:
        self.assertIn("my thoughts are not shown, and I think as long as usual", self.tell("/reasoning")[0])
        self.assertIn("my thoughts are shown", self.tell("/reasoning on")[0])
        self.assertIn("my thoughts are shown, and I think for long.", self.tell("/reasoning high")[0])
        self.tell("one")
        self.assertEqual(self.model.requests[-1]["body"]["reasoning_effort"], "high")
        self.assertIs(overrides.of(self.present()).show_reasoning, True)
        self.tell("/reasoning default", "two")
        self.assertNotIn("reasoning_effort", self.model.requests[-1]["body"])
        self.assertIn("`low`, `medium` and `high`", self.tell("/reasoning loud")[0])


@override_settings(HERMES_MODEL="first")
class UsageTests(SessionTestCase):
    @configured(model={"prices": {"first": {"input": 1, "output": 1}}})
    def test_usage_tells_what_was_cached_and_what_it_cost_as_far_as_that_is_known(self) -> None:
        self.model.script.add(answer="yes", cached_tokens=5)
        self.tell("one")
        turn = Turn.objects.get()
        (said,) = self.tell("/usage")
        cost = f"{turn.cost_micros / 1_000_000:,.4f}"
        self.assertIn(f"{turn.prompt_tokens:,} tokens read (5 of them cached)", said)
        self.assertIn(f"at a cost of {cost}", said)
        with configured(model={"prices": {}}):
            self.tell("two")
        self.assertIn(f"at a cost of at least {cost}", self.tell("/usage")[0])

    def test_insights_are_of_the_person_alone_and_in_a_group_of_what_they_asked_there(self) -> None:
        self.model.script.add(tool_calls=calls(("current_time", {})))
        self.tell("one", user="bob")
        self.tell("two")
        self.tell("three", chat_id="elsewhere")
        self.tell("four", **GROUP)
        (said,) = self.tell("/insights")
        self.assertIn("You in all your conversations in the last 7 days:\n- Messages: 3\n- Answers: 3\n", said)
        self.assertIn("Models: `first` 3", said)
        self.assertNotIn("current_time", said)
        self.assertIn("- Tools: `current_time` 1", self.tell("/insights 1", user="bob")[0])
        (here,) = self.tell("/insights 30", **GROUP)
        self.assertIn("You here in the last 30 days:\n- Messages: 1\n", here)
        for wrong in ("0", "91", "x", "9" * 10_000):
            self.assertIn("at most 90", self.tell(f"/insights {wrong}")[0])

    def test_what_is_older_does_not_count(self) -> None:
        self.tell("one")
        self.age(days=3)
        Turn.objects.update(started_at=self.present().transcript.earliest("id").created_at)
        self.assertIn("Messages: 0\n- Answers: 0", self.tell("/insights 2")[0])
        self.assertIn("Messages: 1\n- Answers: 1", self.tell("/insights 4")[0])
