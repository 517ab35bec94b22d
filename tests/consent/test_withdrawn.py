"""What a customer has withdrawn is not given back unasked (R18): what lifts it, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from safeklaviyo import ConsentWithdrawnError, InvalidPropertyError, LeaseHeldError
from support.consent import (
    READINGS,
    SUBSCRIBED,
    UNSUBSCRIBED,
    Agreement,
    Withdrawal,
    come_to_rest,
    in_the_way,
    leaves,
    requests,
    subscribed,
)
from support.flows import operations
from support.scenes import ANN, BOB, NEW, PHONE, expire, leases, meanwhile, rejected

OLD = ANN["email"]
DAY = 86_400.0
every_reading = pytest.mark.parametrize(
    "settings", [{"readings": reading} for reading in READINGS.values()], ids=list(READINGS)
)


@pytest.fixture
def withdrew(simulator):
    """Ann's profile, from which she has withdrawn email a day ago by the link of a mail."""
    profile = simulator.add_profile(**ANN, phone_number=PHONE, consent=SUBSCRIBED)
    simulator.withdraw(email=OLD)
    simulator.advance(DAY)
    return profile


class TestByLink:
    @every_reading
    def test_it_is_not_lifted_unasked(self, client, simulator, store, *, withdrew):
        """R18: the error says the channel, when and how, and nothing was sent or is left."""
        error = rejected(client().subscribe, "email", **ANN)
        assert (ConsentWithdrawnError, "R18", "not_applied", False) == (
            type(error), error.rule, error.outcome, error.may_retry,
        )  # fmt: skip
        at = datetime.fromtimestamp(simulator.now() - DAY, UTC)
        assert ("email", "UNSUBSCRIBE", at) == (
            error.channel,
            error.reason,
            error.withdrawn_at.replace(microsecond=at.microsecond),
        )
        assert ([], 0, []) == (requests(simulator), leases(store), subscribed(simulator))
        assert withdrew.id == simulator.find(**ANN).id

    def test_no_message_names_the_customer(self, client, withdrew):
        """P8: neither text nor repr holds an identifier."""
        error = rejected(client().subscribe, "email", **ANN)
        assert withdrew.email not in f"{error} {error!r}"

    def test_a_newer_consent_lifts_it(self, client, simulator, withdrew):
        """R18: the customer has agreed after the withdrawal."""
        change = client().subscribe("email", consented_at=simulator.now() - 60, **ANN)
        simulator.drain()
        assert ("accepted", [withdrew.email]) == (change.status, subscribed(simulator))

    @pytest.mark.parametrize("seconds", [DAY, DAY + 1, 2 * DAY], ids=["at once", "before", "long before"])
    def test_an_older_consent_does_not(self, client, simulator, *, withdrew, seconds):
        """R18: a consent that is as old as the withdrawal, or older, proves nothing."""
        error = rejected(client().subscribe, "email", consented_at=simulator.now() - seconds, **ANN)
        assert (ConsentWithdrawnError, []) == (type(error), requests(simulator))
        assert [] == subscribed(simulator), withdrew.id

    def test_who_asks_for_it_again(self, client, simulator, withdrew):
        """R18: ``resubscribe=True`` lifts what was withdrawn before the call."""
        assert "accepted" == client().subscribe("email", resubscribe=True, **ANN).status
        simulator.drain()
        assert [withdrew.email] == subscribed(simulator)

    @pytest.mark.parametrize("seconds", [61.0, 2 * DAY])
    def test_no_history_lifts_it(self, client, simulator, *, withdrew, seconds):
        """R18: an import never lifts a withdrawal by its date, be it newer or older."""
        agreement = {"historical": True, "consented_at": simulator.now() - seconds}
        error = rejected(client().subscribe, "email", **agreement, **ANN)
        assert (ConsentWithdrawnError, []) == (type(error), requests(simulator))
        assert "accepted" == client().subscribe("email", resubscribe=True, **agreement, **ANN).status
        assert withdrew.id == simulator.find(**ANN).id

    def test_of_several_channels_none_is_given(self, client, simulator, withdrew):
        """R18: one that was withdrawn keeps the others back."""
        error = rejected(client().subscribe, ["email", "sms"], **ANN)
        assert ("email", [], "NEVER_SUBSCRIBED") == (
            error.channel, requests(simulator), simulator.find(email=withdrew.email).sms_consent,
        )  # fmt: skip

    def test_another_channel_is_given(self, client, simulator, withdrew):
        """R18: what was withdrawn of one channel says nothing of another."""
        assert "accepted" == client().subscribe("sms", **ANN).status
        simulator.drain()
        (profile,) = simulator.profiles
        assert (SUBSCRIBED, UNSUBSCRIBED, withdrew.id) == (profile.sms_consent, profile.consent, profile.id)

    def test_by_an_older_call_of_ours(self, client, simulator):
        """R18: `unsubscribe` withdraws as the link does."""
        k = client()
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k.unsubscribe("email", **ANN)
        come_to_rest(simulator, k)
        assert isinstance(rejected(k.subscribe, "email", **ANN), ConsentWithdrawnError)
        assert "accepted" == k.subscribe("email", resubscribe=True, **ANN).status


