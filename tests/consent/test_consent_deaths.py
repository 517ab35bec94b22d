"""A process that dies after each step of a consent: another one completes it, and creates nobody (R18, R19, P4).

The customer has three addresses, of which two are former ones with ghosts on them, one number, and is in one list.
"""

from __future__ import annotations

import copy
import shutil
from itertools import count

import pytest

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.sqlite import SqliteStore
from safeklaviyo.testing import KlaviyoSimulator
from support.consent import READINGS, SUBSCRIBED, can_receive, come_to_rest, receiving, subscribed
from support.deaths import die_after
from support.scenes import ACCOUNT, ANN, BOB, NEW, PHONE, Killed, expire, journal_of, leases

pytestmark = pytest.mark.proof

THIRD = "ann@third.test"
ADDRESSES = (ANN["email"], THIRD, NEW)


def withdraw(k, _news):
    """Withdraw everything that Ann can receive."""
    return k.unsubscribe(["email", "sms"], external_id="ann-1", email=ANN["email"])


def leave(k, news):
    """Leave one list."""
    return k.unsubscribe("email", list_id=news, external_id="ann-1")


def suppress(k, _news):
    """Keep mail away."""
    return k.suppress(external_id="ann-1")


def give(k, news):
    """Consent to both channels, and join a list."""
    return k.subscribe(["email", "sms"], list_id=news, external_id="ann-1", phone_number=PHONE, resubscribe=True)


def bystander(simulator):
    """Return what must never change: another customer's profile, who has consented."""
    bob = simulator.find(external_id="bob-2")
    return bob.email, bob.consents, bob.suppressions


def is_withdrawn(simulator, news):
    """Tell whether nothing goes to Ann any more, by any of her profiles."""
    return [set()] * 3 == [receiving(each) for each in simulator.profiles if each.external_id != "bob-2"]


def is_left(simulator, news):
    """Tell whether Ann has left the list, and that alone."""
    return ([], sorted(ADDRESSES)) == (simulator.members(news), can_receive(simulator, ADDRESSES))


def is_suppressed(simulator, news):
    """Tell whether no mail goes to Ann."""
    return [] == can_receive(simulator, ADDRESSES)


def is_given(simulator, news):
    """Tell whether Ann's own profile has both consents, and no ghost has got one."""
    own = simulator.find(external_id="ann-1")
    return (SUBSCRIBED, SUBSCRIBED, [NEW]) == (own.consent, own.sms_consent, subscribed_of_ann(simulator))


def subscribed_of_ann(simulator):
    """Return Ann's addresses that show consent."""
    return [each for each in subscribed(simulator) if each in ADDRESSES]


SCENES = {
    "unsubscribe": (withdraw, is_withdrawn, SUBSCRIBED),
    "leave a list": (leave, is_left, SUBSCRIBED),
    "suppress": (suppress, is_suppressed, SUBSCRIBED),
    "subscribe": (give, is_given, "NEVER_SUBSCRIBED"),
}


def prepare(simulator, store, open_client, consent):
    """Let the scene begin, and return the list."""
    k = open_client(simulator, store)
    k.identify(**ANN)
    for email in (THIRD, NEW):
        k.change_email(email, external_id="ann-1")
    if consent == SUBSCRIBED:
        k.change_phone_number(PHONE, external_id="ann-1")
        k.subscribe(["email", "sms"], external_id="ann-1")
    k.identify(**BOB)
    k.subscribe("email", **BOB)
    come_to_rest(simulator, k)
    for email in ADDRESSES[:2]:
        simulator.add_profile(email=email, consent=consent)
    news = simulator.add_list("News")
    if consent == SUBSCRIBED:
        simulator._account.join(news, simulator.find(external_id="ann-1").id)
    return news


def deaths(copied, open_client, call, news):
    """Let a process die after each step in turn, each in a copy of the scene, and yield that copy."""
    for steps in count(1):
        then, known = copied(steps)
        doomed = open_client(then, known)
        die_after(doomed, steps)
        try:
            call(doomed, news)
        except Killed:
            yield steps, then, known
        else:
            known.close()
            assert steps > 5
            return


EVERY = [
    pytest.param(name, reading, jobs, marks=() if (reading, jobs) == ("usual", "late") else pytest.mark.slow)
    for name in SCENES
    for reading in READINGS
    for jobs in ("late", "at once")
]


@pytest.mark.parametrize(("name", "reading", "jobs"), EVERY)
def test_p4_after_each_step(open_client, name, reading, jobs):
    """P4, R19: what was begun is completed by `recover` and `recheck_changes`, and the same call ends as ever."""
    call, is_done, consent = SCENES[name]
    begin = KlaviyoSimulator(READINGS[reading], account=ACCOUNT)
    memory = MemoryStore(clock=begin.now)
    news = prepare(begin, memory, open_client, consent)
    met = 0
    for steps, simulator, store in deaths(lambda _: copy.deepcopy((begin, memory)), open_client, call, news):
        met += 1
        before = bystander(simulator)
        if jobs == "at once":
            simulator.drain()
        expire(simulator)
        k = open_client(simulator, store)
        begun = leases(store) > 0 or {"unsubscribe", "suppress"} & {row[0] for row in journal_of(store)[-1:]}
        assert {"completed"} >= set(come_to_rest(simulator, k)), steps
        k.recheck_changes(repair=True)
        come_to_rest(simulator, k)
        if begun:
            assert is_done(simulator, news), steps
        check(simulator, store, before)
        call(k, news)
        come_to_rest(simulator, k)
        assert is_done(simulator, news), steps
        check(simulator, store, before)
    assert met > 10


@pytest.mark.parametrize("name", ["unsubscribe", pytest.param("subscribe", marks=pytest.mark.slow)])
def test_p4_on_a_file(tmp_path, open_client, name):
    """P4: likewise where the map is a file: nothing that was begun is only in the memory of the process."""
    call, is_done, consent = SCENES[name]
    begin = KlaviyoSimulator(account=ACCOUNT)
    with SqliteStore(tmp_path / "begin.db", clock=begin.now) as store:
        news = prepare(begin, store, open_client, consent)

    def copied(steps):
        then = copy.deepcopy(begin)
        path = shutil.copy(tmp_path / "begin.db", tmp_path / f"{steps}.db")
        return then, SqliteStore(path, clock=then.now)

    met = 0
    for steps, simulator, store in deaths(copied, open_client, call, news):
        met += 1
        with store:
            was_asked = store.find(ACCOUNT, [Identifier(Kind.EXTERNAL_ID, "ann-1")]).lease is not None
            before = bystander(simulator)
            expire(simulator)
            k = open_client(simulator, store)
            assert {"completed"} >= set(come_to_rest(simulator, k)), steps
            k.recheck_changes()
            come_to_rest(simulator, k)
            assert is_done(simulator, news) or not was_asked, steps
            call(k, news)
            come_to_rest(simulator, k)
            assert (True, 4, before) == (is_done(simulator, news), len(simulator.profiles), bystander(simulator))
            assert () == store.expired(ACCOUNT, 1)
    assert met > 10


def check(simulator, store, before):
    """Nobody was made, or moved; nobody else is concerned; no lease is left."""
    assert (4, 0, before) == (len(simulator.profiles), leases(store), bystander(simulator))
    assert {None, "ann-1", "bob-2"} == {each.external_id for each in simulator.profiles}
    assert sorted([*ADDRESSES, BOB["email"]]) == sorted(each.email for each in simulator.profiles)
