"""Programs of a shop's in processes of their own, and waiting for what they do."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

SHOPS = Path(__file__).parent / "shops"
ROOT = SHOPS.parents[2]
PATIENCE = 60.0


def until(is_so, patience=PATIENCE, *, watched=()):
    """Wait until that is so, and return it. A watched program that ends first is a failure."""
    give_up_at = time.monotonic() + patience
    while True:
        found = is_so()
        if found:
            return found
        for each in watched:
            assert each.poll() is None, each.output()
        assert time.monotonic() < give_up_at, "it never came to be so\n" + "\n".join(each.output() for each in watched)
        time.sleep(0.02)


def importable(patch, name, environment):
    """Import a module of a shop in this process, with that environment."""
    for each, value in environment.items():
        patch.setenv(each, value)
    patch.syspath_prepend(SHOPS)
    sys.modules.pop(name, None)
    return import_module(name)


class Program(subprocess.Popen):
    """A program whose output goes into a file."""

    def __init__(self, folder, *arguments, **environment):
        self._log = folder / f"{Path(arguments[0]).name}-{time.monotonic_ns()}.log"
        path = os.pathsep.join([str(ROOT), str(SHOPS), str(ROOT / "tests")])
        own = {**os.environ, "PYTHONPATH": path, "SHOP_FOLDER": str(folder), **environment}
        with self._log.open("w") as log:
            super().__init__(
                [sys.executable, *arguments], cwd=folder, env=own, stdout=log, stderr=log, start_new_session=True
            )

    def output(self):
        """Return what it has written."""
        return self._log.read_text(errors="replace")

    def end(self, number=signal.SIGTERM, patience=PATIENCE):
        """Tell it to end, and return its exit code."""
        if self.poll() is None:
            self.send_signal(number)
        return self.wait(patience)

    def kill_all(self):
        """Kill it with all processes that it has started."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(PATIENCE)


@contextmanager
def running(folder, *arguments, **environment):
    """Run a program, and kill what is left of it afterwards."""
    program = Program(folder, *arguments, **environment)
    try:
        yield program
    finally:
        program.kill_all()
