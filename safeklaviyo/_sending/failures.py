"""How an attempt to send a request failed, and what follows from that.

Decided here: whether the request may be sent again, whether Klaviyo may have carried it out (the outcome), and what a
repeat takes from the budget. Not here: which failure an answer is (`attempts`), when a repeat comes (`line`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from safeklaviyo._api.messages import Repeat
from safeklaviyo._sending.budget import RETRY_COST, TIMEOUT_COST

if TYPE_CHECKING:
    from safeklaviyo.errors import SafeKlaviyoError


class Failure(Enum):
    """How an attempt failed, which decides with `Repeat` whether there is another."""

    CROWDED = "no turn before the deadline"
    NOT_SENT = "no connection"
    THROTTLED = "429"
    NO_RESPONSE = "sent, and no whole answer"
    FOREIGN = "an answer that Klaviyo did not give"
    BROKEN = "5xx"
    REFUSED = "any other 4xx"


# Klaviyo may have carried the request out.
_UNCERTAIN: Final = frozenset({Failure.NO_RESPONSE, Failure.FOREIGN, Failure.BROKEN})
# Klaviyo has not carried the request out.
_UNDONE: Final = frozenset({Failure.CROWDED, Failure.NOT_SENT, Failure.THROTTLED})


def may_repeat(repeat: Repeat, failure: Failure) -> bool:
    """Whether a request may be sent once more after this failure.

    - Not sent, or 429: always, because nothing was done.
    - 5xx, or no answer of Klaviyo's own: only if a second time changes nothing (F-19), a 503 with ``Retry-After`` too.
    - Any other answer: never. It would be the same again.
    """
    if failure in _UNCERTAIN:
        return repeat is not Repeat.ONCE
    return failure in _UNDONE


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed attempt.

    Attributes:
        at: When it had failed, and
        last: when the last attempt must have begun, both by the `Monotonic` effect.
    """

    repeat: Repeat
    failure: Failure
    error: SafeKlaviyoError
    at: float
    last: float

    @property
    def cost(self) -> int:
        """What a retry takes from the budget."""
        return TIMEOUT_COST if self.failure is Failure.NO_RESPONSE else RETRY_COST

    @property
    def may_be_repeated(self) -> bool:
        """Whether the request may be sent again after this failure."""
        return may_repeat(self.repeat, self.failure)

    @property
    def leaves_doubt(self) -> bool:
        """Whether Klaviyo may have carried the request out (P7)."""
        return self.repeat is not Repeat.READ and self.failure in _UNCERTAIN
