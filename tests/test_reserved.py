"""Reserved keys: which mean something to Klaviyo, which are refused, and which only look misspelt (F-24)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.values import ATTRIBUTES, IDENTIFIERS, LOCATION, Meaning, Role, meaning_of_event_key, meaning_of_person_key

WATCHED = ["email", "external_id", "phone_number", "first_name", "last_name"]


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_identifiers_are_known_with_and_without_a_dollar_sign(name: str) -> None:
    """Bare and legacy spellings of an identifier mean the same, and so does `$id`, which is the shop's own id."""
    meaning = Meaning(Role.IDENTIFIER, name)
    assert (meaning, meaning) == (meaning_of_person_key(name), meaning_of_person_key(f"${name}"))
    assert Meaning(Role.IDENTIFIER, "external_id") == meaning_of_person_key("$id")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_known_with_and_without_a_dollar_sign(name: str) -> None:
    """Bare and legacy spellings of an attribute mean the same."""
    meaning = Meaning(Role.ATTRIBUTE, name)
    assert (meaning, meaning) == (meaning_of_person_key(name), meaning_of_person_key(f"${name}"))


@pytest.mark.parametrize("name", LOCATION)
def test_places_are_klaviyos_only_with_a_dollar_sign(name: str) -> None:
    """`$city` is a part of the location, while a bare `city` stays the shop's own property."""
    assert Meaning(Role.LOCATION, name) == meaning_of_person_key(f"${name}")
    assert Meaning(Role.CUSTOM, name) == meaning_of_person_key(name)


@pytest.mark.parametrize(
    ("key", "role", "name"),
    [
        ("location", Role.PLACE, "location"),
        ("$append", Role.PATCH, "append"),
        ("$unappend", Role.PATCH, "unappend"),
        ("$unset", Role.PATCH, "unset"),
        ("$source", Role.CUSTOM, "$source"),
    ],
)
def test_the_other_keys_of_a_person(key: str, role: Role, name: str) -> None:
    """The remaining keys that Klaviyo reads in a person have their meaning."""
    assert Meaning(role, name) == meaning_of_person_key(key)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("$consent", "subscribe"),
        ("subscriptions", "subscribe"),
        ("meta", "append"),
        ("$anonymous", "names a browser"),
        ("anonymous_id", "names a browser"),
        ("$exchange_id", "names a browser"),
        ("_kx", "names a browser"),
        ("__track_once__", "unique_id"),
        ("$ios_tokens", "push token endpoint"),
        ("id", "ambiguous"),
        ("ID", "ambiguous"),
        ("$frist_name", "looks like $first_name"),
        ("$emial", "looks like $email"),
    ],
)
def test_refused_keys_of_a_person_say_what_to_do(key: str, advice: str) -> None:
    """A key that cannot be sent is refused with a sentence on what to use instead."""
    meaning = meaning_of_person_key(key)
    assert Role.REFUSED is meaning.role
    assert advice in meaning.name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("$event_id", "unique_id"),
        ("$value", "value"),
        ("$value_currency", "value_currency"),
        ("$currency_code", "value_currency"),
    ],
)
def test_the_fields_of_an_event(key: str, name: str) -> None:
    """A legacy key of an event means the argument of that name."""
    assert Meaning(Role.EVENT, name) == meaning_of_event_key(key)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("$anonymous", "names a browser"),
        ("$email", "customer_properties"),
        ("$city", "customer_properties"),
        ("$curency_code", "looks like $currency_code"),
    ],
)
def test_refused_keys_of_an_event_say_what_to_do(key: str, advice: str) -> None:
    """A key that would be lost in an event is refused with a sentence on what to use instead."""
    meaning = meaning_of_event_key(key)
    assert Role.REFUSED is meaning.role
    assert advice in meaning.name


@pytest.mark.parametrize(
    "key", ["$extra", "email", "id", "first_name", "_kx", "anonymous_id", "Brand", "meta", "properties"]
)
def test_an_events_own_names_are_ordinary(key: str) -> None:
    """In an event a bare name is data of the event, whatever it would mean in a person."""
    assert Meaning(Role.CUSTOM, key) == meaning_of_event_key(key)


