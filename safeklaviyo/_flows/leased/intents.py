"""What an intent says, and how a lease is waited for.

Every lease carries its intent from the start, so whoever meets it expired can finish that same write, which makes a
late copy of it harmless (H4, H6 of the design's model). Finishing is in `leases`; the writes are in the modules it
imports.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from safeklaviyo._effects import Flow, Monotonic, Sleep
from safeklaviyo.errors import LeaseHeldError, StoreIncompatibleError
from safeklaviyo.identity import Identifier, Kind

if TYPE_CHECKING:
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Lease

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5


Verb: TypeAlias = Literal["contact", "change", "merge", "erase", "restore"]
_VERBS = frozenset(get_args(Verb))


@dataclass(frozen=True, slots=True, repr=False)
class Intent:
    """What is about to be written under a lease.

    Attributes:
        verb: ``"contact"``: bind the pair (`external_id`, `email`), creating or completing a profile;
            ``"change"``: bring the customer with that pair and `profile_id` to the new identifiers;
            ``"merge"``: let the profile `source_id` become one with `profile_id`;
            ``"erase"``: delete `profile_id` and forget the customer;
            ``"restore"``: put the profile back to what the map says, where it shows a former identifier of its
            customer, or one of the new ones here, which were written too late.
        clears: The kinds of identifier to take away.
        merges: An orphan with the new email is merged into the customer's profile.
        source_id: The profile that is merged away.
        source_email: Its address.
        asked: How often the merge has been asked for.
        may_suppress: The merge may turn a consenting customer into a suppressed one.
    """

    verb: Verb
    external_id: str | None = None
    email: str | None = None
    profile_id: str | None = None
    new_external_id: str | None = None
    new_email: str | None = None
    new_phone_number: str | None = None
    clears: tuple[str, ...] = ()
    merges: bool = False
    source_id: str | None = None
    source_email: str | None = None
    may_suppress: bool = False
    asked: int = 0

    def encode(self) -> str:
        """Return the intent as the store keeps it."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    @classmethod
    def decode(cls, text: str) -> Intent:
        """Read an intent back.

        Raises:
            StoreIncompatibleError: Another version of this library wrote it.
        """
        try:
            told = json.loads(text)
            intent = cls(**(told | {"clears": tuple(told.get("clears", ()))}))
        except (AttributeError, TypeError, ValueError) as exc:
            raise StoreIncompatibleError("the identity map holds an intent this version cannot read") from exc
        if intent.verb not in _VERBS:
            raise StoreIncompatibleError("the identity map holds an intent this version cannot carry out")
        return intent

    def identifiers(self) -> frozenset[Identifier]:
        """Return what has to be leased to carry it out."""
        given = (
            (Kind.EXTERNAL_ID, self.external_id),
            (Kind.EXTERNAL_ID, self.new_external_id),
            (Kind.EMAIL, self.email),
            (Kind.EMAIL, self.new_email),
            (Kind.EMAIL, self.source_email),
            (Kind.PROFILE_ID, self.profile_id),
            (Kind.PROFILE_ID, self.source_id),
        )
        return frozenset(Identifier(kind, value) for kind, value in given if value is not None)

    def applied_to(self, binding: Binding) -> Binding:
        """Return the binding as it is to be after a change."""
        wanted = replace(
            binding,
            external_id=self.new_external_id or binding.external_id,
            email=self.new_email or binding.email,
            phone_number=self.new_phone_number or binding.phone_number,
        )
        if Kind.EXTERNAL_ID.value in self.clears:
            wanted = replace(wanted, external_id=None)
        return replace(wanted, phone_number=None) if Kind.PHONE_NUMBER.value in self.clears else wanted


def wait(call: Call, lease: Lease | None) -> Flow[None]:
    """Wait a little for somebody else's lease (R13).

    Raises:
        LeaseHeldError: It has been waited for as long as the policy allows.
    """
    now = yield from Monotonic()
    if call.patience_ends is None:
        call.patience_ends = now + call.policy.wait
    left = call.patience_ends - now
    if left <= 0:
        raise LeaseHeldError(
            "somebody else is acting on this customer",
            rule="R13",
            retry_after=None if lease is None else max(lease.remaining, 0.0),
        )
    pause = min(call.pause, left)
    if lease is not None:
        pause = min(pause, max(lease.remaining, 0.0) + 0.001)
    call.pause = min(call.pause * 2, LONGEST_PAUSE)
    yield from Sleep(pause)
