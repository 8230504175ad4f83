from __future__ import annotations

import argparse

from tests.peers.honcho.server import KEPT, HonchoPeer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.peers.honcho", description="A Honcho server for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--api-key", default="", help="the only key taken")
    parser.add_argument("--keep", type=int, default=KEPT, help="requests kept for /_/requests")
    parser.add_argument("--delay", type=float, default=0, help="seconds that each answer takes")
    options = parser.parse_args()
    HonchoPeer(
        api_key=options.api_key, keep=options.keep, delay=options.delay, host=options.host, port=options.port
    ).serve_as_command()


if __name__ == "__main__":
    main()
