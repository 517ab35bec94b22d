"""What the guards of both kinds of client share: modes, counters, the verdict, the log, and what is learnt.

Read `_core` next.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from safeklaviyo._api.responses import is_success
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError, StoreError
from safeklaviyo.guard._background import Later, Looks
from safeklaviyo.guard._carry.case import Case
from safeklaviyo.guard._carry.learning import learn_from
from safeklaviyo.guard._clients import Clients
from safeklaviyo.guard._decide.by_map import Rulings, away, names_of, people_of, rule_on
from safeklaviyo.guard._decide.verdicts import Verdict, modes_from
from safeklaviyo.guard._keys import Keys
from safeklaviyo.guard._lessons import Lessons
from safeklaviyo.guard._log.records import Log
from safeklaviyo.guard._parse.asked import read
from safeklaviyo.guard._parse.operations import operation_of, split_url
from safeklaviyo.guard._plans import Incoming, Plan
from safeklaviyo.guard._sites import calling_site
from safeklaviyo.guard._write.replies import Fault, Reply, fault_of, klaviyos_refusal, refused

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Mapping

    from safeklaviyo._client.async_klaviyo import AsyncKlaviyo
    from safeklaviyo._client.klaviyo import Klaviyo
    from safeklaviyo.guard._carry.learning import Learnt
    from safeklaviyo.guard._clients import Guarded
    from safeklaviyo.guard._decide.verdicts import Mode, Modes
    from safeklaviyo.guard._parse.asked import Asked
    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Profile
    from safeklaviyo.stores.base import Found

OnStoreFailure: TypeAlias = Literal["refuse", "forward"]

UniqueId: TypeAlias = Literal["as_sent", "from_content"]

OBSERVED: Final = 0.005
"""Seconds that an observed call may wait for the map."""
LESSONS: Final = 1.0
"""Seconds that an enforced call may wait for what observed answers have shown."""
_WAITING: Final = 1000
_HEAVIEST: Final = 32_000_000

COUNTERS: Final = (
    "observed", "enforced", "passed", "rewritten", "answered", "refused", "foreign_key", "own_calls", "failed_open",
    "map_away", "unkeyed_events", "parked", "learnt", "doubted", "log_dropped", "log_failed", "failed", "bypassed",
)  # fmt: skip

logger = logging.getLogger("safeklaviyo")

is_busy: ContextVar[bool] = ContextVar("safeklaviyo_guard_is_busy", default=False)
"""A request of this context is handled already, or is the guard's own."""


