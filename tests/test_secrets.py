"""Keys and passwords stand in no `repr`, log, pickle or traceback, and go only where they are needed (P8)."""

from __future__ import annotations

import logging
import pickle

import pytest
import respx

from safeklaviyo import AsyncKlaviyo, Klaviyo
from support.clients import KEY, opened
from support.wire import Secret

TEXT = "pk_hunter2"


class TestSecret:
    def test_it_is_revealed_on_request_alone(self) -> None:
        """Whatever shows an object shows the same for each secret."""
        secret = Secret(TEXT)
        assert TEXT == secret.reveal()
        for shown in (
            repr(secret),
            str(secret),
            f"{secret}",
            f"{[secret]}",
            f"{secret!s:>40}",
            logging.Formatter().format(logging.makeLogRecord({"msg": "%s %r", "args": (secret, secret)})),
        ):
            assert TEXT not in shown
        assert repr(secret) == repr(Secret("another"))
        assert not hasattr(secret, "__dict__")

    def test_equal_secrets_are_equal(self) -> None:
        """They compare and hash as their texts do."""
        assert {Secret(TEXT)} == {Secret(TEXT), Secret(TEXT)}
        assert Secret(TEXT) != Secret("another")
        assert Secret(TEXT) != TEXT

    def test_it_is_not_pickled(self) -> None:
        """A pickle lies in queues and caches."""
        with pytest.raises(TypeError) as caught:
            pickle.dumps(Secret(TEXT))
        assert TEXT not in str(caught.value)


class TestLegacy:
    @pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
    def test_the_private_key_goes_only_where_it_is_needed(self, kind: type) -> None:
        """Track and Identify get the public token alone, and the People endpoints the key as their parameter."""
        with respx.mock(base_url="http://127.0.0.1:9", assert_all_called=False) as mock:
            mock.route(path="/api/v2/people/search").respond(404, json={"detail": "There is no profile"})
            mock.route().respond(200, text="1")
            base = "http://127.0.0.1:9"
            with opened(kind, store="memory://", dialect="legacy", public_key="PubKey", base_url=base) as k:
                k.track("Placed Order", email="ann@shop.dev")
            asked = [each.request for each in mock.calls]
        searched = [each for each in asked if each.url.path == "/api/v2/people/search"]
        told = [each for each in asked if each.url.path in {"/api/track", "/api/identify"}]
        assert len(asked) == len(searched) + len(told)
        assert searched
        assert told
        assert {KEY} == {each.url.params["api_key"] for each in searched}
        assert {False} == {KEY in f"{each.url}{each.content!r}{each.headers.raw}" for each in told}
        assert {False} == {"authorization" in each.headers for each in asked}
