"""The leases that one run of a flow holds in the map, and what becomes of them when the run is cut off.

A flow that was cancelled, or in which a signal handler raised, is closed and never resumed, so its shell does what is
decided here:

- A lease under which no write has left is released. Nothing was written, so there is nothing to finish.
- A lease that was taken over carries another call's intent. It expires at once, so that the next call finishes that.
- A lease under which a write has left stays with its intent: only the next call can find out what became of the write.
- A lease that may just have been granted is found by a mark on its intent, because its token was never seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from safeklaviyo._api.messages import Repeat
from safeklaviyo._effects import Send
from safeklaviyo.stores.calls import Acquire, Bind, Each, Find, Release, Renew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo._effects import Effect, Flow

PROMPT: Final = 1.0
"""The longest time in seconds that a call which was cut off waits until its leases are released."""

LEASING: Final = frozenset({Acquire, Each})
"""The effects that may take a lease."""

_AT_ONCE: Final = 0.001
_BLANKS: Final = str.maketrans("01", " \t")


class Held:
    """The leases of one run. Made with the first `Acquire`: most calls take none."""

    __slots__ = ("_acquiring", "_leases", "_under_way")

    def __init__(self) -> None:
        self._acquiring: Effect[Any] | None = None
        self._leases: dict[int, tuple[str, bool]] = {}
        self._under_way: dict[int, tuple[str, bool]] = {}

    def begin(self, effect: Effect[Any]) -> Effect[Any]:
        """Note an effect that is about to be carried out, and return what is to be carried out."""
        if any(isinstance(part, Acquire) for part in _parts(effect)):
            self._acquiring = effect = _marked(effect)
        elif isinstance(effect, Send):
            self._under_way = self._leases
            if effect.request.repeat is not Repeat.READ:
                # From here on only the next call can find out what became of the write, so lease and intent must stay.
                self._leases = {}
        return effect

    def unsend(self) -> None:
        """Note that the request that was about to be sent has not left."""
        self._leases = self._under_way

    def end(self, effect: Effect[Any], result: Any) -> None:
        """Note what came of an effect."""
        parts = _parts(effect)
        if type(effect) is Each:
            for part, answer in zip(parts, result, strict=True):
                self.end(part, answer)
        elif isinstance(effect, Acquire):
            if result is not None:
                self._leases[result.token] = (effect.account, result.taken_over)
            self._acquiring = None
        elif isinstance(effect, Release):
            self._leases.pop(effect.token, None)
        elif isinstance(effect, Bind) and effect.change.token is not None and result.status == "bound":
            self._leases.pop(effect.change.token, None)

    def forget_granted(self, *, may_come: bool) -> None:
        """Leave the leases that were granted to the flow.

        Args:
            may_come: The map is still at work on the lease that was asked for last.
        """
        self._leases.clear()
        if not may_come:
            self._acquiring = None

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to let go."""
        return self._acquiring is None and not self._leases

    def let_go(self) -> Flow[None]:
        """Give back what the run held when it was cut off."""
        for token, (account, taken_over) in self._leases.items():
            # A lease that was taken over has another call's unfinished write: it expires, and its intent stays.
            if taken_over:
                yield from Renew(account, token, _AT_ONCE)
            else:
                yield from Release(account, token)
        # The run was cut off before the store's answer came. Only the mark tells this lease from another call's.
        for asked in () if self._acquiring is None else _parts(self._acquiring):
            if isinstance(asked, Acquire):
                found = yield from Find(asked.account, tuple(asked.identifiers))
                if found.lease is not None and found.lease.intent == asked.intent:
                    yield from Release(asked.account, found.lease.token)


def _parts(effect: Effect[Any]) -> Sequence[Effect[Any]]:
    """Return the calls of an `Each`; for any other effect the effect."""
    parts: Sequence[Effect[Any]] = getattr(effect, "several", (effect,))
    return parts


def _marked(effect: Any) -> Any:
    if isinstance(effect, Acquire):
        # The mark is of blanks after the JSON, so that the intent reads the same with it.
        return replace(effect, intent=effect.intent + f"{uuid4().int:0128b}".translate(_BLANKS))
    return replace(effect, several=tuple(map(_marked, effect.several))) if hasattr(effect, "several") else effect
