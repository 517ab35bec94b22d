"""What `_retry` decides: whether a request is sent again, when, and what is known of Klaviyo afterwards."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import product
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import (
    ConfigurationError,
    NoResponseError,
    NotSentError,
    ProfileConflictError,
    RateLimitError,
    SafeKlaviyoError,
    ServerError,
    StoreUnavailableError,
)
from safeklaviyo.policy import RetryPolicy
from support.examples import examples
from support.flows import (
    CAPACITY,
    RETRY_COST,
    TIMEOUT_COST,
    Deadline,
    Effect,
    Endpoint,
    Exchange,
    Failure,
    Flow,
    Line,
    Monotonic,
    NewId,
    Now,
    Repeat,
    Request,
    Response,
    Send,
    Sleep,
    may_repeat,
    transmit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ENDPOINT = Endpoint("update_profile", burst=75, steady=750)
WALL = 1_790_000_000.0

Step = Response | type[SafeKlaviyoError] | SafeKlaviyoError


DOCUMENT = b'{"data": {"type": "profile", "id": "01"}}'
REFUSAL = b'{"errors": [{"id": "e1", "code": "refused", "title": "No.", "detail": "No."}]}'


def answer(status: int, body: bytes | None = None, **headers: str) -> Response:
    """Return an answer in Klaviyo's form."""
    if body is None:
        body = DOCUMENT if status < 300 else REFUSAL
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def asks(repeat: Repeat, endpoint: Endpoint = ENDPOINT, path: str = "/api/profiles/01") -> Request:
    """Return a request of the given kind."""
    return Request("PATCH", path, endpoint, repeat, b"{}")


OK = answer(200)
BROKEN = answer(500)
CONFLICT = answer(409, REFUSAL.replace(b"refused", b"duplicate_profile"))
FAILURES: tuple[Step, ...] = (BROKEN, answer(503), answer(524), NotSentError, NoResponseError, answer(429))


@dataclass
class Driver:
    """Carries out the effects of a flow: answers by a script, a clock that only moves by sleeping."""

    script: Iterable[Step] = ()
    clock: float = 1000.0
    latency: float = 0.0
    effects: list[Effect[Any]] = field(default_factory=list)
    sent: list[tuple[float, Request]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._steps = iter(self.script)

    def run(self, flow: Flow[Exchange]) -> Exchange:
        result: Any = None
        error: Exception | None = None
        while True:
            try:
                effect = flow.send(result) if error is None else flow.throw(error)
            except StopIteration as stop:
                return stop.value
            result, error = None, None
            try:
                result = self.do(effect)
            except SafeKlaviyoError as exc:
                error = exc

    def do(self, effect: Effect[Any]) -> Any:
        self.effects.append(effect)
        match effect:
            case Monotonic():
                return self.clock
            case Now():
                return WALL
            case NewId():
                return "id"
            case Sleep(seconds):
                assert seconds >= 0
                self.slept.append(seconds)
                self.clock += seconds
                return None
            case Send(request):
                self.sent.append((self.clock, request))
                self.clock += self.latency
                return self.reply()
        raise AssertionError(effect)

    def reply(self) -> Response:
        step = next(self._steps)
        if isinstance(step, Response):
            return step
        raise step if isinstance(step, SafeKlaviyoError) else step("the connection failed")


def make_line(random: Callable[[], float] = lambda: 0.5, *, attempt: float = 10.0, **policy: Any) -> Line:
    """Return a line whose jitter is known."""
    return Line(RetryPolicy(**policy), random=random, attempt=attempt)


def fails(driver: Driver, flow: Flow[Exchange]) -> SafeKlaviyoError:
    """Run a flow and return the error it ends with."""
    with pytest.raises(SafeKlaviyoError) as caught:
        driver.run(flow)
    return caught.value


# Which failures are repeated


@pytest.mark.parametrize(("repeat", "failure"), list(product(Repeat, Failure)))
def test_may_repeat_table(repeat, failure):
    """What was surely not done is repeated, what may have been done only where twice is once, an answer never."""
    always = {Failure.CROWDED, Failure.NOT_SENT, Failure.THROTTLED}
    only_where_safe = {Failure.NO_RESPONSE, Failure.FOREIGN, Failure.BROKEN}
    expected = failure in always or (failure in only_where_safe and repeat is not Repeat.ONCE)
    assert expected == may_repeat(repeat, failure)


@pytest.mark.parametrize("repeat", Repeat)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 415, 422])
def test_answers_are_never_repeated(repeat, status):
    """A refusal would be the same again: it is sent once, whatever it asks for, and is of no use later."""
    driver = Driver([answer(status, retry_after="1"), OK])
    error = fails(driver, transmit(make_line(), asks(repeat)))
    assert (1, [], status, False) == (
        len(driver.sent),
        driver.slept,
        getattr(error, "status_code", None),
        error.may_retry,
    )


