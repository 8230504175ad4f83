"""The smallest server that a call can go wrong at: it answers every request as it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Faults:
    """How the server answers, and which requests came."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    is_dropping: bool = False
    """It closes the connection where the answer belongs."""
    drip: bool = False
    """It sends a byte of the body every twentieth of a second, for ever."""
    hold: threading.Event | None = None
    """It answers once this is set."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Authorization header of each."""
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving() -> Iterator[Faults]:
    """A server on loopback that does as the `Faults` say."""
    faults = Faults()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faults.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
            if faults.hold:
                faults.hold.wait(20)
            if faults.is_dropping:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(faults.status)
            for name, value in faults.headers.items():
                self.send_header(name, value)
            length = 1_000_000 if faults.drip else len(faults.body)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(faults.body)
                while faults.drip and not faults.over.wait(0.05):
                    self.wfile.write(b" ")

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *args: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    faults.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield faults
    finally:
        faults.over.set()
        if faults.hold:
            faults.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
