"""A Honcho server for tests and benchmarks, over real sockets, with the limits, errors and traps of the real one.

In a test: `with HonchoPeer() as peer:` serves `peer.url` (for HONCHO_BASE_URL) from a thread. As a command, for tests
that kill processes and for benchmarks: `python -m tests.peers.honcho --port 8090 --keep 20000` prints its URL as the
first line of its output and serves until SIGTERM; `/_/…` (see `control`) stands for the methods and attributes.

Like the real server it has no idempotency, searches all people where a search has no filter, deletes a conclusion
whoever asks, and takes the path that a client's URL came to: nothing here protects one person from another.
"""

from tests.peers.honcho.faults import Fault
from tests.peers.honcho.server import HonchoPeer

__all__ = ["Fault", "HonchoPeer"]
