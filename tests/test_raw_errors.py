"""No argument makes a client raise anything but its own errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from safeklaviyo import CLEAR, AsyncKlaviyo, Klaviyo, SafeKlaviyoError
from safeklaviyo.testing import KlaviyoSimulator
from support.leaks import texts_of

if TYPE_CHECKING:
    from pathlib import Path

ODD = [
    "", " ", "a\ud800", "\x00", "\n", "@", "x" * 10_000, b"x", object(), [], {}, float("nan"), 10**400, -1, True, CLEAR,
]  # fmt: skip
ARGUMENTS = [
    "api_key",
    "account",
    "public_key",
    "base_url",
    "revision",
    "dialect",
    "timeout",
    "store",
    "policy",
    "retry",
]


@pytest.mark.parametrize("odd", ODD, ids=lambda value: repr(value)[:20])
def test_no_argument_of_a_call_ends_in_a_raw_error(odd: Any) -> None:
    """Whatever is given to a method, it works or raises an error of this library."""
    with (
        httpx.Client(transport=KlaviyoSimulator().transport) as http,
        Klaviyo("pk_test", store="memory://", account="SiMuLa", http_client=http) as k,
    ):
        calls = [
            lambda: k.identify(odd, external_id=odd, email=odd, phone_number=odd, append=odd, unappend=odd, unset=odd),
            lambda: k.identify(odd, email="a@shop.test", phone_number=odd, append=odd, unset=odd),
            lambda: k.track(odd, email="a@shop.test"),
            lambda: k.track("x", email="a@shop.test", customer_properties=odd, properties=odd, value=odd),
            lambda: k.track("x", email="a@shop.test", time=odd, unique_id=odd, backfill=odd, value_currency=odd),
            lambda: k.change_email(odd, external_id="1"),
            lambda: k.change_email("b@shop.test", old_email="a@shop.test", on_taken=odd),
            lambda: k.change_external_id(odd, email="a@shop.test"),
            lambda: k.change_phone_number(odd, email="a@shop.test"),
            lambda: k.resolve(email=odd),
            lambda: k.explain(external_id=odd, email=odd, phone_number=odd),
            lambda: k.erase(profile_id=odd),
            lambda: k.recover(odd),
            lambda: k.recheck_changes(odd),
            lambda: k.profiles.get(odd),
            lambda: k.profiles.update(odd, odd),
            lambda: k.profiles.merge(odd, into=odd),
            lambda: k.profiles.search(email=odd),
            lambda: k.profiles.search(external_id=odd),
            lambda: k.profiles.search(phone_number=odd),
            lambda: list(k.profiles.iterate(filter=odd)),
            lambda: list(k.profiles.iterate(sort=odd)),
            lambda: list(k.profiles.iterate(page_size=odd)),
            lambda: k.bindings.add([odd, {"email": odd}, {"email": "a@shop.test", "phone_number": odd}]),
            lambda: k.bindings.get(email=odd),
            lambda: k.bindings.remove(external_id=odd),
            lambda: k.bindings.release_email(odd),
        ]
        for call in calls:
            assert repr(own_error_or(call))


@pytest.mark.parametrize("odd", ODD, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
def test_no_argument_of_a_client_ends_in_a_raw_error(kind: Any, odd: Any) -> None:
    """Whatever a client is made with, it is made or refused, and shows itself in either case."""
    for name in ARGUMENTS:
        made = own_error_or(lambda name=name: kind(**{"api_key": "pk_test", "store": "memory://", name: odd}))
        assert repr(made).startswith(f"{type(made).__name__}("), name


def test_a_file_that_no_path_can_name_is_refused() -> None:
    """Half a character in a store's path is refused before SQLite sees it."""
    with pytest.raises(SafeKlaviyoError, match="names no file"):
        Klaviyo("pk_test", account="SiMuLa", store="sqlite:///a\ud800.db")


@pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
def test_a_client_that_was_not_made_can_be_shown(kind: Any) -> None:
    """A traceback that shows the half-made client of a failed constructor is not hidden by another error."""
    assert f"{kind.__name__}(not made)" == repr(kind.__new__(kind))


def own_error_or(call: Any) -> Any:
    """Make a call that may be refused; return what it returned, or the error."""
    try:
        return call()
    except SafeKlaviyoError as error:
        return error


BAD = ["zebulon\udcff@shop.dev", "zebulon@shop\udcff.dev", "zebulon\x00@shop.dev", "zebulon\ud800", "+1212555\udcff"]
"""As a file that is not UTF-8 is read."""


@pytest.mark.parametrize("store", ["memory://", "sqlite:///{}/identity.db"])
@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_no_error_behind_a_refusal_quotes_what_was_refused(tmp_path: Path, store: str, bad: str) -> None:
    """P8: the codec's own error holds the whole text that it could not write, and is not among what is chained."""
    with (
        httpx.Client(transport=KlaviyoSimulator().transport) as http,
        Klaviyo("pk_test", store=store.format(tmp_path), account="SiMuLa", http_client=http) as k,
    ):
        calls = [
            lambda: k.identify(email=bad),
            lambda: k.identify(external_id=bad, email="a@shop.dev"),
            lambda: k.identify(email="a@shop.dev", phone_number=bad),
            lambda: k.track("x", email="a@shop.dev", unique_id=bad),
            lambda: k.change_email(bad, external_id="1"),
            lambda: k.bindings.get(external_id=bad),
            lambda: k.bindings.add([{"email": bad}, {"email": "b@shop.dev", "external_id": bad}]),
            lambda: k.profiles.search(phone_number=bad),
            lambda: list(k.profiles.iterate(filter=bad)),
        ]
        for call in calls:
            try:
                call()
            except SafeKlaviyoError as error:
                shown = "".join(texts_of(error))
                assert "zebulon" not in shown
                assert "1212555" not in shown