@pytest.mark.parametrize("repeat", Repeat)
@pytest.mark.parametrize(
    "step", [BROKEN, answer(502), answer(503), answer(504), answer(524), answer(503, retry_after="1"), NoResponseError]
)
def test_f19_unknown_outcome_is_repeated_only_where_that_is_safe(repeat, step):
    """F-19: after a 5xx or a broken connection a write that must happen once is not sent again."""
    driver = Driver([step, OK])
    line = make_line()
    if repeat is not Repeat.ONCE:
        exchange = driver.run(transmit(line, asks(repeat)))
        assert (OK, repeat is not Repeat.READ, 2) == (exchange.response, exchange.doubt, len(driver.sent))
        return
    error = fails(driver, transmit(line, asks(repeat)))
    assert ("unknown", False, 1) == (error.outcome, error.may_retry, len(driver.sent))


@pytest.mark.parametrize("repeat", Repeat)
@pytest.mark.parametrize("step", [NotSentError, answer(429, retry_after="2"), answer(429)])
def test_what_was_not_done_is_always_repeated(repeat, step):
    """A 429, or no connection, leaves nothing behind: every request is sent again, and without a doubt."""
    driver = Driver([step, step, OK])
    assert Exchange(OK, doubt=False) == driver.run(transmit(make_line(), asks(repeat)))
    assert 3 == len(driver.sent)


@pytest.mark.parametrize("failing", FAILURES)
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_f21_attempts_do_not_multiply(failing, retries):
    """F-21: three retries are four requests."""
    driver = Driver([failing] * 50)
    fails(driver, transmit(make_line(max_attempts=1 + retries), asks(Repeat.READ)))
    assert (1 + retries, retries) == (len(driver.sent), len(driver.slept))


@pytest.mark.parametrize("status", [404, 409, 500, 429])
def test_accepted_statuses_are_answers(status):
    """A status that the caller can read is returned at once, and is no failure."""
    driver = Driver([answer(status)])
    exchange = driver.run(transmit(make_line(), asks(Repeat.ONCE), accept=frozenset({status})))
    assert (status, False, 1) == (exchange.response.status, exchange.doubt, len(driver.sent))


def test_other_errors_of_the_driver_pass_through():
    """What is no failure of the exchange is neither repeated nor changed."""
    driver = Driver([ConfigurationError("closed"), OK])
    assert isinstance(fails(driver, transmit(make_line(), asks(Repeat.READ))), ConfigurationError)
    assert 1 == len(driver.sent)


# When


@pytest.mark.parametrize(("header", "asked"), [("3", 3.0), ("0.5", 0.5), ("0", 0.0), (" 7 ", 7.0), ("1.25", 1.25)])
@pytest.mark.parametrize("status", [429, 503])
def test_f20_retry_after_in_seconds(header, asked, status):
    """F-20: whole or decimal, the wait is what was asked and at most a tenth of a second more."""
    driver = Driver([answer(status, retry_after=header), OK])
    driver.run(transmit(make_line(lambda: 0.25), asks(Repeat.READ)))
    assert [pytest.approx(asked + 0.025)] == driver.slept
    assert Now() not in driver.effects


@pytest.mark.parametrize(("ahead", "asked"), [(20, 20.0), (0, 0.0), (-500, 0.0)])
def test_f20_retry_after_as_a_date(ahead, asked):
    """F-20: an HTTP date is waited for, by the wall clock; one that is past does not raise."""
    date = format_datetime(datetime.fromtimestamp(WALL + ahead, UTC), usegmt=True)
    driver = Driver([answer(429, retry_after=date), OK])
    driver.run(transmit(make_line(lambda: 0.25), asks(Repeat.READ)))
    assert [pytest.approx(asked + 0.025)] == driver.slept


