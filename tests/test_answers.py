"""Answers: read with tolerance, and turned into the error they stand for (F-12, F-20, F-23)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeklaviyo import errors
from safeklaviyo.errors import ProfileConflictError, RateLimitError
from support.wire import Response, UnreadableAnswer, answers

PROFILE_ID = "01GDDKASAP8TKDDA2GRZDSVP4H"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
CLOUDFLARE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"
DUPLICATE = {
    "id": "4f739784-390b-4df3-acd8-6eb07d60e6b4",
    "status": 409,
    "code": "duplicate_profile",
    "title": "Conflict.",
    "detail": "A profile already exists with one of these identifiers: ann@shop.ch",
    "source": {"pointer": "/data/attributes"},
    "links": {},
    "meta": {"duplicate_profile_id": PROFILE_ID},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["first_name", "created", "updated", "last_event_date", "location", "properties", "subscriptions", "image",
          "something_new", "model_extra", "id"]  # fmt: skip


def answer(body: object, status: int = 200, **headers: str) -> Response:
    """Return an answer with a JSON body, or with the bytes given."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


def profile(profile_id: object = PROFILE_ID, **attributes: object) -> dict[str, Any]:
    """Return a profile as Klaviyo writes it."""
    return {"type": "profile", "id": profile_id, "attributes": attributes, "links": {"self": "…"}, "relationships": {}}


def test_a_profile_is_read() -> None:
    """The fields of a profile are read by name, and those Klaviyo adds later are kept."""
    read = answers.read_profile(
        answer(
            {
                "data": profile(
                    email="Ann@shop.ch",
                    external_id="cust-1",
                    phone_number=None,
                    first_name="Ann",
                    created="2026-09-04T10:00:00.123456+00:00",
                    location={"city": "Bern"},
                    properties={"plan": "gold"},
                    whatsapp_bsuid="w1",
                )
            }
        )
    )
    assert (PROFILE_ID, "Ann@shop.ch", "cust-1", None) == (read.id, read.email, read.external_id, read.phone_number)
    assert datetime(2026, 9, 4, 10, 0, 0, 123_456, tzinfo=UTC) == read.created
    assert ({"city": "Bern"}, {"plan": "gold"}) == (read.location, read.properties)
    assert {"whatsapp_bsuid": "w1"} == read.model_extra


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
@settings(max_examples=80, deadline=None)
@example({"properties": [], "location": [], "created": "yesterday", "first_name": 7})
def test_f23_a_profile_is_read_whatever_else_it_holds(attributes: dict[str, Any]) -> None:
    """F-23: an unexpected type in a field leaves that field out, and never makes a success an error."""
    found = profile(**{**attributes, "email": "ann@shop.ch", "external_id": "1"})
    read = answers.read_profile(answer({"data": found}))
    assert (PROFILE_ID, "ann@shop.ch", "1") == (read.id, read.email, read.external_id)
    if isinstance(attributes.get("first_name"), str):
        assert attributes["first_name"] == read.first_name


@pytest.mark.parametrize("name", ["email", "external_id", "phone_number"])
@pytest.mark.parametrize("value", [True, ["ann@shop.ch"], {"a": 1}])
def test_f23_an_identifier_that_is_no_text_is_not_taken_for_missing(name: str, value: object) -> None:
    """F-23: tolerance ends at identifiers, because a profile that seems to have none could be given away."""
    with pytest.raises(UnreadableAnswer, match="identifier"):
        answers.read_profile(answer({"data": profile(**{name: value})}))


@pytest.mark.parametrize(
    "body",
    [b"", b"1", CLOUDFLARE, b'{"data": {"id": "01G', b"\xff\xfe\x00", b"[" * 100_000, {}, [], None, {"data": None},
     {"data": []}, {"data": {"attributes": {}}}, {"data": profile(profile_id=7)}, {"data": profile(profile_id="../x")}],
    ids=lambda body: repr(body)[:20],
)  # fmt: skip
def test_a_body_that_holds_no_profile_is_unreadable(body: object) -> None:
    """A page of a proxy's, half an answer, or one without a usable id is reported as unreadable, never as a crash."""
    with pytest.raises(UnreadableAnswer):
        answers.read_profile(answer(body))