class TestForGood:
    @every_reading
    @pytest.mark.parametrize("reason", ["SPAM_COMPLAINT", "USER_SUPPRESSED"])
    def test_no_date_outweighs_it(self, client, simulator, *, reason):
        """R18: a spam report and a suppression by hand give way to ``resubscribe=True`` alone."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        simulator.withdraw(email=OLD, reason=reason)
        simulator.advance(DAY)
        k = client()
        error = rejected(k.subscribe, "email", consented_at=simulator.now() - 60, **ANN)
        assert (ConsentWithdrawnError, reason, []) == (type(error), error.reason, requests(simulator))
        assert "accepted" == k.subscribe("email", resubscribe=True, **ANN).status
        simulator.drain()
        assert () == simulator.find(**ANN).suppressions

    def test_the_gravest_decides(self, client, simulator):
        """R18: a link and then a spam report: the newer consent would lift the first alone."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        simulator.withdraw(email=OLD, reason="SPAM_COMPLAINT")
        simulator.advance(DAY)
        simulator.withdraw(email=OLD)
        simulator.advance(DAY)
        error = rejected(client().subscribe, "email", consented_at=simulator.now(), **ANN)
        assert "SPAM_COMPLAINT" == error.reason

    @pytest.mark.parametrize("reason", ["SPAM_REPORT", "SPAM_COMPLAINT"])
    def test_both_words_for_a_spam_report(self, reason):
        """R18: the request's text says SPAM_REPORT and the read model SPAM_COMPLAINT: both count."""
        withdrawal = Withdrawal("email", 100.0, reason)
        assert withdrawal == in_the_way([withdrawal], Agreement(200.0), asked_at=300.0, is_first=True)
        assert None is in_the_way([withdrawal], Agreement(resubscribe=True), asked_at=300.0, is_first=True)

    @pytest.mark.parametrize("channel", ["sms", "sms_transactional"])
    def test_a_stop_by_text_message(self, client, simulator, channel):
        """R18: a STOP is lifted by ``resubscribe=True`` alone."""
        simulator.add_profile(**ANN, phone_number=PHONE, sms_consent=SUBSCRIBED)
        k = client()
        k.subscribe("sms_transactional", **ANN)
        come_to_rest(simulator, k)
        simulator.withdraw(phone_number=PHONE)
        simulator.advance(DAY)
        before = len(requests(simulator))
        error = rejected(k.subscribe, channel, consented_at=simulator.now(), **ANN)
        assert (ConsentWithdrawnError, channel, before) == (type(error), error.channel, len(requests(simulator)))
        assert "accepted" == k.subscribe(channel, resubscribe=True, **ANN).status

    def test_a_number_withdrawn_by_a_program(self, client, simulator):
        """R18: what a program has withdrawn, a newer consent lifts, on a number too."""
        k = client()
        simulator.add_profile(**ANN, phone_number=PHONE, sms_consent=SUBSCRIBED)
        k.unsubscribe("sms", **ANN)
        come_to_rest(simulator, k)
        assert isinstance(rejected(k.subscribe, "sms", **ANN), ConsentWithdrawnError)
        assert "accepted" == k.subscribe("sms", consented_at=simulator.now(), **ANN).status


