"""Processes that die: after each step of a call in turn, over every verb, and what has to stand in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from safeklaviyo import CLEAR
from support.flows import Send, StoreEffect
from support.scenes import ANN, BOB, NEW, Killed, edit

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator

    Pairs = set[tuple[str | None, str | None]]

OLD = ANN["email"]
PHONE = "+12025550199"
_BEFORE = {("ann-1", OLD), ("bob-2", BOB["email"])}
_BOB = ("bob-2", BOB["email"])


@dataclass(frozen=True, slots=True)
class Scene:
    """One call, what there is before it, and what there is to be after it.

    Attributes:
        verb: What its intent is called.
        call: Makes it; the second argument is what `prepare` returned.
        prepare: Brings about what it begins with, besides Ann and Bob, whom the map knows.
        after: All pairs in Klaviyo once it is done.
        between: All pairs once only its first contact, or its repair, is done, where it makes one.
        rows: What the map's journal says of it, if it says anything.
        repairs: It also repairs a profile, which is another customer's or looks right once it has been written: what is
            left of that need not concern the next call.
    """

    verb: str
    call: Callable[[Klaviyo, Any], object]
    after: Pairs
    prepare: Callable[[KlaviyoSimulator, Klaviyo], object] = lambda _simulator, _k: None
    between: Pairs = field(default_factory=set)
    rows: tuple[tuple[str, str | None, str | None], ...] = ()
    repairs: bool = False


def _unknown(_simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    k.bindings.remove(external_id="ann-1")


def _put_back(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    k.change_email(NEW, external_id="ann-1")
    edit(simulator, str(k.resolve(external_id="ann-1").profile_id), email=OLD)


def _with_a_ghost(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    k.change_email(NEW, external_id="ann-1")
    simulator.add_profile(email=OLD)


def _taken_by_a_put_back(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    k.change_email("bob@new.test", external_id="bob-2")
    edit(simulator, str(k.resolve(external_id="bob-2").profile_id), email=BOB["email"])


SCENES: dict[str, Scene] = {
    "first contact": Scene(
        "contact",
        lambda k, _: k.identify({"plan": "gold"}, external_id="eve-3", email="eve@shop.test"),
        {*_BEFORE, ("eve-3", "eve@shop.test")},
    ),
    "first contact with an orphan": Scene(
        "contact",
        lambda k, _: k.track("Ordered", external_id="eve-3", email="eve@shop.test", unique_id="e-1"),
        {*_BEFORE, ("eve-3", "eve@shop.test")},
        prepare=lambda simulator, _k: simulator.add_profile(email="eve@shop.test"),
    ),
    "a change of email": Scene(
        "change",
        lambda k, _: k.change_email(NEW, external_id="ann-1"),
        {("ann-1", NEW), _BOB},
        rows=(("change_email", OLD, NEW),),
    ),
    "a change of email of somebody unknown": Scene(
        "change",
        lambda k, _: k.change_email(NEW, external_id="ann-1", old_email=OLD),
        {("ann-1", NEW), _BOB},
        prepare=_unknown,
        between=_BEFORE,
        rows=(("change_email", OLD, NEW),),
    ),
    "a change of email to an orphan's": Scene(
        "change",
        lambda k, _: k.change_email(NEW, external_id="ann-1", on_taken="merge"),
        {("ann-1", NEW), _BOB},
        prepare=lambda simulator, _k: simulator.add_profile(email=NEW),
        rows=(("change_email", OLD, NEW),),
    ),
    "a change of email to a guest's": Scene(
        "change",
        lambda k, _: k.change_email(NEW, external_id="ann-1", on_taken="merge"),
        {("ann-1", NEW), _BOB},
        prepare=lambda _simulator, k: k.identify(email=NEW),
        rows=(("change_email", OLD, NEW),),
    ),
    "a change of email to one that was put back": Scene(
        "change",
        lambda k, _: k.change_email(BOB["email"], external_id="ann-1"),
        {("ann-1", BOB["email"]), ("bob-2", "bob@new.test")},
        prepare=_taken_by_a_put_back,
        between={("ann-1", OLD), ("bob-2", "bob@new.test")},
        repairs=True,
        rows=(("change_email", OLD, BOB["email"]),),
    ),
    "a change of id": Scene(
        "change",
        lambda k, _: k.change_external_id("ann-9", email=OLD),
        {("ann-9", OLD), _BOB},
        rows=(("change_external_id", "ann-1", "ann-9"),),
    ),
    "an account that is closed": Scene(
        "change",
        lambda k, _: k.change_external_id(CLEAR, email=OLD),
        {(None, OLD), _BOB},
        rows=(("change_external_id", "ann-1", None),),
    ),
    "a change of phone number": Scene("change", lambda k, _: k.change_phone_number(PHONE, email=OLD), _BEFORE),
    "a merge": Scene(
        "merge",
        lambda k, orphan: k.profiles.merge(orphan, into=str(k.resolve(email=OLD).profile_id)),
        _BEFORE,
        prepare=lambda simulator, _k: simulator.add_profile(email=NEW).id,
        rows=(("merge", NEW, OLD),),
    ),
    "an erasure with a ghost": Scene("erase", lambda k, _: k.erase(external_id="ann-1"), {_BOB}, prepare=_with_a_ghost),
    "an erasure": Scene("erase", lambda k, _: k.erase(external_id="ann-1"), {_BOB}),
    "a repair": Scene(
        "restore",
        lambda k, _: k.recheck_changes(repair=True),
        {("ann-1", NEW), _BOB},
        prepare=_put_back,
        repairs=True,
    ),
    "a put back that an identify meets": Scene(
        "restore",
        lambda k, _: k.identify(external_id="ann-1"),
        {("ann-1", NEW), _BOB},
        prepare=_put_back,
        repairs=True,
    ),
}


def act_after(client: Klaviyo, steps: int, act: Callable[[], object]) -> None:
    """Let something happen once so many of a client's requests and calls of the map have been carried out."""
    shell: Any = client._shell
    perform, done = shell._perform, count(1)

    def watched(sender: object, effect: object) -> object:
        result = perform(sender, effect)
        if isinstance(effect, Send | StoreEffect) and next(done) == steps:
            act()
        return result

    shell._perform = watched


def die_after(client: Klaviyo, steps: int) -> None:
    """Let a client's process die once so many of its requests and calls of the map have been carried out."""

    def die() -> None:
        raise Killed

    act_after(client, steps, die)
