"""`subscribe`: consent is given for one profile by its id, or not at all (R18)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from safeklaviyo import (
    AmbiguousIdentityError,
    APIStatusError,
    BadRequestError,
    EmailMismatchError,
    ErasedError,
    ExternalIdMismatchError,
    InvalidIdentifierError,
    NoResponseError,
)
from safeklaviyo.testing import Readings
from support.consent import READINGS, SUBSCRIBED, can_receive, come_to_rest, named, requests, rows, subscribed
from support.scenes import ANN, BOB, NEW, PHONE, asked, codes, edit, journal_of, leases, meanwhile, pairs, rejected

OTHER_PHONE = "+12345678999"
every_reading = pytest.mark.parametrize(
    "settings", [{"readings": reading} for reading in READINGS.values()], ids=list(READINGS)
)


class TestOne:
    def test_r18_a_customer_of_nobody_knows_yet(self, client, simulator):
        """R18: first contact makes the profile; the request names it by its id and carries no identifier (H29)."""
        change = client().subscribe("email", **ANN)
        (profile,) = simulator.profiles
        assert ("accepted", ("email",), (profile.id,), "R18", ()) == (
            change.status, change.channels, change.profile_ids, change.rule, change.warnings,
        )  # fmt: skip
        assert ([{"id"}], [profile.id]) == (named(simulator), [row["id"] for row in rows(simulator)])
        assert "NEVER_SUBSCRIBED" == profile.consent
        simulator.drain()
        assert ({("ann-1", ANN["email"])}, [ANN["email"]]) == (pairs(simulator), subscribed(simulator))

    def test_h36_a_customer_whose_profile_no_read_shows_yet(self, client, simulator):
        """H36: a profile that this very call has made has withdrawn nothing, whatever a lagging read answers."""
        simulator.fail_next("get_profile", status=404, times=9)
        change = client().subscribe("email", **ANN)
        simulator.drain()
        assert ("accepted", [ANN["email"]]) == (change.status, subscribed(simulator))

    @pytest.mark.parametrize(
        "by", [{"external_id": "ann-1"}, {"email": ANN["email"]}, ANN], ids=["id", "email", "both"]
    )
    def test_r18_a_customer_whom_the_map_knows(self, client, simulator, *, by):
        """R18: however the customer is named, one profile is meant."""
        k = client()
        own = k.identify(**ANN).profile_id
        assert (own,) == k.subscribe("email", **by).profile_ids
        simulator.drain()
        assert ([ANN["email"]], 1) == (subscribed(simulator), len(simulator.profiles))

    @every_reading
    def test_no_identifier_is_changed(self, client, simulator):
        """R18, H29: under every reading the profile keeps its identifiers, and nothing else is made."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        change = client().subscribe(["email", "sms"], **ANN)
        simulator.drain()
        (profile,) = simulator.profiles
        assert ("accepted", PHONE, ANN["email"]) == (change.status, profile.phone_number, profile.email)
        assert (SUBSCRIBED, SUBSCRIBED) == (profile.consent, profile.sms_consent)

    @pytest.mark.parametrize("settings", [{"readings": READINGS["no row by id"]}], ids=[""])
    @pytest.mark.parametrize(
        ("channels", "carried"),
        [
            ("email", {"id", "email"}),
            ("sms", {"id", "phone_number"}),
            (["email", "sms"], {"id", "email", "phone_number"}),
        ],
    )
    def test_r18_where_a_row_by_id_is_refused(self, client, simulator, *, channels, carried):
        """R18: only then an identifier is carried, and only that of a channel that is given."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        client().subscribe(channels, **ANN)
        assert [{"id"}, carried] == named(simulator)
        row = rows(simulator)[-1]
        assert {ANN["email"], PHONE, None} >= {row.get("email"), row.get("phone_number")}

    @pytest.mark.parametrize("settings", [{"readings": Readings(subscribe_by_id=400, email_case="kept")}], ids=[""])
    def test_r18_the_address_carried_is_the_one_that_the_profile_shows(self, client, simulator):
        """R18, H29: in Klaviyo's own spelling, read by profile id under the lease."""
        k = client()
        own = k.identify(**ANN).profile_id
        meanwhile(simulator, "get_profile", lambda: edit(simulator, own, email="ANN@shop.test"))
        k.subscribe("email", **ANN)
        assert ("ANN@shop.test", "ANN@shop.test") == (simulator.profiles[0].email, rows(simulator)[-1]["email"])

    def test_another_address_than_the_customers_is_refused(self, client, simulator):
        """R6: consent that was given for one address is not recorded for another, whatever the policy says."""
        k = client()
        k.identify(**ANN)
        before = len(simulator.journal)
        error = rejected(k.subscribe, "email", external_id="ann-1", email=NEW)
        assert (EmailMismatchError, "R6", "not_applied") == (type(error), error.rule, error.outcome)
        assert (before, []) == (len(simulator.journal), requests(simulator))

    def test_another_customers_address_is_refused(self, client, simulator):
        """R7: likewise the id of one customer with the address of another."""
        k = client()
        k.identify(**ANN)
        error = rejected(k.subscribe, "email", external_id="eve-3", email=ANN["email"])
        assert (ExternalIdMismatchError, []) == (type(error), requests(simulator))

    def test_an_erased_customer_is_refused(self, client, simulator):
        """An erased customer has to come back by themselves."""
        k = client()
        k.identify(**ANN)
        k.erase(external_id="ann-1")
        simulator.drain()
        error = rejected(k.subscribe, "email", **ANN)
        assert (ErasedError, []) == (type(error), requests(simulator))

    def test_what_is_given_already_is_not_sent_again(self, client, simulator):
        """Once it shows, the same call sends nothing, and leaves no lease."""
        k = client()
        k.subscribe("email", **ANN)
        come_to_rest(simulator, k)
        own = simulator.find(**ANN).id
        change = k.subscribe("email", **ANN)
        assert ("unchanged", ("email",), (own,), "R18", 1) == (
            change.status, change.channels, change.profile_ids, change.rule, len(requests(simulator)),
        )  # fmt: skip

    def test_it_is_in_the_journal(self, client, store):
        """So that `recheck_changes` does not repeat an older withdrawal over it."""
        client().subscribe("email", **ANN)
        assert [("subscribe", "email", None)] == journal_of(store)

    def test_an_address_that_bounced(self, client, simulator):
        """A hard bounce is said, because Klaviyo will send nothing whatever the consent."""
        simulator.add_profile(**ANN)
        simulator.withdraw(email=ANN["email"], reason="HARD_BOUNCE")
        assert ["hard_bounced"] == codes(client().subscribe("email", **ANN))

    @pytest.mark.parametrize("settings", [{"readings": Readings(subscribe_pause=1800)}], ids=["paused"])
    @pytest.mark.parametrize("rests", [True, False])
    def test_a_second_consent_within_half_an_hour(self, client, simulator, store, *, rests):
        """Klaviyo may pass it over: that is said, whether the first shows yet or not, and it blocks nobody."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        k = client()
        assert [] == codes(k.subscribe("email", **ANN))
        if rests:
            simulator.drain()
            simulator.advance(5)
        assert ["subscribe_pause"] == codes(k.subscribe("sms", **ANN))
        come_to_rest(simulator, k)
        assert (0, [ANN["email"]]) == (leases(store), subscribed(simulator))
        assert "never_subscribed" == k.consent(**ANN).channels["sms"].status
        simulator.advance(1800)
        assert [] == codes(k.subscribe("sms", **ANN))
        come_to_rest(simulator, k)
        assert "subscribed" == k.consent(**ANN).channels["sms"].status

    def test_an_address_that_was_put_back_is_repaired_first(self, client, simulator):
        """R15: consent goes to the address that the map knows, so the profile is put right before it is asked for."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        edit(simulator, simulator.find(external_id="ann-1").id, email=ANN["email"])
        change = k.subscribe("email", external_id="ann-1")
        simulator.drain()
        assert ({("ann-1", NEW)}, [NEW]) == (pairs(simulator), subscribed(simulator))
        assert "put_back_repaired" in codes(change)


