"""What cannot be asked for about consent is refused with a sentence of its own, before anything is sent."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from safeklaviyo import (
    ConfigurationError,
    IdOnlyError,
    InvalidIdentifierError,
    InvalidPropertyError,
    NotFoundError,
)
from support.consent import requests, rows
from support.scenes import ANN, PHONE, asked, leases, rejected

KNOWN = "email, sms, sms_transactional, whatsapp, whatsapp_transactional"
NO_CHANNELS = f"channels have to be a channel or a collection of channels: {KNOWN}"
ODD_CHANNEL = f"channels hold an unknown one; there are {KNOWN}"
NO_LIST = "list_id is not made of letters and digits; it stands in the address of the list's page in Klaviyo"
NO_SOURCE = "source has to be a text of 1 to 255 characters that can be printed"
NO_BIRTHDAY = "date_of_birth has to be a date, such as 1990-12-31"
NO_HISTORY = "consented_at has to be given with historical=True, and to be at least a minute ago"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

CHANNELS = [
    (None, NO_CHANNELS),
    ([], NO_CHANNELS),
    (5, NO_CHANNELS),
    (b"email", NO_CHANNELS),
    ("", ODD_CHANNEL),
    ("Email", ODD_CHANNEL),
    ("push", ODD_CHANNEL),
    (["email", "fax"], ODD_CHANNEL),
    (["email", None], ODD_CHANNEL),
    ([["email"]], ODD_CHANNEL),
]
LISTS = ["", "Xy 12", "../Xy12Ab", "Xy12Ab?", 7, b"Xy12Ab", "x" * 65]
AGREEMENTS = [
    ({"consented_at": "yesterday"}, "consented_at is not ISO 8601"),
    ({"consented_at": datetime(2026, 1, 1)}, "consented_at has no time zone"),  # noqa: DTZ001 - that is the point
    ({"consented_at": 1_767_225_600_000}, "consented_at is not in seconds since 1970"),
    ({"consented_at": date(2026, 1, 1)}, "consented_at is a date"),
    ({"historical": "yes"}, "historical has to be True or False"),
    ({"historical": 1}, "historical has to be True or False"),
    ({"resubscribe": "no"}, "resubscribe has to be True or False"),
    ({"resubscribe": None}, "resubscribe has to be True or False"),
    ({"historical": True}, NO_HISTORY),
    ({"source": ""}, NO_SOURCE),
    ({"source": "  "}, NO_SOURCE),
    ({"source": "a\nb"}, NO_SOURCE),
    ({"source": "x" * 256}, NO_SOURCE),
    ({"source": 7}, NO_SOURCE),
    ({"date_of_birth": "31.12.1990"}, NO_BIRTHDAY),
    ({"date_of_birth": "1990-02-30"}, NO_BIRTHDAY),
    ({"date_of_birth": LONG_AGO}, NO_BIRTHDAY),
    ({"date_of_birth": 19901231}, NO_BIRTHDAY),
]
NOBODY = [
    ({}, "no customer is named: give an email, an external_id, or both"),
    ({"email": "not an address"}, None),
    ({"email": "null"}, None),
    ({"external_id": " "}, None),
]


def untouched(simulator, store):
    """Tell whether nothing was asked, and nothing is left in the map."""
    return (asked(simulator), leases(store), store.journal("SiMuLa", since=0)) == ([], 0, ())


class TestChannels:
    @pytest.mark.parametrize("verb", ["subscribe", "unsubscribe"])
    @pytest.mark.parametrize(("channels", "sentence"), CHANNELS, ids=[repr(given) for given, _ in CHANNELS])
    def test_what_is_no_channel(self, client, simulator, store, *, verb, channels, sentence):
        """Another thing than a channel, or none, is refused, and nothing is sent."""
        error = rejected(getattr(client(), verb), channels, **ANN)
        assert (InvalidPropertyError, "not_applied", sentence) == (type(error), error.outcome, str(error))
        assert untouched(simulator, store)

    @pytest.mark.parametrize("kind", [str, list, tuple, set, iter])
    def test_one_or_several(self, client, simulator, kind):
        """One channel may be given as it is or in any collection, and twice is once."""
        given = "email" if kind is str else kind(["email", "email"])
        assert ("email",) == client().subscribe(given, **ANN).channels
        assert [["email"]] == [list(row["subscriptions"]) for row in rows(simulator)]

    def test_the_order_is_that_of_the_type(self, client, simulator):
        """Several come back in the order of `Channel`, however they are given."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        change = client().subscribe(["sms_transactional", "sms", "email"], **ANN)
        assert ("email", "sms", "sms_transactional") == change.channels


