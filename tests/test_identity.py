"""Identifiers: what is normalised, what is refused (R1), and what a log may show."""

from __future__ import annotations

import enum
import string
import time
import traceback
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.identity import (
    Claim,
    Identifier,
    Identity,
    Kind,
    comparable_email,
    is_placeholder,
    mask,
    masked,
    normalise_email,
    normalise_external_id,
    normalise_phone_number,
    normalise_profile_id,
    text_of,
)
from support import addresses

if TYPE_CHECKING:
    from collections.abc import Callable

PLACEHOLDERS = [
    "null", "nil", "none", "undefined", "nan", "n/a", "unknown", "anonymous", "guest", "true", "false", "(null)",
    "(not set)", "[object Object]", "0", "00", "0.0", "-1", "00000000-0000-0000-0000-000000000000", "distinct_id",
    "{{ customer.id }}", "{% id %}", "${user.id}", "<%= id %>", "%recipient%", "", "[]", "{}",
]  # fmt: skip
WRAPPING = " \t\r\n\"'`\\«»“”\u2018\u2019"
ASCII_LOCAL = st.text(string.ascii_letters + string.digits + "+_-", min_size=1, max_size=20)
ADDRESSES = st.builds(
    lambda local, more, domain: f"{local}{more}@{domain}",
    ASCII_LOCAL,
    st.sampled_from(["", ".x", "+news", ".A.b"]),
    st.sampled_from(["shop.ch", "SHOP.CH", "bücher.ch", "BÜCHER.ch", "xn--bcher-kva.ch", "staging.test", "例え.jp"]),
)


class Key(enum.StrEnum):
    ANN = "cust-1"


class MixedKey(str, enum.Enum):  # noqa: UP042 - the older form, whose str() is its name
    ANN = "cust-1"


class NumberedKey(int, enum.Enum):
    ANN = 17


@st.composite
def disguised(draw: st.DrawFn) -> str:
    """Return a placeholder in random case, quoted in random ways."""
    text = draw(st.sampled_from(PLACEHOLDERS))
    upper = draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    cased = "".join(letter.upper() if up else letter.lower() for letter, up in zip(text, upper, strict=True))
    return draw(st.text(WRAPPING, max_size=4)) + cased + draw(st.text(WRAPPING, max_size=4))


@given(disguised())
@settings(max_examples=300, deadline=None)
def test_r1_placeholders_are_nobody_in_every_disguise(text: str) -> None:
    """A placeholder is refused in every case and quoting, as an external id and as an email."""
    assert is_placeholder(text)
    for normalise in (normalise_external_id, normalise_email):
        with pytest.raises(InvalidIdentifierError) as caught:
            normalise(text)
        assert caught.value.rule == "R1"


@pytest.mark.parametrize(
    "text", ["nullified", "anonymous1", "10", "a0", "guest-7", "0x1", "1.0.1", "none.given", "%41"]
)
def test_r1_ordinary_ids_are_somebody(text: str) -> None:
    """What only resembles a placeholder is a usable id."""
    assert text == normalise_external_id(text)


@pytest.mark.parametrize("value", [True, 1.0, float("nan"), b"7", None, ["7"], Decimal(7)])
def test_f9_only_texts_integers_and_uuids_are_ids(value: object) -> None:
    """F-9: a value whose text would depend on how it was stored is refused, with the kind of identifier."""
    with pytest.raises(InvalidIdentifierError) as caught:
        normalise_external_id(value)
    assert caught.value.identifier_kind == "external_id"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "1"),
        ("1", "1"),
        (" cust 12 ", "cust 12"),
        (UUID("12345678-1234-5678-1234-567812345678"), "12345678-1234-5678-1234-567812345678"),
        (Key.ANN, "cust-1"),
        (MixedKey.ANN, "cust-1"),
        (NumberedKey.ANN, "17"),
        (-7, "-7"),
        ("Ab", "Ab"),
    ],
)
def test_f9_an_id_is_one_text(value: object, expected: str) -> None:
    """F-9: a number and its text are the same id; spaces around it go, spaces within it and its case stay."""
    assert expected == normalise_external_id(value)


@pytest.mark.parametrize("value", ["x" * 65, 10**64, 10**5000, -(10**5000)], ids=["text", "number", "huge", "minus"])
def test_an_id_that_klaviyo_would_cut_is_refused(value: object) -> None:
    """An id longer than 64 characters is refused, however long the number."""
    with pytest.raises(InvalidIdentifierError, match="longer than 64"):
        normalise_external_id(value)


def test_the_longest_id_is_a_setting() -> None:
    """The length allowed can be raised, and the limit itself is allowed."""
    assert "x" * 64 == normalise_external_id("x" * 64)
    assert "x" * 80 == normalise_external_id("x" * 80, max_length=80)


@pytest.mark.parametrize("value", ["a\x00b", "a\u200bb", "a\nb", "a\ud800"])
def test_unprintable_ids_are_refused(value: str) -> None:
    """An id that looks like another one on paper is refused."""
    with pytest.raises(InvalidIdentifierError, match="cannot be printed"):
        normalise_external_id(value)