class TestFailures:
    @pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {}, {"when": "after"}], ids=str)
    def test_one_failure_is_repeated(self, client, simulator, *, fault):
        """Twice is once: the row names one profile by its id, so that a repeat can do no harm."""
        simulator.add_profile(**ANN)
        simulator.fail_next("bulk_subscribe_profiles", **fault)
        assert "accepted" == client().subscribe("email", **ANN).status
        simulator.drain()
        assert [ANN["email"]] == subscribed(simulator)

    def test_no_answer_at_all(self, client, simulator, store):
        """P7: what may have been applied says so, and its intent stays for `recover`."""
        simulator.add_profile(**ANN)
        simulator.fail_next("bulk_subscribe_profiles", times=9, when="after")
        k = client()
        error = rejected(k.subscribe, "email", **ANN)
        assert (NoResponseError, "unknown", 1) == (type(error), error.outcome, leases(store))
        simulator._faults._next.clear()
        come_to_rest(simulator, k)
        assert ([ANN["email"]], 0) == (subscribed(simulator), leases(store))

    def test_a_refusal(self, client, simulator, store):
        """P7: what Klaviyo refuses was not applied, and leaves neither lease nor consent."""
        simulator.add_profile(**ANN)
        simulator.fail_next("bulk_subscribe_profiles", status=400, times=9)
        error = rejected(client().subscribe, "email", **ANN)
        assert (BadRequestError, "not_applied", 0) == (type(error), error.outcome, leases(store))

    def test_a_page_is_no_answer(self, client, simulator):
        """F-34: a 202 with a page is not Klaviyo's word, so the outcome is unknown."""
        simulator.add_profile(**ANN)
        page = {"status": 202, "body": "<html>busy</html>", "headers": {"content-type": "text/html"}}
        simulator.fail_next("bulk_subscribe_profiles", **page, times=9)
        error = rejected(client().subscribe, "email", **ANN)
        assert ("unknown", False) == (error.outcome, isinstance(error, APIStatusError) and error.status_code == 202)


