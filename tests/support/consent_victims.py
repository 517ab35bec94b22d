"""What processes do with consent that are going to be killed: one verb each, for one of many customers."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from safeklaviyo import Klaviyo, Policy, RetryPolicy
from safeklaviyo.stores.postgres import PostgresStore
from safeklaviyo.stores.redis import RedisStore
from safeklaviyo.stores.sqlite import SqliteStore
from support.consent import SUBSCRIBED, can_receive, receiving, subscribed
from support.flows import StoreEffect

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.stores.base import IdentityStore
    from safeklaviyo.testing import KlaviyoSimulator

    Where = tuple[str, str, str, str, float]
    """The URL of Klaviyo, the account, the kind of the map, what opens it, and how long an attempt may take."""

LEASE = 0.2
SETTLED = 0.3


def external_id(number: int) -> str:
    """Return the id of a customer."""
    return f"c-{number}"


def phone_number(number: int) -> str:
    """Return the number of a customer."""
    return f"+1202555{number:04}"


def addresses(number: int) -> list[str]:
    """Return the addresses of a customer, the present one last."""
    return [f"c-{number}-{turn}@shop.test" for turn in range(3)]


def store_at(kind: str, name: str) -> IdentityStore:
    """Open a map."""
    if kind == "redis":
        url, _, prefix = name.partition(" ")
        return RedisStore(url, prefix=prefix)
    return PostgresStore(name) if kind == "postgres" else SqliteStore(name)


def opened(where: Where, store: IdentityStore | None = None) -> Klaviyo:
    """Open a client as each process has its own, with a short patience."""
    url, account, kind, name, timeout = where
    return Klaviyo(
        "pk_victim",
        account=account,
        store=store_at(kind, name) if store is None else store,
        base_url=url,
        timeout=timeout,
        policy=Policy(lease=LEASE, lag=SETTLED, consent_wait=SETTLED, wait=10.0, visible_wait=0.1),
        retry=RetryPolicy(max_attempts=1),
    )


@dataclass(frozen=True, slots=True)
class Scene:
    """One verb.

    Attributes:
        call: Makes the call about a customer, with the list that they are in.
        is_done: Whether Klaviyo shows it.
        consent: What the customer's profiles show before.
    """

    call: Callable[[Klaviyo, int, str], object]
    is_done: Callable[[KlaviyoSimulator, int, str], bool]
    consent: str = SUBSCRIBED


def _of(simulator: KlaviyoSimulator, number: int) -> list[Any]:
    return [each for each in simulator.profiles if each.email in addresses(number)]


def _is_withdrawn(simulator: KlaviyoSimulator, number: int, _news: str) -> bool:
    return [set()] * 3 == [receiving(each) for each in _of(simulator, number)]


def _is_left(simulator: KlaviyoSimulator, number: int, news: str) -> bool:
    members = [each.external_id for each in simulator.members(news)]
    return external_id(number) not in members and addresses(number) == can_receive(simulator, addresses(number))


def _is_suppressed(simulator: KlaviyoSimulator, number: int, _news: str) -> bool:
    return [] == can_receive(simulator, addresses(number))


def _is_given(simulator: KlaviyoSimulator, number: int, news: str) -> bool:
    own = simulator.find(external_id=external_id(number))
    given = [each for each in subscribed(simulator) if each in addresses(number)]
    is_given = own is not None and own.sms_consent == SUBSCRIBED and addresses(number)[-1:] == given
    return is_given and own in simulator.members(news)


SCENES = {
    "unsubscribe": Scene(lambda k, n, _: k.unsubscribe(["email", "sms"], external_id=external_id(n)), _is_withdrawn),
    "leave a list": Scene(
        lambda k, n, news: k.unsubscribe("email", list_id=news, external_id=external_id(n)), _is_left
    ),
    "suppress": Scene(lambda k, n, _: k.suppress(external_id=external_id(n)), _is_suppressed),
    "subscribe": Scene(
        lambda k, n, news: k.subscribe(
            ["email", "sms"], list_id=news, external_id=external_id(n), phone_number=phone_number(n)
        ),
        _is_given,
        consent="NEVER_SUBSCRIBED",
    ),
}


def prepare(simulator: KlaviyoSimulator, k: Klaviyo, name: str, number: int, news: str) -> None:
    """Let a customer have three addresses, of which two have ghosts on them, one number, and be in one list."""
    first, second, last = addresses(number)
    consent = SCENES[name].consent
    if consent == SUBSCRIBED:
        held: dict[str, Any] = {"phone_number": phone_number(number), "sms_consent": SUBSCRIBED}
        own = simulator.add_profile(external_id=external_id(number), email=first, consent=consent, **held)
        with simulator._lock:
            simulator._account.join(news, own.id)
    k.identify(external_id=external_id(number), email=first)
    for email in (second, last):
        k.change_email(email, external_id=external_id(number))
    for email in (first, second):
        simulator.add_profile(email=email, consent=consent)


def live(where: Where, name: str, number: int, news: str, steps: int) -> None:
    """Make one call; with a number of steps, be killed once so many calls of the map have been carried out."""
    with opened(where) as k:
        shell: Any = k._shell
        perform, done = shell._perform, count(1)

        def mortal(sender: object, effect: object) -> object:
            result = perform(sender, effect)
            if isinstance(effect, StoreEffect) and next(done) == steps:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        shell._perform = mortal
        SCENES[name].call(k, number, news)
