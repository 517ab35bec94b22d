"""Running clients whose shared map's server goes away and comes back: in a storm that kills processes too, and alone.

What the stores themselves do then is in the tests of each store, and what each verb leaves at each step in those of the
identities; here real processes, real servers and one served Klaviyo meet.
"""

import signal
import tempfile
from collections import Counter
from contextlib import contextmanager
from functools import partial
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from safeklaviyo import SafeKlaviyoError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from support import storms
from support.postgres_servers import OwnCluster, migrated
from support.redis_servers import OwnServer

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(storms.IMPORTS)
LOGGED = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
KILLED = -signal.SIGKILL
IN_MEMORY = Path("/dev/shm")

EXPECTED = {"StoreUnavailableError", "NoResponseError", "EmailTakenError", "IdOnlyError"}
"""How a call may end in a storm: an address that both want is the other's, and nobody was met by that id yet."""


@contextmanager
def own_folder():
    """Give a folder, in memory where the system has one."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL server with a map."""
    with own_folder() as folder, OwnCluster(folder) as server:
        migrated(server.url)
        yield server


@pytest.fixture(scope="module")
def redis():
    """A Redis server that writes each change to its log."""
    with own_folder() as folder, OwnServer(folder, *LOGGED) as server:
        yield server


@pytest.fixture(params=["postgres", "redis"])
def kind(request):
    """A kind of server."""
    return request.param


@pytest.fixture
def server(kind, request):
    """A server of that kind which may be ended, and is to be there again after the test."""
    return request.getfixturevalue(kind)


@pytest.fixture
def open_map(kind, server):
    """What opens the map on that server."""
    return partial(storms.store_at, kind, server.url)


# A storm.


def play(server, weather, start):
    """Let a process work at each place until all is done, whoever dies be followed by another; return their ends."""
    living, ends = {}, []

    def begin(place):
        living[place] = process = start(place)
        weather.alive.append(process.pid)

    try:
        for place in range(storms.PLACES):
            begin(place)
        while living:
            ended = wait([process.sentinel for process in living.values()], timeout=0.02)
            if weather.is_server_away:
                weather.is_server_away = False
                server.start()
            for place in [place for place, process in living.items() if process.sentinel in ended]:
                process = living.pop(place)
                process.join()
                ends.append(process.exitcode)
                if process.pid in weather.alive:
                    weather.alive.remove(process.pid)
                if process.exitcode == KILLED:
                    begin(place)
    finally:
        for process in living.values():
            process.kill()
            process.join()
    return ends


def settle(worker, store, simulator, account, customers):
    """Finish what is unfinished, as a shop does: Klaviyo's queue, `recover`, and the next call about each customer."""
    simulator.drain()
    everybody = range(customers)
    names = [Identifier(Kind.EMAIL, email) for number in everybody for email in storms.addresses(number)]
    names += [Identifier(Kind.EXTERNAL_ID, each) for number in everybody for each in storms.ids(number)]
    while store.find(account, names).lease is not None:
        assert {"completed", "failed"} >= {each.status for each in worker.call("recover")}
    assert [] == worker.call("recover")
    for number in everybody:
        worker.call("identify", {"email": storms.addresses(number)[0]})
    simulator.drain()


def check_profiles(simulator, bindings, customers):
    """Each customer has one profile, with nothing of anybody else's, as the map says too; return whose each is."""
    shown = {each.id: (each.external_id, each.email, each.phone_number) for each in simulator.profiles}
    assert shown == {each.profile_id: (each.external_id, each.email, each.phone_number) for each in bindings}
    owners = {}
    for profile_id, (external_id, email, phone_number) in shown.items():
        (owners[profile_id],) = [number for number in range(customers) if external_id in storms.ids(number)]
        assert email in storms.addresses(owners[profile_id])
        assert phone_number in {None, *storms.phone_numbers(owners[profile_id])}
    assert list(range(customers)) == sorted(owners.values())
    return owners


def check_events(simulator, owners, told):
    """Each event is recorded once if its call returned, on its owner's profile, and not at all if it was refused."""
    tracked = {line["unique_id"]: line for line in told if line["verb"] == "track" and line["is_over"]}
    accepted = {unique_id for unique_id, line in tracked.items() if line["error"] is None}
    assert Counter(accepted) == Counter(event.unique_id for event in simulator.events)
    for event in simulator.events:
        assert storms.owner_of(event.unique_id) == owners[event.profile_id]
        assert event.profile_id == tracked[event.unique_id]["profile_id"]


def check_errors(told):
    """Only errors that are to be expected came; no write is no change, but for an intent that may be left behind."""
    failed = [line for line in told if line["error"] is not None]
    assert EXPECTED >= {line["error"] for line in failed}
    for line in failed:
        may_be = {"not_applied", "unknown"} if line["verb"].startswith("change_") else {"not_applied"}
        assert line["writes"] or line["outcome"] in may_be
    assert "StoreUnavailableError" in {line["error"] for line in failed}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_a_storm_makes_no_duplicate_and_loses_nothing(kind, server, account, simulator, *, open_map, tmp_path, seed):
    """P3, P4, P5, P7: processes are killed, the map's server crashes, answers are lost, and all ends as without."""
    storm = storms.STORM
    weather = storms.Weather(storm, seed, server.kill)
    paths = [tmp_path / str(place) for place in range(storms.PLACES)]
    with simulator.serve() as url:

        def start(place):
            given = ((kind, server.url), account, url, storm)
            job = {"seed": seed, "place": place, "path": paths[place]}
            process = SERVER.Process(target=storms.work, args=given, kwargs=job)
            process.start()
            return process

        weather.over(simulator)
        ends = play(server, weather, start)
        assert ([], {0: storms.PLACES, KILLED: 3 * storm.times}) == (weather.coming, Counter(ends))
        with open_map() as store, storms.Worker(store, account, url) as worker:
            settle(worker, store, simulator, account, storm.customers)
            bindings = store.page(account).bindings
    told = [line for path in paths for line in storms.lines(path)]
    check_events(simulator, check_profiles(simulator, bindings, storm.customers), told)
    check_errors(told)


