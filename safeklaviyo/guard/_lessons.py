"""Which of Klaviyo's answers are learnt from: those that show one profile, and of each profile none that is older.

Answers to calls of several processes may arrive crossed. Klaviyo's own ``updated`` says which is older. It is
remembered for the profiles of late in this process; another process may learn an older answer for a moment, which then
is a hint like any other, and read before it is used (H33).
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
    """What was learnt of late, by profile."""

    def __init__(self) -> None:
        self._updated: OrderedDict[str, datetime] = OrderedDict()

    def of(self, plan: Plan, reply: Reply) -> Profile | None:
        """Return the profile that an answer shows; None where there is nothing to learn from it."""
        if plan.case is None or plan.case.asked.name not in _SHOWING:
            return None
        try:
            profile = read_profile(Response(reply.status, {}, reply.body))
        except UnreadableAnswer:
            return None
        return profile if self._is_newer(profile) else None

    def _is_newer(self, profile: Profile) -> bool:
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
