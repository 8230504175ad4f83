"""Directs a scene: has people say what the script says, and waits for the answers that it has."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from tests.chaos.fleet import Fleet
from tests.conversations.script import Answer, Direction, Place, Press, Scene, Speech, filled, matched, plain
from tests.conversations.stages import Seen, Stage

PATIENCE = 20.0
"""Seconds that an answer may take."""
LOOK_SECONDS = 0.02

DIRECTIONS: dict[str, Callable[[Play, str], None]] = {
    "The model takes its time.": lambda play, _: play.fleet.model.script.hold(),
    "The model is asked.": lambda play, _: play.wait(
        lambda: play.fleet.model.stats["in_flight"], "the model to be asked"
    ),
    "The model goes on.": lambda play, _: play.fleet.model.script.release(),
    "The model says next": lambda play, text: play.fleet.model.script.add(times=1, answer=text),
    "The model was": lambda play, name: play.check_model(name),
    "The model has read": lambda play, text: play.check_reading(text, is_there=True),
    "The model has not read": lambda play, text: play.check_reading(text, is_there=False),
    "All is done.": lambda play, _: play.settle(),
}
"""By its words. A colon and more words may follow, which the function gets."""


class Mismatch(AssertionError):
    """The conversation did not go as it is written."""


class Play:
    """One scene on one stage. `name` is that of its script, for what goes wrong."""

    def __init__(self, scene: Scene, *, name: str, stage: Stage, fleet: Fleet) -> None:
        self.scene, self.name, self.stage, self.fleet = scene, name, stage, fleet
        self.line = 0
        self._left = self._open()
        """What a scene that went wrong has left."""
        self._names: dict[str, str] = {}
        self._heard: dict[str, list[Seen]] = defaultdict(list)
        """Answers in the chat of each person that have had their turn in the script."""

    def perform(self) -> None:
        """Plays the scene to its end. Raises Mismatch where it goes another way."""
        try:
            for who in self._speakers():
                self._names[who.lower()] = self.stage.name_of(who)
            for step in self.scene.steps:
                self.line = step.line
                if isinstance(step, Direction):
                    words, _, more = step.text.partition(": ")
                    DIRECTIONS[words](self, more)
                elif isinstance(step, Speech):
                    self.stage.say(step.who, filled(step.text, self._names))
                elif isinstance(step, Press):
                    self.stage.press(step.who, step.text)
                elif isinstance(step, Answer):
                    self._hear(step)
            self.settle()
            self._check_all_was_heard()
            self.stage.look_again()
            self._check_all_was_heard()
        finally:
            self.fleet.model.script.release()
            self.fleet.model.script.set()

    def wait(self, until: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not until():
            if time.monotonic() > deadline:
                raise Mismatch(f"{self.name}:{self.line}: waited {PATIENCE:g} s for {what}")
            time.sleep(LOOK_SECONDS)

    def check_model(self, name: str) -> None:
        """Whether it was this model that was asked last."""
        asked = self.fleet.model.requests[-1]["body"]["model"]
        if asked != name:
            raise Mismatch(f"{self.name}:{self.line}: it was {asked} that was asked")

    def check_reading(self, text: str, *, is_there: bool) -> None:
        """Whether the model was given `text` with what it was asked last."""
        given = [message["content"] for message in self.fleet.model.requests[-1]["body"]["messages"]]
        if any(text in plain(content or "") for content in given) is not is_there:
            raise Mismatch(f"{self.name}:{self.line}: the model was given\n  {given[1:]}")

    def settle(self) -> None:
        """Waits until nothing is left to be done but what was there before."""
        self.wait(lambda: self._open() <= self._left, "nothing to be left")

    def _open(self) -> int:
        (found,) = self.fleet.database.query(
            "SELECT (SELECT count(*) FROM gateway_app_inboundmessage WHERE state IN ('waiting', 'running'))"
            " + (SELECT count(*) FROM gateway_app_outboundpart WHERE state IN ('waiting', 'sending'))"
        )
        stats = self.fleet.telegram.stats
        return int(found[0]) + stats["pushed"] - stats["confirmed"]

    def _speakers(self) -> list[str]:
        return sorted({step.who for step in self.scene.steps if isinstance(step, Speech | Press)})

    def _chat_of(self, who: str) -> list[Seen]:
        """The list of what was heard where `who` speaks."""
        return self._heard[who if self.scene.place is Place.DIRECT else ""]

    def _hear(self, step: Answer) -> None:
        heard = self._chat_of(step.to)
        keys = {seen.key for seen in heard}
        deadline = time.monotonic() + PATIENCE
        while True:
            # A message that is edited while it is written is looked at again.
            news = [seen for seen in self.stage.answers(step.to) if seen.key not in keys]
            names = matched(step.text, news[0].text, self._names) if news else None
            if names is not None:
                break
            if time.monotonic() > deadline:
                shown = "\n  ".join(repr(seen.text) for seen in news) or "nothing"
                wanted = plain(filled(step.text, self._names))
                raise Mismatch(f"{self.name}:{self.line}: wanted\n  {wanted!r}\nand got\n  {shown}")
            time.sleep(LOOK_SECONDS)
        for denied in step.denied:
            if plain(filled(denied, self._names)) in plain(news[0].text):
                raise Mismatch(f"{self.name}:{self.line}: {denied!r} is in {news[0].text!r}")
        heard.append(news[0])
        self._names |= names

    def _check_all_was_heard(self) -> None:
        """What is shown now is what was heard, word for word, and nothing more."""
        for who in self._speakers():
            heard = {seen.key: seen.text for seen in self._chat_of(who)}
            shown = {seen.key: seen.text for seen in self.stage.answers(who)}
            if heard != shown:
                raise Mismatch(f"{self.name}: heard was\n  {heard}\nand at the end there is\n  {shown}")
