"""Where conversations are played: on the Bot API's peer, and in the web chat's page in a real browser."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from playwright.sync_api import Page

from tests.chaos.fleet import Fleet
from tests.chromium import DESKTOP, Chromium
from tests.conversations.script import Place

ANSWERS = """() => [...document.querySelectorAll("#messages > li.message.agent:not(.draft)")].map((item) => {
    const body = item.querySelector(".body");
    const captions = [...body.querySelectorAll("figcaption")];
    return [item.dataset.key, captions.reduce((text, each) => text.replace(each.innerText, ""), body.innerText)];
})"""
"""What the page shows of the agent, as a person sees it, without what stands above code."""
TAKEN = (
    """() => document.querySelector("#problem:not([hidden])")?.innerText || !document.querySelector("#text").value"""
)
"""Whether the server has what was written, or why not."""


class Seen(NamedTuple):
    """An answer that is shown; `key` tells it from others, whatever becomes of its text."""

    key: str
    text: str


class Stage(ABC):
    """A place for one scene."""

    places: frozenset[Place]
    """That there are here."""

    @abstractmethod
    def name_of(self, who: str) -> str:
        """The person's id on the platform."""

    @abstractmethod
    def say(self, who: str, text: str) -> None:
        """Has a person write something. Returns once it is certain to come before what is said next."""

    @abstractmethod
    def press(self, who: str, label: str) -> None:
        """Has a person press the newest button with this label."""

    @abstractmethod
    def answers(self, who: str) -> list[Seen]:
        """What is shown in the chat in which `who` speaks, in its order."""

    @abstractmethod
    def look_again(self) -> None:
        """Has everybody open their chat once more."""


class Telegram(Stage):
    """The Bot API's peer. Each scene has chats and people of its own."""

    places = frozenset(Place)
    _numbers = itertools.count(7_000)

    def __init__(self, fleet: Fleet, *, place: Place) -> None:
        self._peer = fleet.telegram
        self._place = place
        self._people: dict[str, int] = {}
        self._group = -next(self._numbers)

    def name_of(self, who: str) -> str:
        return str(self._id_of(who))

    def say(self, who: str, text: str) -> None:
        number = self._id_of(who)
        sender = {"id": number, "is_bot": False, "first_name": who}
        if self._place is Place.DIRECT:
            self._peer.push_text(text, chat_id=number, user_id=number, **{"from": sender})
            return
        thread = 11 if self._place is Place.TOPIC else None
        self._peer.push_text(
            text, chat_id=self._group, user_id=number, chat_type="supergroup", thread_id=thread, **{"from": sender}
        )

    def press(self, who: str, label: str) -> None:
        message, data = next(
            (message, button["callback_data"])
            for message in reversed(self._messages(who))
            for row in message["buttons"]
            for button in row
            if button["text"] == label
        )
        self._peer.push_press(
            data, message_id=message["message_id"], chat_id=message["chat_id"], user_id=self._id_of(who)
        )

    def answers(self, who: str) -> list[Seen]:
        return [Seen(str(message["message_id"]), message["shown"]) for message in self._messages(who)]

    def _messages(self, who: str) -> list[dict[str, Any]]:
        return self._peer.messages(chat_id=self._id_of(who) if self._place is Place.DIRECT else self._group)

    def look_again(self) -> None:
        """Telegram shows what it was sent."""

    def _id_of(self, who: str) -> int:
        return self._people.setdefault(who, next(self._numbers))


class Visitors:
    """The people at the web chat, each with a browser of their own for all scenes. `size` and `scheme` are theirs."""

    def __init__(
        self, fleet: Fleet, chromium: Chromium, *, size: tuple[int, int] = DESKTOP, scheme: str = "light"
    ) -> None:
        self._fleet, self.chromium, self._size, self._scheme = fleet, chromium, size, scheme
        self._pages: dict[str, Page] = {}
        self.names: dict[str, str] = {}
        """Their accounts."""
        self.complaints: list[str] = []
        """What the pages' scripts raised."""

    def enter(self, who: str) -> Page:
        """A person's page, with a new conversation."""
        if page := self._pages.get(who):
            self.chromium.run(lambda: self._begin(page))
            return page
        ((self.names[who], link),) = self._fleet.take_people(1)
        self._pages[who] = self.chromium.run(lambda: self._sign_in(link))
        return self._pages[who]

    def _begin(self, page: Page) -> None:
        with page.expect_navigation():
            page.keyboard.press("Alt+n")

    def _sign_in(self, link: str) -> Page:
        page = self.chromium.context(size=self._size, scheme=self._scheme).new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(link)
        return page


class WebChat(Stage):
    """The web chat's page. In each scene everybody begins a conversation."""

    places = frozenset({Place.DIRECT})

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._run = visitors.chromium.run
        self.pages: dict[str, Page] = {}

    def name_of(self, who: str) -> str:
        self._page_of(who)
        return self._visitors.names[who]

    def say(self, who: str, text: str) -> None:
        page = self._page_of(who)

        def write() -> object:
            field = page.get_by_label("Message", exact=True)
            field.fill(text)
            field.press("Enter")
            return page.wait_for_function(TAKEN).json_value()

        problem = self._run(write)
        if problem is not True:
            raise AssertionError(f"the page did not take {text!r} and said: {problem}")

    def press(self, who: str, label: str) -> None:
        page = self._page_of(who)
        self._run(lambda: page.get_by_role("button", name=label, exact=True).last.click())

    def answers(self, who: str) -> list[Seen]:
        page = self._page_of(who)
        return [Seen(key, text) for key, text in self._run(lambda: page.evaluate(ANSWERS))]

    def look_again(self) -> None:
        for page in self.pages.values():
            self._run(page.reload)

    def _page_of(self, who: str) -> Page:
        if who not in self.pages:
            self.pages[who] = self._visitors.enter(who)
        return self.pages[who]