class TestLists:
    @pytest.mark.parametrize("verb", ["subscribe", "unsubscribe"])
    @pytest.mark.parametrize("list_id", LISTS, ids=repr)
    def test_what_is_no_id_of_a_list(self, client, simulator, store, *, verb, list_id):
        """A list's id goes into a path, so that only letters and digits are taken."""
        error = rejected(getattr(client(), verb), "email", list_id=list_id, **ANN)
        assert (InvalidPropertyError, "not_applied", NO_LIST) == (type(error), error.outcome, str(error))
        assert untouched(simulator, store)

    @pytest.mark.parametrize("verb", ["subscribe", "unsubscribe"])
    def test_a_list_that_is_not_there(self, client, simulator, store, *, verb):
        """It is found out before a profile is made, a withdrawal is noted, or anything is written."""
        error = rejected(getattr(client(), verb), "email", list_id="Nope12", **ANN)
        assert (NotFoundError, "not_applied", 404) == (type(error), error.outcome, error.status_code)
        assert "Klaviyo knows no such list: check list_id" == str(error)
        assert (["get_list"], [], 0) == (asked(simulator), simulator.profiles, leases(store))


class TestAgreements:
    @pytest.mark.parametrize(("given", "sentence"), AGREEMENTS, ids=[str(each[0]) for each in AGREEMENTS])
    def test_what_makes_no_sense(self, client, simulator, store, *, given, sentence):
        """Each argument that makes no sense is refused by its name, and nothing is sent."""
        error = rejected(client().subscribe, "email", **given, **ANN)
        assert (InvalidPropertyError, "not_applied") == (type(error), error.outcome)
        assert str(error).startswith(sentence)
        assert untouched(simulator, store)

    def test_a_consent_of_the_future(self, client, simulator, store):
        """A consent that was given after now is a mistake; a clock may be a minute ahead."""
        error = rejected(client().subscribe, "email", consented_at=simulator.now() + 61, **ANN)
        assert (InvalidPropertyError, "consented_at is in the future") == (type(error), str(error))
        assert untouched(simulator, store)
        assert "accepted" == client().subscribe("email", consented_at=simulator.now() + 59, **ANN).status

    def test_a_history_of_a_moment_ago(self, client, simulator, store):
        """An import has to be a minute old at least, because Klaviyo refuses a time that is not past by its clock."""
        error = rejected(client().subscribe, "email", historical=True, consented_at=simulator.now() - 59, **ANN)
        assert (InvalidPropertyError, NO_HISTORY) == (type(error), str(error))
        assert untouched(simulator, store)

    def test_no_message_quotes_what_is_personal(self, client):
        """P8: neither the message nor what it was raised from quotes the date of birth."""
        error = rejected(client().subscribe, "email", date_of_birth="1991-02-30", **ANN)
        assert "1991" not in f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"


