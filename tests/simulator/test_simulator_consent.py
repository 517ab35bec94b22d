"""The simulator's consent jobs, as Klaviyo describes them, and what people do about consent without the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings

ANN, OLD, PHONE = "ann@shop.org", "ann@old.org", "+12025550123"
EMAIL, SMS = "email.marketing", "sms.marketing"


def error_of(answer):
    """Return the one error of an answer that refuses with 400."""
    assert answer.status == 400
    (error,) = json.loads(answer.body)["errors"]
    return error


def pointer(answer):
    """Return where in the body the fault is."""
    return error_of(answer)["source"]["pointer"]


@pytest.fixture
def consent(simulator, ask):
    """Returns the email consent that a profile shows: whether it can receive, the status, the suppressions."""

    def shown(**who):
        email = ask.subscriptions(simulator.find(**who).id)["email"]["marketing"]
        reasons = [each["reason"] for each in email["suppression"]]
        return email["can_receive_email_marketing"], email["consent"], reasons

    return shown


class TestSubscribing:
    def test_it_is_done_later(self, simulator, ask, consent):
        """The answer is 202 without a body or a type; the consent changes when the job is done."""
        simulator.add_profile(email=ANN)
        answer = ask.subscribe(ask.person(EMAIL, email=ANN), custom_source="checkout")
        assert (202, b"", None) == (answer.status, answer.body, answer.headers.get("content-type"))
        assert consent(email=ANN) == (True, "NEVER_SUBSCRIBED", [])
        assert ["bulk_subscribe_profiles"] == simulator.pending
        simulator.drain()
        assert consent(email=ANN) == (True, "SUBSCRIBED", [])
        shown = ask.subscriptions(simulator.find(email=ANN).id)["email"]["marketing"]
        now = datetime.fromtimestamp(simulator.now(), UTC).isoformat(timespec="microseconds")
        assert (now, now, "API", "checkout", False) == (
            shown["consent_timestamp"], shown["last_updated"], shown["method"], shown["custom_method_detail"],
            shown["double_optin"],
        )  # fmt: skip

    def test_jobs_are_done_in_any_order(self, simulator, ask, consent):
        """A test chooses which job is done first, so that a subscription can land after a later withdrawal."""
        simulator.add_profile(email=ANN)
        ask.subscribe(ask.person(EMAIL, email=ANN))
        ask.unsubscribe(ask.person(EMAIL, email=ANN, status="UNSUBSCRIBED"))
        simulator.step(1)
        assert consent(email=ANN) == (False, "UNSUBSCRIBED", ["UNSUBSCRIBE"])
        simulator.step()
        assert consent(email=ANN) == (True, "SUBSCRIBED", [])

    def test_consent_has_a_delay_of_its_own(self, asking):
        """Consent jobs can take minutes while events take none; what is due earlier is done earlier."""
        simulator = KlaviyoSimulator(queue_lag=60.0, consent_lag=1.0)
        ask = asking(simulator)
        ask.event(email=ANN)
        ask.subscribe(ask.person(EMAIL, email=OLD), historical_import=False, list_id=simulator.add_list("News"))
        assert ["bulk_subscribe_profiles", "create_event"] == simulator.pending
        simulator.advance(1.0)
        assert [OLD] == [profile.email for profile in simulator.profiles]
        simulator.advance(59.0)
        assert {OLD, ANN} == {profile.email for profile in simulator.profiles}

    def test_the_row_is_looked_up_by_id_first(self, simulator, ask, consent):
        """With an id, the profile of that id is meant, whoever has the email; an identifier of another stays there."""
        bob, ann = simulator.add_profile(email="bob@shop.org"), simulator.add_profile(email=ANN)
        ask.subscribe(ask.person(EMAIL, profile_id=bob.id, email=ANN))
        simulator.drain()
        assert {bob.id: ("bob@shop.org", "SUBSCRIBED"), ann.id: (ANN, "NEVER_SUBSCRIBED")} == {
            each.id: (each.email, each.consent) for each in simulator.profiles
        }
        ask.subscribe(ask.person(EMAIL, profile_id="01NOBODY", email="new@shop.org"))
        simulator.drain()
        assert simulator.find(email="new@shop.org") is None

    def test_a_row_by_id_alone(self, asking):
        """A row that names the profile by id alone subscribes the address that it has then; one reading refuses it."""
        for reading, status in ((202, "SUBSCRIBED"), (400, "NEVER_SUBSCRIBED")):
            simulator = KlaviyoSimulator(Readings(subscribe_by_id=reading))
            ask = asking(simulator)
            ann = simulator.add_profile(email=ANN)
            answer = ask.subscribe(ask.person(EMAIL, profile_id=ann.id))
            assert reading == answer.status
            simulator.drain()
            assert status == simulator.find(email=ANN).consent
        assert "/data/attributes/profiles/data/0/attributes/email" == pointer(answer)

    def test_an_address_that_was_changed_comes_back(self, simulator, ask):
        """A row that carries the address puts it back, if the address was changed before the job is done."""
        ann = simulator.add_profile(email=OLD)
        ask.subscribe(ask.person(EMAIL, profile_id=ann.id, email=OLD))
        ask.patch(ann.id, email=ANN)
        simulator.drain()
        assert [OLD] == [profile.email for profile in simulator.profiles]

    def test_an_identifier_of_a_channel_left_out_is_set(self, simulator, ask):
        """A phone number beside an email subscription is written onto the profile, without any consent."""
        simulator.add_profile(email=ANN)
        ask.subscribe(ask.person(EMAIL, email=ANN, phone_number=PHONE))
        simulator.drain()
        ann = simulator.find(phone_number=PHONE)
        assert (ANN, "SUBSCRIBED", "NEVER_SUBSCRIBED") == (ann.email, ann.consent, ann.sms_consent)

    def test_a_new_address(self, simulator, ask, consent):
        """A new address becomes a profile with a list or as a historical import; with neither it never does."""
        news = simulator.add_list("News")
        ask.subscribe(ask.person(EMAIL, email=ANN))
        ask.subscribe(ask.person(EMAIL, email="list@shop.org"), list_id=news)
        ask.subscribe(
            ask.person(EMAIL, email="old@shop.org", consented_at="2020-01-01T02:00:00+02:00"), historical_import=True
        )
        ask.subscribe(ask.person(SMS, phone_number=PHONE))
        simulator.drain()
        assert ["list@shop.org", "old@shop.org", None] == [profile.email for profile in simulator.profiles]
        assert ["list@shop.org"] == [profile.email for profile in simulator.members(news)]
        old = ask.subscriptions(simulator.find(email="old@shop.org").id)["email"]["marketing"]
        assert ("SUBSCRIBED", "2020-01-01T00:00:00.000000+00:00") == (old["consent"], old["consent_timestamp"])
        assert "SUBSCRIBED" == simulator.find(phone_number=PHONE).sms_consent
        simulator.confirm_opt_in(ANN)
        assert consent(email=ANN) == (True, "SUBSCRIBED", [])

    @pytest.mark.parametrize(
        ("reason", "left"),
        [
            ("UNSUBSCRIBE", []),
            ("SPAM_COMPLAINT", []),
            ("USER_SUPPRESSED", []),
            ("HARD_BOUNCE", ["HARD_BOUNCE"]),
            ("INVALID_EMAIL", ["INVALID_EMAIL"]),
        ],
    )
    def test_it_lifts_what_a_person_or_an_operator_wanted(self, simulator, ask, consent, reason, left):
        """A withdrawal, a spam report and a suppression by hand are lifted; a bounce is not."""
        simulator.add_profile(email=ANN)
        simulator.withdraw(email=ANN, reason=reason)
        assert not consent(email=ANN)[0]
        ask.subscribe(ask.person(EMAIL, email=ANN))
        simulator.drain()
        assert consent(email=ANN) == (not left, "SUBSCRIBED", left)

    @pytest.mark.parametrize(("pause", "status"), [(0, "SUBSCRIBED"), (1800, "UNSUBSCRIBED")])
    def test_a_second_job_within_half_an_hour(self, asking, pause, status):
        """By reading it does nothing for a profile that was in one; what people do themselves counts in any case."""
        simulator = KlaviyoSimulator(Readings(subscribe_pause=pause))
        ask = asking(simulator)
        news = simulator.add_list("News", opt_in_process="double_opt_in")
        simulator.submit_form(email=ANN)
        simulator.withdraw(email=ANN)
        ask.subscribe(ask.person(EMAIL, email=ANN), list_id=news)
        simulator.drain()
        simulator.confirm_opt_in(ANN)
        assert "SUBSCRIBED" == simulator.find(email=ANN).consent
        simulator.withdraw(email=ANN)
        simulator.advance(1799)
        ask.subscribe(ask.person(EMAIL, email=ANN))
        simulator.drain()
        assert status == simulator.find(email=ANN).consent

    def test_each_channel_is_its_own(self, simulator, ask):
        """Text messages, transactional ones and WhatsApp are consented to apart; a new number ends all of them."""
        ann = simulator.add_profile(email=ANN, phone_number=PHONE)
        assert ask.subscriptions(ann.id)["whatsapp"] is None
        channels = ["sms.transactional", "whatsapp.marketing"]
        ask.subscribe(ask.person(*channels, phone_number=PHONE))
        simulator.drain()
        shown = ask.subscriptions(ann.id)
        assert (False, True) == (
            shown["sms"]["marketing"]["can_receive_sms_marketing"],
            shown["sms"]["transactional"]["can_receive_sms_transactional"],
        )
        assert (True, PHONE) == (
            shown["whatsapp"]["marketing"]["can_receive"], shown["whatsapp"]["marketing"]["phone_number"],
        )  # fmt: skip
        ask.patch(ann.id, phone_number="+12025550199")
        shown = ask.subscriptions(ann.id)
        assert ("NEVER_SUBSCRIBED", None) == (shown["sms"]["transactional"]["consent"], shown["whatsapp"])

    def test_a_channel_without_an_address_is_passed_over(self, simulator, ask):
        """A row by id asks for text messages, while the profile has no number: nothing is consented to."""
        ann = simulator.add_profile(email=ANN)
        ask.subscribe(ask.person(EMAIL, SMS, profile_id=ann.id))
        simulator.drain()
        assert ("SUBSCRIBED", "NEVER_SUBSCRIBED") == (
            simulator.find(email=ANN).consent,
            simulator.find(email=ANN).sms_consent,
        )

    def test_whatever_else_a_row_says_is_dropped(self, simulator, ask):
        """A name, and consent to tracking, beside the consent are not stored, and not refused."""
        row = ask.person(EMAIL, "email.open_tracking", email=ANN, first_name="Ann")
        ask.subscribe(row, list_id=simulator.add_list("News"))
        simulator.drain()
        ann = simulator.find(email=ANN)
        assert ({}, {EMAIL}) == (ann.attributes, set(ann.consents))


class TestDoubleOptIn:
    def test_it_waits_for_the_click(self, simulator, ask, consent):
        """With a list of double opt-in the consent and the membership come with the click, and not before."""
        news = simulator.add_list("News", opt_in_process="double_opt_in")
        ask.subscribe(ask.person(EMAIL, SMS, email=ANN, phone_number=PHONE), list_id=news)
        with pytest.raises(LookupError, match="drain"):
            simulator.confirm_opt_in(ANN)
        simulator.drain()
        assert consent(email=ANN) == (True, "NEVER_SUBSCRIBED", [])
        assert ("SUBSCRIBED", []) == (simulator.find(email=ANN).sms_consent, simulator.members(news))
        simulator.confirm_opt_in(" Ann@Shop.org")
        assert consent(email=ANN) == (True, "SUBSCRIBED", [])
        assert [ANN] == [profile.email for profile in simulator.members(news)]
        assert ask.subscriptions(simulator.find(email=ANN).id)["email"]["marketing"]["double_optin"]
        with pytest.raises(LookupError):
            simulator.confirm_opt_in(ANN)

    def test_a_list_that_is_gone_counts_as_none(self, simulator, ask, consent):
        """Deleted before the job is done, or before the click: there is no list to join, and the consent is given."""
        news = simulator.add_list("News", opt_in_process="double_opt_in")
        simulator.add_profile(email=ANN)
        ask.subscribe(ask.person(EMAIL, email=OLD), list_id=news)
        simulator.drain()
        ask.subscribe(ask.person(EMAIL, email=ANN), list_id=news)
        ask("DELETE", f"/api/lists/{news}")
        simulator.drain()
        simulator.confirm_opt_in(OLD)
        assert consent(email=ANN) == consent(email=OLD) == (True, "SUBSCRIBED", [])
        assert [] == simulator.members(news)

    def test_nothing_waits_for_nobody(self, simulator, ask):
        """A profile without an address gets no mail, whatever its row asks for."""
        news = simulator.add_list("News", opt_in_process="double_opt_in")
        ann = simulator.add_profile(phone_number=PHONE)
        ask.subscribe(ask.person(EMAIL, SMS, profile_id=ann.id), list_id=news)
        simulator.drain()
        assert "SUBSCRIBED" == simulator.find(phone_number=PHONE).sms_consent
        with pytest.raises(LookupError):
            simulator.confirm_opt_in("")

    def test_a_historical_import_does_not_wait(self, simulator, ask, consent):
        """Neither does an address that is subscribed already."""
        news = simulator.add_list("News", opt_in_process="double_opt_in")
        row = ask.person(EMAIL, email=ANN, consented_at="2020-01-01T00:00:00Z")
        ask.subscribe(row, list_id=news, historical_import=True)
        simulator.add_profile(email="bob@shop.org", consent="SUBSCRIBED")
        ask.subscribe(ask.person(EMAIL, email="bob@shop.org"), list_id=news)
        simulator.drain()
        assert {ANN, "bob@shop.org"} == {profile.email for profile in simulator.members(news)}
        assert consent(email=ANN) == (True, "SUBSCRIBED", [])


class TestRefusals:
    @pytest.mark.parametrize(
        ("row", "where"),
        [
            ({"email": "nobody"}, "attributes/email"),
            ({"email": None}, "attributes/email"),
            ({"email": ANN, "phone_number": "123"}, "attributes/phone_number"),
            ({"email": ANN, "consented_at": "2020-01-01"}, "attributes/subscriptions/email/marketing/consented_at"),
            ({"email": ANN, "status": "UNSUBSCRIBED"}, "attributes/subscriptions/email/marketing/consent"),
        ],
    )
    def test_the_pointer_names_the_row(self, ask, row, where):
        """A malformed row is refused with its number, and nothing is accepted."""
        answer = ask.subscribe(ask.person(EMAIL, email=OLD), ask.person(EMAIL, **row))
        assert f"/data/attributes/profiles/data/1/{where}" == pointer(answer)
        assert [] == ask.simulator.pending

    @pytest.mark.parametrize("at", [None, "2999-01-01T00:00:00Z", "soon", 7])
    def test_a_historical_import_needs_an_earlier_time(self, ask, at):
        """Each channel of each row says when, in the past."""
        answer = ask.subscribe(ask.person(EMAIL, email=ANN, consented_at=at), historical_import=True)
        where = "/data/attributes/profiles/data/0/attributes/subscriptions/email/marketing/consented_at"
        assert where == pointer(answer)

    def test_channels_are_known_ones(self, ask):
        """An unknown channel, no channel, and a row that is no profile are refused."""
        at = "/data/attributes/profiles/data/0"
        assert f"{at}/attributes/subscriptions/fax" == pointer(ask.subscribe(ask.person("fax.marketing", email=ANN)))
        assert f"{at}/attributes/subscriptions" == pointer(ask.subscribe(ask.person(email=ANN)))
        assert f"{at}/type" == pointer(ask.subscribe({"type": "person"}))
        assert f"{at}/attributes" == pointer(ask.subscribe(ask.person("push.marketing")))
        assert "/data/attributes/historical_import" == pointer(
            ask.subscribe(ask.person(EMAIL, email=ANN), historical_import="yes")
        )

    def test_an_unknown_list(self, ask):
        """The list is checked at once, with Klaviyo's words."""
        error = error_of(ask.subscribe(ask.person(EMAIL, email=ANN), list_id="NoList"))
        assert ("List not found with id NoList.", "/data/relationships/list/data/id") == (
            error["detail"], error["source"]["pointer"],
        )  # fmt: skip

    def test_sizes(self, ask):
        """1,000 subscriptions, and 100 withdrawals or suppressions; one more or none is refused."""
        rows = [ask.person(EMAIL, email=f"{number}@shop.org") for number in range(1001)]
        gone = [ask.person(EMAIL, email=f"{number}@shop.org", status="UNSUBSCRIBED") for number in range(101)]
        emails = [f"{number}@shop.org" for number in range(101)]
        for act, given, most in (
            (ask.subscribe, rows, 1000), (ask.unsubscribe, gone, 100), (ask.suppress, emails, 100),
        ):  # fmt: skip
            assert act(*given[:most]).status == 202
            assert "/data/attributes/profiles/data" == pointer(act(*given[: most + 1]))
            assert act().status == 400

    def test_suppression_is_of_addresses_or_of_a_list(self, simulator, ask):
        """One of both, and each row has an email."""
        assert "/data/attributes" == pointer(ask.suppress(ANN, list_id=simulator.add_list("News")))
        assert "/data/attributes/profiles/data/0/attributes/email" == pointer(ask.suppress(None))


