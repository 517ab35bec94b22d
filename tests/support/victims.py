"""What processes do that are going to be killed: one verb each, for one of many customers, on a shared map."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from safeklaviyo import CLEAR, Klaviyo, Policy, RetryPolicy
from support.flows import StoreEffect

if TYPE_CHECKING:
    from collections.abc import Callable

    Pair = tuple[str | None, str | None]

ACCOUNT = "SiMuLa"
TIMEOUT = 0.8
LEASE = 0.2
LAG = 0.3


def external_id(number: int) -> str:
    """Return the id of a customer."""
    return f"c-{number}"


def old(number: int) -> str:
    """Return the address that a customer begins with."""
    return f"c-{number}@shop.test"


def new(number: int) -> str:
    """Return the address that a customer goes to."""
    return f"c-{number}@new.test"


def opened(url: str, path: str) -> Klaviyo:
    """Open a client as each process has its own: on the shared map, with a short patience."""
    return Klaviyo(
        "pk_victim",
        account=ACCOUNT,
        store=f"sqlite:///{path}",
        base_url=url,
        timeout=TIMEOUT,
        policy=Policy(lease=LEASE, lag=LAG, wait=10.0, merge_wait=2.0, visible_wait=0.1),
        retry=RetryPolicy(max_attempts=1),
    )


@dataclass(frozen=True, slots=True)
class Scene:
    """One verb.

    Attributes:
        call: Makes the call about a customer.
        after: The pairs of that customer's profiles once it is done.
        prepare: Brings about what it begins with.
        before: The pairs that there are then.
        between: The pairs once only its first contact is done, where it makes one.
    """

    call: Callable[[Klaviyo, int], object]
    after: Callable[[int], set[Pair]]
    prepare: Callable[[Klaviyo, int], object] = lambda k, n: k.identify(external_id=external_id(n), email=old(n))
    before: Callable[[int], set[Pair]] = lambda n: {(external_id(n), old(n))}
    between: Callable[[int], set[Pair]] = lambda n: {(external_id(n), old(n))}


def _with_guest(k: Klaviyo, number: int) -> None:
    k.identify(external_id=external_id(number), email=old(number))
    k.identify(email=new(number))


def _guest_and_customer(number: int) -> set[Pair]:
    return {(external_id(number), old(number)), (None, new(number))}


def _merge(k: Klaviyo, number: int) -> None:
    source, into = k.resolve(email=new(number)).profile_id, k.resolve(email=old(number)).profile_id
    if source != into:  # otherwise the map says that it has been done
        k.profiles.merge(str(source), into=str(into))


def _moved(number: int) -> set[Pair]:
    return {(external_id(number), new(number))}


SCENES: dict[str, Scene] = {
    "first contact": Scene(
        lambda k, n: k.identify({"plan": "gold"}, external_id=external_id(n), email=old(n)),
        lambda n: {(external_id(n), old(n))},
        prepare=lambda _k, _n: None,
        before=lambda _n: set(),
    ),
    "change_email": Scene(lambda k, n: k.change_email(new(n), external_id=external_id(n)), _moved),
    "change_email of somebody unknown": Scene(
        lambda k, n: k.change_email(new(n), external_id=external_id(n), old_email=old(n)),
        _moved,
        prepare=lambda _k, _n: None,
        before=lambda _n: set(),
    ),
    "change_email with a merge": Scene(
        lambda k, n: k.change_email(new(n), external_id=external_id(n), on_taken="merge"),
        _moved,
        prepare=_with_guest,
        before=_guest_and_customer,
    ),
    "change_external_id": Scene(
        lambda k, n: k.change_external_id(f"d-{n}", email=old(n)), lambda n: {(f"d-{n}", old(n))}
    ),
    "change_external_id to none": Scene(
        lambda k, n: k.change_external_id(CLEAR, email=old(n)), lambda n: {(None, old(n))}
    ),
    "change_phone_number": Scene(
        lambda k, n: k.change_phone_number(f"+1202555{n:04}", email=old(n)), lambda n: {(external_id(n), old(n))}
    ),
    "merge": Scene(_merge, lambda n: {(external_id(n), old(n))}, prepare=_with_guest, before=_guest_and_customer),
    "erase": Scene(lambda k, n: k.erase(email=old(n)), lambda _n: set()),
}


def live(url: str, path: str, name: str, number: int, steps: int) -> None:
    """Make one call; with a number of steps, be killed once so many calls of the map have been carried out."""
    with opened(url, path) as k:
        shell: Any = k._shell
        perform, done = shell._perform, count(1)

        def mortal(sender: object, effect: object) -> object:
            result = perform(sender, effect)
            if isinstance(effect, StoreEffect) and next(done) == steps:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        shell._perform = mortal
        SCENES[name].call(k, number)
