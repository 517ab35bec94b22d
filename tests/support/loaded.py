"""A process that has loaded the client and the simulator, and in which a reader's programs run.

Each program is a fork, with its own folder, output and end, so it pays for nothing but itself. Run as a program, this
reads one run a line, as JSON, and answers each with a line.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str


class Loaded:
    """The process, which ends with `close`. Every warning is an error in it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # Without the script's folder on the path, whose modules have the names of drivers.
            [sys.executable, "-P", "-W", "error", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )

    def run(self, folder: Path, *arguments: str | Path) -> Ended:
        """Run a file, or a module after ``-m``, in a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), *map(str, arguments)]) + "\n")
        self._process.stdin.flush()
        return Ended(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _load() -> None:
    """Load what nearly every example does: one call reaches most of it, and no thread or file is left of that."""
    import safeklaviyo.stores.sqlite  # noqa: F401
    from safeklaviyo import AsyncKlaviyo, Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator

    assert AsyncKlaviyo
    with KlaviyoSimulator().mock(), Klaviyo("pk_loaded", store="memory://") as klaviyo:
        klaviyo.track("Loaded", external_id="1815", email="ada@shop.test")


def _run(folder: str, arguments: list[str]) -> None:
    """Do in a fork what the interpreter does with these arguments."""
    os.chdir(folder)
    if arguments[0] == "-m":
        sys.path.insert(0, folder)
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(arguments[0]).parent))
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _serve() -> None:
    _load()
    for line in sys.stdin:
        folder, *arguments = json.loads(line)
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            child = os.fork()
            if not child:
                os.dup2(output.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                # It ends as any program does: by the end of this one.
                return _run(folder, arguments)
            _, status = os.waitpid(child, 0)
            texts = []
            for each in (output, errors):
                each.seek(0)
                texts.append(each.read())
        with suppress(BrokenPipeError):  # the tests have ended
            print(json.dumps([os.waitstatus_to_exitcode(status), *texts]), flush=True)
    return None


if __name__ == "__main__":
    _serve()
