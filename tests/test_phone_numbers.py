"""Phone numbers: in E.164 form, or as they are dialled in the shop's own country; never another number (F-40)."""

from __future__ import annotations

import sys

import pytest

from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError
from safeklaviyo.policy import Policy
from support.values import phone_number_from


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+44 (0)20 8366 1177", "+442083661177"),
        ("+49 (0)171 1234567", "+491711234567"),
        ("+31(0)6 89124321", "+31689124321"),
        ("+41 ( 0 ) 79 123 45 67", "+41791234567"),
        ("+44 020 8366 1177", "+442083661177"),
        ("+12025550123", "+12025550123"),
    ],
)
def test_f40_a_trunk_zero_is_no_digit(text: str, number: str) -> None:
    """F-40: a zero that is dialled within the country only is taken out, in brackets or not."""
    assert number == phone_number_from(text, None)


@pytest.mark.parametrize("text", ["+39 (0)6 1234567", "+1 (0) 202 555 0123", "+225 (0)7 00 00 00 00"])
def test_f40_a_zero_that_may_be_a_digit_is_not_guessed(text: str) -> None:
    """F-40: in countries where a number may begin with a zero, brackets leave open which number is meant."""
    with pytest.raises(InvalidIdentifierError, match=r"\(0\)"):
        phone_number_from(text, None)


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("0171 1234567", "DE", "+491711234567"),
        ("(0171) 12 34 567", "DE", "+491711234567"),
        ("0049 171 1234567", "DE", "+491711234567"),
        ("06 89124321", "NL", "+31689124321"),
        ("(202) 555-0123", "US", "+12025550123"),
        ("+44 20 8366 1177", "DE", "+442083661177"),
        ("+39 (0)6 6988 4857", "IT", "+390669884857"),
    ],
)
def test_a_national_number_is_one_of_the_shops_country(text: str, region: str, number: str) -> None:
    """With a region, a number without a country code is understood; one with a code keeps its own."""
    assert number == phone_number_from(text, region)


@pytest.mark.parametrize(
    "text",
    ["call me", "1-800-FLOWERS", "123", "(())", "00999 123456", "0171 1234567 ext. 5", "", "\\N", "0" * 100, None, 7],
)
def test_what_is_no_number_there_is_refused(text: object) -> None:
    """A text that is no number of the region is refused, and not quoted."""
    with pytest.raises(InvalidIdentifierError) as caught:
        phone_number_from(text, "DE")
    assert caught.value.identifier_kind == "phone_number"
    assert "FLOWERS" not in str(caught.value)


def test_a_national_number_needs_a_region() -> None:
    """Without a region no country is guessed."""
    with pytest.raises(InvalidIdentifierError):
        phone_number_from("0171 1234567", None)


def test_a_region_is_a_country() -> None:
    """A region is two letters in any case; another word is refused when the policy is made."""
    assert "DE" == Policy(phone_region="de").phone_region
    with pytest.raises(ConfigurationError, match="phone_region"):
        Policy(phone_region="Germany")


def test_a_region_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, the policy says at once how to install it."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ConfigurationError, match=r"safeklaviyo\[phone\]"):
        Policy(phone_region="DE")
    assert None is Policy().phone_region