class TestSeveralChannels:
    def test_all_of_them(self, client, simulator):
        """R18: several channels are one request, and all are given."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        change = client().subscribe(["email", "sms", "sms_transactional", "whatsapp", "whatsapp_transactional"], **ANN)
        simulator.drain()
        (profile,) = simulator.profiles
        assert (1, 5) == (len(requests(simulator)), len(change.channels))
        assert {
            "email.marketing", "sms.marketing", "sms.transactional", "whatsapp.marketing", "whatsapp.transactional",
        } == {channel for channel, each in profile.consents.items() if each.status == SUBSCRIBED}  # fmt: skip

    @pytest.mark.parametrize("first", [["email", "sms"], ["sms", "email"]])
    def test_r18_all_or_none_without_a_number(self, client, simulator, store, *, first):
        """R18: an SMS consent without a number takes the email's with it, and no profile is made for it."""
        error = rejected(client().subscribe, first, **ANN)
        assert (InvalidIdentifierError, "R18", "not_applied") == (type(error), error.rule, error.outcome)
        assert "a channel needs a phone number, and the customer has none: give phone_number" == str(error)
        assert ([], [], 0) == (simulator.profiles, requests(simulator), leases(store))

    def test_r18_all_or_none_for_a_known_customer_without_a_number(self, client, simulator, store):
        """R18: likewise where the map knows the customer."""
        k = client()
        k.identify(**ANN)
        error = rejected(k.subscribe, ["email", "sms"], **ANN)
        assert (InvalidIdentifierError, "R18", []) == (type(error), error.rule, requests(simulator))
        assert (0, []) == (leases(store), subscribed(simulator))

    def test_r18_all_or_none_with_another_number(self, client, simulator):
        """R18: another number than the profile's is a change of number, which has a verb of its own."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        error = rejected(client().subscribe, ["email", "sms"], phone_number=OTHER_PHONE, **ANN)
        assert (InvalidIdentifierError, "R18", []) == (type(error), error.rule, requests(simulator))
        assert PHONE == simulator.find(**ANN).phone_number

    def test_another_number_where_the_customers_own_is_subscribed_already(self, client, simulator):
        """R18: "unchanged" would tell the shop that the new number may be written to."""
        k = client()
        k.subscribe("sms", phone_number=PHONE, **ANN)
        simulator.drain()
        error = rejected(k.subscribe, "sms", phone_number=OTHER_PHONE, **ANN)
        assert (InvalidIdentifierError, "not_applied") == (type(error), error.outcome)
        assert "unchanged" == k.subscribe("sms", phone_number=PHONE, **ANN).status

    def test_one_of_two_is_given_already(self, client, simulator):
        """Then both are asked for, in one request."""
        simulator.add_profile(**ANN, phone_number=PHONE, consent=SUBSCRIBED)
        assert "accepted" == client().subscribe(["email", "sms"], **ANN).status
        assert [{"email", "sms"}] == [set(row["subscriptions"]) for row in rows(simulator)]


class TestNumbers:
    @every_reading
    def test_r14_a_number_is_attached_where_there_is_none(self, client, simulator):
        """R14, R18: an SMS consent attaches the number that was given, and no row sets one on a profile."""
        simulator.add_profile(**ANN)
        change = client().subscribe("sms", phone_number=PHONE, **ANN)
        simulator.drain()
        (profile,) = simulator.profiles
        assert (PHONE, SUBSCRIBED, "accepted") == (profile.phone_number, profile.sms_consent, change.status)
        assert {"id", "phone_number"} >= named(simulator)[-1]

    @pytest.mark.parametrize("is_known", [True, False])
    def test_r14_another_profiles_number(self, client, simulator, *, is_known):
        """R14: a number of another profile is not taken from it, and nothing is given."""
        simulator.add_profile(**BOB, phone_number=PHONE)
        k = client()
        if is_known:
            k.identify(**ANN)
        error = rejected(k.subscribe, ["email", "sms"], phone_number=PHONE, **ANN)
        assert (InvalidIdentifierError, [], []) == (type(error), requests(simulator), subscribed(simulator))
        assert (PHONE, is_known) == (simulator.find(**BOB).phone_number, simulator.find(**ANN) is not None)

    def test_r14_a_number_that_klaviyo_refuses(self, client, simulator, store):
        """R14: then nothing is given either, and no lease stays."""
        k = client()
        k.identify(**ANN)
        simulator.fail_next("update_profile", status=400)
        error = rejected(k.subscribe, ["email", "sms"], phone_number=PHONE, **ANN)
        assert (InvalidIdentifierError, "Klaviyo does not accept the phone number") == (type(error), str(error))
        assert ([], 0, "not_applied") == (requests(simulator), leases(store), error.outcome)

    def test_r14_a_number_beside_an_email_consent(self, client, simulator):
        """R14: given for email alone it is attached as by `identify`, after the consent."""
        client().subscribe("email", phone_number=PHONE, **ANN)
        simulator.drain()
        (profile,) = simulator.profiles
        assert (PHONE, SUBSCRIBED, "NEVER_SUBSCRIBED") == (
            profile.phone_number, profile.consent, profile.sms_consent,
        )  # fmt: skip
        assert [{"id"}] == named(simulator)

    def test_a_number_alone_of_one_profile(self, client, simulator):
        """R18: a number alone subscribes where exactly one live profile has it."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        change = client().subscribe(["sms", "sms_transactional"], phone_number=PHONE)
        simulator.drain()
        assert ((simulator.find(**ANN).id,), SUBSCRIBED) == (change.profile_ids, simulator.find(**ANN).sms_consent)

    def test_a_number_alone_of_two_profiles(self, client, simulator):
        """R18: of two it is not said which is meant."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        simulator.add_profile(**BOB, phone_number=PHONE)
        error = rejected(client().subscribe, "sms", phone_number=PHONE)
        assert (AmbiguousIdentityError, "not_applied", []) == (type(error), error.outcome, requests(simulator))
        assert "several profiles have this phone number; name the customer" in str(error)

    @pytest.mark.parametrize("is_there", [True, False])
    def test_a_number_alone_of_nobody(self, client, simulator, *, is_there):
        """R18: a number of nobody, or of a profile without an address, subscribes nobody and makes nothing."""
        if is_there:
            simulator.add_profile(phone_number=PHONE)
        error = rejected(client().subscribe, "sms", phone_number=PHONE)
        assert (InvalidIdentifierError, "R18", "not_applied") == (type(error), error.rule, error.outcome)
        assert (int(is_there), []) == (len(simulator.profiles), requests(simulator))

    def test_a_number_alone_for_email(self, client, simulator):
        """R2: a number names nobody to whom mail could be sent."""
        error = rejected(client().subscribe, "email", phone_number=PHONE)
        assert (InvalidIdentifierError, "R2", []) == (type(error), error.rule, asked(simulator))

    def test_a_number_that_the_search_shows_too_late(self, client, simulator):
        """A hit of a stale search does not count: the profile that is read by its id has another number by now."""
        own = simulator.add_profile(**ANN, phone_number=PHONE).id
        meanwhile(simulator, "get_profile", lambda: edit(simulator, own, phone_number=OTHER_PHONE))
        error = rejected(client().subscribe, "sms", phone_number=PHONE)
        assert (InvalidIdentifierError, []) == (type(error), requests(simulator))


class TestLists:
    def test_a_list_with_single_opt_in(self, client, simulator):
        """The customer joins it, and the status is plain."""
        news = simulator.add_list("News")
        assert "accepted" == client().subscribe("email", list_id=news, **ANN).status
        simulator.drain()
        assert ([ANN["email"]], [ANN["email"]]) == (
            subscribed(simulator),
            [profile.email for profile in simulator.members(news)],
        )

    def test_a_list_with_double_opt_in(self, client, simulator, store):
        """It says that a confirmation is expected; until the click Klaviyo shows no consent, and no lease waits."""
        k, news = client(), simulator.add_list("News", opt_in_process="double_opt_in")
        change = k.subscribe("email", list_id=news, **ANN)
        assert ("confirmation_expected", 0) == (change.status, leases(store))
        simulator.drain()
        assert "never_subscribed" == k.consent(**ANN).channels["email"].status
        simulator.confirm_opt_in(ANN["email"])
        assert "subscribed" == k.consent(**ANN).channels["email"].status
        assert [ANN["email"]] == [profile.email for profile in simulator.members(news)]

    def test_a_member_already(self, client, simulator):
        """Whoever has consented and is a member is left alone."""
        k, news = client(), simulator.add_list("News")
        k.subscribe("email", list_id=news, **ANN)
        come_to_rest(simulator, k)
        assert ("unchanged", 1) == (k.subscribe("email", list_id=news, **ANN).status, len(requests(simulator)))

    def test_subscribed_and_no_member(self, client, simulator):
        """Whoever has consented and is no member joins."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        news = simulator.add_list("News")
        assert "accepted" == client().subscribe("email", list_id=news, **ANN).status
        simulator.drain()
        assert [ANN["email"]] == [profile.email for profile in simulator.members(news)]

    def test_subscribed_already_needs_no_confirmation(self, client, simulator):
        """A member of a list with double opt-in, who is subscribed, is unchanged and has nothing to confirm."""
        k, news = client(), simulator.add_list("News", opt_in_process="double_opt_in")
        k.subscribe("email", list_id=news, **ANN)
        simulator.drain()
        simulator.confirm_opt_in(ANN["email"])
        assert "unchanged" == k.subscribe("email", list_id=news, **ANN).status

    def test_history_skips_the_confirmation(self, client, simulator):
        """``historical`` skips double opt-in: the status is plain, and the list is joined at once."""
        k, news = client(), simulator.add_list("News", opt_in_process="double_opt_in")
        when = simulator.now() - 90_000
        change = k.subscribe("email", list_id=news, historical=True, consented_at=when, **ANN)
        simulator.drain()
        assert ("accepted", [ANN["email"]]) == (change.status, subscribed(simulator))
        consent = simulator.find(**ANN).consents["email.marketing"]
        assert int(when) == int(consent.at)