class TestOfALists:
    def test_who_left_a_list(self, client, simulator):
        """R18: whoever has left a list is not put back into that list, and joins another one."""
        k = client()
        news, offers = simulator.add_list("News"), simulator.add_list("Offers")
        k.subscribe("email", list_id=news, **ANN)
        come_to_rest(simulator, k)
        k.unsubscribe("email", list_id=news, **ANN)
        come_to_rest(simulator, k)
        error = rejected(k.subscribe, "email", list_id=news, **ANN)
        assert (ConsentWithdrawnError, "UNSUBSCRIBE", "email") == (type(error), error.reason, error.channel)
        assert "accepted" == k.subscribe("email", list_id=offers, **ANN).status
        come_to_rest(simulator, k)
        assert "accepted" == k.subscribe("email", list_id=news, consented_at=simulator.now(), **ANN).status


class TestOnAGhost:
    @pytest.fixture
    def k(self, client, simulator):
        """Returns a client; Ann has moved to a new address, and a ghost on the former one has withdrawn."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        simulator.add_profile(email=OLD, consent=SUBSCRIBED)
        simulator.withdraw(email=OLD)
        simulator.advance(DAY)
        return k

    def test_what_it_withdrew_the_person_withdrew(self, k, simulator):
        """R18: by the link of an old mail."""
        error = rejected(k.subscribe, "email", external_id="ann-1")
        assert (ConsentWithdrawnError, "UNSUBSCRIBE", []) == (type(error), error.reason, requests(simulator))
        assert "accepted" == k.subscribe("email", external_id="ann-1", resubscribe=True).status
        simulator.drain()
        assert [NEW] == subscribed(simulator)

    def test_what_another_customer_withdrew_does_not_count(self, client, simulator):
        """R18: the former address is Bob's by now, and Bob has withdrawn: Ann may consent."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        k.identify(external_id="bob-2", email=OLD)
        simulator.withdraw(email=OLD)
        assert "accepted" == k.subscribe("email", external_id="ann-1").status
        simulator.drain()
        assert [NEW] == subscribed(simulator)

    def test_what_a_stranger_with_an_id_withdrew_does_not_count(self, client, simulator):
        """R18: likewise where only Klaviyo knows the new owner, by an external id."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        simulator.add_profile(external_id="eve-3", email=OLD, consent=UNSUBSCRIBED)
        assert "accepted" == k.subscribe("email", external_id="ann-1").status


class TestWhileItGoesOn:
    @every_reading
    def test_h30_before_a_repeat(self, client, simulator, store):
        """H30: the answer is lost, the customer uses the link, and the repeat is not sent."""
        simulator.add_profile(**ANN)
        simulator.fail_next("bulk_subscribe_profiles", status=500)
        k = client()
        k.identify(**ANN)
        meanwhile(simulator, "get_profile", lambda: simulator.withdraw(email=OLD), turn=2)
        error = rejected(k.subscribe, "email", **ANN)
        simulator.drain()
        assert (ConsentWithdrawnError, []) == (type(error), subscribed(simulator))
        assert leases(store) <= 1

    @pytest.mark.parametrize("resubscribe", [True, False])
    def test_h30_a_withdrawal_after_the_call(self, client, simulator, *, resubscribe):
        """H30: ``resubscribe=True`` lifts what was withdrawn before the call, and never what came after it."""
        simulator.add_profile(**ANN)
        k = client()
        k.identify(**ANN)
        simulator.advance(1)

        def link() -> None:
            simulator.advance(1)
            simulator.withdraw(email=OLD)

        simulator.fail_next("bulk_subscribe_profiles", status=500)
        meanwhile(simulator, "get_profile", link, turn=2)
        error = rejected(k.subscribe, "email", resubscribe=resubscribe, **ANN)
        simulator.drain()
        assert (ConsentWithdrawnError, []) == (type(error), subscribed(simulator))

    def test_h30_an_old_intent(self, client, simulator, store):
        """H30: the process died before it asked; the customer uses the link; `recover` subscribes nobody."""
        simulator.add_profile(**ANN)
        k = client()
        k.identify(**ANN)
        simulator.fail_next("bulk_subscribe_profiles", times=9, broken="refused")
        simulator.fail_next("bulk_subscribe_profiles", times=9)
        rejected(k.subscribe, "email", resubscribe=True, **ANN)
        assert 1 == leases(store) or not simulator.pending
        simulator._faults._next.clear()
        simulator.advance(1)
        simulator.withdraw(email=OLD)
        expire(simulator)
        said = come_to_rest(simulator, k)
        assert ([], 0, True) == (subscribed(simulator), leases(store), {"failed"} >= set(said))

    @every_reading
    def test_h30_accepted_and_then_withdrawn(self, client, simulator, store):
        """H30: Klaviyo applies the job after the link was used: it is withdrawn again, once that shows."""
        simulator.add_profile(**ANN)
        k = client()
        k.subscribe("email", **ANN)
        simulator.advance(5)
        leaves(simulator, OLD)
        assert [] == subscribed(simulator)
        come_to_rest(simulator, k)
        assert ([], 0) == (subscribed(simulator), leases(store))

    def test_h30_of_a_message_by_phone(self, client, simulator, store):
        """H30: likewise of a STOP."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        k = client()
        k.subscribe(["email", "sms"], **ANN)
        simulator.advance(5)
        simulator.withdraw(phone_number=PHONE)
        leaves(simulator, OLD, "Unsubscribed from SMS Marketing")
        come_to_rest(simulator, k)
        assert (UNSUBSCRIBED, 0) == (simulator.find(**ANN).sms_consent, leases(store))

    def test_h30_events_that_cannot_be_read(self, client, simulator, store):
        """H30: whether Klaviyo shows them is not confirmed: without them the consent stands, and no lease stays."""
        simulator.add_profile(**ANN)
        k = client()
        k.subscribe("email", **ANN)
        simulator.fail_next("get_events", status=403, times=9)
        come_to_rest(simulator, k)
        assert ([OLD], 0) == (subscribed(simulator), leases(store))


