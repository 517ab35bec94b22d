"""`unsubscribe`: a withdrawal reaches every living profile of the customer, and creates none (R19)."""

from __future__ import annotations

import pytest

from safeklaviyo import APIStatusError, NoResponseError
from safeklaviyo.testing import Readings
from support.consent import (
    MOST_WITHDRAWN,
    READINGS,
    SUBSCRIBED,
    UNSUBSCRIBED,
    addressed,
    can_receive,
    come_to_rest,
    leaves,
    receiving,
    requests,
    rows,
    subscribed,
)
from support.scenes import (
    ANN,
    BOB,
    NEW,
    PHONE,
    codes,
    delete,
    edit,
    expire,
    journal_of,
    leases,
    meanwhile,
    pairs,
    persist,
    rejected,
)

OLD, THIRD = ANN["email"], "ann@third.test"
every_reading = pytest.mark.parametrize(
    "settings", [{"readings": reading} for reading in READINGS.values()], ids=list(READINGS)
)


def moved(k, simulator, **attributes):
    """Ann, who is subscribed, has two former addresses, on each of which a ghost is subscribed."""
    k.identify(**ANN)
    k.change_email(THIRD, external_id="ann-1")
    k.change_email(NEW, external_id="ann-1")
    own = simulator.find(external_id="ann-1")
    k.subscribe("email", external_id="ann-1")
    come_to_rest(simulator, k)
    ghosts = [simulator.add_profile(email=each, consent=SUBSCRIBED, **attributes) for each in (OLD, THIRD)]
    return own.id, *(ghost.id for ghost in ghosts)


