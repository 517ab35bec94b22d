"""Long random histories of every identity verb, with failures, deaths, delays and restarts, and what always holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from safeklaviyo import Policy, RetryPolicy, SafeKlaviyoError
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.deaths import die_after
from support.examples import examples
from support.scenes import (
    ACCOUNT,
    Killed,
    browse,
    edit,
    expire,
    leases,
    persist,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import Asked

CUSTOMERS = st.integers(0, 2)
SHARED = ("one@shared.test", "two@shared.test")
FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503},
    {"status": 429},
    {},
    {"broken": "refused"},
    {"when": "after"},
    {"broken": "truncated", "when": "after"},
]


class Customer:
    """One customer as the shop knows them.

    Attributes:
        names: The ids and addresses that they have or had and nobody else ever wants.
        external_id: One that names them.
        email: One that names them.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.external_id = f"c{number}"
        self.email = f"c{number}-0@shop.test"
        self.names = {self.external_id, self.email}

    def next_email(self, turn: int) -> str:
        email = f"c{self.number}-{turn}@shop.test"
        self.names.add(email)
        return email


class Histories(RuleBasedStateMachine):
    """Several customers of one shop, whose processes share a map and die."""

    open_client: Callable[..., Klaviyo]
    ends: ClassVar[list[int]] = []
    """How many events were found, each once and in its place, at the end of each history."""

    def __init__(self) -> None:
        super().__init__()
        self.simulator = KlaviyoSimulator(account=ACCOUNT, search_lag=1.0)
        self.store = MemoryStore(clock=self.simulator.now)
        self.customers = [Customer(number) for number in range(3)]
        self.events: dict[str, Customer] = {}
        self.unsure: dict[str, tuple[Customer, dict[str, Any]]] = {}
        self.turn = 0
        self.watcher = self.open_client(self.simulator, self.store)
        self.restart()
        for customer in self.customers:
            self.k.identify(**self._named(customer, "both"))

    @rule()
    def restart(self) -> None:
        """Another process takes over."""
        self.k = self.open_client(
            self.simulator,
            self.store,
            retry=RetryPolicy(max_attempts=1),
            policy=Policy(merge_wait=1, visible_wait=1, wait=40),
        )

    @rule(who=CUSTOMERS, by=st.sampled_from(["id", "email", "both"]))
    def identify(self, who: int, by: str) -> None:
        """A customer is written about."""
        customer = self.customers[who]
        self._try(self.k.identify, {"owner": customer.number}, **self._named(customer, by))

    @rule(who=CUSTOMERS, by=st.sampled_from(["id", "email", "both"]))
    def track(self, who: int, by: str) -> None:
        """A customer does something."""
        customer = self.customers[who]
        self.turn += 1
        self._track(customer, {"unique_id": f"e{self.turn}", **self._named(customer, by)})

    @rule(who=CUSTOMERS, by=st.sampled_from(["id", "email", "both"]), on_taken=st.sampled_from(["refuse", "merge"]))
    def change_email(self, who: int, by: str, on_taken: str) -> None:
        """A customer moves to an address of their own."""
        customer = self.customers[who]
        self.turn += 1
        named = self._named(customer, by)
        old = {"old_email": named.pop("email")} if "email" in named else {}
        self._try(self.k.change_email, customer.next_email(self.turn), on_taken=on_taken, **named, **old)

    @rule(who=CUSTOMERS, email=st.sampled_from(SHARED), on_taken=st.sampled_from(["refuse", "merge"]))
    def want(self, who: int, email: str, on_taken: str) -> None:
        """A customer wants an address that others want too."""
        self._try(self.k.change_email, email, external_id=self.customers[who].external_id, on_taken=on_taken)

    @rule(who=CUSTOMERS)
    def change_external_id(self, who: int) -> None:
        """A customer gets another id; the old one still names them."""
        customer = self.customers[who]
        self.turn += 1
        new = f"c{customer.number}-{self.turn}"
        customer.names.add(new)
        self._try(self.k.change_external_id, new, old_external_id=customer.external_id)

    @rule(who=CUSTOMERS, number=st.integers(0, 3))
    def change_phone_number(self, who: int, number: int) -> None:
        """A customer gives a number, perhaps somebody else's."""
        self._try(self.k.change_phone_number, f"+1202555010{number}", external_id=self.customers[who].external_id)

    @rule(email=st.sampled_from(SHARED), ours=st.booleans())
    def visit(self, email: str, ours: bool) -> None:
        """Somebody who has not signed in shows an address, to our shop or to a browser's own script."""
        if ours:
            self._try(self.k.track, "Viewed", email=email)
        elif not any(profile.email == email for profile in self.simulator.profiles):
            browse(self.simulator, email=email)

    @rule(who=CUSTOMERS)
    def merge(self, who: int) -> None:
        """A visitor's profile turns out to be a customer's."""
        own = self.store.page(ACCOUNT).bindings
        into = next((each.profile_id for each in own if each.external_id in self.customers[who].names), None)
        orphan = next(
            (each for each in self.simulator.profiles if each.external_id is None and each.email in SHARED), None
        )
        if into is not None and orphan is not None and self._try(self.k.profiles.merge, orphan.id, into=into):
            self.simulator.drain()
            assert "R12" != self.watcher.explain(email=orphan.email).rule

    @rule(who=CUSTOMERS)
    def erase(self, who: int) -> None:
        """A customer goes, and another one comes in their place."""
        gone = self.customers[who]
        self.quiet()
        self._try(self.k.erase, external_id=gone.external_id)
        self.quiet()
        if not any({each.external_id, each.email} & gone.names for each in self.simulator.profiles):
            self.turn += 1
            self.customers[who] = Customer(100 + self.turn)
            self.k.identify(**self._named(self.customers[who], "both"))
            self.events = {name: customer for name, customer in self.events.items() if customer is not gone}
            assert all(gone.external_id != each.external_id for each in self.store.page(ACCOUNT).bindings)

    @rule(fault=st.sampled_from(FAULTS), after=st.integers(0, 5))
    def fail(self, fault: dict[str, Any], after: int) -> None:
        """A request to come fails."""
        left = iter(range(after, -1, -1))

        def is_meant(asked: Asked) -> bool:
            return asked.headers.get("user-agent") != "by hand" and next(left, 1) == 0

        self.simulator.fail_next(match=is_meant, **fault)

    @rule(who=CUSTOMERS, steps=st.integers(4, 14), merges=st.booleans())
    def die(self, who: int, steps: int, merges: bool) -> None:
        """A process dies over a change of email, and its lease expires before anybody comes by."""
        customer = self.customers[who]
        self.turn += 1
        die_after(self.k, steps)
        email = SHARED[0] if merges else customer.next_email(self.turn)
        self._try(self.k.change_email, email, external_id=customer.external_id, on_taken="merge")
        self.restart()
        expire(self.simulator)

    @rule(who=CUSTOMERS)
    def put_back(self, who: int) -> None:
        """A late write puts a former address back."""
        theirs = [each for each in self.simulator.profiles if each.external_id in self.customers[who].names]
        former = self.watcher.explain(email=self.customers[who].email)
        if len(theirs) == 1 and former.rule == "R11" and self.simulator.find(email=self.customers[who].email) is None:
            edit(self.simulator, theirs[0].id, email=self.customers[who].email)

    @rule(steps=st.integers(1, 15))
    def doom(self, steps: int) -> None:
        """The process will die."""
        die_after(self.k, steps)

    @rule()
    def recover(self) -> None:
        """The scheduled job runs."""
        self._try(self.k.recover)

    @rule(repair=st.booleans())
    def recheck(self, repair: bool) -> None:
        """The other scheduled job runs."""
        self._try(self.k.recheck_changes, repair=repair)

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.simulator.advance(seconds)

    @rule()
    @precondition(lambda self: self.simulator.pending)
    def work(self) -> None:
        """Klaviyo does one of the things it has queued."""
        self.simulator.step(0)

    @invariant()
    def nobody_is_mixed_up(self) -> None:
        """No profile has the names of two customers, at any time."""
        for profile in self.simulator.profiles:
            owners = [each.number for each in self.customers if {profile.external_id, profile.email} & each.names]
            assert len(owners) < 2
            assert profile.properties.get("owner") in {None, *owners} or not owners

    def teardown(self) -> None:
        """Once all is quiet: one profile each, as the map says, and no event lost or doubled."""
        self.quiet()
        for customer in self.customers:
            theirs = [each for each in self.simulator.profiles if {each.external_id, each.email} & customer.names]
            assert len(theirs) < 2
        shown = {profile.id: profile for profile in self.simulator.profiles}
        for binding in self.store.page(ACCOUNT).bindings:
            assert binding.profile_id in shown
            profile = shown[binding.profile_id]
            assert (binding.external_id, binding.email) == (profile.external_id, profile.email)
        recorded = Counter(event.unique_id for event in self.simulator.events)
        places = {
            event.unique_id: shown[event.profile_id] for event in self.simulator.events if event.profile_id in shown
        }
        for name, customer in self.events.items():
            assert 1 == recorded[name]
            assert {places[name].external_id, places[name].email} & customer.names
        assert 0 == leases(self.store)
        self.ends.append(len(self.events))

    def quiet(self) -> None:
        """Let everything come to rest, as the scheduled jobs do in time."""
        self.simulator._faults._next.clear()
        self.restart()
        for _ in range(3):
            self.simulator.drain()
            expire(self.simulator)
            self.k.recover()
            self.k.recheck_changes(repair=True)
        for name, (customer, named) in list(self.unsure.items()):
            del self.unsure[name]
            self._track(customer, named)
        self.simulator.drain()
        for _ in range(3):  # what one repair makes free, another may have waited for
            for review in self.k.recheck_changes(repair=True):
                # A browser's ghost took the address while a late event had put the former one back: merged on request.
                holder = self.simulator.find(email=review.email)
                is_ghost = holder is not None and holder.external_id is None
                if review.finding == "put_back" and not review.repaired and is_ghost:
                    persist(self.simulator, self.k.profiles.merge, holder.id, into=review.profile_id)
                    self.simulator.drain()
        for binding in self.store.page(ACCOUNT).bindings:
            persist(
                self.simulator, self.k.identify, email=binding.email
            )  # sees whose profile is gone, and makes the next one
        self.simulator.drain()

    def _named(self, customer: Customer, by: str) -> dict[str, Any]:
        named = {"external_id": customer.external_id, "email": customer.email}
        if by == "both":
            return named
        return {"external_id": customer.external_id} if by == "id" else {"email": customer.email}

    def _track(self, customer: Customer, named: dict[str, Any]) -> None:
        moment = named.setdefault("time", int(self.simulator.now()))
        assert moment
        try:
            persist(self.simulator, self.k.track, "Ordered", **named)
        except Killed:
            self.restart()
            self.unsure[named["unique_id"]] = customer, named
        except SafeKlaviyoError as error:
            if error.outcome == "unknown":
                self.unsure[named["unique_id"]] = customer, named
        else:
            self.events[named["unique_id"]] = customer

    def _try(self, call: Callable[..., object], *args: Any, **named: Any) -> bool:
        """Make a call, of which refusals and failures are part of the history, and say whether it succeeded."""
        try:
            call(*args, **named)
        except Killed:
            self.restart()
            return False
        except SafeKlaviyoError:
            return False
        return True


def test_histories(open_client):
    """P4: whatever happens, in whatever order, every customer has one profile of their own in the end."""
    Histories.open_client = staticmethod(open_client)
    from hypothesis.stateful import run_state_machine_as_test

    Histories.ends.clear()
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=examples(40),
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a history takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert any(Histories.ends)