class TestWithoutATime:
    """A withdrawal of which Klaviyo does not say when it was."""

    ONE = Withdrawal("email", None, "UNSUBSCRIBE")

    def test_no_date_outweighs_it(self):
        """R18: a consent cannot be shown to be newer."""
        assert self.ONE == in_the_way([self.ONE], Agreement(1e12), asked_at=1e12, is_first=True)

    def test_only_the_first_look_lifts_it(self):
        """R18: a later look cannot tell whether it came before the call."""
        again = Agreement(resubscribe=True)
        assert None is in_the_way([self.ONE], again, asked_at=1.0, is_first=True)
        assert self.ONE == in_the_way([self.ONE], again, asked_at=1.0, is_first=False)


def test_who_only_never_subscribed_may(client, simulator):
    """Whoever never said anything has withdrawn nothing, and so has an address that bounced."""
    simulator.add_profile(**ANN)
    simulator.add_profile(**BOB)
    simulator.withdraw(email=BOB["email"], reason="HARD_BOUNCE")
    assert ["accepted"] * 2 == [client().subscribe("email", **who).status for who in (ANN, BOB)]


class TestAdvice:
    """What the error says that a caller can do."""

    def refused(self, k, channel="email", **more):
        return str(rejected(k.subscribe, channel, **ANN, **more))

    def test_a_withdrawal_that_a_new_consent_lifts(self, client, simulator):
        """Either argument will do, so the error names both; a consent that is too old is told to be so."""
        k = client()
        k.identify(**ANN)
        simulator.withdraw(email=ANN["email"])
        assert self.refused(k).endswith("then give consented_at or resubscribe=True")
        old = simulator.now() - 3600
        assert "newer than the consented_at given" in self.refused(k, consented_at=old)

    def test_a_withdrawal_for_good(self, client, simulator):
        """A spam report gives way to `resubscribe` alone, and so the error does not name the other."""
        k = client()
        k.identify(**ANN)
        simulator.withdraw(email=ANN["email"], reason="SPAM_COMPLAINT")
        assert "resubscribe=True, which alone lifts it" in self.refused(k, consented_at=simulator.now())

    def test_what_klaviyo_has_not_done_yet(self, client, simulator):
        """A consent right after a withdrawal waits for Klaviyo, and for no other call; the error says when to try."""
        k = client()
        k.identify(**ANN)
        k.unsubscribe("email", **ANN)
        error = rejected(k.subscribe, "email", **ANN, resubscribe=True)
        assert (LeaseHeldError, 30.0) == (type(error), error.retry_after)
        assert "Klaviyo has not yet carried out" in str(error)
        simulator.drain()
        simulator.advance(2)
        assert "accepted" == k.subscribe("email", **ANN, resubscribe=True).status