class TestWithdrawing:
    def test_it_is_global_without_a_list(self, simulator, ask, consent):
        """The consent ends and a suppression begins; doing it again changes nothing."""
        simulator.add_profile(email=ANN, consent="SUBSCRIBED")
        for _ in range(2):
            ask.unsubscribe(ask.person(EMAIL, email=ANN, status="UNSUBSCRIBED"))
            simulator.drain()
            simulator.advance(60)
            assert consent(email=ANN) == (False, "UNSUBSCRIBED", ["UNSUBSCRIBE"])
        ann = simulator.find(email=ANN)
        assert ann.consents["email.marketing"].at == ann.suppressions[0].at == simulator.now() - 120

    def test_a_list_is_left_by_who_is_in_it(self, simulator, ask, consent):
        """A member leaves the list and stays subscribed; who is not in it is unsubscribed globally."""
        news = simulator.add_list("News")
        ask.subscribe(ask.person(EMAIL, email=ANN), list_id=news)
        simulator.add_profile(email=OLD, consent="SUBSCRIBED")
        rows = [ask.person(EMAIL, email=email, status="UNSUBSCRIBED") for email in (ANN, OLD)]
        ask.unsubscribe(*rows, list_id=news)
        simulator.drain()
        assert consent(email=ANN) == (True, "SUBSCRIBED", [])
        assert consent(email=OLD) == (False, "UNSUBSCRIBED", ["UNSUBSCRIBE"])
        assert [] == simulator.members(news)
        (left,) = ask.subscriptions(simulator.find(email=ANN).id)["email"]["marketing"]["list_suppressions"]
        assert (news, "UNSUBSCRIBE") == (left["list_id"], left["reason"])

    @pytest.mark.parametrize("creates", [True, False])
    def test_an_unknown_address(self, asking, creates):
        """A withdrawal and a suppression of an address that nobody has make a profile, in one reading."""
        simulator = KlaviyoSimulator(Readings(withdrawal_creates=creates))
        ask = asking(simulator)
        ask.unsubscribe(ask.person(EMAIL, email=OLD, status="UNSUBSCRIBED"))
        ask.suppress(ANN)
        ask.suppress("bob@shop.org", lifts=True)
        simulator.drain()
        assert ([OLD, ANN] if creates else []) == [profile.email for profile in simulator.profiles]
        assert not any(profile.consents == {} and not profile.suppressions for profile in simulator.profiles)

    def test_an_id_names_nobody(self, simulator, ask):
        """A withdrawal knows no id: a row with one alone is refused."""
        ann = simulator.add_profile(email=ANN)
        row = ask.person(EMAIL, profile_id=ann.id, status="UNSUBSCRIBED")
        assert "/data/attributes/profiles/data/0/attributes/email" == pointer(ask.unsubscribe(row))

    def test_text_messages_end_by_number(self, simulator, ask):
        """The number leads to the profile; its email consent stays."""
        simulator.add_profile(email=ANN, phone_number=PHONE, consent="SUBSCRIBED", sms_consent="SUBSCRIBED")
        ask.unsubscribe(ask.person(SMS, phone_number=PHONE, status="UNSUBSCRIBED"))
        simulator.drain()
        ann = simulator.find(email=ANN)
        assert ("SUBSCRIBED", "UNSUBSCRIBED") == (ann.consent, ann.sms_consent)