def test_blocked_values_are_nobody() -> None:
    """A value that the shop blocks is refused in every case and quoting, and as an address in its normal form."""
    for value in ("WALK-IN", "'walk-in'"):
        with pytest.raises(InvalidIdentifierError, match="blocked"):
            normalise_external_id(value, blocked=frozenset({"walk-in"}))
    assert is_placeholder("'x'", frozenset({"'x'"}))
    with pytest.raises(InvalidIdentifierError, match="blocked"):
        normalise_email(" Till@Shop.ch ", blocked=frozenset({"till@shop.ch"}))


@given(st.one_of(st.text(max_size=70), st.integers(), st.uuids()))
@settings(max_examples=200, deadline=None)
@example("é")
def test_normalising_an_id_twice_is_normalising_it_once(value: object) -> None:
    """An id is normalised or refused; normalised, it stays as it is."""
    try:
        once = normalise_external_id(value)
    except InvalidIdentifierError:
        return
    assert once == normalise_external_id(once)
    assert 0 < len(once) <= 64


@given(ADDRESSES)
@settings(max_examples=150, deadline=None)
def test_f8_an_address_has_one_form(address: str) -> None:
    """F-8: case and spaces around an address make no other customer, and normalising it again changes nothing."""
    once = normalise_email(address)
    assert once == normalise_email(once)
    assert once == normalise_email(f" {address.upper()}\n")
    assert once == comparable_email(address.swapcase())
    assert once.isascii()
    assert once == once.lower()


@given(st.text(max_size=40).flatmap(lambda text: st.sampled_from([text, f"{text}@shop.ch", f"ann@{text}.ch"])))
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    """No text makes anything but an address in its normal form or an `InvalidIdentifierError`."""
    try:
        once = normalise_email(text)
    except InvalidIdentifierError:
        return
    assert once == normalise_email(once)


def test_plus_signs_and_dots_are_kept() -> None:
    """Addresses that differ by a plus sign or a dot are different people to Klaviyo."""
    assert "ann+a@gmail.com" == normalise_email("ann+a@gmail.com")
    assert "a.nn@gmail.com" == normalise_email("a.nn@gmail.com")


def test_a_domain_of_other_letters_is_sent_as_the_dns_writes_it() -> None:
    """Both spellings of an internationalised domain are the same address, and what Klaviyo shows compares equal."""
    assert "ann@xn--bcher-kva.ch" == normalise_email("Ann@Bücher.ch")
    assert "ann@xn--bcher-kva.ch" == normalise_email("ann@xn--bcher-kva.ch")
    assert normalise_email("ann@xn--bcher-kva.ch") == comparable_email("Ann@BÜCHER.ch")


@pytest.mark.parametrize("text", [" Not-An-Address ", "ünn@shop.ch", "Ann@LOCALHOST"])
def test_what_klaviyo_shows_can_always_be_compared(text: str) -> None:
    """An address that Klaviyo holds though it is none is compared in lower case, never an error."""
    assert text.strip().lower() == comparable_email(text)


@pytest.mark.parametrize(
    "value",
    ["ann", "ann@", "@shop.ch", "ann@shop", "a b@shop.ch", "Ann <ann@shop.ch>", "änn@shop.ch", "a@b@shop.ch",
     "ann@localhost", 17, None, b"ann@shop.ch", f"{'a' * 60}@{'b' * 37}.ch"],
)  # fmt: skip
def test_what_is_no_address_is_refused(value: object) -> None:
    """Something that is no address, or one longer than 100 characters, is refused with the kind of identifier."""
    with pytest.raises(InvalidIdentifierError) as caught:
        normalise_email(value)
    assert caught.value.identifier_kind == "email"


def test_an_address_of_100_characters_is_accepted() -> None:
    """The limit that Klaviyo names is itself allowed."""
    address = f"{'a' * 60}@{'b' * 36}.ch"
    assert len(address) == 100
    assert address == normalise_email(address)


MILLION = 10**6