class TestPeople:
    @pytest.mark.parametrize("verb", ["subscribe", "unsubscribe"])
    @pytest.mark.parametrize(("who", "sentence"), NOBODY, ids=[str(who) for who, _ in NOBODY])
    def test_nobody_is_named(self, client, simulator, store, *, verb, who, sentence):
        """R1, R2: an identifier that is none is refused, and so is a call without one."""
        error = rejected(getattr(client(), verb), "email", **who)
        assert (InvalidIdentifierError, "not_applied") == (type(error), error.outcome)
        assert str(error) == (sentence or str(error))
        assert untouched(simulator, store)

    @pytest.mark.parametrize("verb", ["suppress", "unsuppress", "consent"])
    @pytest.mark.parametrize(("who", "sentence"), NOBODY, ids=[str(who) for who, _ in NOBODY])
    def test_nobody_is_named_to_the_other_verbs(self, client, simulator, store, *, verb, who, sentence):
        """R1, R2: likewise."""
        error = rejected(getattr(client(), verb), **who)
        assert (InvalidIdentifierError, "not_applied") == (type(error), error.outcome)
        assert str(error) == (sentence or str(error))
        assert untouched(simulator, store)

    def test_a_number_that_is_none(self, client, simulator, store):
        """A channel by phone needs a number: one that is none is refused, and costs no more than the call."""
        error = rejected(client().subscribe, "sms", phone_number="12", **ANN)
        assert (InvalidIdentifierError, "not_applied") == (type(error), error.outcome)
        assert untouched(simulator, store)

    def test_a_number_that_is_none_for_email(self, client, simulator):
        """R14: for email alone it decides nothing, so that it is left out with a notice."""
        change = client().subscribe("email", phone_number="12", **ANN)
        simulator.drain()
        assert (["phone_invalid"], "SUBSCRIBED") == (
            [notice.code for notice in change.warnings],
            simulator.find(**ANN).consent,
        )

    def test_a_withdrawal_with_a_number_that_is_none(self, client, simulator):
        """R19: a withdrawal is not refused for a bad number beside a good address."""
        simulator.add_profile(**ANN)
        change = client().unsubscribe("email", phone_number="12", **ANN)
        assert (["phone_invalid"], 1) == ([notice.code for notice in change.warnings], len(requests(simulator)))

    def test_an_id_of_nobody(self, client, simulator):
        """R9: consent is not given to an id of which no address is known; that changes with the sign-up."""
        error = rejected(client().subscribe, "email", external_id="eve-3")
        assert (IdOnlyError, "not_applied", []) == (type(error), error.outcome, requests(simulator))


class TestDialects:
    @pytest.mark.parametrize(
        ("verb", "args"),
        [
            ("subscribe", ["email"]),
            ("unsubscribe", ["email"]),
            ("suppress", []),
            ("unsuppress", []),
            ("consent", []),
        ],
    )
    def test_the_legacy_dialect_knows_no_consent(self, client, simulator, *, verb, args):
        """In the legacy dialect each verb is refused, before anything is sent."""
        k = client(dialect="legacy", base_url="http://127.0.0.1:9", public_key="SiMuLa")
        error = rejected(getattr(k, verb), *args, **ANN)
        assert (ConfigurationError, 'consent needs the current dialect; pass dialect="current" to the client') == (
            type(error),
            str(error),
        )
        assert [] == simulator.journal


def test_what_is_sent_of_an_agreement(client, simulator):
    """The source and the date of birth are sent, in Klaviyo's words; the moment of consent is not, without history."""
    client().subscribe(
        "email",
        source="  checkout/2026-11  ",
        date_of_birth=date(1990, 12, 31),
        consented_at=datetime.now(UTC) - timedelta(days=900),
        **ANN,
    )
    (request,) = requests(simulator)
    attributes = request.body["data"]["attributes"]
    assert ("checkout/2026-11", False) == (attributes["custom_source"], attributes["historical_import"])
    assert "relationships" not in request.body["data"]
    (row,) = rows(simulator)
    assert {"email": {"marketing": {"consent": "SUBSCRIBED"}}} == row["subscriptions"]
    assert "1990-12-31" == row["age_gated_date_of_birth"]


def test_a_date_of_birth_may_be_text(client, simulator):
    """In ISO 8601."""
    client().subscribe("email", date_of_birth="1990-12-31", **ANN)
    assert ["1990-12-31"] == [row["age_gated_date_of_birth"] for row in rows(simulator)]
