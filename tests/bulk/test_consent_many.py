"""`subscribe_many`, `unsubscribe_many`, `suppress_many`: the rules of the verbs about one person, requests joined."""

from __future__ import annotations

import json

import pytest

from safeklaviyo import (
    AuthenticationError,
    ConfigurationError,
    ConsentWithdrawnError,
    EmailMismatchError,
    IdentityError,
    InvalidIdentifierError,
    InvalidPropertyError,
    NoResponseError,
    RetryPolicy,
    StoreUnavailableError,
)
from safeklaviyo.testing import KlaviyoSimulator
from support.consent import (
    READINGS,
    can_receive,
    come_to_rest,
    named,
    requests,
    rows,
    subscribed,
)
from support.scenes import asked, expire, journal_of, leases, meanwhile

ONCE = RetryPolicy(max_attempts=1)
SOME = range(1, 6)
UNPACED = "http://127.0.0.1:1"
"""A host that is not Klaviyo's, whose published limits do not hold."""


@pytest.fixture
def settings():
    """How the pretend Klaviyo differs from the usual one."""
    return {}


@pytest.fixture
def simulator(settings):
    """A pretend Klaviyo without profiles, whose time stands still unless somebody waits."""
    return KlaviyoSimulator(account="SiMuLa", **settings)


def who(number):
    """Return one of many customers."""
    return {"external_id": f"c-{number}", "email": address(number)}


def address(number):
    """Return that customer's address."""
    return f"c{number:03}@shop.test"


def row(number, **more):
    """Return a row of `subscribe_many` and of `unsubscribe_many`."""
    return {"channels": "email", **who(number)} | more


def introduce(k, simulator, numbers):
    """Let a client and Klaviyo know these customers."""
    known = [who(number) | {"profile_id": simulator.add_profile(**who(number)).id} for number in numbers]
    assert len(known) == k.bindings.add(known, trusted=True).added


@pytest.fixture
def known(client, simulator):
    """A client that knows five customers, and a journal that begins after that."""
    k = client()
    introduce(k, simulator, SOME)
    simulator.journal.clear()
    return k


@pytest.fixture
def refused():
    """What `on_refused` was told: the numbers of rows, and their errors."""
    return {}


@pytest.fixture
def tell(refused):
    """An `on_refused` that keeps what it is told."""
    return lambda number, _row, error: refused.update({number: error})


every_reading = pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"readings": reading}, id=name, marks=[pytest.mark.slow] if number else [])
        for number, (name, reading) in enumerate(READINGS.items())
    ],
)