def test_a_page_of_profiles_is_read() -> None:
    """All profiles found are read, and where the next page is; nobody found is an answer too."""
    link = "https://a.klaviyo.com/api/profiles/?page%5Bcursor%5D=bmV4dA%3D%3D"
    page = answers.read_profiles(answer({"data": [profile("A1"), profile("B2")], "links": {"next": link}}))
    assert ["A1", "B2"] == [each.id for each in page.profiles]
    assert "/api/profiles?page%5Bcursor%5D=bmV4dA%3D%3D" == page.next_path
    assert answers.Page(()) == answers.read_profiles(answer({"data": [], "links": {"next": None}}))


@pytest.mark.parametrize(
    "body", [{}, {"data": None}, {"data": {}}, CLOUDFLARE, {"data": [None]}, {"data": [profile("")]}]
)
def test_f3_a_search_that_cannot_be_read_found_nobody_in_no_case(body: object) -> None:
    """F-3: an answer without its list, or with something that has no id, is unreadable and not empty."""
    with pytest.raises(UnreadableAnswer):
        answers.read_profile_ids(answer(body))


def test_f36_one_odd_row_is_one_odd_row(caplog: pytest.LogCaptureFixture) -> None:
    """F-36: a row of a list that is no profile is left out and logged, and the others are read."""
    rows = [profile("A1"), None, profile(""), profile("B2", email=["x"]), profile("C3")]
    with caplog.at_level("WARNING", "safeklaviyo"):
        page = answers.read_profiles(answer({"data": rows}))
    assert (["A1", "C3"], 3) == ([each.id for each in page.profiles], len(caplog.records))


@pytest.mark.parametrize(
    ("given", "expected"), [(1, "1"), (9013808660771, "9013808660771"), ("", None), (" \t", None), ("1", "1")]
)
@pytest.mark.parametrize("name", ["email", "external_id", "phone_number"])
def test_f36_a_number_is_its_text_and_blanks_are_none(name: str, given: object, expected: str | None) -> None:
    """F-36: Klaviyo has answered with numbers and with empty texts where an identifier stands."""
    assert expected == getattr(answers.read_profile(answer({"data": profile(**{name: given})})), name)


@pytest.mark.parametrize(
    "link",
    ["https://a.klaviyo.com/api/events?x=1", "https://a.klaviyo.com/api/profiles", "https://[a/api/profiles?x=1",
     "/api/profiles?x=a b", "/api/profiles?x=é", "/api/profiles?x=\n", 7, "//evil.example?x=1"],
)  # fmt: skip
def test_f30_a_link_that_leads_elsewhere_is_not_followed(link: object) -> None:
    """F-30: only a link to a list of profiles is a next page."""
    with pytest.raises(UnreadableAnswer):
        answers.read_profiles(answer({"data": [], "links": {"next": link}}))


def test_the_account_is_read() -> None:
    """The account's id is read where exactly one account is named."""
    assert "AbC123" == answers.read_account_id(answer({"data": [{"type": "account", "id": "AbC123"}]}))