class TestWrittenDown:
    """A consent that a program has kept for a while before it makes the call, as a queue does."""

    def give(self, k, written_at, **given):
        """Make the call for a wish of that moment."""
        names = ("phone_number", "list_id", "consented_at", "source", "date_of_birth")
        rest = dict.fromkeys(names) | {"historical": False, "resubscribe": False}
        return k._shell.run(operations.subscribe, "email", **ANN, **(rest | given), written_at=written_at)

    @pytest.mark.parametrize("lifts", ["resubscribe", "consented_at"])
    def test_h30_a_withdrawal_since_stays(self, client, simulator, *, lifts):
        """H30: what was withdrawn before is lifted, and what was withdrawn since is not."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        written_at = simulator.now()
        # The clock of the program that has kept it may be ahead.
        given = {"resubscribe": True} if lifts == "resubscribe" else {"consented_at": written_at + 30}
        simulator.advance(10)
        simulator.withdraw(email=OLD)
        simulator.advance(60)
        error = rejected(self.give, client(), written_at, **given)
        assert (ConsentWithdrawnError, []) == (type(error), requests(simulator))
        given = {"resubscribe": True} if lifts == "resubscribe" else {"consented_at": simulator.now()}
        assert "accepted" == self.give(client(), simulator.now() - 1, **given).status

    def test_h30_a_withdrawal_that_klaviyo_does_not_show(self, client, simulator):
        """H30: a call since has written it down and failed: it stands, and `recheck_changes` carries it out."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        k.identify(**ANN)
        written_at = simulator.now()
        simulator.advance(10)
        simulator.fail_next("bulk_unsubscribe_profiles", status=403)
        rejected(k.unsubscribe, "email", **ANN)
        error = rejected(self.give, k, written_at, resubscribe=True)
        assert (ConsentWithdrawnError, []) == (
            type(error),
            [each for each in requests(simulator) if each.status == 202],
        )
        simulator.advance(400)
        assert ["withdrawn_again"] == [each.finding for each in k.recheck_changes()]

    def test_h30_a_withdrawal_that_a_newer_consent_has_lifted(self, client, simulator):
        """H30: what the customer has said last counts."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        k.identify(**ANN)
        written_at = simulator.now()
        simulator.advance(10)
        k.unsubscribe("email", **ANN)
        come_to_rest(simulator, k)
        k.subscribe("email", resubscribe=True, **ANN)
        come_to_rest(simulator, k)
        assert "unchanged" == self.give(k, written_at).status
        come_to_rest(simulator, k)
        assert [OLD] == subscribed(simulator)

    def test_h30_a_withdrawal_of_which_klaviyo_gives_no_time(self, client, simulator):
        """H30: it may have come since."""
        simulator.add_profile(**ANN)
        simulator.withdraw(email=OLD)
        profile = simulator.profiles[0]
        untimed = tuple(replace(each, at=None) for each in profile.suppressions)
        simulator._account.put(replace(profile, suppressions=untimed))
        simulator.advance(10)
        error = rejected(self.give, client(), simulator.now() - 5, resubscribe=True)
        assert (ConsentWithdrawnError, None) == (type(error), error.withdrawn_at)

    def test_an_import_of_that_time(self, client, simulator):
        """A date is compared with the moment of the wish: a minute before that is a minute ago."""
        given = {"historical": True, "consented_at": simulator.now() - 30}
        assert isinstance(rejected(self.give, client(), simulator.now(), **given), InvalidPropertyError)
