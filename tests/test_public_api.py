"""The public names: what can be imported, that it is documented, and that both clients are the same."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import safeklaviyo
from safeklaviyo import AsyncIdentityStore, AsyncKlaviyo, IdentityStore, Klaviyo, errors
from support.clients import (
    AsyncBindings,
    AsyncLists,
    AsyncOutbox,
    AsyncProfiles,
    Bindings,
    Lists,
    Outbox,
    Profiles,
)
from support.source import PACKAGE, VERSION

TWINS = [
    (Klaviyo, AsyncKlaviyo),
    (Profiles, AsyncProfiles),
    (Bindings, AsyncBindings),
    (Lists, AsyncLists),
    (Outbox, AsyncOutbox),
    (IdentityStore, AsyncIdentityStore),
]
RENAMED = {
    "close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__", "__iter__": "__aiter__",
}  # fmt: skip
NOT_AWAITED = {"iterate", "members", "dead", "__aiter__"}
INHERITED = set(dir(object)) | {"__dict__", "__weakref__", "__module__", "__annotations__", "__abstractmethods__"}


def methods(kind: type) -> dict[str, Any]:
    """Return what a class offers to others, its context manager and its iteration included."""
    return {
        name: getattr(kind, name)
        for name in dir(kind)
        if name not in INHERITED and (not name.startswith("_") or name in {*RENAMED, *RENAMED.values()})
    }


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Return what a call may give: names, kinds and defaults."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


def test_names_are_sorted_and_there() -> None:
    """Each name in `__all__` is there, once, in order; one that is not is an `AttributeError`."""
    names = safeklaviyo.__all__
    assert len(set(names)) == len(names)
    assert sorted(names, key=lambda name: (not name.isupper(), name)) == names
    assert all(hasattr(safeklaviyo, name) for name in names)
    assert set(names) <= set(dir(safeklaviyo))
    with pytest.raises(AttributeError, match="no attribute 'AsyncKlavio'"):
        _ = safeklaviyo.AsyncKlavio  # type: ignore[attr-defined]


def test_every_error_is_exported() -> None:
    """Whatever can be raised can be caught by a name from the package itself."""
    defined = {name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, Exception)}
    assert defined <= set(safeklaviyo.__all__)


def test_version() -> None:
    """The version is what the package's metadata are made from."""
    assert safeklaviyo.__version__ in (PACKAGE / VERSION).read_text()


NAMES_OF_TYPES = {"CLEAR", "Channel", "ConsentStatus", "NoticeCode"}
"""What has no docstring that Python keeps: a value, and names for unions of words."""


@pytest.mark.parametrize("name", [name for name in safeklaviyo.__all__ if name not in NAMES_OF_TYPES])
def test_is_documented(name: str) -> None:
    """Every public class, and every public method and property of its own, says what it does."""
    subject = getattr(safeklaviyo, name)
    assert (subject.__doc__ or "").strip()
    for method, value in vars(subject).items():
        if not method.startswith("_") and (callable(value) or isinstance(value, property)):
            assert (inspect.getdoc(value) or "").strip(), f"{name}.{method}"


@pytest.mark.parametrize("kind", [each for pair in TWINS[1:4] for each in pair])
def test_namespace_is_documented(kind: type) -> None:
    """So does what hangs off the clients."""
    assert kind.__doc__
    assert all(inspect.getdoc(value) for name, value in methods(kind).items() if not name.startswith("_"))


@pytest.mark.parametrize(("blocking", "awaited"), TWINS, ids=lambda kind: kind.__name__)
def test_twins_are_the_same(blocking: type, awaited: type) -> None:
    """Both have the same names with the same arguments; only closing is named apart, and only one is awaited."""
    ours, theirs = methods(blocking), methods(awaited)
    assert {RENAMED.get(name, name) for name in ours} == set(theirs)
    for name, method in ours.items():
        twin = theirs[RENAMED.get(name, name)]
        if isinstance(method, property | bool):
            assert type(method) is type(twin)
            continue
        assert parameters(method) == parameters(twin), name
        assert not inspect.iscoroutinefunction(method)
        is_generator = RENAMED.get(name, name) in NOT_AWAITED
        assert is_generator is inspect.isasyncgenfunction(twin)
        # A view is made at once, without I/O.
        assert (is_generator or name == "with_options") is not inspect.iscoroutinefunction(twin), name


def test_constructors_are_the_same() -> None:
    """Both clients take the same arguments, all but the key by name."""
    given = parameters(Klaviyo)
    assert given == parameters(AsyncKlaviyo)
    assert ["api_key"] == [name for name, kind, _ in given if kind is not inspect.Parameter.KEYWORD_ONLY]


@pytest.mark.slow
def test_types_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyright knows the type of every public name, and agrees with what the examples of types say."""
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent))
    if pyright is None:
        pytest.skip("pyright is not installed")
    root = PACKAGE.parent
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setenv("PYTHONPATH", str(root))
    command = [pyright, "--outputjson"]
    verified = subprocess.run(
        [*command, "--verifytypes", "safeklaviyo", "--ignoreexternal"], check=False, capture_output=True, cwd=root
    )
    symbols = json.loads(verified.stdout)["typeCompleteness"]["symbols"]
    vague = [each["name"] for each in symbols if not each["isTypeKnown"] or each["isTypeAmbiguous"]]
    assert len(symbols) > 500
    # What Django's own classes declare has no types.
    others = ("safeklaviyo.testing.", "safeklaviyo.demo.", "safeklaviyo.django.")
    assert [] == [name for name in vague if not name.startswith(others)]
    examples = Path(__file__).parent / "typing"
    checked = subprocess.run([*command, str(examples)], check=False, capture_output=True, cwd=examples.parents[1])
    assert [] == json.loads(checked.stdout)["generalDiagnostics"]