# One client, whose server goes away.


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def is_async(request):
    """Whether the client is asynchronous."""
    return request.param


@pytest.fixture
def url(simulator):
    """Where the pretend Klaviyo is."""
    with simulator.serve() as url:
        yield url


@contextmanager
def away(server, how):
    """Let a server be dead, or merely silent, for a while."""
    end, begin = {"dead": (server.kill, server.start), "silent": (server.pause, server.resume)}[how]
    end()
    try:
        yield
    finally:
        begin()


def rejected(worker, verb, arguments):
    """Return the error that a call raises."""
    with pytest.raises(SafeKlaviyoError) as caught:
        worker.call(verb, arguments)
    return caught.value


def closed(worker, verb, arguments):
    """Check that a call is refused for want of the map (P6)."""
    error = rejected(worker, verb, arguments)
    told = (type(error), error.outcome, error.may_retry, error.operation)
    assert (StoreUnavailableError, "not_applied", True, verb) == told


def customer(number):
    """Return what is known of a customer."""
    return {"external_id": storms.ids(number)[0], "email": storms.addresses(number)[0]}


EACH_VERB = [
    ("identify", {"properties": {"plan": "gold"}, **customer(0)}),
    ("track", {"event": "Ordered", "email": storms.addresses(0)[0]}),
    ("identify", customer(1)),
    ("track", {"event": "Ordered", **customer(2)}),
    ("change_email", {"new_email": storms.addresses(0)[1], "external_id": storms.ids(0)[0]}),
    ("change_external_id", {"new_external_id": storms.ids(0)[1], "email": storms.addresses(0)[0]}),
    ("change_phone_number", {"new_phone_number": "+12025550142", "email": storms.addresses(0)[0]}),
    ("resolve", {"email": storms.addresses(0)[0]}),
    ("explain", {"email": storms.addresses(0)[0]}),
    ("recover", {}),
    ("recheck_changes", {}),
    ("erase", {"external_id": storms.ids(1)[0]}),
]
"""The first customer is known before, the others are not."""
WARM = EACH_VERB[:2]


@pytest.mark.parametrize(("how", "calls"), [("dead", EACH_VERB), ("silent", WARM)], ids=["dead", "silent"])
def test_a_client_whose_map_is_away_sends_nothing_and_goes_on_afterwards(
    open_map, server, account, simulator, url, *, is_async, how, calls
):
    """P6: whatever is called, nothing is asked of Klaviyo and nobody waits for ever; later the same client works."""
    store = open_map(is_async=is_async)
    with storms.Worker(store, account, url) as worker:
        worker.call("identify", customer(0))
        before = len(simulator.journal)
        with away(server, how):
            for verb, arguments in calls:
                closed(worker, verb, arguments)
        assert before == len(simulator.journal)
        for verb, arguments in calls:
            worker.call(verb, arguments)
        simulator.drain()
        assert sum(verb == "track" for verb, _ in calls) == len(simulator.events)


def killing(server, *, loses):
    """Return what ends a server when the first request is met, and tells whether that one's answer is lost."""
    turns = count()

    def match(_):
        if next(turns):
            return False
        server.kill()
        return loses

    return match


MOMENTS = [
    ("get_profiles", False, "unknown"),
    ("update_profile", False, "applied"),
    ("update_profile", True, "unknown"),
]
"""When the map's server dies during a change, whether Klaviyo's answer is lost too, and the outcome then.

The first has changed nothing yet, but whoever meets the intent that it left in the map will.
"""


def test_a_change_in_the_middle_of_which_the_map_is_lost_is_completed(
    open_map, server, account, simulator, url, *, is_async
):
    """P4, P7: the error says what became of the change, and once the server is back `recover` completes it."""
    customers = range(len(MOMENTS))
    store = open_map(is_async=is_async)
    with storms.Worker(store, account, url) as worker, open_map() as beside:
        for number, (where, loses, outcome) in enumerate(MOMENTS):
            worker.call("identify", customer(number))
            simulator.fail_next(where, when="after", match=killing(server, loses=loses))
            change = {"new_email": storms.addresses(number)[1], "external_id": storms.ids(number)[0]}
            error = rejected(worker, "change_email", change)
            server.start()
            assert (StoreUnavailableError, outcome, True) == (type(error), error.outcome, error.may_retry)
            is_done = simulator.find(email=storms.addresses(number)[1]) is not None
            assert (where == "update_profile") == is_done
        while len(beside.expired(account, 9)) < len(MOMENTS):
            pass
        assert ["completed" for _ in MOMENTS] == [each.status for each in worker.call("recover")]
        check_profiles(simulator, beside.page(account).bindings, len(MOMENTS))
        assert {storms.addresses(number)[1] for number in customers} == {each.email for each in simulator.profiles}
        assert [] == worker.call("recover")
