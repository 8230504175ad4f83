"""Files in a real browser, against a real web process: chosen and pasted, shown, on a telephone as well."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import transaction
from django.test import TransactionTestCase
from playwright.sync_api import Page, expect, sync_playwright

from gateway_app.delivery import outbox
from gateway_app.models import InboundMessage, MediaFile
from tests import media, test_serve
from tests.chromium import ARGUMENTS, PATIENCE_MS, PHONE, found

PASTE = """([name, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name));
  const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.getElementById("text").dispatchEvent(event);
}"""


class FileTests(TransactionTestCase):
    def test_files_are_attached_sent_and_shown(self) -> None:
        path = found()
        server, ann = test_serve.Server(self), test_serve.Person()
        complaints: list[str] = []

        def visit() -> None:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
                width, height = PHONE
                context = browser.new_context(viewport={"width": width, "height": height}, has_touch=True)
                name, _, value = ann.cookie.partition(";")[0].partition("=")
                origin = f"http://127.0.0.1:{server.port}"
                context.add_cookies([{"name": name, "value": value, "url": origin}])
                page = context.new_page()
                page.set_default_timeout(PATIENCE_MS)
                page.on("pageerror", lambda error: complaints.append(str(error)))
                page.goto(f"{origin}{ann.chat}/")
                self.attach_and_send(page)
                worker.submit(self.answer).result()
                expect(page.locator(".message.agent audio")).to_be_visible()
                expect(page.locator(".message.agent .file")).to_contain_text("answer.ogg")
                browser.close()

        with ThreadPoolExecutor(1) as worker, ThreadPoolExecutor(1) as thread:
            thread.submit(visit).result()
        self.assertEqual(complaints, [])
        self.assertEqual(InboundMessage.objects.get().text, "[image: cat.png] [document: notes.txt] What is it?")

    def attach_and_send(self, page: Page) -> None:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Attach files").click()
        big = {"name": "big.bin", "mimeType": "", "buffer": bytes(200_000)}  # more than other requests may have
        cat = {"name": "cat.png", "mimeType": "image/png", "buffer": media.PNG}
        chooser.value.set_files([cat, big])
        expect(page.locator(".attachment.ready")).to_have_count(2)
        page.get_by_role("button", name="Remove big.bin").click()
        page.evaluate(PASTE, ["notes.txt", list(b"hello")])
        expect(page.locator(".attachment.ready")).to_have_count(2)
        page.locator("#text").fill("What is it?")
        page.get_by_role("button", name="Send").click()
        image = page.locator(".message.you img")
        expect(image).to_be_visible()
        expect(page.locator(".message.you .body")).to_contain_text("What is it?")
        expect(page.locator(".attachment")).to_have_count(0)
        page.wait_for_function("document.querySelector('.message.you img').naturalWidth === 1")

    def answer(self) -> None:
        """A worker answers with a recording."""
        row = InboundMessage.objects.get()
        known = MediaFile.objects.filter(kind="image").get()
        voice = MediaFile.objects.create(
            reference="media_" + "1" * 24, session_key=known.session_key, platform="webchat", name="answer.ogg",
            kind="voice", content_type="audio/ogg", size=10, stored_as="none.ogg", expires_at=known.expires_at,
        )  # fmt: skip
        draft = outbox.Draft(
            key="test", platform="webchat", account="", chat_id=row.source["chat_id"], text="", files=[voice]
        )
        with transaction.atomic():
            outbox.enqueue(draft)
