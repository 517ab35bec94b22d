"""Keys for events that have none: from the event's own content, so that the caller's own retry gets the same one.

Decided here: when two calls are one event. Where the caller gives a time, equal content is one event. Where it gives
none, equal content of one second is one event, as it is to Klaviyo. So is equal content within a minute of a call that
has no answer yet, or that has lost its answer (H35).

Not promised: a repeat from another process in a later second, or after more than a minute, has another key. It is
recorded twice, as it is without the guard. And of two events with equal content within a minute, of which the first's
answer was lost, one is recorded.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from json import dumps
from threading import Lock
from typing import TYPE_CHECKING, Final

from safeklaviyo.guard._parse.spans import plain

if TYPE_CHECKING:
    from datetime import datetime

    from safeklaviyo.guard._parse.asked import Asked

_REPEATED: Final = 60.0
"""Seconds within which equal content is taken for a repeat of a call that was not answered."""
_REMEMBERED: Final = 10_000
_SIZE: Final = 16


class Keys:
    """The keys of late calls that were not answered."""

    def __init__(self) -> None:
        self._unanswered: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = Lock()

    def key_of(self, asked: Asked, at: datetime, now: float) -> str:
        """Return the key of an event without one.

        Args:
            at: When the call was made.
            now: The same on the monotonic clock.
        """
        attributes = plain(None if asked.root is None else asked.root.opened("data"))["attributes"]
        text = dumps(attributes, sort_keys=True, separators=(",", ":"))
        content = blake2b(text.encode(errors="surrogatepass"), digest_size=_SIZE).hexdigest()
        if attributes.get("time") is not None:
            return content
        with self._lock:
            key, since = self._unanswered.pop(content, ("", -_REPEATED))
            if now - since >= _REPEATED:
                key = f"{content}-{int(at.timestamp())}"
            self._unanswered[content] = key, now
            while len(self._unanswered) > _REMEMBERED:
                self._unanswered.popitem(last=False)
        return key

    def answered(self, key: str) -> None:
        """Note that an event was accepted: the next one with equal content is another event."""
        with self._lock:
            self._unanswered.pop(key.partition("-")[0], None)