class TestHistory:
    def test_only_the_flag_sets_it(self, client, simulator):
        """`consented_at` alone sends no time and no flag: a live sign-up would skip double opt-in else."""
        k, news = client(), simulator.add_list("News", opt_in_process="double_opt_in")
        long_ago = simulator.now() - 1e7
        change = k.subscribe("email", list_id=news, consented_at=long_ago, **ANN)
        (request,) = requests(simulator)
        assert ("confirmation_expected", False) == (
            change.status,
            request.body["data"]["attributes"]["historical_import"],
        )
        assert [{"consent": SUBSCRIBED}] == [row["subscriptions"]["email"]["marketing"] for row in rows(simulator)]

    def test_the_moment_is_sent(self, client, simulator):
        """With the flag, in ISO 8601, for each channel."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        when = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
        client().subscribe(["email", "sms"], historical=True, consented_at=when, **ANN)
        said = [row["subscriptions"] for row in rows(simulator)]
        consent = {"consent": SUBSCRIBED, "consented_at": "2025-03-04T05:06:07+00:00"}
        assert [{"email": {"marketing": consent}, "sms": {"marketing": consent}}] == said
        simulator.drain()
        assert [ANN["email"]] == subscribed(simulator)


def test_other_customers_are_left_alone(client, simulator):
    """Whatever one customer consents to, another's profile is as it was."""
    bob = simulator.add_profile(**BOB, consent="UNSUBSCRIBED")
    k = client()
    k.subscribe("email", **ANN)
    come_to_rest(simulator, k)
    assert (bob.consents, bob.suppressions) == (simulator.find(**BOB).consents, simulator.find(**BOB).suppressions)
    assert [ANN["email"]] == can_receive(simulator)
