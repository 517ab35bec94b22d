"""What was found while a call was read, and the one place where the policy decides what becomes of it.

Decided here: what is left out, what is refused, and what each of these is called in a notice. Not here: what can be
sent (`values`), what a key means (`reserved_keys`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from safeklaviyo.errors import InvalidPropertyError, Problem
from safeklaviyo.notices import Notice

if TYPE_CHECKING:
    from typing import Literal

    from safeklaviyo.notices import NoticeCode

DROPPED: Final = "property_dropped"
_MAX_TOLD: Final = 20


class _Finding(NamedTuple):
    """One thing found.

    Attributes:
        code: The notice that tells of it; None if no policy lets the call be made with it.
    """

    problem: Problem
    code: NoticeCode | None


class Findings:
    """What was found so far in one call."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: list[_Finding] = []

    def leave_out(self, path: str, why: str) -> None:
        """Note what cannot be sent and can be left out: the policy decides whether the call is made without it."""
        self._found.append(_Finding(Problem(path, why), DROPPED))

    def refuse(self, path: str, why: str) -> None:
        """Note what the call cannot do without: it says who the customer is, or which event this is."""
        self._found.append(_Finding(Problem(path, why), None))

    def take(self, code: NoticeCode, path: str, how: str) -> None:
        """Note what had one meaning and was taken in that meaning, in another form than it was given."""
        self._found.append(_Finding(Problem(path, how), code))

    def notices(self, policy: Literal["drop", "refuse"]) -> tuple[Notice, ...]:
        """Decide what becomes of what was found, and return what to tell the caller.

        Args:
            policy: `Policy.properties`.

        Raises:
            InvalidPropertyError: The call cannot be made; `problems` names all that stands in the way.
        """
        if not self._found:
            return ()
        if policy == "refuse":
            in_the_way = [each.problem for each in self._found if each.code in (None, DROPPED)]
        else:
            in_the_way = [each.problem for each in self._found if each.code is None]
        if in_the_way:
            raise refusal(in_the_way)
        return tuple(_notice(each) for each in self._found)


def refusal(problems: list[Problem]) -> InvalidPropertyError:
    """Return the error that names everything that stands in the way."""
    told = "; ".join(f"{problem.path} {problem.reason}" for problem in problems[:_MAX_TOLD])
    more = f"; and {len(problems) - _MAX_TOLD} more" if len(problems) > _MAX_TOLD else ""
    return InvalidPropertyError(told + more, path=problems[0].path, problems=tuple(problems))


def refused(path: str, why: str) -> InvalidPropertyError:
    """Return the error that names one thing that cannot be sent, and where it stands."""
    return refusal([Problem(path, why)])


def _notice(found: _Finding) -> Notice:
    path, reason = found.problem
    suffix = "; it was left out" if found.code == DROPPED else ""
    return Notice(found.code or DROPPED, None, f"{path} {reason}{suffix}", path)