class TestSuppressing:
    def test_it_leaves_the_consent(self, simulator, ask, consent):
        """A suppressed address receives nothing, whatever it consented to; the end of it brings all back."""
        simulator.add_profile(email=ANN, consent="SUBSCRIBED")
        job = json.loads(ask.suppress(ANN).body)["data"]
        assert ("profile-suppression-bulk-create-job", "processing", 1) == (
            job["type"], job["attributes"]["status"], job["attributes"]["total_count"],
        )  # fmt: skip
        simulator.drain()
        assert consent(email=ANN) == (False, "SUBSCRIBED", ["USER_SUPPRESSED"])
        assert simulator.find(email=ANN).suppressed
        ask.suppress(ANN, lifts=True)
        simulator.drain()
        assert consent(email=ANN) == (True, "SUBSCRIBED", [])

    def test_only_what_an_operator_did_is_lifted(self, simulator, ask, consent):
        """A withdrawal stays, and a bounce."""
        simulator.add_profile(email=ANN, consent="UNSUBSCRIBED", suppressed=True)
        simulator.withdraw(email=ANN, reason="HARD_BOUNCE")
        ask.suppress(ANN, lifts=True)
        simulator.drain()
        assert consent(email=ANN) == (False, "UNSUBSCRIBED", ["UNSUBSCRIBE", "HARD_BOUNCE"])

    def test_a_list_is_suppressed(self, simulator, ask, consent):
        """Its members are, when the job is done."""
        news = simulator.add_list("News")
        ask.suppress(list_id=news)
        ask.subscribe(ask.person(EMAIL, email=ANN), list_id=news)
        simulator.add_profile(email=OLD)
        simulator.step(1)
        simulator.drain()
        assert (False, True) == (consent(email=ANN)[0], consent(email=OLD)[0])