class TestSubscribe:
    def test_r18_known_customers_are_subscribed_by_one_request(self, known, simulator):
        """R18: each row names a profile by its id, and carries no identifier."""
        report = known.subscribe_many([row(number) for number in SOME])
        assert (5, 5, 0, 0) == (report.total, report.accepted, report.refused, report.unknown)
        assert (1, [{"id"}] * 5) == (len(requests(simulator)), named(simulator))
        simulator.drain()
        assert [address(number) for number in SOME] == subscribed(simulator)

    @every_reading
    def test_r18_under_every_reading(self, known, simulator):
        """Where Klaviyo refuses a row by its id alone, the rows carry the address too, and still travel together."""
        report = known.subscribe_many([row(number) for number in SOME])
        assert (5, 0) == (report.accepted, report.refused + report.unknown)
        assert len(requests(simulator)) <= 4
        come_to_rest(simulator, known)
        assert [address(number) for number in SOME] == subscribed(simulator)

    @pytest.mark.slow
    def test_a_thousand_in_a_request(self, open_client, simulator, store):
        """Klaviyo takes a thousand rows at most."""
        k = open_client(simulator, store, base_url=UNPACED)
        introduce(k, simulator, range(1005))
        simulator.journal.clear()
        assert 1005 == k.subscribe_many([row(number) for number in range(1005)]).accepted
        sizes = [len(each.body["data"]["attributes"]["profiles"]["data"]) for each in requests(simulator)]
        assert [1000, 5] == sizes

    def test_r18_strangers_get_a_profile_first(self, client, simulator):
        """R18: as for one person. Two rows about one stranger make one profile."""
        report = client().subscribe_many([row(number % 3) for number in range(6)])
        assert (6, 3) == (report.accepted, len(simulator.profiles))
        simulator.drain()
        assert [address(number) for number in range(3)] == subscribed(simulator)

    def test_r18_a_withdrawal_costs_its_row_alone(self, known, simulator, tell, refused):
        """R18: what a customer has withdrawn is not given back unasked, and no other row pays for it."""
        known.unsubscribe("email", **who(2))
        come_to_rest(simulator, known)
        simulator.journal.clear()
        report = known.subscribe_many([row(number) for number in SOME], on_refused=tell)
        assert (4, 1, [1]) == (report.accepted, report.refused, list(refused))
        assert (ConsentWithdrawnError, "R18", "subscribe_many") == (
            type(refused[1]), refused[1].rule, refused[1].operation,
        )  # fmt: skip
        simulator.drain()
        assert [address(number) for number in (1, 3, 4, 5)] == subscribed(simulator)

    def test_h30_a_withdrawal_before_a_repeat_leaves_the_others(self, client, simulator, tell, refused):
        """H30: consent is read again before the request is repeated; who has withdrawn since has left it."""
        k = client()
        introduce(k, simulator, SOME)
        meanwhile(simulator, "bulk_subscribe_profiles", lambda: simulator.withdraw(email=address(3)))
        simulator.fail_next("bulk_subscribe_profiles", status=503)
        report = k.subscribe_many([row(number) for number in SOME], on_refused=tell)
        assert ([2], "ConsentWithdrawnError") == (list(refused), type(refused[2]).__name__)
        assert 4 == report.accepted
        come_to_rest(simulator, k)
        assert address(3) not in subscribed(simulator)

    def test_rows_of_one_person_follow_each_other(self, known, simulator):
        """The second row needs the first one's lease, so the first is sent at once, not when its lease expires."""
        began = simulator.now()
        report = known.subscribe_many([row(1), row(1, list_id=None, source="form"), row(2)])
        assert (3, 0) == (report.accepted, report.refused)
        assert simulator.now() - began < 3
        simulator.drain()
        assert [address(1), address(2)] == subscribed(simulator)

    def test_rows_that_say_different_things_travel_apart(self, known, simulator):
        """A request has one list and one source, and is an import or not."""
        news = simulator.add_list("News")
        given = [row(1), row(2, list_id=news), row(3), row(4, list_id=news), row(5, source="a form")]
        assert 5 == known.subscribe_many(given).accepted
        frames = sorted(len(each.body["data"]["attributes"]["profiles"]["data"]) for each in requests(simulator))
        assert [1, 2, 2] == frames
        assert 1 == asked(simulator).count("get_list")

    def test_a_bad_row_costs_no_other(self, known, simulator, tell, refused):
        """Each row is checked by itself, before anything is sent for it."""
        given = [row(1), row(2, channels="pigeon"), row(3, email="nobody"), {"emial": 1}, 7, row(4, list_id="no list"),
                 row(5, channels="sms")]  # fmt: skip
        report = known.subscribe_many(given, on_refused=tell)
        assert (1, 6) == (report.accepted, report.refused)
        assert {
            1: InvalidPropertyError, 2: InvalidIdentifierError, 3: InvalidPropertyError, 4: InvalidPropertyError,
            5: InvalidPropertyError, 6: InvalidIdentifierError,
        } == {number: type(error) for number, error in refused.items()}  # fmt: skip
        simulator.drain()
        assert [address(1)] == subscribed(simulator)

    def test_by_a_number_alone(self, client, simulator):
        """A phone alone is enough where exactly one profile has it, and goes by itself."""
        k = client()
        k.identify(**who(1), phone_number="+12345678901")
        report = k.subscribe_many([{"channels": "sms", "phone_number": "+12345678901"}])
        simulator.drain()
        assert (1, "SUBSCRIBED") == (
            report.accepted, simulator.profiles[0].sms_consent,
        )  # fmt: skip


