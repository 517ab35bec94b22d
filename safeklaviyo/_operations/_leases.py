"""What an intent says, and how a lease is waited for.

Every lease carries its intent from the start, so whoever meets it expired can finish that same write, which makes a
late copy of it harmless (H4, H6 of the design's model). Finishing is in `_settle`; the writes are in the modules it
imports.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from safeklaviyo._flow import Flow, Monotonic, Sleep
from safeklaviyo.errors import LeaseHeldError, StoreIncompatibleError
from safeklaviyo.identity import Identifier, Kind

if TYPE_CHECKING:
    from safeklaviyo._operations._call import Call
    from safeklaviyo.stores.base import Lease

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5


@dataclass(frozen=True, slots=True, repr=False)
class Intent:
    """What is about to be written under a lease.

    Attributes:
        verb: ``"contact"``: bind the pair (`external_id`, `email`), creating or completing a profile;
            ``"change_email"``: move the profile's address from `old_email` to `email`;
            ``"restore"``: put the profile back to what the map says, where it shows a former identifier of its
            customer, or one of the pair (`external_id`, `email`) that was written too late.
    """

    verb: Literal["contact", "change_email", "restore"]
    external_id: str | None = None
    email: str | None = None
    old_email: str | None = None
    profile_id: str | None = None

    def encode(self) -> str:
        """Return the intent as the store keeps it."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})

    @classmethod
    def decode(cls, text: str) -> Intent:
        """Read an intent back.

        Raises:
            StoreIncompatibleError: Another version of this library wrote it.
        """
        try:
            intent = cls(**json.loads(text))
        except (TypeError, ValueError) as exc:
            raise StoreIncompatibleError("the identity map holds an intent this version cannot read") from exc
        if intent.verb not in {"contact", "change_email", "restore"}:
            raise StoreIncompatibleError("the identity map holds an intent this version cannot carry out")
        return intent

    def identifiers(self) -> frozenset[Identifier]:
        """Return what has to be leased to carry it out."""
        given = (
            (Kind.EXTERNAL_ID, self.external_id),
            (Kind.EMAIL, self.email),
            (Kind.EMAIL, self.old_email),
            (Kind.PROFILE_ID, self.profile_id),
        )
        return frozenset(Identifier(kind, value) for kind, value in given if value is not None)


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