class TestPeople:
    def test_the_link_in_a_mail(self, simulator, consent):
        """The person withdraws at once."""
        simulator.add_profile(email=ANN, consent="SUBSCRIBED")
        simulator.withdraw(email=ANN)
        assert consent(email=ANN) == (False, "UNSUBSCRIBED", ["UNSUBSCRIBE"])
        with pytest.raises(LookupError):
            simulator.withdraw(email="nobody@shop.org")

    @pytest.mark.parametrize(("ends", "status"), [(False, "SUBSCRIBED"), (True, "UNSUBSCRIBED")])
    def test_a_spam_report(self, ends, status):
        """It suppresses; whether the consent ends with it is a reading."""
        simulator = KlaviyoSimulator(Readings(spam_report_unsubscribes=ends))
        simulator.add_profile(email=ANN, consent="SUBSCRIBED")
        simulator.withdraw(email=ANN, reason="SPAM_COMPLAINT")
        ann = simulator.find(email=ANN)
        assert (True, status) == (ann.suppressed, ann.consent)

    @pytest.mark.parametrize("recorded", [True, False])
    def test_the_events_of_a_consent(self, recorded):
        """Each change is an event of Klaviyo's own, in one reading, and what changes nothing is none."""
        simulator = KlaviyoSimulator(Readings(consent_events=recorded))
        simulator.add_profile(email=ANN, phone_number=PHONE)
        simulator.submit_form(email=ANN, phone_number=PHONE)
        simulator.withdraw(email=ANN, reason="SPAM_COMPLAINT")
        for _ in range(2):
            simulator.withdraw(email=ANN)
            simulator.withdraw(phone_number=PHONE)
        names = [
            "Subscribed to Email Marketing", "Subscribed to SMS Marketing", "Marked Email as Spam",
            "Unsubscribed from Email Marketing", "Unsubscribed from SMS Marketing",
        ]  # fmt: skip
        assert (names if recorded else []) == [event.metric for event in simulator.events]
        assert {"Klaviyo"} >= {simulator._account.metrics[each.metric].integration for each in simulator.events}

    @pytest.mark.parametrize("recorded", [True, False])
    def test_the_events_of_a_job(self, ask, recorded):
        """Likewise of what a program has asked for, on the profile that it was done to."""
        simulator = ask.simulator = KlaviyoSimulator(Readings(consent_events=recorded))
        simulator.add_profile(email=ANN)
        ask.subscribe(ask.person(EMAIL, email=ANN))
        simulator.drain()
        ask.unsubscribe(ask.person(EMAIL, status="UNSUBSCRIBED", email=ANN))
        simulator.drain()
        names = ["Subscribed to Email Marketing", "Unsubscribed from Email Marketing"]
        assert (names if recorded else []) == [event.metric for event in simulator.events]

    def test_stop(self, simulator, ask):
        """STOP ends every kind of text message."""
        simulator.add_profile(email=ANN, phone_number=PHONE)
        ask.subscribe(ask.person("sms.transactional", phone_number=PHONE))
        simulator.drain()
        simulator.withdraw(phone_number=PHONE)
        ann = simulator.find(email=ANN)
        assert {"sms.marketing": "UNSUBSCRIBED", "sms.transactional": "UNSUBSCRIBED"} == {
            channel: each.status for channel, each in ann.consents.items()
        }

    def test_a_form(self, simulator, consent):
        """A form in a browser subscribes at once, makes the profile, and lifts what was withdrawn."""
        news = simulator.add_list("News", opt_in_process="double_opt_in")
        made = simulator.submit_form(email=ANN, phone_number=PHONE)
        assert ("SUBSCRIBED", "SUBSCRIBED", "Form") == (
            made.consent, made.sms_consent, made.consents["email.marketing"].method,
        )  # fmt: skip
        simulator.withdraw(email=ANN)
        simulator.submit_form(email=ANN, list_id=news)
        assert consent(email=ANN) == (False, "UNSUBSCRIBED", ["UNSUBSCRIBE"])
        simulator.confirm_opt_in(ANN)
        assert consent(email=ANN) == (True, "SUBSCRIBED", [])
        with pytest.raises(ValueError, match="a form has"):
            simulator.submit_form()

    def test_the_first_list_has_a_known_id(self, simulator):
        """A program under test may hold the ids of lists as constants."""
        assert ["Xy12Ab", "Xy13Ab"] == [simulator.add_list("News"), simulator.add_list("VIP")]
        assert ["News", "VIP"] == [each.name for each in simulator.lists]