@pytest.mark.parametrize("header", ["soon", "-1", "nan", "inf", "", "1e9", "Mon, 99 Foo 2026", "٣"])
def test_f20_retry_after_that_says_nothing(header):
    """F-20: a header that says nothing sensible masks nothing: the wait is the usual one."""
    driver = Driver([answer(429, retry_after=header), OK])
    driver.run(transmit(make_line(lambda: 0.5), asks(Repeat.READ)))
    assert [0.25] == driver.slept


def test_backoff_doubles_up_to_the_longest_delay():
    """Where nobody says how long, the ceiling of the wait doubles from half a second up to `max_delay`."""
    driver = Driver([BROKEN] * 6)
    fails(driver, transmit(make_line(lambda: 1.0, max_attempts=6, max_delay=3), asks(Repeat.READ)))
    assert [0.5, 1.0, 2.0, 3.0, 3.0] == driver.slept


def test_longer_retry_after_ends_the_trying():
    """A wait longer than `max_delay` is not shortened: the call ends, and the error says how long."""
    driver = Driver([answer(429, retry_after="31"), OK])
    error = fails(driver, transmit(make_line(max_delay=30), asks(Repeat.READ)))
    assert (31.0, True, []) == (error.retry_after, error.may_retry, driver.slept)


def test_exactly_the_longest_delay_is_waited():
    """`max_delay` itself is still allowed, and the jitter does not count against it."""
    driver = Driver([answer(429, retry_after="30"), OK])
    driver.run(transmit(make_line(lambda: 0.9, max_delay=30), asks(Repeat.READ)))
    assert [pytest.approx(30.09)] == driver.slept


def test_deadline_counts_from_the_first_attempt():
    """No attempt begins later than the deadline after the first one, however long the attempts took."""
    driver = Driver([BROKEN] * 50, latency=4.0)
    fails(driver, transmit(make_line(lambda: 1.0, max_attempts=50, give_up_after=10), asks(Repeat.READ)))
    assert [1000.0, 1004.5, 1009.5] == [at for at, _ in driver.sent]


def make_deadline(seconds: float) -> Deadline:
    """Return the end of a call that begins as the driver's clock does."""
    deadline = Deadline()
    deadline.start(1000.0, seconds)
    return deadline


class TestDeadline:
    def test_attempts_have_what_is_left(self) -> None:
        """Each attempt is told what the call has left."""
        driver = Driver([BROKEN, OK], latency=3.0)
        driver.run(transmit(make_line(lambda: 1.0), asks(Repeat.READ), deadline=make_deadline(10.0)))
        assert [10.0, 6.5] == [effect.within for effect in driver.effects if isinstance(effect, Send)]

    def test_no_repeat_after_it(self) -> None:
        """A repeat that would begin after the end is not waited for: the failure is told at once, and as cut short."""
        driver, deadline = Driver([answer(429, retry_after="20"), OK]), make_deadline(10.0)
        error = fails(driver, transmit(make_line(lambda: 1.0), asks(Repeat.READ), deadline=deadline))
        assert ([], 20.0, True, True) == (driver.slept, error.retry_after, error.may_retry, deadline.has_cut)

    @pytest.mark.parametrize(
        ("step", "repeat", "attempts"),
        [(answer(429, retry_after="5"), Repeat.READ, 2), (answer(400), Repeat.READ, 1), (BROKEN, Repeat.ONCE, 1)],
    )
    def test_other_ends_are_none_of_its(self, step: Response, repeat: Repeat, attempts: int) -> None:
        """What ends for another reason is not cut short by the deadline."""
        driver, deadline = Driver([step] * 9), make_deadline(100.0)
        fails(driver, transmit(make_line(max_attempts=attempts), asks(repeat), deadline=deadline))
        assert (attempts, False) == (len(driver.sent), deadline.has_cut)

    def test_a_queue_that_is_too_long(self) -> None:
        """A place in the queue that comes after the end is not waited for."""
        line, deadline = make_line(), make_deadline(0.5)
        for _ in range(ENDPOINT.burst):
            line.pacer.reserve(ENDPOINT, 1000.0)
        driver = Driver([OK])
        error = fails(driver, transmit(line, asks(Repeat.KEYED), deadline=deadline))
        assert ([], [], "not_applied", True) == (driver.slept, driver.sent, error.outcome, deadline.has_cut)

    def test_a_slow_store(self) -> None:
        """Where renewing the lease has taken all the time, nothing is sent."""
        driver, deadline = Driver([OK]), make_deadline(1.0)

        def before(_seconds: float) -> Flow[None]:
            yield from Sleep(2.0)

        error = fails(driver, transmit(make_line(), asks(Repeat.ONCE), before=before, deadline=deadline))
        assert ([], "not_applied", True, True) == (driver.sent, error.outcome, error.may_retry, deadline.has_cut)