class TestReach:
    @every_reading
    def test_r19_a_customer_alone(self, client, simulator, store):
        """R19: one profile, one row, by the address that it shows; done means that it can no longer receive."""
        own = simulator.add_profile(**ANN, consent=SUBSCRIBED).id
        k = client()
        change = k.unsubscribe("email", **ANN)
        assert ("accepted", ("email",), (own,), "R19", ()) == (
            change.status, change.channels, change.profile_ids, change.rule, change.warnings,
        )  # fmt: skip
        assert [OLD] == addressed(simulator)
        come_to_rest(simulator, k)
        assert ([], 0, 1) == (can_receive(simulator), leases(store), len(requests(simulator)))

    @every_reading
    @pytest.mark.parametrize(
        "by", [{"external_id": "ann-1"}, {"email": NEW}, {"email": OLD}, {"email": THIRD}], ids=str
    )
    def test_r19_every_former_address(self, client, simulator, *, by):
        """R19: by whatever the customer is named, the own profile and each living ghost are reached, in one request."""
        k = client()
        ids = moved(k, simulator)
        simulator.add_profile(**BOB, consent=SUBSCRIBED)
        before = len(requests(simulator))
        change = k.unsubscribe("email", **by)
        assert (set(ids), ids[0]) == (set(change.profile_ids), change.profile_ids[0])
        assert 1 == len(requests(simulator)) - before
        come_to_rest(simulator, k)
        assert ([BOB["email"]], 4) == (can_receive(simulator), len(simulator.profiles))

    @every_reading
    def test_r19_no_address_without_a_profile_is_named(self, client, simulator):
        """R19: a former address that nobody has is in no request, because a profile would be made for it."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        k.unsubscribe("email", external_id="ann-1", email=OLD)
        come_to_rest(simulator, k)
        assert ([NEW], {("ann-1", NEW)}) == (addressed(simulator), pairs(simulator))
        assert [] == can_receive(simulator)

    @every_reading
    def test_r19_an_address_that_the_profile_left_by_hand(self, client, simulator):
        """R19: the row carries the address that the profile shows now, read by profile id, not that of the map."""
        k = client()
        k.identify(**ANN)
        edit(simulator, simulator.profiles[0].id, email=THIRD)
        k.unsubscribe("email", external_id="ann-1")
        come_to_rest(simulator, k)
        assert ([THIRD], []) == (addressed(simulator), can_receive(simulator))
        assert 1 == len(simulator.profiles)

    def test_r19_an_address_in_another_spelling(self, client, simulator):
        """R19: the profile is found in any case of its letters, and named as Klaviyo shows it."""
        simulator.readings = Readings(email_case="kept")
        simulator._account.readings = simulator.readings
        simulator._account.live.readings = simulator.readings
        simulator.add_profile(external_id="ann-1", email="Ann@Shop.Test", consent=SUBSCRIBED)
        client().unsubscribe("email", email=OLD)
        simulator.drain()
        assert [] == subscribed(simulator)

    @every_reading
    def test_r19_a_former_address_that_is_another_customers(self, client, simulator):
        """R19: a former address of Ann's is Bob's by now: his profile is left alone."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        k.identify(external_id="bob-2", email=OLD)
        k.subscribe("email", external_id="bob-2")
        come_to_rest(simulator, k)
        change = k.unsubscribe("email", external_id="ann-1")
        come_to_rest(simulator, k)
        assert (NEW, [OLD]) == (rows(simulator)[-1]["email"], can_receive(simulator))
        assert (1, SUBSCRIBED) == (len(change.profile_ids), simulator.find(external_id="bob-2").consent)

    def test_r19_a_former_address_of_which_only_klaviyo_knows_the_owner(self, client, simulator):
        """R19: likewise where the owner has an external id that the map does not know; a notice says so."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        eve = simulator.add_profile(external_id="eve-3", email=OLD, consent=SUBSCRIBED)
        change = k.unsubscribe("email", external_id="ann-1")
        come_to_rest(simulator, k)
        assert (["profiles_left"], [OLD], False) == (
            codes(change), can_receive(simulator), eve.id in change.profile_ids,
        )  # fmt: skip

    def test_r19_the_identifier_given_is_reached_whoever_has_it(self, client, simulator):
        """R19: the link of a mail to an address names that address, whoever's it is by now."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        eve = simulator.add_profile(external_id="eve-3", email=OLD, consent=SUBSCRIBED)
        change = k.unsubscribe("email", email=OLD)
        come_to_rest(simulator, k)
        assert (True, []) == (eve.id in change.profile_ids, can_receive(simulator))

    @every_reading
    def test_r19_where_the_pair_contradicts_the_map(self, client, simulator):
        """R19: Ann's id with Bob's address withdraws for both, and says so."""
        k = client()
        for who in (ANN, BOB):
            simulator.add_profile(**who, consent=SUBSCRIBED)
            k.identify(**who)
        change = k.unsubscribe("email", external_id="ann-1", email=BOB["email"])
        come_to_rest(simulator, k)
        assert (["identifiers_differ"], 2, []) == (codes(change), len(change.profile_ids), can_receive(simulator))
        assert {("ann-1", OLD), ("bob-2", BOB["email"])} == pairs(simulator)

    def test_r19_an_id_that_only_klaviyo_knows(self, client, simulator):
        """R19: a profile with the external id is found by the search, and nothing is bound for it."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        change = k.unsubscribe("email", external_id="ann-1")
        come_to_rest(simulator, k)
        assert ("accepted", []) == (change.status, can_receive(simulator))

    @every_reading
    @pytest.mark.parametrize(
        "by", [{"external_id": "eve-3"}, {"email": "eve@shop.test"}, {"phone_number": PHONE}], ids=str
    )
    def test_r19_nobody(self, client, simulator, store, *, by):
        """R19: an identifier that nobody has withdraws from nothing, creates nothing, and is no error."""
        k = client()
        change = k.unsubscribe("email", **by)
        come_to_rest(simulator, k)
        assert ("unchanged", (), [], []) == (change.status, change.profile_ids, simulator.profiles, requests(simulator))
        assert 0 == leases(store)

    def test_r19_an_erased_customer(self, client, simulator):
        """R19: who was erased may withdraw all the same, where a browser has made a profile since."""
        k = client()
        k.identify(**ANN)
        k.erase(external_id="ann-1")
        simulator.drain()
        simulator.submit_form(email=OLD)
        change = k.unsubscribe("email", **ANN)
        come_to_rest(simulator, k)
        assert ("accepted", [], 1) == (change.status, can_receive(simulator), len(simulator.profiles))

    def test_a_profile_that_was_never_subscribed(self, client, simulator):
        """R19: it could receive email until it is suppressed, so that the request is sent."""
        simulator.add_profile(**ANN)
        k = client()
        assert ("accepted", [OLD]) == (k.unsubscribe("email", **ANN).status, can_receive(simulator))
        come_to_rest(simulator, k)
        assert [] == can_receive(simulator)

    def test_what_is_withdrawn_already(self, client, simulator, store):
        """Nothing is sent where nothing can be received, and the profiles concerned are named."""
        own = simulator.add_profile(**ANN, consent=UNSUBSCRIBED).id
        change = client().unsubscribe("email", **ANN)
        assert ("unchanged", (own,), [], 0) == (change.status, change.profile_ids, requests(simulator), leases(store))

    def test_it_is_in_the_journal(self, client, simulator, store):
        """Each withdrawal of somebody known is written down before it is sent, also where nothing can be received."""
        k = client()
        k.identify(**ANN)
        meanwhile(simulator, "bulk_unsubscribe_profiles", lambda: seen.extend(journal_of(store)))
        seen = []
        k.unsubscribe("email", **ANN)
        assert [("unsubscribe", "email", None)] == seen == journal_of(store)

    def test_h28_it_is_kept_where_nobody_was_found(self, client, store):
        """H28: because a search lags, it is kept by each identifier that it was made with."""
        client().unsubscribe("email", external_id="eve-3", email="eve@shop.test", phone_number=PHONE)
        notes = [name for name, _ in store.notes("SiMuLa").notes]
        assert [
            "withdrawn:email:email:eve@shop.test", "withdrawn:email:external_id:eve-3",
            f"withdrawn:email:phone_number:{PHONE}",
        ] == sorted(name for name in notes if name.startswith("withdrawn:"))  # fmt: skip

    def test_a_profile_that_is_gone(self, client, simulator, store):
        """P7: while Klaviyo does not show the own profile, the withdrawal is not whole; the ghosts' is sent."""
        k = client()
        own, *_ = moved(k, simulator)
        delete(simulator, own)
        error = rejected(k.unsubscribe, "email", external_id="ann-1")
        assert (True, [OLD, THIRD]) == (error.may_retry, addressed(simulator))
        assert "applied" == error.outcome
        simulator.drain()
        expire(simulator)
        persist(simulator, k.unsubscribe, "email", external_id="ann-1")
        come_to_rest(simulator, k)
        assert ([], 0) == (can_receive(simulator), leases(store))


