"""The rules that the code keeps about itself: what may import what, how large things are, how flows are written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import source
from support.source import CORE, MODULES, PACKAGE, PUBLIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HERE = Path(__file__).parent
TESTS = sorted(
    name for path in HERE.rglob("*.py") if not (name := path.relative_to(HERE).as_posix()).startswith("support/")
)
PRIVATE_NAME = re.compile(
    r"\bsafeklaviyo(?:\.\w+)*\._(?!_)\w+"
    rf"|\b(?:{'|'.join(re.escape(source.dotted(name)) for name in source.PRIVATE)})\b"
    rf"|(?<!\w)(?:{'|'.join(re.escape(name.removesuffix('/__init__.py')) for name in source.PRIVATE)})(?!\w)"
)
"""A private module in full, or its file or folder."""
SHORT_NAMES = {source.dotted(name).partition(".")[2] for name in source.PRIVATE}
"""Same, as a string that is nothing else."""
IO = {
    "aiohttp", "anyio", "asyncio", "concurrent", "http.client", "httpx", "httpx_aiohttp", "io", "multiprocessing", "os",
    "pathlib", "redis", "requests", "select", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile",
    "time", "urllib.request", "urllib3",
}  # fmt: skip
HEAVY = [
    "aiohttp", "anyio", "asyncio", "celery", "click", "django", "email_validator", "httpx_aiohttp", "hypothesis",
    "multiprocessing", "opentelemetry", "platformdirs", "procrastinate", "pytest", "redis", "respx", "rich",
    "safeklaviyo.cli", "safeklaviyo.stores.sqlite", "safeklaviyo.testing", "sqlite3", "uvicorn",
]  # fmt: skip

ASSERTING = re.compile(r"(?:^|\.|_)(?:raises|assert|check|verify)")
"""The name of a call that asserts."""

BELOW = {
    room: {below for level in source.ROOMS[number + 1 :] for below in level}
    for number, rooms in enumerate(source.ROOMS)
    for room in rooms
}
"""The rooms that each room may know, besides itself."""


@cache
def tree(name: str) -> ast.Module:
    """Return a module's syntax."""
    return ast.parse((PACKAGE / name).read_text())


@cache
def syntax(name: str) -> ast.Module:
    """Return a test module's syntax, which two tests look at."""
    return ast.parse((HERE / name).read_text())


def offences(names: Iterable[str], found: Callable[[str], object]) -> dict[str, object]:
    """Return what was found in each module in which anything was: one test looks at all of them.

    A test for each would cost more than the looking: about 4 ms, for every worker that collects it.
    """
    return {name: each for name in names if (each := found(name))}


@cache
def imports(name: str) -> tuple[str, ...]:
    """Return every name that is imported anywhere in a module, in full."""
    return tuple(imported(tree(name)))


def imported(node: ast.AST, package: str = "safeklaviyo") -> Iterator[str]:
    """Yield every name that is imported anywhere in a node, in full."""
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            assert each.level == 0, f"{package}: imports are absolute"
            assert each.module is not None
            yield each.module
            yield from (f"{each.module}.{alias.name}" for alias in each.names)


def is_part(name: str, of: set[str]) -> bool:
    """Tell whether a name is one of the modules, or in one."""
    return any(name == each or name.startswith(f"{each}.") for each in of)


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function in a node."""
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, without its signature and its docstring."""
    has_docstring = isinstance(first := function.body[0], ast.Expr) and isinstance(first.value, ast.Constant)
    body = function.body[1:] if has_docstring else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0


def yields(statements: list[ast.stmt]) -> bool:
    """Tell whether any of the statements yields, itself."""
    todo: list[ast.AST] = list(statements)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))
    return False


