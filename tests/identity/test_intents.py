"""What is written about a customer under a lease: what the map keeps of it, and that nothing else is carried out."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from safeklaviyo import StoreIncompatibleError
from safeklaviyo.identity import Identifier, Kind
from support.flows import (
    ChangeIntent,
    ContactIntent,
    EraseIntent,
    GiveIntent,
    MergeIntent,
    RepairIntent,
    WithdrawIntent,
    decode,
    required,
)
from support.scenes import ANN, expire, hold, leases, pairs, rejected

MAIL, NEW, PHONE = "ann@shop.test", "new@shop.test", "+4915112345678"
WHO = {"external_id": "ann-1", "email": MAIL, "profile_id": "P1"}
WHO_TEXT = '"external_id": "ann-1", "email": "ann@shop.test", "profile_id": "P1"'
MERGING = '"new_email": "new@shop.test", "merges": true, "source_id": "P2", "source_email": "new@shop.test", "asked": 2'
LATE = '"new_external_id": "ann-9", "new_email": "new@shop.test", "new_phone_number": "+4915112345678"'

KEPT = [
    (ContactIntent(email=MAIL), '{"verb": "contact", "email": "ann@shop.test"}'),
    (
        ContactIntent(external_id="ann-1", email=MAIL),
        '{"verb": "contact", "external_id": "ann-1", "email": "ann@shop.test"}',
    ),
    (ChangeIntent(**WHO, new_email=NEW), f'{{"verb": "change", {WHO_TEXT}, "new_email": "new@shop.test"}}'),
    (
        ChangeIntent(email=MAIL, new_external_id="ann-9"),
        '{"verb": "change", "email": "ann@shop.test", "new_external_id": "ann-9"}',
    ),
    (ChangeIntent(**WHO, clears=("external_id",)), f'{{"verb": "change", {WHO_TEXT}, "clears": ["external_id"]}}'),
    (ChangeIntent(**WHO, clears=("phone_number",)), f'{{"verb": "change", {WHO_TEXT}, "clears": ["phone_number"]}}'),
    (
        ChangeIntent(**WHO, new_phone_number=PHONE),
        f'{{"verb": "change", {WHO_TEXT}, "new_phone_number": "+4915112345678"}}',
    ),
    (
        ChangeIntent(**WHO, new_email=NEW, merges=True, source_id="P2", source_email=NEW, asked=2),
        f'{{"verb": "change", {WHO_TEXT}, {MERGING}}}',
    ),
    (
        MergeIntent(**WHO, source_id="P2", source_email="old@shop.test", may_suppress=True),
        f'{{"verb": "merge", {WHO_TEXT}, "source_id": "P2", "source_email": "old@shop.test", "may_suppress": true}}',
    ),
    (MergeIntent(profile_id="P1", source_id="P2"), '{"verb": "merge", "profile_id": "P1", "source_id": "P2"}'),
    (EraseIntent(**WHO), f'{{"verb": "erase", {WHO_TEXT}}}'),
    (EraseIntent(email=MAIL), '{"verb": "erase", "email": "ann@shop.test"}'),
    (EraseIntent(profile_id="P1"), '{"verb": "erase", "profile_id": "P1"}'),
    (
        EraseIntent(**WHO, new_external_id="ann-9", new_email=NEW),
        f'{{"verb": "erase", {WHO_TEXT}, "new_external_id": "ann-9", "new_email": "new@shop.test"}}',
    ),
    (RepairIntent(**WHO), f'{{"verb": "restore", {WHO_TEXT}}}'),
    (
        RepairIntent(email=MAIL, profile_id="P1", new_external_id="ann-9", new_email=NEW, new_phone_number=PHONE),
        f'{{"verb": "restore", "email": "ann@shop.test", "profile_id": "P1", {LATE}}}',
    ),
    (RepairIntent(**WHO, clears=("phone_number",)), f'{{"verb": "restore", {WHO_TEXT}, "clears": ["phone_number"]}}'),
]
"""Intents, and the text that 0.1.1 kept of each."""

GHOSTS = '"ghost_ids": ["P2", "P3"], "ghost_external_ids": ["ann-0"], "ghost_emails": ["old@shop.test"]'
SINCE = [
    (
        EraseIntent(**WHO, ghost_ids=("P2", "P3"), ghost_external_ids=("ann-0",), ghost_emails=("old@shop.test",)),
        f'{{"verb": "erase", {WHO_TEXT}, {GHOSTS}}}',
    ),
    (
        MergeIntent(profile_id="P1", source_id="P2", accepted_at=7.5),
        '{"verb": "merge", "profile_id": "P1", "source_id": "P2", "accepted_at": 7.5}',
    ),
    (
        GiveIntent(
            keys=("k",),
            **WHO,
            emails=("old@shop.test",),
            phone_number=PHONE,
            channels=("email", "sms"),
            awaited=("whatsapp",),
            awaited_since=4.5,
            list_id="L1",
            consented_at=5.5,
            historical=True,
            source="form",
            date_of_birth="1990-12-31",
            resubscribe=True,
            written_at=5.75,
            asked_at=6.5,
            accepted_at=7.5,
        ),
        (
            f'{{"verb": "subscribe", "keys": ["k"], {WHO_TEXT}, "emails": ["old@shop.test"], '
            '"phone_number": "+4915112345678", "channels": ["email", "sms"], "awaited": ["whatsapp"], '
            '"awaited_since": 4.5, "list_id": "L1", '
            '"consented_at": 5.5, "historical": true, "source": "form", "date_of_birth": "1990-12-31", '
            '"resubscribe": true, "written_at": 5.75, "asked_at": 6.5, "accepted_at": 7.5}'
        ),
    ),
    (
        WithdrawIntent(
            job="unsubscribe",
            keys=("k",),
            external_ids=("ann-1",),
            emails=(MAIL,),
            profile_ids=("P1",),
            channels=("email",),
            given_email=MAIL,
            given_phone_number=PHONE,
            list_id="L1",
            alone=True,
            forced=True,
            asked_at=6.5,
            accepted_at=7.5,
            asked=2,
            sent=("email:ann@shop.test",),
        ),
        (
            '{"verb": "withdraw", "job": "unsubscribe", "keys": ["k"], "external_ids": ["ann-1"], '
            '"emails": ["ann@shop.test"], "profile_ids": ["P1"], "channels": ["email"], '
            '"given_email": "ann@shop.test", "given_phone_number": "+4915112345678", '
            '"list_id": "L1", "alone": true, "forced": true, "asked_at": 6.5, '
            '"accepted_at": 7.5, "asked": 2, "sent": ["email:ann@shop.test"]}'
        ),
    ),
]
"""Intents that 0.1.1 could not write, and refuses to carry out."""

LEAST = {
    "contact": {"email": MAIL},
    "change": {"email": MAIL, "new_email": NEW},
    "merge": {"profile_id": "P1", "source_id": "P2"},
    "erase": {"email": MAIL},
    "restore": {"profile_id": "P1"},
    "subscribe": {"email": MAIL, "profile_id": "P1", "channels": ["email"], "asked_at": 6.5},
    "withdraw": {"job": "suppress", "emails": [MAIL], "channels": ["email"], "asked_at": 6.5},
}
"""What each verb can be carried out with."""

INTENTS = (ContactIntent, ChangeIntent, MergeIntent, EraseIntent, RepairIntent, GiveIntent, WithdrawIntent)
CLASSES = {each.verb: each for each in INTENTS}
FIELDS = [(verb, field.name) for verb, kind in CLASSES.items() for field in fields(kind)]
NAMES = sorted({name for _, name in FIELDS})
NOT_TEXT = [None, "", 5, True, ["ann"], {"is": "ann"}]
MOMENTS = ("consented_at", "written_at", "asked_at", "awaited_since", "accepted_at")
NOT_FIT = {
    "clears": [None, [], "external_id", ["email"], ["external_id", 5], [["external_id"]], {"external_id": 1}],
    "merges": [None, False, 1, "true"],
    "may_suppress": [None, False, 1, "true"],
    "asked": [None, 0, -1, True, 1.0, "1"],
    "ghost_ids": (NOT_LISTED := [None, [], "P2", [5], ["P2", ""], [["P2"]], {"P2": 1}]),
    "ghost_external_ids": NOT_LISTED,
    "ghost_emails": NOT_LISTED,
    "keys": NOT_LISTED,
    "external_ids": NOT_LISTED,
    "emails": NOT_LISTED,
    "profile_ids": NOT_LISTED,
    "sent": NOT_LISTED,
    "channels": [*NOT_LISTED, ["mail"]],
    "awaited": [*NOT_LISTED, ["mail"]],
    "job": [*NOT_TEXT, "subscribe"],
    **{key: [None, False, 1, "true"] for key in ("historical", "resubscribe", "alone", "forced")},
    **{key: [None, True, "7", [7.5]] for key in MOMENTS},
}
MISSING = [
    ("contact", "email"),
    ("merge", "profile_id"),
    ("merge", "source_id"),
    ("restore", "profile_id"),
    ("subscribe", "email"),
    ("subscribe", "profile_id"),
    ("subscribe", "channels"),
    ("subscribe", "asked_at"),
    ("withdraw", "job"),
    ("withdraw", "channels"),
    ("withdraw", "asked_at"),
]

CANNOT_READ = "the identity map holds an intent this version cannot read; upgrade safeklaviyo"
CANNOT_CARRY_OUT = "the identity map holds an intent this version cannot carry out; upgrade safeklaviyo"


def named(verb):
    """Return what names a customer to a verb."""
    return {"external_id": "ann-1"} if (verb, "external_id") in FIELDS else {"profile_ids": ["P1"]}


def text_of(verb, told):
    """Return an intent as a map could hold it."""
    return json.dumps({"verb": verb} | told)


def why_not(text):
    """Return why a text is no intent."""
    with pytest.raises(StoreIncompatibleError) as caught:
        decode(text)
    return str(caught.value)


class TestWhatTheMapKeeps:
    @pytest.mark.parametrize(("intent", "text"), KEPT)
    def test_it_is_what_the_first_version_kept(self, intent, text):
        """The text is 0.1.1's to the letter, so that a map with open intents goes on working under either version."""
        assert text == intent.encode()

    @pytest.mark.parametrize(("intent", "text"), [*KEPT, *SINCE])
    def test_it_is_read_back_as_it_was(self, intent, text):
        """What 0.1.1 or this version left open is what this version finishes."""
        assert (text, intent) == (intent.encode(), decode(text))

    @pytest.mark.parametrize(("intent", "text"), KEPT)
    def test_blanks_at_its_end_say_nothing(self, intent, text):
        """A run marks its leases with blanks behind the text."""
        assert intent == decode(text + " \t\t  \t")

    def test_every_field_of_every_verb_is_among_them(self):
        """No field is left that no text above shows."""
        assert set(FIELDS) == {(intent.verb, name) for intent, text in [*KEPT, *SINCE] for name in json.loads(text)} - {
            (verb, "verb") for verb in CLASSES
        }

    def test_what_is_leased_for_it(self):
        """All that the intent names is leased, but for phone numbers, and nothing that it does not name."""
        change = ChangeIntent(**WHO, new_external_id="ann-9", new_email=NEW, new_phone_number=PHONE, source_id="P2")
        ids = {Identifier(Kind.EXTERNAL_ID, "ann-1"), Identifier(Kind.EXTERNAL_ID, "ann-9")}
        emails = {Identifier(Kind.EMAIL, MAIL), Identifier(Kind.EMAIL, NEW)}
        assert ids | emails | {Identifier(Kind.PROFILE_ID, "P1"), Identifier(Kind.PROFILE_ID, "P2")} == (
            change.identifiers()
        )
        merge = MergeIntent(profile_id="P1", source_id="P2", source_email="old@shop.test")
        assert {("profile_id", "P1"), ("profile_id", "P2"), ("email", "old@shop.test")} == {
            (each.kind.value, each.value) for each in merge.identifiers()
        }

    @pytest.mark.parametrize("intent", [intent for intent, _ in KEPT])
    def test_its_repr_names_nobody(self, intent):
        """P8: an intent that gets into a log shows no identifier."""
        assert not [value for value in (MAIL, NEW, PHONE, "ann-1") if value in repr(intent)]


