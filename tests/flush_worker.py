"""A worker process that carries out the flushes that are due, for tests that kill it."""

from __future__ import annotations

import asyncio
import os

import django


async def main() -> None:
    from gateway_app.worker.http import close_http_session, http_session
    from honcho_app import flush

    try:
        await flush.carry_out_due(http=http_session())
    finally:
        await close_http_session()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
    django.setup()
    asyncio.run(main())
