"""What every error carries: the outcome, whether to try again, and nothing personal where it can be read."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from datetime import UTC, datetime
from typing import Any

import plain_words
import pytest

from safeklaviyo import errors
from safeklaviyo.errors import APIStatusError, RetryableError, SafeKlaviyoError, ServerError
from support.source import MODULES, PACKAGE
from support.wire import ERRORS, error_class

PERSONAL = "jane.doe@shop.example"


def family(root: type[SafeKlaviyoError]) -> list[type[SafeKlaviyoError]]:
    """Return an error class and all that derive from it in the public module."""
    found = [root, *(each for child in root.__subclasses__() for each in family(child))]
    return [each for each in dict.fromkeys(found) if each.__module__ == errors.__name__]


EVERY = family(SafeKlaviyoError)
NAMES = re.compile(r"(?:Klaviyo|RedisStore|AsyncRedisStore|FROM|RetryPolicy)\b")
"""What is written with a capital at the beginning of a message, too."""
TREE_LINE = re.compile(r"^( {4,})(\w+)(?: +(.*))?$", re.MULTILINE)


def keywords(error_class: type[SafeKlaviyoError]) -> set[str]:
    """Return every keyword that a class takes, its own and its ancestors'."""
    return {
        parameter.name
        for ancestor in error_class.__mro__
        if issubclass(ancestor, SafeKlaviyoError)
        for parameter in inspect.signature(ancestor.__init__).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def full(error_class: type[SafeKlaviyoError]) -> SafeKlaviyoError:
    """Return an error with every attribute filled."""
    special: dict[str, Any] = {
        "outcome": "applied",
        "may_retry": True,
        "retry_after": 1.5,
        "rule": "R6",
        "status_code": 418,
        "errors": ({"detail": PERSONAL},),
        "profile_ids": ("01A", "01B"),
    }
    error = error_class("something failed", **{name: special.get(name, PERSONAL) for name in keywords(error_class)})
    error.operation = "track"
    error.unique_id = "order-1"
    error.time = datetime(2026, 10, 15, tzinfo=UTC)
    return error


@pytest.mark.parametrize("error_class", EVERY)
def test_pickling_keeps_every_attribute(error_class):
    """A task queue gets the error that was raised, whatever it carries."""
    error = full(error_class)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        restored = pickle.loads(pickle.dumps(error, protocol))
        assert (type(error), str(error), vars(error)) == (type(restored), str(restored), vars(restored))


@pytest.mark.parametrize("error_class", EVERY)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copying_keeps_every_attribute(error_class, duplicate):
    """A copy says what the original says."""
    error = full(error_class)
    other = duplicate(error)
    assert (type(error), str(error), vars(error)) == (type(other), str(other), vars(other))


@pytest.mark.parametrize("error_class", EVERY)
def test_every_keyword_is_an_attribute(error_class):
    """Nothing that an error is told gets lost."""
    error = full(error_class)
    filled = {name: value for name, value in vars(error).items() if value is not None}
    assert keywords(error_class) | {"operation", "unique_id", "time"} == set(filled)


@pytest.mark.parametrize("error_class", EVERY)
def test_an_error_needs_nothing(error_class):
    """Every error can be made without arguments: what is not known is None or empty, and the outcome is set."""
    error = error_class()
    expected = "unknown" if error_class is errors.NoResponseError else "not_applied"
    assert (expected, issubclass(error_class, RetryableError)) == (error.outcome, error.may_retry)
    assert (None, None, None) == (error.retry_after, error.rule, error.unique_id)


@pytest.mark.parametrize("error_class", EVERY)
def test_p8_text_holds_nothing_personal(error_class):
    """P8: what is personal is an attribute; neither `str` nor `repr` nor the arguments show it."""
    error = full(error_class)
    shown = f"{error} {error!r} {error.args}"
    assert PERSONAL not in shown
    assert f"{error_class.__name__}('something failed', outcome='applied', rule='R6')" == repr(error)


def test_repr_without_a_rule():
    """An error that no rule raised names none."""
    assert "ServerError('down', outcome='unknown')" == repr(ServerError("down", outcome="unknown"))


@pytest.mark.parametrize("outcome", ["not_applied", "unknown", "applied"])
@pytest.mark.parametrize("error_class", EVERY)
def test_p7_outcome_is_what_was_said(error_class, outcome):
    """P7: the outcome given is the outcome told, whichever the error."""
    assert outcome == error_class("failed", outcome=outcome).outcome


@pytest.mark.parametrize("may_retry", [True, False])
@pytest.mark.parametrize("error_class", EVERY)
def test_may_retry_can_be_said(error_class, may_retry):
    """Whoever raises an error may know better than its class whether to try again."""
    assert may_retry is error_class("failed", may_retry=may_retry).may_retry


def test_the_drawing_is_the_tree():
    """The module's docstring draws exactly the classes there are, and everything that each of them is."""
    drawn: dict[str, set[str]] = {}
    branch: list[str] = []
    assert errors.__doc__ is not None
    for indent, name, remark in TREE_LINE.findall(errors.__doc__):
        branch = [*branch[: len(indent) // 2 - 2], name]
        besides = {
            f"{other}Error".replace("ErrorError", "Error") for other in re.findall(r"\((?:also )?(\w+)\)", remark)
        }
        drawn[name] = {*branch, *besides}
    beyond = {"object", "BaseException", "Exception", "OSError"}
    assert {each.__name__: {base.__name__ for base in each.__mro__} - beyond for each in EVERY} == drawn


def test_statuses_in_the_drawing_are_the_mapping():
    """Each status that the drawing names leads to its class, and no other class than a conflict's is left out."""
    assert errors.__doc__ is not None
    named = {
        int(status): name
        for _, name, remark in TREE_LINE.findall(errors.__doc__)
        for status in re.findall(r"\b[1-5]\d\d\b", remark)
    }
    assert named | {409: "ProfileConflictError"} == {status: each.__name__ for status, each in ERRORS.items()}


def test_every_status_has_a_class():
    """Each status leads to an error: its own, a server's from 500 on, or the general one."""
    for status in range(300, 600):
        expected = ERRORS.get(status, ServerError if status >= 500 else APIStatusError)
        assert expected is error_class(status), status
        assert issubclass(expected, APIStatusError)


def test_every_status_class_is_reachable():
    """No class below `APIStatusError` is one that no status leads to."""
    named = {error_class(status) for status in range(300, 600)}
    # Which 404 is a doubt about a profile is known to the operation alone.
    assert set(family(APIStatusError)) == named | {errors.ProfileNotVisibleError}


def test_value_errors():
    """What a caller got wrong about a value is also a `ValueError`."""
    found = {each.__name__ for each in EVERY if issubclass(each, ValueError)}
    assert {"InvalidIdentifierError", "InvalidPropertyError"} == found


def test_identifier_kind_is_text():
    """The kind of an identifier is kept as plain text, so that unpickling needs no enumeration."""
    kinds = [errors.InvalidIdentifierError(identifier_kind=kind).identifier_kind for kind in ("email", None)]
    assert ["email", None] == kinds


def messages(source: str) -> list[str]:
    """Return the messages of the package's errors that a module makes; what is filled in counts as nothing."""
    classes = {each.__name__ for each in EVERY}
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).rpartition(".")[2] in classes:
            message = node.args[0]
            parts = message.values if isinstance(message, ast.JoinedStr) else [message]
            found.append("".join(each.value for each in parts if isinstance(each, ast.Constant)))
    return found


def faults(message: str) -> list[str]:
    """Return what would make a person stumble who reads a message aloud."""
    return [
        name
        for name, has in {
            "capital": message[:1].isupper() and not NAMES.match(message),
            "two sentences": re.search(r"[.!?] [A-Z]|\n", message) is not None,
            "full stop": message.endswith("."),
            "riddle": plain_words.RIDDLES.search(message) is not None,
        }.items()
        if has
    ]


class TestMessages:
    """How the messages read that the package writes into its errors."""

    def test_each_is_one_sentence_in_lower_case(self):
        """A message can stand in a log line and after a colon, and names who acts."""
        found = {
            message: wrong
            for name in MODULES
            if not name.startswith("testing/")
            for message in messages((PACKAGE / name).read_text())
            if (wrong := faults(message))
        }
        assert {} == found

    def test_such_a_message_would_be_found(self):
        """The search above sees the messages, and each fault in one."""
        source = 'raise StoreError(f"a {kind} map")\nraise errors.GoneError("Gone.")\nraise KeyError("No. Never")'
        assert ["a  map", "Gone."] == messages(source)
        assert ["capital", "full stop"] == faults("Gone.")
        assert ["two sentences"] == faults("it is gone. Try again")
        assert ["riddle"] == faults("it is somebody's")
        assert [] == faults("Klaviyo has no such profile; search for it")