class TestAnswers:
    @pytest.mark.parametrize("status", [400, 413])
    def test_a_request_that_is_refused_goes_row_by_row(self, known, simulator, status):
        """A row is refused only by its own answer."""
        simulator.fail_next("bulk_subscribe_profiles", status=status)
        report = known.subscribe_many([row(number) for number in SOME])
        assert (5, 0) == (report.accepted, report.refused)
        assert [5, 1, 1, 1, 1, 1] == [
            len(each.body["data"]["attributes"]["profiles"]["data"]) for each in requests(simulator)
        ]
        simulator.drain()
        assert [address(number) for number in SOME] == subscribed(simulator)

    def test_a_429_waits_for_its_turn(self, known, simulator):
        """Nothing was done, so the same people are read and sent again, together."""
        simulator.fail_next("bulk_subscribe_profiles", status=429, times=7)
        report = known.subscribe_many([row(number) for number in SOME])
        assert (5, 0) == (report.accepted, report.refused + report.unknown)
        simulator.drain()
        assert [address(number) for number in SOME] == subscribed(simulator)

    def test_a_lost_answer_is_asked_for_again(self, client, simulator):
        """The request says the same of the same profiles, so twice is once while the leases hold."""
        k = client()
        introduce(k, simulator, SOME)
        simulator.fail_next("bulk_subscribe_profiles", when="after")
        report = k.subscribe_many([row(number) for number in SOME])
        assert (5, 0) == (report.accepted, report.refused + report.unknown)
        come_to_rest(simulator, k)
        assert [address(number) for number in SOME] == subscribed(simulator)

    def test_p4_whose_lease_is_lost_is_left_out_and_decided_again(self, open_client, simulator, store):
        """P4: nothing is sent for a person whose lease is not held. Another process has finished their intent."""
        known, other = open_client(simulator, store), open_client(simulator, store)
        introduce(known, simulator, SOME)

        def take_over():
            expire(simulator)
            other.recover()
            simulator.drain()
            simulator.withdraw(email=address(1))

        meanwhile(simulator, "get_profile", take_over, turn=5)
        report = known.subscribe_many([row(number) for number in SOME])
        assert (4, 1) == (report.accepted, report.unknown)
        come_to_rest(simulator, known)
        assert [address(number) for number in SOME[1:]] == subscribed(simulator)

    def test_a_klaviyo_that_stays_silent(self, client, simulator, tell, refused):
        """After some rows without an answer the others are not tried; all may be sent again, and `recover` finishes."""
        introduce(client(), simulator, SOME)
        k = client(retry=ONCE)
        simulator.fail_next("bulk_subscribe_profiles", times=4)
        report = k.subscribe_many([row(number) for number in SOME], on_refused=tell)
        assert (0, 5) == (report.accepted, report.unknown)
        assert {NoResponseError} == {type(error) for error in refused.values()}
        assert 4 == len(requests(simulator))
        come_to_rest(simulator, k)
        assert [address(number) for number in SOME] == subscribed(simulator)

    def test_a_key_that_is_refused_ends_the_call_and_holds_nobody(self, known, simulator, store):
        """Every further row would end the same way; the leases are given back."""
        simulator.fail_next("bulk_subscribe_profiles", status=401)
        with pytest.raises(AuthenticationError):
            known.subscribe_many([row(number) for number in SOME])
        assert 0 == leases(store)
        assert 1 == len(requests(simulator))