# The warm path


def test_f33_success_costs_two_effects():
    """F-33: a call that succeeds reads the clock once, sends once, and never enters the retry policy."""
    line = make_line()
    driver = Driver([OK])
    assert Exchange(OK, doubt=False) == driver.run(transmit(line, asks(Repeat.KEYED)))
    assert [Monotonic(), Send(asks(Repeat.KEYED))] == driver.effects
    assert {} == line.retrying.statistics


def test_f33_one_policy_serves_calls_that_fail_at_the_same_time():
    """F-33: calls share one policy, and still each counts its own attempts, in whichever thread it goes on."""
    line = make_line(max_attempts=3)
    drivers = [Driver([BROKEN] * 9) for _ in range(3)]
    flows = [transmit(line, asks(Repeat.READ)) for _ in drivers]
    results: list[Any] = [None] * len(flows)
    ended: list[SafeKlaviyoError] = []

    def step(number: int) -> None:
        try:
            effect = flows[number].send(results[number])
        except SafeKlaviyoError as error:
            ended.append(error)
        else:
            results[number] = drivers[number].do(effect)

    while len(ended) < len(flows):
        for number, flow in enumerate(flows):
            if flow.gi_frame is not None:
                thread = Thread(target=step, args=(number,))
                thread.start()
                thread.join()
    assert [3, 3, 3] == [len(driver.sent) for driver in drivers]


def test_f32_errors_leave_no_cycle():
    """F-32: an error that the caller drops is gone at once, without the collector."""
    gc.collect()
    gc.disable()
    try:
        for steps in ([CONFLICT], [NoResponseError, BROKEN, NoResponseError], [NotSentError] * 2, [BROKEN] * 2):
            driver = Driver(steps)
            try:
                driver.run(transmit(make_line(max_attempts=len(steps)), asks(Repeat.KEYED)))
            except SafeKlaviyoError as error:
                gone = weakref.ref(error)
            assert gone() is None
    finally:
        gc.enable()


# What is known afterwards


@pytest.mark.parametrize("repeat", Repeat)
@pytest.mark.parametrize(
    ("step", "surely_unchanged"),
    [
        (NotSentError, True),
        (answer(429), True),
        (answer(400), True),
        (answer(404), True),
        (NoResponseError, False),
        (BROKEN, False),
        (answer(503, retry_after="1"), False),
        (answer(302), False),
    ],
)
def test_p7_outcome_of_a_single_attempt(repeat, step, surely_unchanged):
    """P7: the outcome of a write is unknown unless the failure proves that nothing was done; a read changes nothing."""
    error = fails(Driver([step]), transmit(make_line(max_attempts=1), asks(repeat)))
    expected = "not_applied" if surely_unchanged or repeat is Repeat.READ else "unknown"
    assert expected == error.outcome


@pytest.mark.parametrize("repeat", [Repeat.IDEMPOTENT, Repeat.KEYED])
@pytest.mark.parametrize("doubtful", [BROKEN, NoResponseError])
@pytest.mark.parametrize("last", [answer(404), CONFLICT, answer(400), answer(429), NotSentError])
def test_p7_refusal_does_not_settle_an_earlier_doubt(repeat, doubtful, last):
    """P7: a definite refusal says nothing about the attempt before it, which may have been carried out."""
    driver = Driver([doubtful, *[last] * 3])
    error = fails(driver, transmit(make_line(max_attempts=4), asks(repeat)))
    assert "unknown" == error.outcome


@pytest.mark.parametrize(("first", "doubt"), [(BROKEN, True), (NoResponseError, True), (answer(429), False)])
def test_conflict_after_a_doubtful_attempt_is_told(first, doubt):
    """A 409 that the caller accepts may be the trace of its own first attempt, and the exchange says so."""
    driver = Driver([first, CONFLICT])
    exchange = driver.run(transmit(make_line(), asks(Repeat.IDEMPOTENT), accept=frozenset({409})))
    assert Exchange(CONFLICT, doubt=doubt) == exchange


