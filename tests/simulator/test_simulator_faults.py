"""Injected failures: which request fails, whether it is done, and what its sender sees."""

from __future__ import annotations

import json

import httpx
import pytest

from safeklaviyo.testing import CLOUDFLARE_PAGE, ConnectionLost, ConnectionRefused


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("how", [{}, {"status": 503}, {"status": 500}, {"broken": "lost"}])
def test_before_nothing_is_done_and_after_it_is(simulator, ask, when, made, how):
    """A failure before leaves no trace, one after leaves the profile; the sender cannot tell, the journal can."""
    simulator.fail_next(when=when, **how)
    status = how.get("status")
    if status:
        assert ask.create(email="ann@shop.org").status == status
    else:
        with pytest.raises(ConnectionLost) as caught:
            ask.create(email="ann@shop.org")
        assert caught.value.answer is None
    (entry,) = simulator.journal
    assert (made, bool(made), status) == (len(simulator.profiles), entry.committed, entry.status)
    assert ask.create(email="bob@shop.org").status == 201


def test_a_refused_connection_does_nothing(simulator, ask):
    """A refused connection leaves no trace but the journal's line."""
    simulator.fail_next(broken="refused")
    with pytest.raises(ConnectionRefused):
        ask.create(email="ann@shop.org")
    assert ([], None, False) == (simulator.profiles, simulator.journal[0].status, simulator.journal[0].committed)


def test_a_truncated_answer_was_made(simulator, ask):
    """Of a truncated answer the half that arrived is known, and the request was done."""
    simulator.fail_next(broken="truncated", when="after")
    with pytest.raises(ConnectionLost) as caught:
        ask.create(email="ann@shop.org")
    assert caught.value.answer is not None
    assert (201, 1) == (caught.value.answer.status, len(simulator.profiles))


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        (CLOUDFLARE_PAGE, CLOUDFLARE_PAGE, "text/html; charset=utf-8"),
        ('{"data":', b'{"data":', "application/vnd.api+json"),
        ({"data": []}, b'{"data": []}', "application/vnd.api+json"),
        ("", b"", "text/html; charset=utf-8"),
    ],
)
def test_any_body_is_sent(simulator, ask, body, sent, kind):
    """A body is sent as given, be it JSON, half of it, or a page of HTML."""
    ask.checks = False
    simulator.fail_next(status=403, body=body, headers={"CF-Ray": "1"})
    answer = ask("GET", "/api/accounts")
    assert (403, sent, kind, "1") == (
        answer.status,
        answer.body,
        answer.headers["content-type"],
        answer.headers["cf-ray"],
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid"), (401, "authentication_failed"), (403, "permission_denied"), (409, "duplicate_profile"),
        (410, "gone"),
        (500, "error"), (503, "service_unavailable"), (524, "error"),
    ],
)  # fmt: skip
def test_a_status_has_klaviyos_body(simulator, ask, status, code):
    """Without a body Klaviyo's own for the status is sent."""
    simulator.fail_next(status=status)
    (error,) = json.loads(ask("GET", "/api/accounts").body)["errors"]
    assert (status, code) == (error["status"], error["code"])


def test_a_429_says_how_long(simulator, ask):
    """A 429 carries Retry-After: one second, or what is given."""
    simulator.fail_next(status=429)
    simulator.fail_next(status=429, headers={"Retry-After": "7"})
    assert ["1", "7"] == [ask("GET", "/api/accounts").headers["retry-after"] for _ in range(2)]


def test_only_what_is_meant_fails(simulator, ask):
    """A failure waits for its endpoint and its predicate, happens as often as asked, and in the order asked for."""
    simulator.fail_next("create_event", status=500, times=2)
    simulator.fail_next("create_event", status=503)
    simulator.fail_next(match=lambda asked: b"bob" in asked.body, status=409)
    assert ask.create(email="ann@shop.org").status == 201
    assert [500, 500, 503, 202] == [ask.event(email="ann@shop.org").status for _ in range(4)]
    assert [409, 201] == [ask.create(email="bob@shop.org").status for _ in range(2)]


def test_a_delay_does_not_undo(simulator, ask):
    """A delay alone changes neither what is done nor what is answered."""
    simulator.fail_next(delay=9)
    answer = ask.create(email="ann@shop.org")
    assert (201, 9, 1) == (answer.status, answer.delay, len(simulator.profiles))
    simulator.fail_next(delay=2, status=503)
    answer = ask.create(email="bob@shop.org")
    assert (503, 2, 1) == (answer.status, answer.delay, len(simulator.profiles))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"where": "create_profil"}, "where is one of add_profiles_to_list, "), ({"times": 0}, "times"),
        ({"body": "x"}, "give its status"), ({"headers": {"a": "b"}, "delay": 1}, "give its status"),
        ({"broken": "lost", "status": 500}, "no answer"), ({"broken": "lost", "delay": 1}, "no answer"),
        ({"broken": "refused", "when": "after"}, "refused connection"), ({"broken": "truncated"}, "truncated answer"),
    ],
)  # fmt: skip
def test_a_failure_that_cannot_happen_is_refused(simulator, arguments, words):
    """A misspelt endpoint, no times, or an impossible combination raises ValueError at once."""
    with pytest.raises(ValueError, match=words):
        simulator.fail_next(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, httpx.ReadError), ({"broken": "refused"}, httpx.ConnectError),
        ({"broken": "truncated", "when": "after"}, httpx.RemoteProtocolError), ({"delay": 6}, httpx.ReadTimeout),
        ({"delay": 6, "status": 500}, httpx.ReadTimeout),
    ],
)  # fmt: skip
async def test_httpx_raises_its_own_errors(simulator, arguments, error):
    """Through either client of httpx a failure is the error that httpx raises for it, about that request."""
    url = "https://a.klaviyo.com/api/accounts"
    simulator.fail_next(**arguments, times=2)
    with httpx.Client(transport=simulator.transport, timeout=5) as client, pytest.raises(error) as caught:
        client.get(url)  # noqa: ASYNC212 - no I/O
    assert caught.value.request.url == url
    async with httpx.AsyncClient(transport=simulator.transport, timeout=5) as client:
        with pytest.raises(error):
            await client.get(url)


def test_patience_outlasts_a_delay(simulator):
    """A client that waits longer than the delay, or for ever, gets the answer, without any real waiting."""
    simulator.fail_next(delay=600, times=2)
    for timeout in (601, None):
        with httpx.Client(transport=simulator.transport, timeout=timeout) as client:
            assert client.get("https://a.klaviyo.com/api/accounts").status_code == 401