class TestUnsubscribe:
    def test_r19_known_customers_are_reached_by_one_request(self, known, simulator):
        """R19: as one by one; a hundred rows at most."""
        report = known.unsubscribe_many([row(number) for number in SOME])
        assert (5, 0, 1) == (report.accepted, report.refused, len(requests(simulator)))
        come_to_rest(simulator, known)
        assert [] == can_receive(simulator)

    @pytest.mark.slow
    def test_a_hundred_in_a_request(self, open_client, simulator, store):
        """Klaviyo takes a hundred rows at most; who has a ghost on a former address fills two."""
        k = open_client(simulator, store, base_url=UNPACED)
        introduce(k, simulator, range(101))
        k.change_email("new@shop.test", external_id="c-0")
        simulator.add_profile(email=address(0))
        simulator.journal.clear()
        assert 101 == k.unsubscribe_many([row(number, email=None) for number in range(101)]).accepted
        sizes = [len(each.body["data"]["attributes"]["profiles"]["data"]) for each in requests(simulator)]
        assert ([100, 2], 102) == (sizes, len({json.dumps(each, sort_keys=True) for each in rows(simulator)}))

    @every_reading
    def test_r19_under_every_reading(self, known, simulator):
        """Nobody can receive afterwards, and no profile was made."""
        known.unsubscribe_many([row(number) for number in (*SOME, 77)])
        come_to_rest(simulator, known)
        assert ([], 5) == (can_receive(simulator), len(simulator.profiles))

    def test_r19_rows_that_contradict_the_map_are_refused(self, known, simulator, tell, refused):
        """R19: in bulk a row with another customer's address withdraws nothing for anybody; of 203 rows two may."""
        given = [row(1), row(2), row(3, email="another@shop.test"), *[{}] * 200]
        given[1]["email"] = address(5)
        report = known.unsubscribe_many(given, on_refused=tell)
        assert (1, 202) == (report.accepted, report.refused)
        assert {(EmailMismatchError, "R6", "unsubscribe_many")} == {
            (type(refused[number]), refused[number].rule, refused[number].operation) for number in (1, 2)
        }
        come_to_rest(simulator, known)
        assert [address(number) for number in (2, 3, 4, 5)] == can_receive(simulator)

    def test_r19_a_file_whose_columns_have_slipped_sends_nothing(self, known, simulator, store, tell, refused):
        """R19: if more than 1 % of the first 1,000 rows contradict the map, nothing is sent, not even for strangers."""
        given = [row(1), row(2), row(777, external_id=None), *[{}] * 196]
        given[0]["email"], given[1]["email"] = address(2), address(1)
        with pytest.raises(IdentityError, match="2 of the first 199 rows contradict") as error:
            known.unsubscribe_many(given, on_refused=tell)
        assert ("R19", True, []) == (error.value.rule, {0, 1} <= refused.keys(), asked(simulator))
        assert "unsubscribe" not in {verb for verb, *_ in journal_of(store)}

    def test_r19_one_row_alone_says_nothing_about_a_file(self, known, simulator, tell, refused):
        """A do-not-mail list of five with one slip is carried out, but for the slip."""
        given = [row(number) for number in SOME]
        given[0]["email"] = address(2)
        assert (4, [0]) == (known.unsubscribe_many(given, on_refused=tell).accepted, list(refused))

    def test_a_former_address_is_no_contradiction(self, known, simulator):
        """R5: a pair of a customer's id and their former address names that customer."""
        known.change_email("new@shop.test", external_id="c-1")
        assert 1 == known.unsubscribe_many([row(1)]).accepted
        come_to_rest(simulator, known)
        assert "new@shop.test" not in can_receive(simulator)

    def test_strangers_and_numbers_go_one_by_one(self, client, simulator):
        """R19: an address or a number counts where a living profile has it; none is made for another."""
        simulator.add_profile(email=address(1), phone_number="+12345678901")
        k = client()
        given = [
            {"channels": "email", "email": address(1)},
            {"channels": "email", "email": "no@body.test"},
            {"channels": "sms", "phone_number": "+12345678901"},
        ]
        assert 3 == k.unsubscribe_many(given).accepted
        come_to_rest(simulator, k)
        assert ([], 1) == (can_receive(simulator), len(simulator.profiles))

    def test_who_is_not_in_the_list_is_left_alone(self, known, simulator):
        """R19: Klaviyo would unsubscribe them from everything."""
        news = simulator.add_list("News")
        known.lists.add(news, [who(1), who(2)])
        simulator.drain()
        simulator.journal.clear()
        assert 3 == known.unsubscribe_many([row(number, list_id=news) for number in (1, 2, 3)]).accepted
        assert [address(1), address(2)] == sorted(each["email"] for each in rows(simulator))

    def test_a_map_that_goes_away_ends_the_call(self, known, simulator, store):
        """P6: no rows without the map, but those already sent stay sent."""
        broken = StoreUnavailableError("gone")
        find, seen = store.find, []

        def failing(*args, **named):
            seen.append(args)
            if len(seen) > 3:
                raise broken
            return find(*args, **named)

        store.find = failing
        with pytest.raises(StoreUnavailableError):
            known.unsubscribe_many([row(number) for number in SOME])


class TestSuppress:
    def test_known_and_unknown_alike(self, known, simulator):
        """A do-not-mail list holds for those who come later: an address without a profile gets one first."""
        report = known.suppress_many([who(number) | {} for number in (1, 2, 3)] + [{"email": "later@shop.test"}])
        assert (4, 0) == (report.accepted, report.refused)
        assert ["bulk_suppress_profiles"] * 2 == [each.endpoint for each in requests(simulator)]
        come_to_rest(simulator, known)
        assert [address(4), address(5)] == can_receive(simulator)

    def test_a_file_that_contradicts_suppresses_nobody(self, known, simulator):
        """R19 holds for suppressions too."""
        given = [who(number) for number in SOME]
        given[0]["email"], given[1]["email"] = address(2), address(1)
        with pytest.raises(IdentityError, match="contradict"):
            known.suppress_many(given)
        assert [] == asked(simulator)


def test_what_is_no_iterable(client):
    """A wrong argument is told before anything is drawn."""
    for verb in ("subscribe_many", "unsubscribe_many", "suppress_many"):
        with pytest.raises(ConfigurationError, match="iterable"):
            getattr(client(), verb)(7)