class Common:
    """What the guards of both kinds of client share.

    Attributes:
        patience: Seconds that an observed call waits for the map.
        under_way: How many requests are being sent. A client with awaited calls may send at any time, so each such
            client counts as one request.
        lessons: Which answers are newer than what was learnt.
        later: Writes the log's lines, and learns, after the call.
    """

    def __init__(
        self,
        *clients: Klaviyo | AsyncKlaviyo,
        mode: Modes = "observe",
        decision_log: str | os.PathLike[str] | None = None,
        on_store_failure: OnStoreFailure = "refuse",
        learn: bool = True,
        unique_id: UniqueId = "as_sent",
    ) -> None:
        if unique_id not in {"as_sent", "from_content"}:
            raise ConfigurationError('unique_id has to be "as_sent" or "from_content"')
        if on_store_failure not in {"refuse", "forward"}:
            raise ConfigurationError('on_store_failure has to be "refuse" or "forward"')
        self.clients: Clients = Clients(clients)
        self.modes: dict[str, Mode] = modes_from(mode)
        self._forwards = on_store_failure == "forward"
        self._learns = learn
        self._keys = Keys() if unique_id == "from_content" else None
        self._counted: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._lock = Lock()
        self._looks = Looks()
        self.patience = OBSERVED
        self.under_way: int = sum(client.is_async for client in self.clients.all)
        self.lessons: Lessons = Lessons()
        self._unlearnt: deque[None] = deque()  # one entry for each lesson that waits
        self.later: Later = Later(_WAITING, _HEAVIEST, lambda: self.count("log_dropped"))
        self._log = None if decision_log is None else Log(decision_log, lambda: self.count("log_failed"))

    @property
    def counters(self) -> Mapping[str, int]:
        """How often each of `COUNTERS` has happened since the start."""
        with self._lock:
            return dict(self._counted)

    def count(self, name: str, number: int = 1) -> None:
        """Count some of the things in `counters`."""
        with self._lock:
            self._counted[name] += number

    @property
    def is_logging(self) -> bool:
        """Whether there is a decision log."""
        return self._log is not None

    def wants(self, method: str, url: str) -> bool:
        """Tell whether the guard needs a request with its whole body. Other requests can be passed on as they are."""
        host, path = split_url(url)
        return method.upper() != "GET" and self.clients.is_guarded(host) and operation_of(method, path) is not None

    def flush(self, seconds: float = 2.0) -> bool:
        """Wait until the log is written; return whether it was written in time."""
        return self.later.flush(seconds)

    def close(self) -> None:
        """Write what waits for the log, for two seconds at most, close its file, and end the guard's own threads."""
        if self._log is not None:
            self.later.add(self._log.close)  # in the thread that writes
        self.later.close()
        self._looks.close()

    # What both kinds do before, and after.

    def opened(self, incoming: Incoming) -> Plan:
        """Return the plan with the client and the mode of a request. The map is not asked yet."""
        plan = Plan.to_pass(incoming)
        # Step 1: pass what the guard has nothing to do with, before any work is spent on it.
        method, (host, path) = incoming.method.upper(), split_url(incoming.url)
        if is_busy.get() or method == "GET" or not self.clients.is_guarded(host):
            return plan
        operation = operation_of(method, path)
        # The first of several headers of a name counts.
        headers = {name.lower(): value for name, value in reversed(incoming.headers)}
        client = self.clients.of(headers.get("authorization"))
        mode: Mode = "observe" if operation is None else self.modes[operation.name]
        # Step 2: pass requests of this package's own clients, which keep the rules already.
        if headers.get("user-agent", "").startswith("safeklaviyo/"):
            self.count("own_calls")
            return plan
        # Step 3: pass calls of an account without a client here. They are counted, so that a wrong key is noticed.
        if client is None:
            self.count("foreign_key")
            return plan
        if mode == "off":
            return plan
        # Step 4: open a case. From here on the request has a verdict and a line in the log.
        plan.client, plan.mode = client, mode
        plan.case = self._case_of(plan, client, read(method, path, operation, headers, incoming.body))
        return plan

    def _case_of(self, plan: Plan, client: Guarded, asked: Asked) -> Case:
        plan.started, plan.at = time.monotonic(), datetime.now(UTC)
        plan.site = calling_site() if self.is_logging else None
        case = Case(asked, account=client.account, has_outbox=client.wiring.outbox is not None)
        self.count("observed" if plan.mode == "observe" else "enforced")
        if asked.name == "create_event" and asked.attribute("unique_id") is None:
            self.count("unkeyed_events")
            if self._keys is not None and plan.mode == "enforce" and asked.problem is None:
                case.unique_id = self._keys.key_of(asked, plan.at, plan.started)
        return case

    def judge(self, case: Case, client: Guarded, found: Found | None) -> None:
        """Note the verdict of an observed request.

        Args:
            case: The request.
            client: Its client.
            found: What the map has found; None if the map did not answer in time.
        """
        policy = client.wiring.policy
        rulings = away(case.asked, case.people) if found is None else None
        if found is not None:
            rulings = rule_on(case.asked, case.people, found, policy)
        if rulings is None:
            self.count("map_away")
            rulings = Rulings("lookup", None, "the map did not answer in time")
        case.rulings = rulings
        case.say(rulings.action, rulings.rule, rulings.reason)

    def names(self, case: Case, client: Guarded) -> tuple[Identifier, ...]:
        """Read the people of a request, and return the identifiers that the map is asked for."""
        if case.asked.problem is None:
            case.people = people_of(case.asked, client.wiring.policy)
        return names_of(case.people)

    def opened_safely(self, incoming: Incoming) -> Plan:
        """Same as `opened`, but a request passes when the guard fails."""
        try:
            return self.opened(incoming)
        except Exception as error:  # noqa: BLE001 - nothing of the guard's own reaches the caller
            self.report(error)
            return Plan.to_pass(incoming)

    def report(self, error: Exception) -> None:
        """Count and log an error in the guard's own code."""
        # The package's own errors are no bugs: a store that is away is counted as `map_away`.
        if not isinstance(error, SafeKlaviyoError):
            self.count("failed")
            logger.error("the guard has failed", exc_info=error)

    def concluded(self, plan: Plan) -> Plan:
        """Note the verdict of a request, and in enforce replace the request by what the guard decided."""
        case = plan.case
        assert case is not None
        assert plan.at is not None
        if plan.mode == "enforce":
            self._replace(plan, case)
            kinds = {"pass": "passed", "rewrite": "rewritten", "answer": "answered", "refuse": "refused"}
            # A change or a first contact is counted by what it came to.
            settled = "answered" if case.answer is not None else "rewritten"
            self.count(kinds.get(case.action, settled))
            self.count("parked", len(case.parked))
        account = case.account or (None if plan.client is None else plan.client.account)
        plan.verdict = Verdict(
            case.asked.name, case.action, case.rule, case.reason, case.rewritten, account, plan.at
        )  # fmt: skip
        if plan.answer is not None:
            self._record(plan, plan.answer, from_klaviyo=False)
        return plan

    def ended(self, plan: Plan, reply: Reply, final: Reply) -> Reply:
        """Record the answer to a request, learn from it, and return what the caller gets.

        Args:
            plan: The request's plan.
            reply: Klaviyo's answer.
            final: The answer as the caller gets it.
        """
        assert plan.case is not None
        plan.case.land()
        if self._keys is not None and plan.case.unique_id is not None and is_success(reply.status):
            self._keys.answered(plan.case.unique_id)
        self._account_from(plan, reply)
        self._record(plan, final, from_klaviyo=True)
        client = plan.client
        # `AsyncCore` learns by itself, in the event loop.
        if client is not None and not client.is_async and self.learns(plan, reply):
            profile = self.lessons.of(plan, reply)
            if profile is not None:
                # Before the lesson can be done: the thread takes an entry away when it has done one.
                self._unlearnt.append(None)
                if not self.later.add(lambda: self.learnt(client, profile)):
                    self._unlearnt.pop()
        return final

    def learns(self, plan: Plan, reply: Reply) -> bool:
        """Tell whether there may be something to learn from an answer."""
        # In enforce the flows write the map themselves.
        return self._learns and plan.mode == "observe" and reply.status in {200, 201}

    def _replace(self, plan: Plan, case: Case) -> None:
        """Put what was decided in the place of the caller's request: a refusal, an answer, or a changed request."""
        # Faults come first: a request with one person who is refused is not sent for the others either.
        if case.faults:
            case.land()
            if case.action != "refuse":
                case.say("refuse", case.faults[0].rule, case.faults[0].reason)
            plan.answer = refused(case.faults)
        elif case.answer is not None:
            plan.answer = case.answer
        else:
            if case.target is not None:
                plan.method, path = case.target
                plan.url = _with_path(plan.url, path)
            if case.body is not None:
                plan.body, plan.is_changed = case.body, True
                plan.headers = _with_length(plan.headers, len(case.body))

    def not_settled(self, plan: Plan, error: SafeKlaviyoError) -> None:
        """Refuse a request that could not be settled; let it pass if the map is away and the shop asked for that."""
        case = plan.case
        assert case is not None
        case.land()
        # The shop's choice covers the map alone. Where Klaviyo did not answer, the request could not be sent either.
        is_map = isinstance(error, StoreError) or isinstance(error.__cause__, StoreError)
        if is_map and self._forwards:
            self.count("failed_open")
            # The caller's own request goes, so nothing of what was prepared may stay.
            case.faults, case.answer, case.body, case.target = [], None, None, None
            case.say("pass", error.rule, "the map is away, and the call was forwarded as on_store_failure says")
            return
        case.say("refuse", error.rule, str(error))
        # Where Klaviyo itself refused, the caller gets Klaviyo's own words, which its code may read.
        own = klaviyos_refusal(error)
        if own is not None:
            case.answer = own
            return
        pointer = case.asked.people[0].pointer if len(case.asked.people) == 1 else "/data"
        case.faults = [fault_of(error, pointer)]

    def broken(self, plan: Plan, error: Exception) -> None:
        """Refuse a request because the guard's own code has failed. Nothing of the request was sent."""
        case = plan.case
        assert case is not None
        logger.error("the guard has failed")
        self.report(error)
        case.land()
        reason = "the guard has failed; see the log of safeklaviyo"
        case.faults, case.answer = [Fault(503, reason, None, "/data")], None
        case.say("refuse", None, reason)

    @contextmanager
    def sending(self, plan: Plan) -> Generator[None]:
        """Send a plan's request within this context: other hooks leave the request alone, and a failure is recorded."""
        busy = is_busy.set(True)
        with self._lock:
            self.under_way += 1
        try:
            yield
        except BaseException as error:
            self.failed(plan, error)
            raise
        finally:
            with self._lock:
                self.under_way -= 1
            is_busy.reset(busy)

    def failed(self, plan: Plan, _error: BaseException | None = None) -> None:
        """Record that a request was sent, and that no answer came back."""
        if plan.case is not None:
            plan.case.land()
            self._record(plan, None, from_klaviyo=False)

    def _record(self, plan: Plan, reply: Reply | None, *, from_klaviyo: bool) -> None:
        """Have a line of the log written later."""
        if self._log is None or plan.client is None or plan.verdict is None or plan.case is None:
            return
        log, client, took = self._log, plan.client, time.monotonic() - plan.started
        # The line is made from the bodies later, so they stay in memory until then.
        weight = len(plan.case.asked.text) + (0 if reply is None else len(reply.body))
        self.later.add(lambda: log.record(plan, reply, took, client, from_klaviyo=from_klaviyo), weight)

    def _account_from(self, plan: Plan, reply: Reply) -> None:
        """Note the account that Klaviyo's answer names in its header ``cid``."""
        if plan.client is not None and plan.client.account is None:
            plan.client.note_account(next((value for name, value in reply.headers if name.lower() == "cid"), None))

    def learnt(self, client: Guarded, profile: Profile) -> None:
        """Take what a profile shows into the map. Called in the guard's own thread."""
        try:
            if client.account is not None:
                self.count_lesson(shell_of(client).run(learn_from, client.account, profile))
        except Exception as error:  # noqa: BLE001 - a map that is away learns nothing
            self.report(error)
        finally:
            self._unlearnt.pop()

    def finish_lessons(self) -> None:
        """Wait, for a bounded time, until the map knows what the observed answers before an enforced call have shown.

        An observed call may have moved the customer to another address. An enforced event that follows at once would
        name the address that the map still has, and put it back.
        """
        if self._unlearnt:
            self.later.flush(LESSONS)

    def count_lesson(self, result: Learnt) -> None:
        """Count a lesson by its result."""
        if result != "nothing":
            self.count(result)


def shell_of(client: Guarded) -> Any:
    """Return the shell that carries out a client's flows."""
    return cast("Any", client.client)._shell  # noqa: SLF001 - as in `_clients`


def _with_path(url: str, path: str) -> str:
    scheme, mark, rest = url.partition("://")
    host, _, _ = rest.partition("/")
    _, query_mark, query = rest.partition("?")
    return f"{scheme}{mark}{host}{path}{query_mark}{query}"


def _with_length(headers: Any, length: int) -> list[tuple[str, str]]:
    kept = [each for each in headers if each[0].lower() not in {"content-length", "transfer-encoding"}]
    return [*kept, ("Content-Length", str(length))]