class TestWhatIsNotCarriedOut:
    @pytest.mark.parametrize("verb", LEAST)
    def test_the_least_is_enough(self, verb):
        """Each verb's least intent is read: what is refused below, is refused for its damage alone."""
        assert verb == decode(text_of(verb, LEAST[verb])).verb

    @pytest.mark.parametrize("text", ["", "nothing", "5", "null", "[]", '["verb"]', '"verb"', "{}", '{"verb": []}'])
    def test_what_is_no_intent(self, text):
        """A text without a verb is not guessed at."""
        assert CANNOT_READ == why_not(text)

    @pytest.mark.parametrize("verb", ["dance", "", "Contact", None, 5])
    def test_an_unknown_verb(self, verb):
        """What a later version means by a verb of its own is left to it."""
        assert CANNOT_CARRY_OUT == why_not(text_of(verb, {"email": MAIL}))

    @pytest.mark.parametrize("verb", LEAST)
    @pytest.mark.parametrize("name", ["tune", "clear", "verb2"])
    def test_an_unknown_field(self, verb, name):
        """A field of a later version could change what the intent means."""
        assert CANNOT_READ == why_not(text_of(verb, LEAST[verb] | {name: "x"}))

    @pytest.mark.parametrize(
        ("verb", "name"),
        [
            (verb, name)
            for verb in CLASSES
            for name in sorted({each for _, each in FIELDS})
            if (verb, name) not in FIELDS
        ],
    )
    def test_a_field_of_another_verb(self, verb, name):
        """Each verb has its own fields, and takes none that it would not look at."""
        value = {"clears": ["external_id"], "merges": True, "may_suppress": True, "asked": 1}.get(name, "x")
        value = ["x"] if NOT_FIT.get(name) is NOT_LISTED else value
        assert CANNOT_READ == why_not(text_of(verb, LEAST[verb] | {name: value}))

    @pytest.mark.parametrize(("verb", "name"), MISSING)
    def test_a_field_that_is_missing(self, verb, name):
        """A verb is not begun without what it cannot do without."""
        told = {**named(verb), **LEAST[verb]}
        del told[name]
        assert CANNOT_READ == why_not(text_of(verb, told))

    @pytest.mark.parametrize("verb", LEAST)
    def test_an_intent_about_nobody(self, verb):
        """An intent that names no customer could only be reported as done."""
        told = {"new_email": NEW} if verb in {"change", "erase", "restore"} else {}
        if verb == "withdraw":
            told = {name: value for name, value in LEAST[verb].items() if name != "emails"}
        assert CANNOT_READ == why_not(text_of(verb, told))

    def test_a_field_of_the_wrong_type(self):
        """A value of another type, or an empty one, was not written by this library."""
        for verb, name in FIELDS:
            for value in NOT_FIT.get(name, NOT_TEXT):
                told = named(verb) | LEAST[verb] | {name: value}
                assert CANNOT_READ == why_not(text_of(verb, told)), told

    @pytest.mark.parametrize(("verb", "name"), MISSING)
    def test_1_11_it_is_postponed_and_nothing_is_sent(self, client, simulator, store, verb, name):
        """An intent with a field missing asks Klaviyo for nobody, and is neither reported as done nor closed."""
        k = client()
        k.identify(**ANN)
        told = {**named(verb), **LEAST[verb]}
        del told[name]
        hold(store, Identifier(Kind.EMAIL, MAIL), intent=text_of(verb, told), ttl=1)
        expire(simulator)
        before = len(simulator.journal)
        (recovery,) = k.recover()
        assert ("unknown", "postponed", StoreIncompatibleError, 1) == (
            recovery.verb,
            recovery.status,
            type(recovery.error),
            leases(store),
        )
        assert isinstance(rejected(k.identify, external_id="bob-2", email=MAIL), StoreIncompatibleError)
        assert (before, {("ann-1", MAIL)}) == (len(simulator.journal), pairs(simulator))


class TestWhatIsKnown:
    def test_what_is_there_is_returned(self):
        """A value that was made sure of is passed on as it is."""
        assert "P1" == required("P1")

    def test_what_is_missing_ends_the_call(self):
        """Nothing is named "None" in a request."""
        with pytest.raises(AssertionError, match="made sure of is missing"):
            required(None)