@pytest.mark.parametrize(
    "normalise", [normalise_email, normalise_external_id, normalise_phone_number, comparable_email]
)
@pytest.mark.parametrize(
    "text",
    [
        "a" * MILLION + "@shop.de",
        "a@" + "1" * MILLION,
        "a@" + "\u0661" * MILLION,
        "a@" + "a." * (MILLION // 2),
        "a@" + "e\u0301" * (MILLION // 2),
        "%a" * (MILLION // 2),
        "{{" * (MILLION // 2),
        "@" * MILLION,
        "'" * MILLION,
        "\ufdfa" * MILLION,
    ],
    ids=["local part", "digits", "arabic", "labels", "combining", "percent", "braces", "ats", "quotes", "ligatures"],
)
def test_a_text_of_a_million_characters_costs_no_time(normalise: Callable[[object], str], text: str) -> None:
    """What is far too long for any identifier is refused before it is parsed, which would take up to minutes."""
    began = time.process_time()
    if normalise is comparable_email:
        assert text.lower() == normalise(text)
    else:
        with pytest.raises(InvalidIdentifierError):
            normalise(text)
    assert time.process_time() - began < 0.5


def test_blanks_around_an_address_do_not_count() -> None:
    """Only what is left after trimming has to be short."""
    assert "ann@shop.de" == normalise_email(" " * MILLION + "ann@shop.de")


def test_p8_a_refusal_shows_nothing_of_the_value() -> None:
    """P8: neither the message, the repr nor the traceback of a refusal quotes what was given; nor does the cache."""
    for normalise in (normalise_email, normalise_external_id, normalise_phone_number, normalise_profile_id):
        secret = "ann.secret@@shop.ch\x00"
        with pytest.raises(InvalidIdentifierError) as caught:
            normalise(secret)
        # The last frames' own source lines are shown by Python, so only what the error itself says is looked at.
        text = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert "secret" not in text


def test_p8_what_is_remembered_of_addresses_is_bounded() -> None:
    """P8: only domains are remembered, up to a bound, so that a second address at one leaves nothing behind."""
    normalise_email("ann@shop.ch")
    before = addresses.domain.cache_info()
    normalise_email("ann.secret@shop.ch")
    after = addresses.domain.cache_info()
    assert (8192, before.currsize, before.hits + 1) == (after.maxsize, after.currsize, after.hits)


@pytest.mark.parametrize(
    ("given_number", "expected"),
    [
        ("+41 79 123-45.67", "+41791234567"),
        (" +1 (234) 567\u00a08901", "+12345678901"),
        ("+44/20/79460000", "+442079460000"),
    ],
)
def test_a_phone_number_loses_its_punctuation(given_number: str, expected: str) -> None:
    """A number with its country code becomes E.164, and stays it."""
    assert expected == normalise_phone_number(given_number)
    assert expected == normalise_phone_number(expected)


@pytest.mark.parametrize(
    "value", ["0791234567", "0041791234567", "+0791234567", "+٤١٧٩١٢٣٤٥٦٧", "+41", "+1" * 9, 41791234567, ""]
)
def test_what_is_no_phone_number_is_refused(value: object) -> None:
    """A number without its country code, or of other digits, is refused with the kind of identifier."""
    with pytest.raises(InvalidIdentifierError) as caught:
        normalise_phone_number(value)
    assert caught.value.identifier_kind == "phone_number"


@pytest.mark.parametrize("value", ["..", ".", "", "a/b", "a?b", "a%2e", "01GÉ", "a b", "x" * 65, 7, "a\n"])
def test_f7_a_profile_id_cannot_leave_its_path(value: object) -> None:
    """F-7: a profile id that could name another path is refused."""
    with pytest.raises(InvalidIdentifierError) as caught:
        normalise_profile_id(value)
    assert caught.value.identifier_kind == "profile_id"


def test_a_profile_id_stays_as_it_is() -> None:
    """Both lengths of Klaviyo's ids are accepted."""
    assert "01GDDKASAP8TKDDA2GRZDSVP4H" == normalise_profile_id("01GDDKASAP8TKDDA2GRZDSVP4H")
    assert "aB3xY9" == normalise_profile_id("aB3xY9")


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_p8_masks_do_not_give_an_identifier_away(value: str) -> None:
    """P8: a mask keeps at most two characters, and of an address only the first."""
    shown = mask(value)
    assert shown in {f"{value[0]}***@***", f"***{value[-2:]}", "***"}
    assert ("@" in value) == (shown == f"{value[0]}***@***")


def test_p8_reprs_are_masked() -> None:
    """P8: no repr of what holds an identifier shows it."""
    claim = Claim("cust-100042", "ann@shop.ch", "+41791234567")
    assert "Claim(external_id=***42, email=a***@***)" == repr(claim)
    assert "Identity(external_id=None, email=a***@***)" == repr(Identity(None, "ann@shop.ch"))
    assert "email:a***@***" == repr(Identifier(Kind.EMAIL, "ann@shop.ch"))
    assert "None" == masked(None)
    assert ("***78", "***") == (mask("12345678"), mask("1234567"))


def test_r14_a_claim_is_decided_without_its_phone() -> None:
    """R14: the identifiers of a claim are its external id and its email."""
    by_id, by_email = Identifier(Kind.EXTERNAL_ID, "1"), Identifier(Kind.EMAIL, "ann@shop.ch")
    assert (by_id, by_email) == Claim("1", "ann@shop.ch", "+41791234567").identifiers()
    assert (by_id,) == Claim("1").identifiers()
    assert (by_email,) == Claim(email="ann@shop.ch").identifiers()
    assert () == Claim(phone_number="+41791234567").identifiers()


def test_a_key_is_written_as_its_value() -> None:
    """The text of an Enum's member is its value, never its name."""
    assert "cust-1" == text_of(MixedKey.ANN)
    assert "17" == text_of(NumberedKey.ANN)