@pytest.mark.parametrize(
    "body",
    [
        {}, {"data": []}, {"data": [{}]}, {"data": [{"id": ""}]}, {"data": [{"id": "a"}] * 2}, b"x",
        {"data": [{"id": "\x1b[31mred"}]}, {"data": [{"id": "ann@shop.dev"}]}, {"data": [{"id": "a" * 65}]},
    ],
)  # fmt: skip
def test_an_answer_that_names_no_one_account_is_unreadable(body: object) -> None:
    """None, several or an unnamed account is no answer, nor is a text that no account has as its id."""
    with pytest.raises(UnreadableAnswer):
        answers.read_account_id(answer(body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"errors": [DUPLICATE]}, PROFILE_ID),
        ({"errors": [{"code": "invalid"}, DUPLICATE]}, PROFILE_ID),
        ({"errors": [{**DUPLICATE, "meta": {}}]}, None),
        ({"errors": [{**DUPLICATE, "meta": []}]}, None),
        ({"errors": [{"code": "duplicate_profile"}]}, None),
        ({"errors": [{**DUPLICATE, "meta": {"duplicate_profile_id": "../accounts"}}]}, None),
        ({"errors": [{**DUPLICATE, "meta": {"duplicate_profile_id": 7}}]}, None),
        ({"errors": []}, None),
        ({"errors": [None]}, None),
        (CLOUDFLARE, None),
        (b"", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_f12_a_conflict_may_leave_its_owner_out(body: object, expected: str | None) -> None:
    """F-12: the owner that a 409 names is read where it is an id; without one the conflict is still an error."""
    response = answer(body, 409)
    assert expected == answers.duplicate_profile_id(response)
    error = answers.error_from(response, outcome="not_applied")
    assert isinstance(error, ProfileConflictError)
    assert (expected, "R17", 409) == (error.profile_id, error.rule, error.status_code)


@pytest.mark.parametrize("status", [*answers.ERRORS, 302, 405, 415, 500, 502, 503, 524])
@pytest.mark.parametrize("body", [{"errors": [DUPLICATE]}, {"message": "ann@shop.ch"}, CLOUDFLARE, b""])
def test_p7_p8_each_status_becomes_its_error(status: int, body: object) -> None:
    """P7, P8: an answer becomes the error of its status, with the outcome known, and quotes nothing of the body."""
    error = answers.error_from(answer(body, status), outcome="unknown")
    expected = errors.ServerError if status >= 500 else errors.APIStatusError
    assert answers.ERRORS.get(status, expected) is type(error)
    assert (status, "unknown") == (error.status_code, error.outcome)
    assert f"({status}" in str(error)
    assert (status >= 500) == str(error).startswith("Klaviyo failed")
    assert "ann@shop.ch" not in str(error) + repr(error)


def test_what_klaviyo_says_is_kept() -> None:
    """Code, errors and request id are attributes, and code and pointer are in the message."""
    error = answers.error_from(answer({"errors": [DUPLICATE]}, 400), outcome="not_applied")
    assert ("duplicate_profile", (DUPLICATE,), DUPLICATE["id"]) == (error.code, error.errors, error.request_id)
    assert str(error).endswith("(400 duplicate_profile at /data/attributes)")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"code": "invalid", "source": {"pointer": "/data/attributes/profiles/data/17/attributes/email"}}, True),
        ({"code": "invalid", "source": {"pointer": "/data/ann@shop.ch"}}, False),
        ({"code": "invalid", "source": {"pointer": "/data/41791234567"}}, False),
        ({"code": "invalid", "source": {"parameter": "filter"}}, False),
        ({"code": "invalid", "source": None}, False),
        ({"code": 7}, False),
        ({"code": "Ann Miller"}, False),
    ],
)
def test_p8_only_what_cannot_be_personal_is_in_a_message(error: dict[str, Any], shown: bool) -> None:
    """P8: a pointer or a code that is not made of field names and row numbers is left out of the message."""
    message = str(answers.error_from(answer({"errors": [error]}, 400), outcome="not_applied"))
    assert shown == (" at /" in message)
    assert ("invalid" == error["code"]) == (" invalid" in message)
    assert "ann" not in message.lower().replace("another", "")


