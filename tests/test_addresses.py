"""Addresses are read as email-validator reads them, however fast."""

from __future__ import annotations

import string

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.addresses import ascii_address, domain
from support.examples import examples

LONGEST = 100
ATOMS = string.ascii_letters + string.digits + "_!#$%&'*+-/=?^`{|}~"
PLAIN = st.lists(st.text(ATOMS, min_size=1, max_size=8), min_size=1, max_size=4).map(".".join)
ODD = [
    "", ".", "a.", ".a", "a..b", "a b", "a\\", "a\n", "a\x00", "\u00fc", "u\u0308", "a\u0338", "\u212a", "\uff41", "<a",
    "a,b", "a(c)", '"a"', '"a b"', '"a@b"', '"', "Ann <a", "a@b", "a:b", "a;b", "INFO", "Postmaster",
    "\ud800", "\u202ea",
]  # fmt: skip
DOMAINS = [
    "shop.ch", "SHOP.CH", "a-b.shop.ch", "x", "", ".", "shop", "shop.", ".shop.ch", "shop..ch", "-shop.ch", "shop-.ch",
    "shop.-ch", "sh--op.ch", "shop.c", "shop.c1", "shop.1", "1.2.3.4", "[1.2.3.4]", "[IPv6:::1]", "xn--bcher-kva.ch",
    "XN--BCHER-KVA.CH", "xn--.ch", "xn--a.ch", "xn--bcher.ch", "xn--0.ch", "a.xn--4dbc.com", "1.xn--4dbc.com", "xn--",
    "staging.test", "test", "TEST", "a.TEST", "localhost", "a.local", "a.invalid", "example", "a.example", "a.onion",
    "a.arpa", "example.com", "b\u00fccher.ch", "bu\u0308cher.ch", "\u4f8b\u3048.jp", "shop\uff0ech", "shop\u3002ch",
    "\u0338shop.ch", "shop.ch>", "shop.ch\n", "shop_x.ch", "sh op.ch", "shop.ch ", "@shop.ch", "a@shop.ch", "\u212a.ch",
    "f" * 63 + ".ch", "f" * 64 + ".ch", "\u00df.de", "\u00fc" * 59 + ".ch", "\u0660" * 20 + ".ch",
]  # fmt: skip
LABELS = st.lists(st.text(string.ascii_letters + "01-", max_size=6), min_size=1, max_size=4).map(".".join)
LOCAL_PARTS = st.one_of(PLAIN, st.sampled_from(ODD), st.builds(str.__add__, PLAIN, st.sampled_from(ODD)))
MADE = st.builds(
    lambda local, at, name: f"{local}{at}{name}",
    LOCAL_PARTS,
    st.sampled_from(["@", "@", "@", "@", "", "@@", "\uff20", "@\u0338", " @ "]),
    st.one_of(st.sampled_from(DOMAINS), LABELS),
)
ANYTHING = st.text(st.sampled_from('aZ0.-_@"<>[] \\\u00fc\u0338\uff20\n'), max_size=LONGEST) | st.text(max_size=LONGEST)


def by_email_validator(text: str) -> str | None:
    """Return the same by email-validator alone."""
    try:
        valid = validate_email(text, allow_smtputf8=False, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return str(valid.ascii_email).lower()


@settings(max_examples=examples(1_500), deadline=None)
@given(st.one_of(MADE, MADE, st.emails(), ANYTHING).map(lambda text: text[:LONGEST]))
@example("a" * 97 + "@x.c")
@example("a" * 64 + "@x.ch")
@example("a" * 65 + "@x.ch")
@example("a@b@shop.ch")
def test_every_text_is_read_as_by_email_validator(text: str) -> None:
    """A text is an address for email-validator if it is one here, in the same form."""
    assert by_email_validator(text) == ascii_address(text)


@pytest.mark.parametrize("local", ["ann", "Ann.B+c", *ODD])
def test_each_odd_part_is_read_as_by_email_validator(local: str) -> None:
    """Same, of each odd part with each odd domain, also when the domain was read before."""
    texts = [f"{local}@{name}" for name in DOMAINS]
    assert [by_email_validator(text) for text in texts] * 2 == [ascii_address(text) for text in texts * 2]


def test_a_domain_is_read_once() -> None:
    """email-validator is asked about the first of a thousand customers at a domain, and about no other."""
    before = domain.cache_info().misses
    for number in range(1_000):
        assert f"ann{number}@once.shop.ch" == ascii_address(f"Ann{number}@once.shop.ch")
    assert before + 1 == domain.cache_info().misses