@pytest.mark.parametrize(
    ("repeat", "step", "may_retry"),
    [
        *((repeat, step, True) for repeat in Repeat for step in (NotSentError, answer(429))),
        *((repeat, step, repeat is not Repeat.ONCE) for repeat in Repeat for step in (NoResponseError, BROKEN)),
        *((repeat, step, False) for repeat in Repeat for step in (answer(400), answer(401), CONFLICT)),
        *((repeat, answer(302), repeat is not Repeat.ONCE) for repeat in Repeat),
    ],
)
def test_may_retry_is_what_the_next_call_may_do(repeat, step, may_retry):
    """Where the client may repeat and has only run out of attempts, the caller may try later; else never."""
    error = fails(Driver([step]), transmit(make_line(max_attempts=1), asks(repeat)))
    assert may_retry == error.may_retry


@pytest.mark.parametrize(
    ("step", "error_class"),
    [
        (answer(429), RateLimitError),
        (BROKEN, ServerError),
        (CONFLICT, ProfileConflictError),
        (answer(302), NoResponseError),
    ],
)
def test_error_tells_what_klaviyo_said(step, error_class):
    """The error raised is the last answer's, with how long Klaviyo asked to wait."""
    told = answer(step.status, step.body, retry_after="40")
    error = fails(Driver([told]), transmit(make_line(), asks(Repeat.ONCE)))
    assert (error_class, 40.0) == (type(error), error.retry_after)


# Building anew, and leases


def test_again_builds_each_repeat():
    """The request is built anew before each repeat, and never for the first attempt."""
    built: list[Request] = []

    def again() -> Flow[Request]:
        number = yield from Now()
        built.append(asks(Repeat.KEYED, path=f"/api/events/{len(built)}"))
        assert WALL == number
        return built[-1]

    driver = Driver([BROKEN, NotSentError, OK])
    driver.run(transmit(make_line(), asks(Repeat.KEYED), again=again))
    assert [asks(Repeat.KEYED), *built] == [request for _, request in driver.sent]
    assert 2 == len(built)


def test_again_builds_after_a_wait_in_the_queue():
    """What waited for its turn is built anew, because a customer's address can have changed meanwhile."""
    line = make_line()
    slow = Endpoint("get_accounts", burst=1, steady=15)
    fresh = asks(Repeat.KEYED, slow, "/api/fresh")

    def again() -> Flow[Request]:
        yield from NewId()
        return fresh

    driver = Driver([OK, OK])
    driver.run(transmit(line, asks(Repeat.KEYED, slow), again=again))
    driver.run(transmit(line, asks(Repeat.KEYED, slow), again=again))
    assert [asks(Repeat.KEYED, slow), fresh] == [request for _, request in driver.sent]


def test_before_covers_each_wait_and_each_attempt():
    """A lease is renewed for each wait with the attempt after it, and again right before each attempt."""
    seen: list[tuple[float, int]] = []
    driver = Driver([BROKEN, answer(429, retry_after="20"), OK])

    def before(seconds: float) -> Flow[None]:
        yield from NewId()
        seen.append((seconds, len(driver.sent)))

    driver.run(transmit(make_line(lambda: 0.5, attempt=7), asks(Repeat.IDEMPOTENT), before=before))
    assert [(7.0, 0), (7.25, 1), (7.0, 1), (pytest.approx(27.05), 2), (7.0, 2)] == seen
    attempts = [number for number, effect in enumerate(driver.effects) if isinstance(effect, Send)]
    assert [NewId()] * 3 == [driver.effects[number - 1] for number in attempts]


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_before_stops_the_sending(calls):
    """Whatever `before` raises ends the call without another attempt."""
    left = iter(range(calls - 1))
    driver = Driver([BROKEN, OK])

    def before(_seconds: float) -> Flow[None]:
        yield from NewId()
        if next(left, None) is None:
            raise LookupError

    with pytest.raises(LookupError):
        driver.run(transmit(make_line(), asks(Repeat.IDEMPOTENT), before=before))
    assert (0 if calls == 1 else 1) == len(driver.sent)


@pytest.mark.parametrize(("first", "outcome"), [(BROKEN, "unknown"), (NotSentError, "not_applied")])
def test_p7_error_between_attempts_keeps_the_doubt(first, outcome):
    """P7: if the map fails before a repeat, its error tells what the attempts before it may have done."""

    def again() -> Flow[Request]:
        yield from NewId()
        raise StoreUnavailableError("the identity map cannot answer")

    error = fails(Driver([first]), transmit(make_line(), asks(Repeat.KEYED), again=again))
    assert (StoreUnavailableError, outcome, True) == (type(error), error.outcome, error.may_retry)