def unlawful_yields(module: ast.Module) -> list[int]:
    """Return the lines at which a flow could be resumed after it was cancelled."""
    lines: list[int] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Try) and yields(node.finalbody):
            lines.append(node.finalbody[0].lineno)
        if isinstance(node, ast.ExceptHandler) and yields(node.body):
            caught = {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)} if node.type else set()
            if node.type is None or caught & {"BaseException", "GeneratorExit", "KeyboardInterrupt"}:
                lines.append(node.lineno)
    return lines


@pytest.mark.proof
class TestImports:
    def test_core_does_no_io(self) -> None:
        """What decides and describes imports nothing that could do it, and reads no clock."""
        assert {} == offences(CORE, lambda name: [each for each in imports(name) if is_part(each, IO)])

    def test_core_is_all_there(self) -> None:
        """The list of the core's modules names existing ones, and all flows."""
        assert len(CORE) >= 60

    def test_core_asks_nobody_the_time(self) -> None:
        """Now comes as an effect or as an argument."""
        clocks = {"now", "utcnow", "today", "monotonic", "perf_counter"}

        def asked(name: str) -> list[str]:
            return [
                each.func.attr
                for each in ast.walk(tree(name))
                if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr in clocks
            ]

        assert {} == offences(CORE, asked)

    def test_one_room_knows_httpx(self) -> None:
        """Another HTTP library stays a change of the senders."""
        libraries = {"h11", "httpx", "httpx_aiohttp", "httpcore"}
        rooms = (source.SENDERS, source.HOOKS, "gateway/", "testing/", "demo/")
        others = [name for name in MODULES if not name.startswith(rooms)]
        assert {} == offences(others, lambda name: [each for each in imports(name) if is_part(each, libraries)])

    def test_every_module_has_a_room(self) -> None:
        """A module that stands in no room of the order would be bound by nothing."""
        rooms = {room for level in source.ROOMS for room in level}
        assert rooms == {source.room(name) for name in MODULES} - {""}

    def test_rooms_know_the_rooms_below_them(self) -> None:
        """Imports lead one way through the rooms, those for types too."""

        def upwards(name: str) -> set[str]:
            room = source.room(name)
            known = {each.split(".")[1] for each in imports(name) if each.startswith("safeklaviyo.")}
            # The command line shows the simulator; the demo and the diagnosis play on it.
            plays = name.startswith(("demo/", source.DIAGNOSIS))
            allowed = {room, *BELOW[room], *({"testing"} if plays else ())}
            return {each for each in known if each in BELOW} - allowed

        assert {} == offences(filter(source.room, MODULES), upwards)


class TestLoading:
    def test_importing_is_light(self) -> None:
        """`import safeklaviyo` loads nothing that is optional, slow, or of use to some programs only.

        What its dependencies load by themselves is theirs: httpx loads the tables of its own command line.
        """
        program = (
            "import sys, httpx, pydantic, tenacity; before = set(sys.modules); import safeklaviyo\n"
            f"print(*sorted(set({HEAVY!r}) & (sys.modules.keys() - before)))"
        )
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert "" == done.stdout.strip()

    def test_auditing_loads_no_simulator(self) -> None:
        """The diagnosis is the third that imports `testing`, and the audit has it only where it is asked for."""
        program = "import sys, safeklaviyo.audit as audit; audit.Finding; print('safeklaviyo.testing' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert "False" == done.stdout.strip()


def dotted(node: ast.expr) -> str:
    """Return an attribute as it is written; an empty text if it is not one of a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return ".".join([node.id, *parts]) if isinstance(node, ast.Name) else ""


def private_names(module: ast.Module) -> list[tuple[int, str]]:
    """Return where a test names what is private in the package, as an import, an attribute or in a string."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [(node.lineno, name) for name in imported(node) if PRIVATE_NAME.search(name)]
        elif isinstance(node, ast.Attribute) and PRIVATE_NAME.fullmatch(name := dotted(node)):
            found.append((node.lineno, name))
        elif isinstance(node, ast.Constant) and isinstance(text := node.value, str):
            found += [(node.lineno, each[0]) for each in PRIVATE_NAME.finditer(text)]
            found += [(node.lineno, text)] if text in SHORT_NAMES else []
    return found


