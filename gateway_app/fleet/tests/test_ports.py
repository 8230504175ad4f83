from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from gateway_app.fleet.ports import PRIVATE_PORTS, kept_port, require_free


class KeptPortTest(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "ports.json"

    def test_a_service_keeps_its_port_and_shares_it_with_no_other(self) -> None:
        valkey, model = kept_port(self.path, "valkey"), kept_port(self.path, "model")
        self.assertNotEqual(valkey, model)
        self.assertEqual((kept_port(self.path, "valkey"), kept_port(self.path, "model")), (valkey, model))
        self.assertIn(valkey, PRIVATE_PORTS)

    def test_a_port_in_use_is_replaced_for_good(self) -> None:
        first = kept_port(self.path, "valkey")
        with socket.create_server(("127.0.0.1", first)):
            second = kept_port(self.path, "valkey")
        self.assertNotEqual(second, first)
        self.assertEqual(kept_port(self.path, "valkey"), second)

    def test_a_broken_file_is_written_anew(self) -> None:
        for text in ("", "[]", '{"valkey": "x"}', '{"valkey": 80}', '{"valkey": 99999}', "{"):
            with self.subTest(text=text):
                self.path.write_text(text)
                self.assertIn(kept_port(self.path, "valkey"), PRIVATE_PORTS)


class RequireFreeTest(SimpleTestCase):
    def test_a_taken_address_is_an_error_that_names_the_setting(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with self.assertRaisesRegex(ImproperlyConfigured, f"HERMES_BIND is 127.0.0.1:{port}, but another process"):
                require_free("127.0.0.1", port)
        require_free("127.0.0.1", port)

    def test_an_address_of_another_machine_is_an_error(self) -> None:
        with self.assertRaisesRegex(
            ImproperlyConfigured, "HERMES_BIND is 192.0.2.1:8000, but .*allowed: an address of"
        ):
            require_free("192.0.2.1", 8000)

    def test_a_port_that_was_closed_a_moment_ago_is_free(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            with socket.create_connection(address), server.accept()[0]:
                pass
        require_free(*address)
