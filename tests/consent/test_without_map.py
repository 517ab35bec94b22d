"""A withdrawal while the map is away (R19): it acts on the given identifier, and the rest follows (P6 excepted)."""

from __future__ import annotations

import pytest

from safeklaviyo import DeadlineExceededError, StoreError, StoreUnavailableError
from support.consent import READINGS, SUBSCRIBED, UNSUBSCRIBED, addressed, can_receive, come_to_rest, requests
from support.scenes import ANN, BOB, NEW, PHONE, Troubled, rejected

OLD = ANN["email"]
ALL = {"find", "acquire", "renew", "release", "bind", "remember", "remove"}
every_reading = pytest.mark.parametrize(
    "settings", [{"readings": reading} for reading in READINGS.values()], ids=list(READINGS)
)


@pytest.fixture
def store(simulator):
    """An empty map that fails where a test says so."""
    return Troubled(simulator)


@every_reading
@pytest.mark.parametrize("verb", ["unsubscribe", "suppress"])
def test_r19_the_identifier_given(client, simulator, store, *, verb):
    """R19: a living profile with it is withdrawn from, and the error says so and that the call may be repeated."""
    simulator.add_profile(**ANN, consent=SUBSCRIBED)
    simulator.add_profile(**BOB, consent=SUBSCRIBED)
    k = client()
    store.failing = set(ALL)
    call = k.suppress if verb == "suppress" else lambda **who: k.unsubscribe("email", **who)
    error = rejected(call, email=OLD)
    assert isinstance(error, StoreUnavailableError)
    assert ("applied", True, [OLD]) == (error.outcome, error.may_retry, addressed(simulator))
    simulator.drain()
    assert [BOB["email"]] == can_receive(simulator)


@every_reading
def test_r19_nobody_has_it(client, simulator, store):
    """R19: nothing is created, and the error says that nothing was done."""
    k = client()
    store.failing = set(ALL)
    error = rejected(k.unsubscribe, "email", email=OLD)
    assert ("not_applied", True, [], []) == (error.outcome, error.may_retry, requests(simulator), simulator.profiles)


def test_r19_an_id_alone(client, simulator, store):
    """R19: an external id alone leads nowhere without the map, so that nothing is sent."""
    simulator.add_profile(**ANN, consent=SUBSCRIBED)
    k = client()
    store.failing = set(ALL)
    error = rejected(k.unsubscribe, "email", external_id="ann-1")
    assert ("not_applied", True, []) == (error.outcome, error.may_retry, requests(simulator))


def test_r19_a_number(client, simulator, store):
    """R19: a number leads to the profiles that show it."""
    simulator.add_profile(**ANN, phone_number=PHONE, consent=SUBSCRIBED, sms_consent=SUBSCRIBED)
    k = client()
    store.failing = set(ALL)
    rejected(k.unsubscribe, ["email", "sms"], phone_number=PHONE)
    simulator.drain()
    assert (UNSUBSCRIBED, UNSUBSCRIBED) == (simulator.find(**ANN).consent, simulator.find(**ANN).sms_consent)


def test_r19_the_rest_follows(client, simulator, store):
    """R19: the same call, once the map is back, reaches the profile on the customer's present address."""
    k = client()
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1")
    simulator.add_profile(email=OLD, consent=SUBSCRIBED)
    store.failing = set(ALL)
    rejected(k.unsubscribe, "email", email=OLD)
    simulator.drain()
    assert [NEW] == can_receive(simulator)
    store.failing = set()
    assert "accepted" == k.unsubscribe("email", email=OLD).status
    come_to_rest(simulator, k)
    assert [] == can_receive(simulator)


@pytest.mark.parametrize("failing", sorted(ALL - {"remove", "remember", "release"}))
def test_r19_whatever_the_map_fails_at(client, simulator, store, failing):
    """R19: at whichever step the map goes away, the address given receives nothing, and the error may be repeated."""
    simulator.add_profile(**ANN, consent=SUBSCRIBED)
    k = client()
    k.identify(**ANN)
    store.failing = {failing}
    error = rejected(k.unsubscribe, "email", **ANN)
    assert (True, True) == (isinstance(error, StoreError), error.may_retry)
    assert "not_applied" != error.outcome
    simulator.drain()
    assert [] == can_receive(simulator)
    store.failing = set()
    simulator.advance(3600)
    k.unsubscribe("email", **ANN)
    come_to_rest(simulator, k)
    assert ([], 1) == (can_receive(simulator), len(simulator.profiles))


def test_r19_a_list(client, simulator, store):
    """R19: membership is read first, here too: who is not in the list is left alone."""
    news = simulator.add_list("News")
    for who in (ANN, BOB):
        simulator.add_profile(**who, consent=SUBSCRIBED)
    simulator._account.join(news, simulator.find(**ANN).id)
    k = client()
    store.failing = set(ALL)
    rejected(k.unsubscribe, "email", list_id=news, email=OLD)
    error = rejected(k.unsubscribe, "email", list_id=news, email=BOB["email"])
    simulator.drain()
    assert ([], "not_applied") == (simulator.members(news), error.outcome)
    assert sorted([OLD, BOB["email"]]) == can_receive(simulator)


def test_r19_many_rows(client, simulator, store):
    """R19: at most a hundred rows a request, here too."""
    for number in range(120):
        simulator.add_profile(email=f"v{number}@shop.test", phone_number=PHONE, consent=SUBSCRIBED)
    k = client()
    store.failing = set(ALL)
    rejected(k.unsubscribe, "email", phone_number=PHONE)
    assert [100, 20] == [len(each.body["data"]["attributes"]["profiles"]["data"]) for each in requests(simulator)]


def test_p6_a_consent_is_never_given_without_the_map(client, simulator, store):
    """P6: only a withdrawal goes on; a consent is refused, and nothing was sent."""
    simulator.add_profile(**ANN)
    k = client()
    store.failing = set(ALL)
    error = rejected(k.subscribe, "email", **ANN)
    assert ("not_applied", []) == (error.outcome, requests(simulator))
    errors = [rejected(k.unsuppress, **ANN), rejected(k.consent, **ANN)]
    assert {StoreUnavailableError} == {type(each) for each in errors}
    assert [] == requests(simulator)


class TestDeadline:
    """A map that never answers is away after a part of the call's deadline; the rest is for the withdrawal."""

    @pytest.fixture
    def silent(self, simulator):
        """Returns a map that lets every deadline pass before it fails."""

        class Silent(Troubled):
            def find(self, account, identifiers):
                simulator.advance(1.0)
                raise StoreUnavailableError("the map did not answer in time")

        return Silent(simulator)

    def test_r19_within_the_deadline(self, client, simulator, silent):
        """R19: the withdrawal is sent within the call's deadline."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client(store=silent, deadline=2.0)
        start = simulator.now()
        error = rejected(k.unsubscribe, "email", email=OLD)
        assert isinstance(error, StoreUnavailableError | DeadlineExceededError)
        assert ("applied", True, True) == (error.outcome, error.may_retry, simulator.now() - start <= 2.2)
        simulator.drain()
        assert [] == can_receive(simulator)