# Pacing and the budget


def test_requests_wait_for_their_turn():
    """A request beyond the endpoint's limit is sent when its window has passed, and not refused."""
    line = make_line()
    slow = Endpoint("get_accounts", burst=1, steady=15)
    driver = Driver([OK] * 3)
    for _ in range(3):
        driver.run(transmit(line, asks(Repeat.READ, slow)))
    assert [1000.0, 1001.05, 1002.1] == pytest.approx([at for at, _ in driver.sent])


def test_another_host_has_no_published_limits():
    """A host that is not Klaviyo's is not waited for until it names its limits."""
    line = Line(RetryPolicy(), published=False)
    driver = Driver([OK] * 30)
    for _ in range(30):
        driver.run(transmit(line, asks(Repeat.READ, Endpoint("get_accounts", burst=1, steady=15))))
    assert [] == driver.slept


def test_one_429_holds_back_every_call():
    """A 429 closes the endpoint for all calls of the client until the time it names."""
    line = make_line()
    first = Driver([answer(429, retry_after="5")])
    flow = transmit(line, asks(Repeat.READ))
    effect = next(flow)
    while not isinstance(effect, Sleep):
        effect = flow.send(first.do(effect))
    second = Driver([OK])
    second.run(transmit(line, asks(Repeat.READ)))
    assert [1005.0] == [at for at, _ in second.sent]


def test_the_limits_that_klaviyo_tells_are_kept():
    """What an answer says about its windows replaces the published limits."""
    line = make_line()
    driver = Driver([answer(200, ratelimit_limit="1, 1;w=1, 15;w=60", ratelimit_remaining="1"), OK])
    driver.run(transmit(line, asks(Repeat.READ)))
    driver.run(transmit(line, asks(Repeat.READ)))
    assert [1000.0, 1001.05] == pytest.approx([at for at, _ in driver.sent])


def test_a_queue_longer_than_the_deadline_is_refused():
    """What cannot be sent in time is not sent at all, and the error says how long the wait would have been."""
    line = make_line(give_up_after=2)
    slow = Endpoint("get_accounts", burst=1, steady=15)
    driver = Driver([OK] * 9)
    for _ in range(2):
        driver.run(transmit(line, asks(Repeat.ONCE, slow)))
    late = Driver([OK], clock=1000.0)
    line.pacer.reserve(slow, 1000.0)
    error = fails(late, transmit(line, asks(Repeat.ONCE, slow)))
    assert (RateLimitError, 0, "queue_too_long") == (type(error), error.status_code, error.code)
    assert ("not_applied", True, pytest.approx(3.15)) == (error.outcome, error.may_retry, error.retry_after)
    assert ([], []) == (late.sent, late.slept)


def test_a_queue_too_long_for_a_repeat_leaves_the_failure():
    """If there is no turn for the repeat, the error is what the attempt before it met."""
    line = make_line(give_up_after=20)
    driver = Driver([BROKEN, OK])
    flow = transmit(line, asks(Repeat.KEYED))
    effect = next(flow)
    while not isinstance(effect, Sleep):
        effect = flow.send(driver.do(effect))
    line.pacer.learn(ENDPOINT, answer(429), driver.clock, retry_after=50.0)
    driver.do(effect)
    error = fails(driver, flow)
    assert (ServerError, 1, "unknown", True) == (type(error), len(driver.sent), error.outcome, error.may_retry)


@pytest.mark.parametrize(("failing", "cost"), [(BROKEN, RETRY_COST), (NoResponseError, TIMEOUT_COST)])
def test_outage_is_not_made_worse(failing, cost):
    """In an outage a thousand calls send little more than a thousand requests: the shared budget runs out."""
    line = make_line(max_attempts=4)
    sent = 0
    for number in range(1000):
        # A failing service is called at its own pace: a queue would end the calls before the budget does.
        driver = Driver([failing] * 4, clock=1000.0 + 60 * number)
        fails(driver, transmit(line, asks(Repeat.KEYED)))
        sent += len(driver.sent)
    assert 1000 + CAPACITY // cost == sent