@pytest.mark.parametrize(
    "key",
    ["emial", "emal", "Email", "e-mail", "E_Mail", "externalid", "externalId", "exernal_id", "extrenal_ids",
     "phonenumber", "phoneNumber", "phon_number", "firstname", "firstName", "fist_name", "lastname", "last-name",
     "lats_name"],
)  # fmt: skip
def test_f24_misspelt_keys_of_a_person_are_refused(key: str) -> None:
    """F-24: a key that looks like a misspelt identifier or name is refused instead of dropped."""
    meaning = meaning_of_person_key(key)
    assert Role.REFUSED is meaning.role
    assert "looks like" in meaning.name


@pytest.mark.parametrize("key", ["uniqe_id", "uniqueId", "unique-id", "unqiue_id", "UniqueID"])
def test_f24_misspelt_keys_of_an_event_are_refused(key: str) -> None:
    """F-24: a misspelt idempotency key is refused instead of dropped."""
    meaning = meaning_of_event_key(key)
    assert Role.FIXING is meaning.role
    assert "looks like unique_id" in meaning.name


@pytest.mark.parametrize(
    ("key", "advice"),
    [("unique_id", "argument of its own"), ("__track_once__", "unique_id"), ("$evnt_id", "looks like $event_id")],
)
def test_p5_keys_that_would_fix_an_event_say_what_to_do(key: str, advice: str) -> None:
    """P5: a key by which an event counts once, in a form that is not understood, has a role of its own."""
    meaning = meaning_of_event_key(key)
    assert Role.FIXING is meaning.role
    assert advice in meaning.name


def test_f39_a_name_with_a_dollar_sign_is_klaviyos_or_unknown() -> None:
    """F-39: what Klaviyo's own programs write is the shop's to send; another such name is neither refused nor known."""
    for meaning_of in (meaning_of_person_key, meaning_of_event_key):
        for key in ("$use_ip", "$is_session_activity", "$referrer", "$consent_timestamp"):
            assert Meaning(Role.CUSTOM, key) == meaning_of(key)
        for key in ("$brand_new", "$x", "$emails_2", "$first_name_2"):
            assert Meaning(Role.UNKNOWN, key) == meaning_of(key)
    assert Meaning(Role.WORTH, "value") == meaning_of_event_key("value")


@pytest.mark.parametrize(
    "key",
    ["emails", "email_2", "gmail", "email_opt_in", "internal_id", "phone", "phone_number_2", "external_ids", "name",
     "first_game", "first_purchase", "last_order", "plan", "userid", "customer_id", "vip", "", "Größe", "mail"],
)  # fmt: skip
def test_f24_genuine_custom_properties_are_kept(key: str) -> None:
    """F-24: a property of the shop's own is kept, though it resembles a reserved name."""
    assert Meaning(Role.CUSTOM, key) == meaning_of_person_key(key)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_f24_one_slip_is_always_noticed(data: st.DataObject) -> None:
    """F-24: dropping a letter, or swapping two, of a watched name is noticed wherever it happens."""
    letters = data.draw(st.sampled_from(WATCHED))
    at = data.draw(st.integers(1, len(letters) - 2))
    swapped = letters[:at] + letters[at + 1] + letters[at] + letters[at + 2 :]
    for key in (letters[:at] + letters[at + 1 :], swapped):
        assert key == letters or Role.REFUSED is meaning_of_person_key(key).role


@given(st.text(string.ascii_letters + "_$ é0", max_size=24))
@settings(max_examples=200, deadline=None)
def test_every_key_has_a_meaning(key: str) -> None:
    """Any key is Klaviyo's, the shop's own under its own name, or refused with a sentence."""
    for meaning in (meaning_of_person_key(key), meaning_of_event_key(key)):
        assert key == meaning.name if meaning.role in {Role.CUSTOM, Role.UNKNOWN} else meaning.name
