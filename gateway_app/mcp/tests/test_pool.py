"""The connections of a process: one for each server, as the configuration has them."""

from __future__ import annotations

import asyncio
import dataclasses
import os

from django.test import SimpleTestCase

from gateway_app.agent import tools
from gateway_app.mcp.connection import State
from gateway_app.mcp.pool import Pool, close_pool, pool
from tests import pipeline
from tests.configuration import configured

from .case import START_SECONDS, is_gone, misfit
from .test_faults import descendants

HERE = dataclasses.replace(pipeline.context(), platform="telegram", chat_id="-100")


def running() -> list[int]:
    return descendants(os.getpid(), "mcp_misfit")


class PoolTests(SimpleTestCase):
    def setUp(self) -> None:
        self.enterContext(self.assertLogs("gateway_app", "INFO"))

    async def test_turns_share_one_connection_to_a_server(self) -> None:
        here = Pool()
        here.take_up((misfit("slow"),))
        try:
            await asyncio.gather(*(here.connected(["misfit"], seconds=START_SECONDS) for _ in range(20)))
            self.assertEqual(len(running()), 1)
            self.assertEqual(len(here.tools("misfit")), 3)
        finally:
            await here.close()

    async def test_a_server_whose_configuration_changes_is_connected_to_anew(self) -> None:
        here = Pool()
        try:
            here.take_up((misfit(),))
            (old,) = await here.connected(["misfit"], seconds=START_SECONDS)
            (pid,) = running()
            here.take_up((misfit(),))  # another configuration that says the same
            self.assertEqual(running(), [pid])
            here.take_up((misfit(exclude=["die"]),))
            self.assertEqual(here.tools("misfit"), ())
            await here.connected(["misfit"], seconds=START_SECONDS)
            self.assertEqual([tool.name for tool in here.tools("misfit")], ["mcp_misfit_say", "mcp_misfit_grow"])
            self.assertTrue(await asyncio.to_thread(is_gone, pid))
            self.assertIs(old.state, State.IDLE)
            here.take_up(())
            self.assertEqual(await here.connected(["misfit"]), [])
        finally:
            await here.close()
        self.assertEqual(running(), [])

    async def test_a_call_under_way_ends_before_its_connection_is_given_up(self) -> None:
        here = Pool()
        try:
            here.take_up((misfit("late"),))
            (connection,) = await here.connected(["misfit"], seconds=START_SECONDS)
            call = asyncio.create_task(connection.call("say", {"text": "done"}))
            await asyncio.sleep(0.1)
            here.take_up(())
            self.assertEqual((await call).content[0].text, "done")
        finally:
            await here.close()

    async def test_a_session_has_the_tools_of_the_servers_that_are_for_its_chat(self) -> None:
        here, nowhere = misfit(platforms=["telegram:-100"]), misfit(platforms=["telegram:-1"])
        servers = {"here": here.model_dump(exclude={"name"}), "nowhere": nowhere.model_dump(exclude={"name"})}
        try:
            with configured(mcp={"servers": servers}, tools={"disabled": ["mcp_*_die", "mcp_here_g*"]}):
                # A database thread, where turns are opened, has no loop. It only looks.
                seen = await asyncio.to_thread(tools.registry, HERE)
                self.assertEqual((len(running()), [name for name in seen.names if name.startswith("mcp_")]), (0, []))
                await tools.prepare(HERE)
                await pool().connected(["here"], seconds=START_SECONDS)
                names = {name for name in tools.registry(HERE).names if name.startswith("mcp_")}
                self.assertEqual(names, {"mcp_here_say", "mcp_here_die"})
                seen = await asyncio.to_thread(tools.registry, HERE)
                self.assertEqual(seen.names, tools.registry(HERE).names)
                self.assertGreater(seen.tokens, seen.only(seen.names - names).tokens)
                self.assertEqual(len(running()), 1)
            # Taken out of the configuration while the process runs.
            await tools.prepare(HERE)
            async with asyncio.timeout(20):
                while running():
                    await asyncio.sleep(0.02)
        finally:
            await close_pool()