def test_success_earns_retries_back():
    """A retry that succeeds costs nothing in the end, and every plain success puts one token back."""
    line = make_line()
    Driver([BROKEN, OK]).run(transmit(line, asks(Repeat.READ)))
    assert CAPACITY == line.budget.tokens
    fails(Driver([answer(503), answer(404)]), transmit(line, asks(Repeat.READ)))
    assert CAPACITY - RETRY_COST == line.budget.tokens
    Driver([OK]).run(transmit(line, asks(Repeat.READ)))
    assert CAPACITY - RETRY_COST + 1 == line.budget.tokens


def test_calls_that_end_anyway_cost_nothing():
    """The budget is asked last, so that it pays only for retries that are made."""
    line = make_line(max_attempts=1)
    fails(Driver([BROKEN]), transmit(line, asks(Repeat.READ)))
    fails(Driver([answer(429, retry_after="900")]), transmit(make_line(), asks(Repeat.READ)))
    assert CAPACITY == line.budget.tokens


# All scripts


def scripts() -> st.SearchStrategy[list[Step]]:
    """Draw what a service may do to twelve attempts."""
    seconds = st.one_of(st.integers(0, 40).map(str), st.floats(0, 40).map(lambda wait: f"{wait:.3f}"))
    statuses = st.sampled_from([200, 201, 302, 400, 401, 404, 409, 429, 429, 500, 503, 503, 524])
    answers = st.builds(lambda status, wait: answer(status, retry_after=wait), statuses, seconds)
    plain = st.builds(answer, statuses)
    return st.lists(
        st.one_of(answers, plain, st.sampled_from([NotSentError, NoResponseError])), min_size=12, max_size=12
    )


@settings(max_examples=examples(300), deadline=None)
@given(
    script=scripts(),
    repeat=st.sampled_from(Repeat),
    attempts=st.integers(1, 10),
    deadline=st.floats(0.5, 60),
    latency=st.floats(0, 5),
    random=st.floats(0, 1, exclude_max=True),
)
def test_every_script_keeps_the_promises(*, script, repeat, attempts, deadline, latency, random):
    """Whatever happens: few attempts, in time, no wait too short, no repeat after a doubt, no outcome too certain."""
    driver = Driver(script, latency=latency)
    line = make_line(lambda: random, max_attempts=attempts, give_up_after=deadline)
    try:
        exchange: Exchange | None = driver.run(transmit(line, asks(repeat)))
        error = None
    except SafeKlaviyoError as exc:
        exchange, error = None, exc
    made = script[: len(driver.sent)]
    assert 1 <= len(made) <= attempts
    assert all(at - 1000.0 <= deadline + 1e-6 for at, _ in driver.sent)
    assert sum(driver.slept) <= deadline + 1e-6
    doubts = [
        step is NoResponseError or (isinstance(step, Response) and (step.status >= 500 or step.status == 302))
        for step in made
    ]
    if repeat is Repeat.ONCE:
        assert not any(doubts[:-1])
    for step, (before, _), (after, _) in zip(made, driver.sent, driver.sent[1:], strict=False):
        asked = float(step.headers.get("retry-after", 0)) if isinstance(step, Response) else 0.0
        assert after - before - latency >= asked - 1e-6
        assert asked <= line.policy.max_delay
    may_be_done = any(doubts) and repeat is not Repeat.READ
    if exchange is not None:
        assert (made[-1], may_be_done) == (exchange.response, exchange.doubt)
    if error is not None:
        assert ("unknown" if may_be_done else "not_applied") == error.outcome


@settings(max_examples=60, deadline=None)
@given(script=scripts(), repeat=st.sampled_from(Repeat), steps=st.integers(1, 12))
def test_a_flow_can_be_dropped_at_any_effect(script, repeat, steps):
    """A cancelled call is closed where it stands: it asks for nothing more."""
    driver = Driver(script)

    def before(_seconds: float) -> Flow[None]:
        yield from NewId()

    flow = transmit(make_line(), asks(repeat), before=before)
    result: Any = None
    error: SafeKlaviyoError | None = None
    try:
        for _ in range(steps):
            effect = flow.send(result) if error is None else flow.throw(error)
            result, error = None, None
            try:
                result = driver.do(effect)
            except SafeKlaviyoError as exc:
                error = exc
    except (StopIteration, SafeKlaviyoError):
        return
    flow.close()
    assert flow.gi_frame is None
