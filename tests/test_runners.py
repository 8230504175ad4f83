"""The tests under other runners than ours: modules that do nothing when they are imported, and pytest-xdist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from django.db import connection
from django.test import SimpleTestCase, TransactionTestCase

from tests.dear import dear
from tests.processes import ROOT, child_environment

IMPORTING = """
import importlib, os, sys, threading, traceback
from pathlib import Path
from hermes_site.isolation import isolate

isolate()
os.environ["DJANGO_SETTINGS_MODULE"] = "hermes_site.settings"
import django
django.setup()
import hermes_site.urls  # the product's own modules, of which that of the metrics makes files
sys.dont_write_bytecode = True
ACTS = (
    "socket.bind", "socket.connect", "socket.getaddrinfo", "subprocess.", "os.fork", "os.posix_spawn", "os.exec",
    "os.system", "os.kill", "os.mkdir", "os.rename", "os.remove", "os.chdir", "sqlite3.connect", "tempfile.", "shutil.",
)

def watch(event, values):
    is_writing = event == "open" and isinstance(values[1], str) and not set(values[1]).isdisjoint("wax+")
    if is_watched and (is_writing or event.startswith(ACTS)):
        ours = [f"{at.filename}:{at.lineno}" for at in traceback.extract_stack() if at.filename.startswith(os.getcwd())]
        print(event, values, ours[-1:])

modules = sys.argv[2:]
for place in sys.argv[1].split(","):
    modules += sorted(".".join(path.with_suffix("").parts) for path in Path(place).rglob("test_*.py"))
variables, paths, is_watched = dict(os.environ), list(sys.path), True
sys.addaudithook(watch)
for name in modules:
    threads = set(threading.enumerate())
    importlib.import_module(name)
    for thread in set(threading.enumerate()) - threads:
        print(name, "starts", thread.name)
is_watched = False
if dict(os.environ) != variables or sys.path != paths:
    print("the environment or the path changed")
print(len(modules), "modules")
"""


if connection.vendor == "sqlite":  # once is enough

    class ImportTests(SimpleTestCase):
        def imported(self, places: str, *modules: str, folder: str = "") -> list[str]:
            """What the modules did that were imported, and how many there were."""
            path = os.pathsep.join(filter(None, (str(ROOT), folder)))
            done = subprocess.run(
                [sys.executable, "-c", IMPORTING, places, *modules],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "TMPDIR": tempfile.gettempdir(), "PYTHONPATH": path},
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.splitlines()

        def test_no_test_module_does_anything_when_it_is_imported(self) -> None:
            *acts, last = self.imported("gateway_app,hermes_site,tests")
            self.assertEqual(acts, [])
            self.assertGreater(int(last.split()[0]), 100)

        def test_one_that_does_is_seen(self) -> None:
            with tempfile.TemporaryDirectory() as folder:
                lines = ["import subprocess, threading, time", "subprocess.run(['true'])", "open('/dev/null', 'w')"]
                lines.append("threading.Thread(target=time.sleep, args=[2], name='mine', daemon=True).start()")
                Path(folder, "acting.py").write_text("\n".join(lines))
                *acts, _ = self.imported("tests/peers", "acting", folder=folder)
            for words in ("subprocess.Popen", "/dev/null", "starts mine"):
                self.assertTrue(any(words in act for act in acts), acts)


@dear
class PytestTests(TransactionTestCase):
    def test_what_stops_and_interrupts_turns_passes_in_several_processes_of_pytest(self) -> None:
        words = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "tests/test_stop.py"]
        done = subprocess.run(
            [*words, "-k", "BeforeAndAfterTests or it_stops_the_model_call or it_stops_a_tool or twice"],
            cwd=ROOT, env=child_environment(self), capture_output=True, text=True,
        )  # fmt: skip
        found = re.search(r"(\d+) passed", done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(int(found[1]) if found else 0, 6)