def test_the_request_id_of_a_page_is_kept() -> None:
    """What a page before Klaviyo says of itself helps whoever looks for it."""
    assert "8f1c-ZRH" == answers.error_from(answer(CLOUDFLARE, 503, cf_ray="8f1c-ZRH"), outcome="unknown").request_id


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ({"errors": [{"id": "e-1"}]}, {"x_klaviyo_request_id": "r-1"}, "e-1"),
        ({"errors": [{"id": "ann@shop.ch"}]}, {"x_klaviyo_request_id": "r-1", "cf_ray": "c"}, "r-1"),
        ({"errors": [{"id": 7}]}, {}, None),
        ({}, {"cf_ray": "x" * 65}, None),
    ],
)
def test_p8_a_request_id_is_only_what_can_be_one(body: object, headers: dict[str, str], expected: str | None) -> None:
    """P8: the id that is logged comes from where Klaviyo puts one, and is made of letters, digits and dashes."""
    assert expected == answers.error_from(answer(body, 500, **headers), outcome="unknown").request_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3.0),
        (" 3 ", 3.0),
        ("0", 0.0),
        ("0.5", 0.5),
        (format_datetime(datetime.fromtimestamp(NOW + 7, UTC), usegmt=True), 7.0),
        (format_datetime(datetime.fromtimestamp(NOW + 7, UTC) + timedelta(0)), 7.0),
        ("Mon, 23 Nov 2026 12:00:07 -0000", 7.0),
        (format_datetime(datetime.fromtimestamp(NOW - 7, UTC), usegmt=True), 0.0),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("٣", None),
        ("soon", None),
        ("1, 2", None),
        ("inf", None),
        ("9" * 400, None),
        ("Mon, 99 Nov 9999 99:99:99 GMT", None),
    ],
)
def test_f20_every_form_of_retry_after_is_read(text: str, expected: float | None) -> None:
    """F-20: whole and decimal seconds and HTTP dates are understood, and nothing else raises."""
    headers = {"retry-after": text}
    assert expected == answers.retry_after(headers, NOW)
    error = answers.error_from(Response(429, headers, b""), outcome="not_applied", now=NOW)
    assert isinstance(error, RateLimitError)
    assert expected == error.retry_after


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
@example("Mon, 23 Nov 0000 12:00:00 GMT")
@example("0 0 0 0 0 0")
def test_f20_no_retry_after_masks_its_answer(text: str) -> None:
    """F-20: whatever the header says, reading it gives seconds or nothing."""
    seconds = answers.retry_after({"retry-after": text}, NOW)
    assert seconds is None or seconds >= 0


def test_f20_a_date_says_nothing_without_a_clock() -> None:
    """F-20: without the time of day a date is not guessed at, and no header is no wait."""
    assert None is answers.retry_after({"retry-after": "Mon, 23 Nov 2026 12:00:07 GMT"})
    assert None is answers.retry_after({}, NOW)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, {"detail": "Request was throttled. Expected available in 56.0 seconds."}, 56.0),
        (429, {"errors": [{"detail": "Request was throttled. Expected available in 1 second."}]}, 1.0),
        (429, {"detail": "Request was throttled."}, None),
        (429, CLOUDFLARE, None),
        (503, {"detail": "Expected available in 56.0 seconds."}, None),
    ],
)
def test_a_wait_said_in_words_is_read(status: int, body: object, expected: float | None) -> None:
    """A 429 without the header may say the wait in words, as the legacy API does; no other answer's words count."""
    assert expected == answers.error_from(answer(body, status), outcome="not_applied").retry_after


@given(st.integers(300, 599), st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=100, deadline=None)
def test_every_answer_is_an_error_and_never_a_crash(status: int, body: bytes) -> None:
    """Whatever comes back with a status that is no success becomes one error, with that status."""
    error = answers.error_from(Response(status, {}, body), outcome="unknown")
    assert status == error.status_code


@pytest.mark.parametrize(("status", "expected"), [(199, False), (200, True), (202, True), (299, True), (300, False)])
def test_success_is_2xx(status: int, expected: bool) -> None:
    """Klaviyo answers success with any of 200 to 299; a merge with 201 or 202."""
    assert expected == answers.is_success(status)
