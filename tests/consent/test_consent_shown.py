"""`consent`, and how what Klaviyo shows of a profile's consent is read: also where it says less than it might."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from safeklaviyo import (
    AmbiguousIdentityError,
    ChannelConsent,
    Consent,
    EmailMismatchError,
    InvalidIdentifierError,
    Profile,
    ProfileNotVisibleError,
)
from support.consent import (
    READINGS,
    SUBSCRIBED,
    Withdrawal,
    channel_consent,
    is_given,
    is_withdrawn,
    lets_pass,
    withdrawals,
    withdrawn_in,
)
from support.scenes import ANN, BOB, NEW, PHONE, asked, delete, journal_of, leases, rejected

OLD = ANN["email"]
NEVER = ChannelConsent("never_subscribed", can_receive=False)


def profile_with(**marketing: Any) -> Profile:
    """Return a profile of which Klaviyo shows this about email."""
    return Profile(id="01ABC", subscriptions={"email": {"marketing": marketing}})


class TestConsent:
    def test_who_never_said_anything(self, client, simulator):
        """A new profile can receive email, and nothing by phone."""
        own = simulator.add_profile(**ANN).id
        shown = client().consent(**ANN)
        assert (own, ()) == (shown.profile_id, shown.also_on)
        statuses = {name: (each.status, each.can_receive) for name, each in shown.channels.items()}
        assert {
            "email": ("never_subscribed", True),
            "sms": ("never_subscribed", False),
            "sms_transactional": ("never_subscribed", False),
            "whatsapp": ("never_subscribed", False),
            "whatsapp_transactional": ("never_subscribed", False),
        } == statuses

    def test_what_was_said(self, client, simulator):
        """Status, when, how, and why mail is kept back."""
        simulator.add_profile(**ANN, phone_number=PHONE, consent=SUBSCRIBED, sms_consent=SUBSCRIBED)
        simulator.withdraw(email=OLD)
        shown = client().consent(**ANN)
        email, sms = shown.channels["email"], shown.channels["sms"]
        assert ("unsubscribed", False, "Customer", ("UNSUBSCRIBE",)) == (
            email.status, email.can_receive, email.source, email.suppressions,
        )  # fmt: skip
        assert ("subscribed", True, "API", UTC) == (sms.status, sms.can_receive, sms.source, sms.changed_at.tzinfo)

    def test_it_reads_only(self, client, simulator, store):
        """It binds, journals and leases nothing, and asks for nothing to be changed."""
        simulator.add_profile(**ANN)
        client().consent(**ANN)
        assert ([], 0, ()) == (journal_of(store), leases(store), store.page("SiMuLa").bindings)
        assert {"get_profile", "get_profiles"} == set(asked(simulator))

    def test_nobody(self, client, simulator):
        """A person without a profile has no consent."""
        assert Consent(None) == client().consent(email="eve@shop.test")
        assert {} == Consent(None).channels
        assert [] == simulator.profiles

    def test_also_on(self, client, simulator):
        """Living profiles on former addresses are named, but not another customer's."""
        k = client()
        k.identify(**ANN)
        k.change_email("ann@third.test", external_id="ann-1")
        k.change_email(NEW, external_id="ann-1")
        ghost = simulator.add_profile(email=OLD, consent=SUBSCRIBED)
        simulator.add_profile(external_id="eve-3", email="ann@third.test")
        assert (ghost.id,) == k.consent(external_id="ann-1").also_on

    def test_not_on_what_another_customer_has(self, client):
        """A former address that is Bob's now is no ghost."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        k.identify(external_id="bob-2", email=OLD)
        assert () == k.consent(external_id="ann-1").also_on

    def test_a_contradicting_pair(self, client):
        """R6, R7: it is refused as by `resolve`."""
        k = client()
        k.identify(**ANN)
        k.identify(**BOB)
        error = rejected(k.consent, external_id="ann-1", email=BOB["email"])
        assert isinstance(error, EmailMismatchError | AmbiguousIdentityError)

    def test_a_profile_that_is_not_shown(self, client, simulator):
        """A 404 says nothing yet."""
        k = client()
        own = k.identify(**ANN).profile_id
        delete(simulator, own)
        assert (ProfileNotVisibleError, True) == (type(error := rejected(k.consent, **ANN)), error.may_retry)

    def test_no_one_is_named(self, client):
        """R2."""
        assert isinstance(rejected(client().consent), InvalidIdentifierError)

    def test_nothing_personal_is_shown(self, client, simulator):
        """P8: the consent's repr holds ids of profiles and no address."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        assert not any(text in repr(client().consent(**ANN)) for text in (OLD, PHONE, "ann-1"))

    @pytest.mark.parametrize("settings", [{"readings": each} for each in READINGS.values()], ids=list(READINGS))
    def test_a_spam_report(self, client, simulator):
        """It keeps mail back under every reading, whatever the status is."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        simulator.withdraw(email=OLD, reason="SPAM_COMPLAINT")
        email = client().consent(**ANN).channels["email"]
        assert (False, True) == (email.can_receive, "SPAM_COMPLAINT" in email.suppressions)


class TestReading:
    """Where Klaviyo shows less or other things than documented."""

    def test_nothing_at_all(self):
        """Without the field nothing is known, and a withdrawal goes on."""
        assert ChannelConsent("unknown", can_receive=True) == channel_consent(Profile(id="01ABC"), "email")
        assert not is_withdrawn(Profile(id="01ABC"), "email")
        assert not is_given(Profile(id="01ABC"), ["email"])

    @pytest.mark.parametrize("shown", [{}, {"email": None}, {"email": []}, {"email": {"marketing": None}}], ids=str)
    def test_less_than_a_consent(self, shown):
        """A medium without anything said about it was never subscribed; one that is missing is not known."""
        found = channel_consent(Profile(id="01ABC", subscriptions=shown), "email")
        assert (ChannelConsent("unknown", can_receive=True) if not shown else NEVER) == found

    @pytest.mark.parametrize("word", ["CONFIRMED", None, 7, ["SUBSCRIBED"]], ids=str)
    def test_an_unknown_word(self, word):
        """A word that is not known is no consent."""
        if isinstance(word, list):
            word = str(word)
        found = channel_consent(profile_with(consent=word, can_receive_email_marketing=True), "email")
        assert ("unknown", True) == (found.status, found.can_receive)

    @pytest.mark.parametrize("said", [None, "yes", 1])
    def test_whether_it_can_receive_is_not_said(self, said):
        """Where Klaviyo does not say, it may send, so that no withdrawal is taken for done."""
        assert channel_consent(
            profile_with(consent="UNSUBSCRIBED", can_receive_email_marketing=said), "email"
        ).can_receive

    def test_a_suppression_outweighs_it(self):
        """A profile with a suppression receives nothing, whatever else is said."""
        rows = [{"reason": "UNSUBSCRIBE", "timestamp": "2026-01-02T03:04:05+00:00"}]
        found = channel_consent(
            profile_with(consent="SUBSCRIBED", can_receive_email_marketing=True, suppression=rows), "email"
        )
        assert (False, ("UNSUBSCRIBE",)) == (found.can_receive, found.suppressions)

    @pytest.mark.parametrize("rows", [None, {}, "x", [None], [{}], [{"reason": 7}], [["UNSUBSCRIBE"]]], ids=str)
    def test_suppressions_of_another_shape(self, rows):
        """What cannot be read is no suppression."""
        shown = profile_with(consent="SUBSCRIBED", can_receive_email_marketing=True, suppression=rows)
        assert ((), True) == (channel_consent(shown, "email").suppressions, is_given(shown, ["email"]))

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-01-02T03:04:05+00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ("2026-01-02T04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ("yesterday", None),
            (7, None),
            (None, None),
        ],
    )
    def test_times(self, text, moment):
        """A time is read in UTC, and one that cannot be read is none."""
        assert moment == channel_consent(profile_with(consent="SUBSCRIBED", consent_timestamp=text), "email").changed_at

    def test_the_last_update_where_there_is_no_time_of_consent(self):
        """Then the update says when."""
        shown = profile_with(consent="UNSUBSCRIBED", last_updated="2026-01-02T03:04:05+00:00", method=7)
        found = channel_consent(shown, "email")
        assert (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None) == (found.changed_at, found.source)
        assert (Withdrawal("email", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp(), None),) == withdrawals(
            shown, ["email"]
        )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ()),
        (["Placed Order", "Subscribed to Email Marketing"], ()),
        (["Unsubscribed from Email Marketing"], ("email",)),
        (["Unsubscribed"], ("email",)),
        (["Marked Email as Spam"], ("email",)),
        (["Unsubscribed from SMS Marketing"], ("sms", "sms_transactional")),
        (["unsubscribed from whatsapp"], ("whatsapp",)),
        (["Unsubscribed from SMS Marketing", "Marked Email as Spam"], ("email", "sms", "sms_transactional")),
    ],
    ids=str,
)
def test_what_events_say(names, said):
    """Klaviyo's own metrics say which channels were withdrawn, in any case of their letters."""
    assert said == withdrawn_in(names, ("email", "sms", "sms_transactional", "whatsapp"))


def test_what_events_say_of_other_channels():
    """Only the channels asked about."""
    assert () == withdrawn_in(["Unsubscribed from SMS Marketing"], ("email",))


@pytest.mark.parametrize(
    ("intent", "passes"),
    [
        (json.dumps({"verb": "subscribe"}), True),
        (json.dumps({"verb": "withdraw"}), True),
        (json.dumps({"verb": "change"}), False),
        (json.dumps({"verb": "contact"}), False),
        (json.dumps(["subscribe"]), False),
        (json.dumps({}), False),
        ("no json", False),
    ],
)
def test_which_intents_let_others_pass(intent, passes):
    """Only those that wait for Klaviyo to carry out what is about consent."""
    assert passes is lets_pass(intent)
