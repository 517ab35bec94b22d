"""Which of Klaviyo's answers the guard learns from: those that show one profile, if they are the newest of it.

Answers to calls of several processes may arrive crossed. Klaviyo's own ``updated`` says which of two is older. This
process remembers that time for the profiles that it has seen last. Another process may still learn an older answer. It
is a hint then, and the first call that uses the hint reads the profile (H33).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from safeklaviyo._api.messages import Response
from safeklaviyo._api.responses import UnreadableAnswer, read_profile

if TYPE_CHECKING:
    from datetime import datetime

    from safeklaviyo.guard._plans import Plan
    from safeklaviyo.guard._write.replies import Reply
    from safeklaviyo.models import Profile

_SHOWING: Final = frozenset({"create_profile", "create_or_update_profile", "update_profile"})
_REMEMBERED: Final = 10_000


class Lessons:
    """The time of the newest answer about each profile that was seen lately."""

    def __init__(self) -> None:
        self._updated: OrderedDict[str, datetime] = OrderedDict()

    def of(self, plan: Plan, reply: Reply) -> Profile | None:
        """Return the profile that an answer shows; None if there is nothing to learn from the answer."""
        if plan.case is None or plan.case.asked.name not in _SHOWING:
            return None
        try:
            profile = read_profile(Response(reply.status, {}, reply.body))
        except UnreadableAnswer:
            return None
        return profile if self._is_newer(profile) else None

    def _is_newer(self, profile: Profile) -> bool:
        """Tell whether an answer is not older than what was learnt; remember its time if so."""
        # Without a time the answer could be older than any other.
        if profile.updated is None:
            return False
        known = self._updated.get(profile.id)
        if known is not None and profile.updated < known:
            return False
        self._updated[profile.id] = profile.updated
        self._updated.move_to_end(profile.id)
        while len(self._updated) > _REMEMBERED:
            self._updated.popitem(last=False)
        return True
