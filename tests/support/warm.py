"""A process that has loaded all that is not ours, and in which tests run with one module of ours changed.

Each run is a fork, so it loads the package itself, as changed, and pays for nothing else. Run as a program, this reads
one run a line, as JSON, and answers each with a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from types import CodeType

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["-q", "-x", "--assert=plain", "-p", "no:cacheprovider", "--timeout=60", "-c", str(ROOT / "pyproject.toml")]


class Ended(NamedTuple):
    """How a run of tests ended."""

    code: int
    output: str


class Change(NamedTuple):
    """A module of which another source is to be loaded."""

    module: str
    path: str
    source: str


class Warm:
    """The process, which ends with `close`."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
        environment |= {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each), "PYTEST_ADDOPTS": ""}
        self._process = subprocess.Popen(
            # Without the script's folder on the path, whose modules have the names of drivers.
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, *options: str, change: Change | None = None) -> Ended:
        """Run tests, perhaps with a change."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([options, change]) + "\n")
        self._process.stdin.flush()
        return Ended(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class _Changing(MetaPathFinder):
    """Loads one module from another source than its file's."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """See `MetaPathFinder.find_spec`."""
        if fullname != self._change.module:
            return None
        loader = _Changed(fullname, self._change.path)
        loader.source = self._change.source
        return spec_from_file_location(fullname, self._change.path, loader=loader)


class _Changed(SourceFileLoader):
    source: str

    def get_code(self, fullname: str) -> CodeType:
        """Compile the other source."""
        return compile(self.source, self.path, "exec")


def _forked(options: list[str], change: Change | None) -> Ended:
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            if change is not None:
                sys.meta_path.insert(0, _Changing(change))
            code = 70  # an error of this file's, not of the tests
            try:
                code = pytest.main([*OPTIONS, *options])
            finally:
                sys.stdout.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), output.read())


def _serve() -> None:
    import respx  # noqa: F401 - this and the plugins, with what they load, is what most runs need

    for plugin in entry_points(group="pytest11"):
        if not plugin.value.startswith("safeklaviyo"):
            plugin.load()
    assert not any(name.partition(".")[0] == "safeklaviyo" for name in sys.modules)
    for line in sys.stdin:
        options, change = json.loads(line)
        ended = _forked(options, change and Change(*change))
        sys.stdout.write(json.dumps(ended) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
