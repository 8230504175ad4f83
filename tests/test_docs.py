"""The documentation says what the code does: generated pages, links, and the names of settings and commands."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import types
from pathlib import Path
from typing import Any
from unittest import TestCase, mock

from django.core.management import get_commands
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from docs import generate
from docs.configuration import EXAMPLE
from gateway_app.agent.ai_agent import handle_function_call
from gateway_app.agent.registry import Registry
from gateway_app.commands import registry as commands
from gateway_app.commands.registry import Registry as CommandRegistry
from gateway_app.config.catalogue import BY_VARIABLE, FILE_VARIABLES, SETTINGS
from gateway_app.config.loading import build
from gateway_app.config.sources import read
from gateway_app.models import InboundMessage
from gateway_app.platforms.base import OutgoingPart, SendError
from gateway_app.platforms.lease import ListenerLease
from gateway_app.platforms.receiving import ringer
from tests import pipeline
from tests.configuration import open_to_all
from tests.conversations import script
from tests.pipeline_case import PipelineTestCase

PAGES = [generate.ROOT / "README.md", *sorted(generate.DOCS.rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|\b(?:src|href|srcset)=\"([^\"]+)\"")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(
    r"\b(?:HERMES|OPENAI|TELEGRAM|GATEWAY|WEBCHAT|CLI)_[A-Z_]+[A-Z]\b|\b(?:DATABASE|REDIS|CELERY_BROKER)_URL\b"
)


class GeneratedPageTests(TestCase):
    maxDiff = None

    def test_every_generated_page_is_what_the_code_says(self) -> None:
        for name, page in generate.PAGES.items():
            with self.subTest(name, remedy="make docs"):
                self.assertEqual((generate.DOCS / "reference" / name).read_text(), page())

    def test_every_setting_has_a_reason(self) -> None:
        for setting in SETTINGS:
            with self.subTest(setting.variable):
                self.assertRegex(setting.text, r"\w.*\.$")

    def test_a_default_that_is_worked_out_is_put_into_words(self) -> None:
        for setting in SETTINGS:
            if setting.field.default_factory is not None:
                with self.subTest(setting.variable):
                    self.assertTrue(setting.default_words)

    def test_the_example_is_a_configuration_without_a_mistake(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            (Path(home) / "config.yaml").write_text(EXAMPLE)
            found = build(read(home=Path(home), environment={"HERMES_SECRET_KEY": "x"}))
        self.assertEqual(found.warnings, ())
        self.assertEqual(found.access.platforms["telegram"].group_allowed_chats, ("-1001234567890",))


class LinkTests(TestCase):
    def test_every_relative_link_leads_somewhere(self) -> None:
        for page in PAGES:
            for target in links(page.read_text()):
                with self.subTest(page=str(page.relative_to(generate.ROOT)), link=target):
                    self.assertTrue(resolves(page, target))

    def test_the_index_leads_to_every_page(self) -> None:
        index = generate.DOCS / "README.md"
        linked = {(index.parent / target.partition("#")[0]).resolve() for target in links(index.read_text())}
        for folder in ("adr", "guide", "reference"):
            self.assertLessEqual(set((generate.DOCS / folder).glob("*.md")), linked)

    def test_a_link_that_leads_nowhere_is_seen(self) -> None:
        page = generate.DOCS / "reference" / "configuration.md"
        self.assertTrue(resolves(page, "metrics.md#counted-by-the-processes"))
        self.assertFalse(resolves(page, "metrics.md#no-such-heading"))
        self.assertFalse(resolves(page, "no-such-page.md"))
        self.assertEqual(
            links('[a](b.md) ![c](d.png)\n```\n[e](f.md)\n```\n<img src="g.svg">'), ["b.md", "d.png", "g.svg"]
        )


class NameTests(TestCase):
    def test_every_environment_variable_that_is_named_exists(self) -> None:
        known = {*BY_VARIABLE, *FILE_VARIABLES}
        for page in PAGES:
            for name in sorted(set(VARIABLE.findall(page.read_text())) - known):
                with self.subTest(page=str(page.relative_to(generate.ROOT)), variable=name):
                    self.fail(f"{name} is no setting")

    def test_every_command_that_is_named_exists(self) -> None:
        targets = set(re.findall(r"^([a-z]+):", (generate.ROOT / "Makefile").read_text(), re.MULTILINE))
        for page in PAGES:
            text = page.read_text()
            with self.subTest(page=str(page.relative_to(generate.ROOT))):
                self.assertLessEqual(set(re.findall(r"manage\.py ([a-z_]+)", text)), {*get_commands(), "help"})
                self.assertLessEqual(set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)), targets)

    def test_every_test_that_is_named_exists(self) -> None:
        folders = ("tests", "gateway_app", "honcho_app")
        sources = [path for folder in folders for path in (generate.ROOT / folder).rglob("*.py")]
        tests = {name for path in sources for name in re.findall(r"def (test_\w+)", path.read_text())}
        for page in PAGES:
            with self.subTest(page=str(page.relative_to(generate.ROOT))):
                self.assertLessEqual(set(re.findall(r"`(test_\w+)`", page.read_text())), tests)


class ToolExampleTests(SimpleTestCase):
    def test_the_tool_of_the_guide_works(self) -> None:
        tools = Registry([example("Add a tool").TOOL])
        for arguments, answer in (
            ({"text": "one two"}, {"words": 2, "for": "Ann"}),
            ({"text": " "}, {"error": "text is empty"}),
        ):
            call = handle_function_call(
                tools, name="count_words", arguments=json.dumps(arguments), context=pipeline.context()
            )
            found = json.loads(asyncio.run(call))
            self.assertEqual({key: str(value).partition(";")[0] for key, value in found.items()}, as_text(answer))


class CommandExampleTests(PipelineTestCase):
    def test_the_command_of_the_guide_works(self) -> None:
        found = CommandRegistry([example("Add a command").COMMAND])
        with mock.patch.object(commands, "shipped", lambda: found):
            for text in ("hello", "/count", "/length"):
                pipeline.accept(text)
                self.answer()
        self.assertEqual(self.platform.texts[1:], ["2 messages were said in this conversation."] * 2)

    def test_the_conversation_of_the_guide_can_be_read(self) -> None:
        guide = (generate.DOCS / "guide" / "developing.md").read_text()
        (text,) = (block for block in FENCED.findall(guide) if "\n== " in block)
        (scene,) = script.read(text.strip("`").lstrip(), name="count").scenes
        self.assertEqual(len(scene.steps), 4)


class PlatformExampleTests(TransactionTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.chat = Path(folder.name) / "ann"
        self.chat.mkdir()
        changed = override_settings(FOLDER_PATH=folder.name)
        for change in (changed, open_to_all("folder")):
            change.enable()
            self.addCleanup(change.disable)
        self.platform = example("Add a platform").Adapter()

    def test_the_platform_of_the_guide_accepts_before_it_acknowledges(self) -> None:
        (self.chat / "1.in").write_text("hello")
        (self.chat / "2.in").write_bytes(b"\xff")
        pipeline.run(self.listen())
        rows = InboundMessage.objects.order_by("id").values_list("platform", "text", "state")
        self.assertCountEqual(rows, [("folder", "hello", "waiting"), ("folder", "", "rejected")])
        self.assertEqual(list(self.chat.iterdir()), [])

    def test_the_platform_of_the_guide_sends_once_under_a_key(self) -> None:
        for attempt in (1, 2):
            self.send("ann", attempts=attempt)
        self.assertEqual([path.read_text() for path in self.chat.iterdir()], ["hello"])
        with self.assertRaisesRegex(SendError, "no folder any more") as caught:
            self.send("bob", attempts=1)
        self.assertTrue(caught.exception.permanent)

    def send(self, chat_id: str, *, attempts: int) -> None:
        part = OutgoingPart(
            part_id=1, idempotency_key="turn/1/0", account="", chat_id=chat_id, thread_id="", reply_to="", text="hello",
            attempts=attempts, unknown_outcomes=attempts - 1,
        )  # fmt: skip
        asyncio.run(self.platform.send(part, http=None))

    async def listen(self) -> None:
        lease = ListenerLease(platform="folder", account="")
        await asyncio.to_thread(lease.claim)
        listening = asyncio.create_task(self.platform.listen(lease=lease, http=None))
        while any(self.chat.iterdir()) and not listening.done():
            await asyncio.sleep(0.01)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await ringer.close(seconds=5)


def example(heading: str) -> Any:
    """The first block of Python under a heading of the developers' guide, as a module."""
    guide = (generate.DOCS / "guide" / "developing.md").read_text()
    code = re.search(rf"^## {heading}$.*?^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert code, heading
    module = types.ModuleType(heading)
    exec(compile(code[1], heading, "exec"), module.__dict__)
    return module


def as_text(answer: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in answer.items()}


def links(text: str) -> list[str]:
    """The relative links of a page, outside of code blocks."""
    found = [first or second for first, second in LINK.findall(FENCED.sub("", text))]
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]


def resolves(page: Path, target: str) -> bool:
    """Whether a link leads to a file and, where it names one, to a heading in it."""
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    return path.exists() and (not anchor or anchor in anchors(path))


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