@pytest.mark.proof
class TestFacade:
    def test_tests_name_nothing_private(self) -> None:
        """What may move is named in `support` alone, so that a move touches no test."""
        assert {} == offences(TESTS, lambda name: private_names(syntax(name)))

    def test_all_tests_are_looked_at(self) -> None:
        """Those in folders are, and there is what they must not name."""
        assert {"conftest.py", "test_guards.py", "stores/conftest.py", "benchmarks/stores.py"} <= set(TESTS)
        assert PUBLIC <= set(MODULES)
        assert len(source.PRIVATE) >= 60

    def test_such_a_name_would_be_found(self) -> None:
        """The search above sees each private module, however it is named."""
        for name in source.PRIVATE:
            whole = source.dotted(name)
            package, _, module = whole.rpartition(".")
            for code in (
                f"import {whole}",
                f"from {whole} import thing",
                f"def test():\n from {package} import {module} as other",
                f"x = {whole}.thing",
                f"patch('{whole}.thing')",
                f"patch(f'{whole}.{{thing}}')",
                f"open('{name}')",
                f"open('safeklaviyo/{name}')",
                f"open(f'{{root}}/{name}')",
                f"glob('{name.removesuffix('__init__.py')}')",
                f"find('{whole.removeprefix('safeklaviyo.')}')",
            ):
                assert private_names(ast.parse(code)), code

    def test_other_names_are_not_found(self) -> None:
        """What is public, what is a test's, and what only looks alike may be named."""
        code = """
import safeklaviyo.stores.base
from safeklaviyo import __main__, testing
from safeklaviyo.testing import demonstrated
from support.wire import current
safeklaviyo.__version__
("stores/base.py", "errors.py", "test_wire.py", "tests/test_retry.py::test", "safeklaviyo.errors", "wire", "_")
"""
        assert [] == private_names(ast.parse(code))


