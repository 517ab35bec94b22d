"""What exports and conversions make of ids is refused as an id (R1, F-37)."""

from __future__ import annotations

import string
import uuid
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo import Klaviyo
from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.identity import is_placeholder, normalise_external_id, normalise_profile_id
from support.addresses import plain_address


class Customer:
    """What an ORM has."""


class Shown:
    def __str__(self) -> str:
        return "Customer object (7)"


SPOILT = [
    # marks for NULL
    "\\N", "\\\\N", "#N/A", "#n/a N/A", "<NA>", "NaT", "nan", "-NaN", "[null]", "[NULL]", "(NULL)", "<null>", "{null}",
    "<blank>", "(empty)", "#REF!", "#NAME?", "#####", "1.#QNAN", "NA_integer_", "__HIVE_DEFAULT_PARTITION__", "nothing",
    # numbers that a program has rewritten
    "5912842371.0", "5912842371.", "5912842371,00", "1.0", "1.0E+05", "9.01381E+12", "9,01381E+12", "5.9e09", "1e+5",
    "5,912,842,371", "1,234.50", "Infinity", "-inf",
    # texts that a spreadsheet has marked
    "'9013808660771", "\u20199013808660771", "`901", "\uff07901", '="0123"', '"901"', "'901'", "“901”",
    # the text of an object
    "[object Object]", "[object Undefined]", "Customer object (None)", "<Customer: None>", "Optional(nil)",
    "Optional(7)",
    "Some(7)", "Just 7", "b'None'", "b'7'", 'u"7"', "UUID('7')", 'ObjectId("507f")', "com.shop.Customer@1b6d3586",
    "#<Customer:0x000055>", "{'id': 7}", "['7']", "(7,)", "&{7}", "map[id:7]", "%!d(string=)", "Customer{id=7}",
    "Customer(id=7)", "Customer[id=7]", "Object id #7", "System.Object", "System.Int32",
    "System.Collections.Generic.List`1",
    "function () {}", "() => 7", "Promise { <pending> }", "Array", str(Customer()), repr(Customer), str(Shown()),
    repr(Decimal(7)), repr(uuid.UUID(int=7)), str([7]), str({}), str(b"7"),
    "Resource id #7", "HASH(0x55d0c8)", "#Ecto.Association.NotLoaded<7>", "%Customer{id: 7}", "%{id: 7}",
    "&Customer{7}",
    "Instance of 'Customer'", "table: 0x55d0c8", "stdClass Object (7)", "Customer@5e91993f",
    "[Ljava.lang.String;@1b6d3586", "<bound method Customer.id of <Customer: 7>>",
    # a template that was not filled in
    "*|CUSTID|*", "%%customer_id%%", "$customer_id", "{customer_id}", "[[customer_id]]", "<customer_id>",
    "5'912'842", "—",
    # escaped, or read wrongly
    "&#39;901", "901&nbsp;", "a\ufffdb", "???",
]  # fmt: skip


ATOM = st.text(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(ATOM, st.sampled_from(["shop.ch", "null", "b}}.ch", "a-1.shop.test", "%%.ch", "x)"]))
def test_r1_no_plain_address_is_a_placeholder(local: str, host: str) -> None:
    """So that a plain address need not be looked up among the placeholders."""
    assert plain_address(f"{local}@{host}") is None or not is_placeholder(f"{local}@{host}")


# The ids are numbers: the text of an object holds its address, which differs between the processes of a parallel run.
@pytest.mark.parametrize("text", SPOILT, ids=range(len(SPOILT)))
def test_r1_f37_what_an_export_has_spoilt_is_no_id(text: str) -> None:
    """R1, F-37: a mark, a rewritten number or the text of an object is refused, and the reason quotes nothing of it."""
    for form in (text, f" {text} "):
        with pytest.raises(InvalidIdentifierError) as caught:
            normalise_external_id(form)
        assert ("R1", "external_id") == (caught.value.rule, caught.value.identifier_kind)
        assert not any(part in str(caught.value) for part in ("901", "591", "507f"))


@pytest.mark.parametrize(
    "text",
    ["7", "007", "cust-1", "cust 12", "1.2.3", "a.b", "12.5x", "1e5", "12e45", "0x1f", "ann@shop.ch", "O'Hara", "x'",
     "gid://shopify/Customer/901",
     "{12345678-1234-1234-1234-123456789abc}", "(12345678123412341234123456789abc)", "Ünal", "漢字", "user:7", "7#a",
     "A/7",
     "auth0|507f1f77", "just-in", "System", "n", "N", "array1", "a=b", "-7", "+7", "a,b", "12-5", "eyJhbGciOi=="],
)  # fmt: skip
def test_r1_ids_as_shops_have_them_stay(text: str) -> None:
    """What shops use as ids is nobody's mark: dots, slashes, mail addresses, other alphabets, .NET's brackets."""
    assert text == normalise_external_id(text)


@given(st.text(string.ascii_letters + string.digits + "-_", min_size=2, max_size=30))
@settings(max_examples=300, deadline=None)
def test_r1_an_id_of_letters_with_a_digit_stays(text: str) -> None:
    """Among letters, digits, dashes and underscores, only words and zeros mean nothing, and no word has a seven."""
    assert f"{text}7" == normalise_external_id(f"{text}7")


@pytest.mark.parametrize("value", ["NULL", "nan", "None", "0", "undefined"])
def test_r1_a_placeholder_is_no_profile_id(value: str) -> None:
    """R1: a mark for NULL in a column of profile ids is refused, though it is made of letters."""
    with pytest.raises(InvalidIdentifierError, match="placeholder"):
        normalise_profile_id(value)


def test_r1_f37_a_spoilt_row_is_refused_and_the_others_are_added() -> None:
    """R1, F-37: `bindings.add` names the row and the reason, so that two guests with one mark do not become one."""
    with Klaviyo("pk_test", store="memory://", account="SiMuLa") as k:
        report = k.bindings.add([
            {"external_id": "\\N", "email": "guest1@shop.test"},
            {"external_id": "5912842371.0", "email": "guest2@shop.test"},
            {"external_id": float("nan"), "email": "guest3@shop.test"},
            {"external_id": "591", "email": "ann@shop.test"},
            {"external_id": " ", "email": "guest4@shop.test"},
        ])  # fmt: skip
        assert (2, [0, 1, 2]) == (report.added, [number for number, _ in report.refused])
        assert "NULL" in report.refused[0][1]
        assert "decimal point" in report.refused[1][1]


def test_r14_an_unusable_phone_does_not_cost_its_row() -> None:
    """R14, F-16: `bindings.add` leaves a phone out that is none, and says so."""
    with Klaviyo("pk_test", store="memory://", account="SiMuLa") as k:
        report = k.bindings.add([
            {"email": "ann@shop.test", "phone_number": "extension 12"},
            {"email": "bob@shop.test", "phone_number": "+44 (0)20 8366 1177"},
        ])  # fmt: skip
        assert (2, ()) == (report.added, report.refused)
        assert [0] == [number for number, _ in report.warnings]
        assert [None, "+442083661177"] == sorted(
            (binding.phone_number for binding in k.bindings), key=lambda number: number or ""
        )