class TestMergesAndDeletions:
    def test_a_merge_carries_consent(self, simulator, ask):
        """The destination has every channel of both, the withdrawals of either, and the lists of both."""
        news = simulator.add_list("News")
        ann = simulator.add_profile(email=ANN, sms_consent="UNSUBSCRIBED", phone_number=PHONE)
        old = simulator.submit_form(email=OLD, list_id=news)
        simulator.withdraw(email=OLD, reason="HARD_BOUNCE")
        ask.merge(old.id, ann.id)
        simulator.drain()
        (left,) = simulator.profiles
        assert (ANN, "SUBSCRIBED", "UNSUBSCRIBED", ["HARD_BOUNCE"]) == (
            left.email, left.consent, left.sms_consent, [each.reason for each in left.suppressions],
        )  # fmt: skip
        assert [ann.id] == [profile.id for profile in simulator.members(news)]

    def test_a_deletion_ends_memberships(self, simulator, ask):
        """A deleted profile is in no list."""
        news = simulator.add_list("News")
        ask.delete(simulator.submit_form(email=ANN, list_id=news).id)
        simulator.drain()
        assert [] == simulator.members(news)


def test_a_client_of_the_simulators(simulator):
    """The simulator makes a client that talks to it; options are the client's own."""
    ann = simulator.add_profile(external_id="7", email=ANN)
    with simulator.client(account="SiMuLa") as klaviyo:
        assert ann.id == klaviyo.identify(external_id="7", email=ANN).profile_id
    with simulator.client(store="memory://", http_client=None, base_url="http://127.0.0.1:9"):
        pass