@pytest.mark.proof
def asserts(test: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a test asserts, or calls a helper that says by its name that it does."""
    for each in ast.walk(test):
        if isinstance(each, ast.Assert):
            return True
        if isinstance(each, ast.Call) and ASSERTING.search(dotted(each.func)):
            return True
    return False


@pytest.mark.proof
class TestTests:
    def test_each_can_fail(self) -> None:
        """A test asserts, or a helper that is named for it does."""

        def idle(name: str) -> list[str]:
            found = functions(syntax(name))
            return [each.name for each in found if each.name.startswith("test_") and not asserts(each)]

        assert {} == offences((name for name in TESTS if "test_" in name), idle)

    def test_one_that_cannot_would_be_found(self) -> None:
        """The search above sees asserts, and calls by their names, however deep."""
        (idle,) = functions(ast.parse("def test_it():\n for x in y:\n  play(x)\n"))
        assert not asserts(idle)
        for code in ("assert x", "with pytest.raises(E):\n  f()", "self.check_refused(x)", "check(x)"):
            (test,) = functions(ast.parse(f"def test_it():\n {code}\n"))
            assert asserts(test), code


@pytest.mark.proof
class TestFlows:
    def test_cancelled_flow_is_never_resumed(self) -> None:
        """No effect is asked for in ``finally``, nor where a cancellation was caught."""
        assert {} == offences(CORE, lambda name: unlawful_yields(tree(name)))

    def test_such_a_flow_would_be_found(self) -> None:
        """The search above sees what it looks for, and nothing else."""
        bad = "def f():\n try:\n  pass\n finally:\n  x = [1, (yield 1)]\n"
        assert [5] == unlawful_yields(ast.parse(bad))
        for caught in ("", " BaseException", " (OSError, BaseException) as e", " GeneratorExit"):
            assert [4] == unlawful_yields(ast.parse(f"def f():\n try:\n  pass\n except{caught}:\n  yield from g()\n"))
        good = "def f():\n try:\n  yield\n except OSError:\n  yield\n finally:\n  def g(): yield\n"
        assert [] == unlawful_yields(ast.parse(good))

    def test_everything_is_sent_with_patience(self) -> None:
        """A request is sent in one place, which knows what may be repeated."""
        senders = {
            name
            for name in MODULES
            if not name.startswith("testing/")
            for node in ast.walk(tree(name))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Send"
        }
        assert {source.ATTEMPTS} == senders

    def test_flows_wait_in_one_place(self) -> None:
        """A flow sleeps in one module, so that a limit for a whole call has one place; retries have their own."""
        waiting = {
            name
            for name in CORE
            for node in ast.walk(tree(name))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Sleep"
        }
        assert {source.ATTEMPTS, source.WAITING} == waiting

    def test_a_flow_asks_what_a_dialect_can_do(self) -> None:
        """Only the wire layer, and the arguments that choose one, name a dialect's class; none compares its name."""
        classes = {"CurrentDialect", "LegacyDialect"}
        for name in MODULES:
            if name in source.NAMING_DIALECTS:
                continue
            named = {each.id for each in ast.walk(tree(name)) if isinstance(each, ast.Name)}
            compared = {ast.unparse(each.left) for each in ast.walk(tree(name)) if isinstance(each, ast.Compare)}
            assert set() == named & classes, name
            assert not any(each.endswith("dialect.name") for each in compared), name

    def test_every_request_says_what_repeating_it_does(self) -> None:
        """Each request is made in a module that speaks a dialect, with a class of its own."""
        makers = {
            name: node
            for name in MODULES
            if not name.startswith("testing/")
            for node in ast.walk(tree(name))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Request"
        }
        assert source.REQUESTS == set(makers)


def undocumented(module: ast.Module) -> set[str]:
    """Return the classes and functions with a public name that have no docstring, wherever in a module they stand."""
    return {
        each.name
        for each in ast.walk(module)
        if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not each.name.startswith("_")
        and not ast.get_docstring(each)
        and "overload" not in map(ast.unparse, each.decorator_list)
    }


@pytest.mark.proof
class TestDocstrings:
    def test_each_public_name_has_one(self) -> None:
        """In private modules and classes, too: a reader comes there. A function in a function has a private name."""
        assert {} == offences(MODULES, lambda name: undocumented(tree(name)))

    def test_such_a_name_would_be_found(self) -> None:
        """The search above sees classes, functions and methods; what has a private name is left to its author."""
        code = (
            "class A:\n def f(self): pass\n def _g(self): pass\nasync def h(): pass\n"
            "def _i():\n def j(): pass\n def _k(): pass\nclass _B:\n def l(self): pass\n"
        )
        assert {"A", "f", "h", "j", "l"} == undocumented(ast.parse(code))


@pytest.mark.proof
class TestSizes:
    def test_modules(self) -> None:
        """A module holds one idea, in at most 400 lines, and says in its first line what it is."""
        assert {} == offences(MODULES, lambda name: (PACKAGE / name).read_text().count("\n") > 400)
        assert {} == offences(MODULES, lambda name: not ast.get_docstring(tree(name)))

    def test_functions(self) -> None:
        """A function fits on a screen."""

        def too_long(name: str) -> list[tuple[str, int]]:
            return [(each.name, each.lineno) for each in functions(tree(name)) if lines_of_code(each) > 30]

        assert {} == offences(MODULES, too_long)

    def test_median_module(self) -> None:
        """Half of the modules have at most 170 lines."""
        sizes = sorted((PACKAGE / name).read_text().count("\n") for name in MODULES)
        assert sizes[len(sizes) // 2] <= 170

    def test_most_functions(self) -> None:
        """Half of the functions have at most 8 lines, and nine of ten at most 30."""
        sizes = sorted(map(lines_of_code, chain.from_iterable(functions(tree(name)) for name in MODULES)))
        assert sizes[len(sizes) // 2] <= 8
        assert sizes[len(sizes) * 9 // 10] <= 30
