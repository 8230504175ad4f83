"""What a turn used and cost, and which models were asked."""

from __future__ import annotations

from decimal import Decimal
from unittest import TestCase, mock

from django.test import override_settings

from gateway_app.agent.model_reply import ModelReply
from gateway_app.agent.usage import Usage
from gateway_app.config.errors import Wrong
from gateway_app.config.mappings import Price, read_channel_overrides, read_prices
from gateway_app.models import Turn
from gateway_app.turns import runner
from tests import pipeline
from tests.configuration import configured
from tests.pipeline_case import Killed, PipelineTestCase, expire_leases

PRICES = {"first": {"input": 2, "cached": "0.5", "output": 8}, "second": {"input": 1, "output": 1}}


def reply(model: str = "first", *, prompt: int, cached: int = 0, completion: int = 0) -> ModelReply:
    return ModelReply("", (), "stop", model, prompt, completion, 0.5, cached_tokens=cached)


class CostTests(TestCase):
    def cost(self, *replies: ModelReply) -> int | None:
        usage = Usage()
        for found in replies:
            usage.add(found)
        return usage.cost_micros(read_prices(PRICES))

    def test_cached_tokens_and_each_models_have_their_own_price(self) -> None:
        self.assertEqual(self.cost(reply(prompt=1000, cached=400, completion=10)), 600 * 2 + 200 + 80)
        self.assertEqual(self.cost(reply(prompt=10), reply("second", prompt=10, cached=5, completion=1)), 20 + 11)

    def test_a_cost_is_rounded_once_for_the_turn(self) -> None:
        self.assertEqual(self.cost(*[reply(prompt=1, cached=1)] * 3), 2)

    def test_where_one_price_is_missing_the_cost_is_not_known(self) -> None:
        self.assertIsNone(self.cost(reply(prompt=1), reply("third", prompt=1)))
        self.assertIsNone(self.cost())


class MappingTests(TestCase):
    def test_prices_are_read_from_json_and_again_from_what_was_read(self) -> None:
        found = read_prices('{"m": {"input": 0.25, "output": 2}}')
        self.assertEqual(found, (Price("m", Decimal("0.25"), Decimal("0.25"), Decimal(2)),))
        self.assertEqual(read_prices(found), found)
        self.assertEqual(read_prices({}), ())

    def test_overrides_are_read_by_chat(self) -> None:
        found = read_channel_overrides({-100: {"model": "small"}, "x": "short form"})
        self.assertEqual(found, (("-100", "small"), ("x", "short form")))
        self.assertEqual(read_channel_overrides(found), found)

    def test_what_is_wrong_is_said(self) -> None:
        one = {"input": 1, "output": 1}
        for wrong in (
            "{", [], {"m": 3}, {"m": {"input": 1}}, {"": one}, {"m": one | {"input": -1}}, {"m": one | {"input": True}},
            {"m": one | {"input": "NaN"}}, {"m": one | {"spare": 1}},
        ):  # fmt: skip
            with self.subTest(prices=wrong), self.assertRaises(Wrong):
                read_prices(wrong)
        for wrong in ("x", 5, {"c": {"model": ""}}, {"c": {"model": "m", "provider": "p"}}, {"c": {}}, {"c": None}):
            with self.subTest(overrides=wrong), self.assertRaises(Wrong):
                read_channel_overrides(wrong)


@override_settings(HERMES_MODEL="first")
class TurnCostTests(PipelineTestCase):
    @configured(model={"prices": PRICES})
    def test_a_turn_keeps_what_it_used_over_all_its_calls_also_where_a_worker_died(self) -> None:
        self.model.script.add(tool_calls=({"name": "current_time", "arguments": "{}"},), cached_tokens=10)
        self.model.script.add(times=2, answer="It is late.", cached_tokens=20)
        pipeline.accept("go")
        with mock.patch.object(runner, "close", side_effect=Killed), self.assertRaises(Killed):
            self.answer()
        expire_leases()
        self.answer()
        turn = Turn.objects.get()
        self.assertEqual(turn.cached_tokens, 30)
        fresh = turn.prompt_tokens - 30
        self.assertEqual(turn.cost_micros, fresh * 2 + 15 + turn.completion_tokens * 8)

    @configured(model={"prices": PRICES})
    def test_a_turn_that_fails_keeps_what_it_had_used_until_then(self) -> None:
        self.model.script.add(tool_calls=({"name": "current_time", "arguments": "{}"},))
        self.model.script.add(status=401)
        pipeline.accept("go")
        self.answer()
        turn = Turn.objects.get()
        self.assertEqual((turn.state, turn.model), ("failed", "first"))
        self.assertGreater(turn.prompt_tokens, 0)
        self.assertGreater(turn.cost_micros, 0)

    def test_without_prices_there_is_no_cost(self) -> None:
        pipeline.accept("go")
        self.answer()
        self.assertIsNone(Turn.objects.get().cost_micros)


@override_settings(HERMES_MODEL="first", MODEL_FALLBACKS=["spare"], MODEL_RETRIES=0)
class RoutingTests(PipelineTestCase):
    def asked(self) -> list[str]:
        return [request["model"] for request in self.model.requests]

    def test_the_nearest_setting_decides_and_the_fallbacks_stand_behind_it(self) -> None:
        for overrides, model, expected in (
            ({}, "", "first"),
            ({}, "platforms", "platforms"),
            ({"chat-ann": "chats"}, "platforms", "chats"),
            ({"chat-bob": "others"}, "platforms", "platforms"),
        ):
            with self.subTest(expected=expected):
                agent = {"model": model, "channel_overrides": read_channel_overrides(overrides)}
                with configured(agents={"platforms": {"recording": agent}}):
                    pipeline.accept("go")
                    self.answer()
                self.assertEqual(self.asked()[-1], expected)
                self.assertEqual(Turn.objects.latest("id").model, expected)

    def test_where_the_chosen_model_fails_the_fallback_answers(self) -> None:
        self.model.script.add(status=404, model="first")
        pipeline.accept("go")
        with self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual(self.asked(), ["first", "spare"])
        self.assertEqual(Turn.objects.get().model, "spare")