class TestByPhone:
    @every_reading
    def test_r19_a_number_alone(self, client, simulator):
        """R19: a number alone is enough, as after a STOP that another system has got."""
        own = simulator.add_profile(**ANN, phone_number=PHONE, sms_consent=SUBSCRIBED).id
        k = client()
        change = k.unsubscribe("sms", phone_number=PHONE)
        come_to_rest(simulator, k)
        assert ((own,), [PHONE], UNSUBSCRIBED) == (
            change.profile_ids, addressed(simulator), simulator.find(**ANN).sms_consent,
        )  # fmt: skip

    def test_r19_a_number_of_several_profiles(self, client, simulator):
        """R19: each profile that has it is concerned, and the number is named once."""
        for who in (ANN, BOB):
            simulator.add_profile(**who, phone_number=PHONE, sms_consent=SUBSCRIBED)
        change = client().unsubscribe(["sms", "sms_transactional"], phone_number=PHONE)
        assert ({each.id for each in simulator.profiles}, [PHONE]) == (set(change.profile_ids), addressed(simulator))

    def test_r19_a_number_without_an_address(self, client, simulator):
        """R19: a profile that has a number alone is reached as well."""
        simulator.add_profile(phone_number=PHONE, sms_consent=SUBSCRIBED)
        k = client()
        k.unsubscribe("sms", phone_number=PHONE)
        come_to_rest(simulator, k)
        assert [set()] == [receiving(each) for each in simulator.profiles]

    def test_r19_numbers_as_klaviyo_shows_them(self, client, simulator):
        """R19: the customer's number is read from the profile, whatever the map says."""
        k = client()
        k.identify(**ANN, phone_number=PHONE)
        k.subscribe("sms", **ANN)
        come_to_rest(simulator, k)
        edit(simulator, simulator.profiles[0].id, phone_number="+12345678999")
        k.subscribe("sms", **ANN)
        come_to_rest(simulator, k)
        k.unsubscribe("sms", **ANN)
        come_to_rest(simulator, k)
        assert "+12345678999" in addressed(simulator)
        assert UNSUBSCRIBED == simulator.find(**ANN).sms_consent

    def test_a_number_whose_profile_has_another_address(self, client, simulator):
        """R19: Ann's address with the number of somebody else withdraws for both."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        simulator.add_profile(**BOB, phone_number=PHONE, sms_consent=SUBSCRIBED)
        k = client()
        k.unsubscribe(["email", "sms"], email=OLD, phone_number=PHONE)
        come_to_rest(simulator, k)
        assert [set(), set()] == [receiving(each) for each in simulator.profiles]

    def test_several_channels_are_one_request(self, client, simulator):
        """All channels of a customer go at once, each with its own identifier."""
        simulator.add_profile(**ANN, phone_number=PHONE, consent=SUBSCRIBED, sms_consent=SUBSCRIBED)
        k = client()
        k.unsubscribe(["email", "sms"], **ANN)
        assert [{"email"}, {"sms"}] == [set(row["subscriptions"]) for row in rows(simulator)]
        come_to_rest(simulator, k)
        assert [set()] == [receiving(each) for each in simulator.profiles]

    def test_one_channel_leaves_the_other(self, client, simulator):
        """What was not withdrawn can still be received."""
        simulator.add_profile(**ANN, phone_number=PHONE, consent=SUBSCRIBED, sms_consent=SUBSCRIBED)
        k = client()
        k.unsubscribe("sms", **ANN)
        come_to_rest(simulator, k)
        assert [{"email.marketing"}] == [receiving(each) for each in simulator.profiles]


class TestLists:
    @pytest.fixture
    def news(self, simulator):
        """Returns a list of which Ann is a member, and Bob is none; both are subscribed."""
        news = simulator.add_list("News")
        for who in (ANN, BOB):
            simulator.add_profile(**who, consent=SUBSCRIBED)
        simulator._account.join(news, simulator.find(**ANN).id)
        return news

    @every_reading
    def test_r19_a_member_leaves_the_list_alone(self, client, simulator, news):
        """R19: a member leaves this list and receives everything else."""
        k = client()
        change = k.unsubscribe("email", list_id=news, **ANN)
        come_to_rest(simulator, k)
        assert ("accepted", [], [OLD, BOB["email"]]) == (change.status, simulator.members(news), can_receive(simulator))

    @every_reading
    def test_r19_who_is_not_in_it_is_left_alone(self, client, simulator, news):
        """R19: Klaviyo would withdraw everything from who is not in the list, so that nothing is sent."""
        change = client().unsubscribe("email", list_id=news, **BOB)
        assert ("unchanged", [], SUBSCRIBED) == (change.status, requests(simulator), simulator.find(**BOB).consent)

    def test_r19_of_two_profiles_only_the_member(self, client, simulator):
        """R19: membership is read for each profile that is reached."""
        k, news = client(), simulator.add_list("News")
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        ghost = simulator.add_profile(email=OLD, consent=SUBSCRIBED)
        simulator._account.join(news, ghost.id)
        k.unsubscribe("email", list_id=news, external_id="ann-1")
        come_to_rest(simulator, k)
        assert ([OLD], [], [NEW, OLD]) == (
            addressed(simulator),
            simulator.members(news),
            sorted(can_receive(simulator)),
        )

    def test_a_member_who_can_receive_nothing(self, client, simulator, news):
        """Whoever was suppressed leaves the list all the same."""
        simulator.withdraw(email=OLD)
        k = client()
        assert "accepted" == k.unsubscribe("email", list_id=news, **ANN).status
        come_to_rest(simulator, k)
        assert [] == simulator.members(news)

    def test_who_leaves_before_a_repeat(self, client, simulator, news):
        """R19: membership is read again before each repeat: who has left in between is not withdrawn from all."""
        k = client()
        k.identify(**ANN)
        simulator.fail_next("bulk_unsubscribe_profiles", status=500)
        meanwhile(
            simulator, "get_profiles_for_list", lambda: simulator._account.leave(news, simulator.find(**ANN).id), turn=2
        )
        k.unsubscribe("email", list_id=news, **ANN)
        come_to_rest(simulator, k)
        assert SUBSCRIBED == simulator.find(**ANN).consent


class TestManyRows:
    def test_at_most_a_hundred_rows_a_request(self, client, simulator):
        """R19: Klaviyo takes 100 rows a request; more profiles than that are several requests."""
        for number in range(MOST_WITHDRAWN + 20):
            simulator.add_profile(
                email=f"v{number}@shop.test", phone_number=PHONE, sms_consent=SUBSCRIBED, consent=SUBSCRIBED
            )
        k = client()
        change = k.unsubscribe(["email", "sms"], phone_number=PHONE)
        sizes = [len(entry.body["data"]["attributes"]["profiles"]["data"]) for entry in requests(simulator)]
        assert (120, [100, 21]) == (len(change.profile_ids), sizes)
        simulator.drain()
        assert [] == can_receive(simulator)

    def test_the_second_of_two_requests_fails(self, client, simulator, store):
        """P7: its error says that some was applied, and `recover` completes it."""
        for number in range(MOST_WITHDRAWN + 20):
            simulator.add_profile(email=f"v{number}@shop.test", phone_number=PHONE, consent=SUBSCRIBED)
        k = client()
        simulator.fail_next(
            "bulk_unsubscribe_profiles", status=503, times=9, match=lambda asked: len(asked.body) < 5_000
        )
        error = rejected(k.unsubscribe, "email", phone_number=PHONE)
        assert isinstance(error, APIStatusError)
        assert "not_applied" != error.outcome
        simulator._faults._next.clear()
        come_to_rest(simulator, k)
        assert ([], 0) == (can_receive(simulator), leases(store))


class TestFailures:
    @every_reading
    @pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {}, {"when": "after"}], ids=str)
    def test_one_failure_is_repeated(self, client, simulator, *, fault):
        """Twice is once; each repeat names only what living profiles show by then."""
        k = client()
        moved(k, simulator)
        simulator.fail_next("bulk_unsubscribe_profiles", **fault)
        k.unsubscribe("email", external_id="ann-1")
        come_to_rest(simulator, k)
        assert ([], 3) == (can_receive(simulator), len(simulator.profiles))

    @every_reading
    def test_a_ghost_that_goes_before_a_repeat(self, client, simulator):
        """R19: an address that nobody has by then is not named again, so that no profile is made for it."""
        k = client()
        _, ghost, _ = moved(k, simulator)
        simulator.fail_next("bulk_unsubscribe_profiles", status=500)
        met = []

        def gone() -> None:
            if requests(simulator)[-1].status == 500 and not met:
                met.append(delete(simulator, ghost))

        for turn in range(1, 40):
            meanwhile(simulator, "get_profiles", gone, turn=turn)
        k.unsubscribe("email", external_id="ann-1")
        come_to_rest(simulator, k)
        assert ([], {("ann-1", NEW), (None, THIRD)}) == (can_receive(simulator), pairs(simulator))
        assert met

    def test_all_is_done_before_a_repeat(self, client, simulator):
        """The answer was lost and Klaviyo was quick: nothing is sent again, and the call succeeds."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        k.identify(**ANN)
        simulator.fail_next("bulk_unsubscribe_profiles", when="after")
        meanwhile(simulator, "get_profile", simulator.drain, turn=2)
        change = k.unsubscribe("email", **ANN)
        assert (1, [], "accepted") == (len(requests(simulator)), can_receive(simulator), change.status)

    def test_no_answer_at_all(self, client, simulator, store):
        """P7: the outcome is unknown, the lease stays, and `recover` completes it."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        simulator.fail_next("bulk_unsubscribe_profiles", times=9)
        k = client()
        error = rejected(k.unsubscribe, "email", **ANN)
        assert (NoResponseError, "unknown", 1) == (type(error), error.outcome, leases(store))
        simulator._faults._next.clear()
        assert ["completed", "completed"] == come_to_rest(simulator, k)
        assert ([], 0) == (can_receive(simulator), leases(store))

    def test_klaviyo_never_does_it(self, client, simulator, store):
        """Three times it is asked for, `Policy.consent_wait` apart; then the intent ends as failed."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        k.unsubscribe("email", **ANN)
        said = []
        for _ in range(9):
            simulator._account.queue.clear()
            expire(simulator)
            said += [each.status for each in k.recover()]
        assert (["failed"], 3, 0) == (said, len(requests(simulator)), leases(store))

    def test_klaviyo_does_it_late(self, client, simulator, store):
        """A recover that comes before Klaviyo is done reports nothing, and asks for nothing again."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        k.unsubscribe("email", **ANN)
        for _ in range(3):
            simulator.advance(5)
            assert [] == k.recover()
        assert (1, 1) == (len(requests(simulator)), leases(store))
        simulator.drain()
        simulator.advance(5)
        assert ["completed"] == [each.status for each in k.recover()]
        assert (1, 0) == (len(requests(simulator)), leases(store))


def test_who_left_by_the_link_is_left_alone(client, simulator):
    """A customer who used the link has withdrawn: the same by a call changes nothing and sends nothing."""
    simulator.add_profile(**ANN, consent=SUBSCRIBED)
    leaves(simulator, OLD)
    assert "unchanged" == client().unsubscribe("email", **ANN).status
    assert [] == requests(simulator)
