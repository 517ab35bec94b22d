"""`bindings.learn`: the map filled from Klaviyo's own profiles, a page of a hundred at a time.

Decided here: where a run goes on that follows an interrupted one, and what protects a customer while the map learns of
them. What the map may learn is decided in `_rules.learning`. Nothing is written to Klaviyo.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from safeklaviyo._api.profiles import IDENTIFIERS, list_profiles
from safeklaviyo._api.responses import UnreadableAnswer, read_profiles
from safeklaviyo._effects import Monotonic
from safeklaviyo._flows.call import Setup, run, send
from safeklaviyo._flows.identity.reads import endless_pages, understood
from safeklaviyo._flows.identity.tombstones import erased_among
from safeklaviyo._flows.leased.intents import RepairIntent
from safeklaviyo._flows.leased.leases import finish_intent
from safeklaviyo._flows.required import required
from safeklaviyo._input.shop_rows import shop_row_from
from safeklaviyo._rules.additions import names_of
from safeklaviyo._rules.learning import Lesson, learn
from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError, LeaseHeldError, ProfileNotVisibleError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding, ImportReport, Progress
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Acquire, Bind, Each, Find, Recall, Release, Remember

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._api.responses import Page
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Profile
    from safeklaviyo.stores.base import Found, Lease

CHECKPOINT: Final = "learnt up to"
"""The name of the note that holds the path of the next page."""

_EXPIRED_CURSOR: Final = frozenset({HTTPStatus.BAD_REQUEST})
_ERASED: Final = "this customer was erased; if they have come back, release their email first"
_BUSY: Final = "another call is writing about this customer, so the profile was passed over"


@dataclass(frozen=True, slots=True)
class Course:
    """How far learning has come.

    Attributes:
        next_path: The next page; None before the first and after the last.
        began_at: When this run began, on the monotonic clock; None before.
        elapsed: Seconds since then.
        seen: The pages of this run, because a link that leads back would never end.
        done: How many profiles were read.
        is_done: All are.
    """

    next_path: str | None = None
    began_at: float | None = None
    elapsed: float = 0.0
    seen: frozenset[str] = frozenset()
    done: int = 0
    is_done: bool = False
    added: int = 0
    unchanged: int = 0
    id_only: int = 0
    without_email: int = 0
    refused: tuple[tuple[int, str], ...] = ()
    warnings: tuple[tuple[int, str], ...] = ()

    @property
    def progress(self) -> Progress:
        """What `on_progress` is told. Klaviyo does not say how many profiles there are."""
        per_second = self.done / self.elapsed if self.elapsed > 0 else 0.0
        return Progress(self.done, None, len(self.refused), per_second, None)

    @property
    def report(self) -> ImportReport:
        """What `bindings.learn` returns."""
        return ImportReport(
            self.added, self.unchanged, self.refused, self.warnings,
            id_only=self.id_only, without_email=self.without_email,
        )  # fmt: skip


Status: TypeAlias = Literal["added", "unchanged", "refused", "passed over", "id_only", "without_email"]


@dataclass(slots=True)
class _Learnt:
    """What became of the profiles of one page, by their place in it, each with its reason."""

    profiles: dict[int, tuple[Status, str]] = field(default_factory=dict[int, tuple[Status, str]])

    def added_to(self, course: Course) -> Course:
        """Return the course after this page."""
        statuses = [status for status, _ in self.profiles.values()]
        said = [(course.done + at, status, reason) for at, (status, reason) in sorted(self.profiles.items())]
        return replace(
            course,
            done=course.done + len(statuses),
            added=course.added + statuses.count("added"),
            unchanged=course.unchanged + statuses.count("unchanged"),
            id_only=course.id_only + statuses.count("id_only"),
            without_email=course.without_email + statuses.count("without_email"),
            refused=course.refused + tuple((at, reason) for at, status, reason in said if status == "refused"),
            warnings=course.warnings + tuple((at, reason) for at, status, reason in said if status == "passed over"),
        )


def learn_page(setup: Setup, course: Course) -> Flow[Course]:
    """Learn one page, and return how far learning has come then. See `Bindings.learn`."""
    return run(setup, "bindings.learn", lambda call: _learn_page(call, course))


def _learn_page(call: Call, course: Course) -> Flow[Course]:
    if not call.dialect.has_lists:
        raise ConfigurationError("the legacy API cannot list profiles; use the current dialect")
    # Step 1: read the page.
    now = yield from Monotonic()
    began_at = now if course.began_at is None else course.began_at
    path, page = yield from _page(call, course)
    # Step 2: learn what it shows.
    learnt = _Learnt()
    yield from _learn_all(call, page.profiles, learnt)
    # Step 3: note how far this run has come. Only now: a process that is killed before repeats the page, which then
    # changes nothing.
    yield from Remember(call.account, CHECKPOINT, page.next_path)
    elapsed = (yield from Monotonic()) - began_at
    return replace(
        learnt.added_to(course),
        next_path=page.next_path, began_at=began_at, elapsed=elapsed, seen=course.seen | {path},
        is_done=page.next_path is None,
    )  # fmt: skip


def learn_profiles(call: Call, profiles: Iterable[Profile]) -> Flow[frozenset[int]]:
    """Let the map learn of profiles that another call has read for itself.

    Returns:
        The places of those that the map has now, just as they are.
    """
    learnt = _Learnt()
    yield from _learn_all(call, profiles, learnt)
    return frozenset(at for at, (status, _) in learnt.profiles.items() if status in {"added", "unchanged"})


def _page(call: Call, course: Course) -> Flow[tuple[str, Page]]:
    """Read the next page, and return its path too: the one where an interrupted run stopped, if this run begins.

    Raises:
        NoResponseError: The pages lead back to one that was read.
    """
    path = course.next_path
    if course.began_at is None:
        path = yield from Recall(call.account, CHECKPOINT)
    # By the time of creation, so that profiles which come in between are at the end.
    first = list_profiles(sort="created", fields=IDENTIFIERS)
    try:
        request = first if path is None else list_profiles(cursor_url=path)
    except UnreadableAnswer:
        request = first  # the note is of another version, or damaged
    if request.path in course.seen:
        raise endless_pages()
    # Klaviyo may no longer know the place where an interrupted run stopped: then this run begins at the beginning.
    may_begin_again = course.began_at is None and request is not first
    response = yield from send(call, request, accept=_EXPIRED_CURSOR if may_begin_again else frozenset())
    if response.status in _EXPIRED_CURSOR:
        request = first
        response = yield from send(call, request)
    return request.path, understood(read_profiles, response)


def _learn_all(call: Call, profiles: Iterable[Profile], learnt: _Learnt) -> Flow[None]:
    """Learn each profile. The map is asked about the whole page first, because it knows most of a page it has read."""
    shown = [_shown(call, profile) for profile in profiles]
    found = yield from _found(call, [each for each in shown if isinstance(each, Binding)])
    news: list[tuple[int, Binding]] = []
    for at, each in enumerate(shown):
        if not isinstance(each, Binding):
            learnt.profiles[at] = each
            continue
        lesson = learn(each, _about(each, found))
        if lesson.contradiction:
            learnt.profiles[at] = yield from _report(call, each)
        elif lesson.binding is None:
            learnt.profiles[at] = "unchanged", ""
        else:
            news.append((at, each))
    # Two profiles of a page may show one identifier: the second is looked at when the map has the first.
    while news:
        portion, news = _apart(news)
        statuses = yield from _learn_together(call, [each for _, each in portion])
        learnt.profiles.update(zip([at for at, _ in portion], statuses, strict=True))


def _found(call: Call, shown: list[Binding]) -> Flow[Found]:
    """Ask the map about all identifiers of some profiles."""
    return (yield from Find(call.account, tuple(sorted({name for each in shown for name in names_of(each)}))))


def _apart(news: list[tuple[int, Binding]]) -> tuple[list[tuple[int, Binding]], list[tuple[int, Binding]]]:
    """Return those of which no two have an identifier in common, and the others."""
    portion: list[tuple[int, Binding]] = []
    others: list[tuple[int, Binding]] = []
    taken: set[Identifier] = set()
    for at, each in news:
        names = names_of(each)
        (portion if taken.isdisjoint(names) else others).append((at, each))
        taken.update(names)
    return portion, others


def _shown(call: Call, profile: Profile) -> Binding | tuple[Status, str]:
    """Return a profile as the row of an import, or what becomes of a profile that cannot be one."""
    if profile.email is None:
        return ("without_email" if profile.external_id is None else "id_only"), ""
    row = {
        "external_id": profile.external_id, "email": profile.email, "profile_id": profile.id,
        "phone_number": profile.phone_number,
    }  # fmt: skip
    try:
        return shop_row_from(row, call.policy).binding
    except InvalidIdentifierError as error:
        return "refused", f"profile {profile.id}: {error}"


def _about(shown: Binding, found: Found) -> Found:
    """Return what the map has found about one profile, of all that it has found about a page."""
    names = names_of(shown)
    return replace(found, matches=tuple(match for match in found.matches if match.identifier in names), lease=None)


def _report(call: Call, shown: Binding) -> Flow[tuple[Status, str]]:
    """Report a profile that contradicts the map, unless a call is just changing one of the two."""
    found = yield from Find(call.account, names_of(shown))
    lesson = learn(shown, found)
    if found.lease is not None or not lesson.contradiction:
        return "passed over", f"profile {shown.profile_id}: {_BUSY}"
    return "refused", f"profile {shown.profile_id}: {lesson.contradiction}"


def _learn_together(call: Call, news: list[Binding]) -> Flow[list[tuple[Status, str]]]:
    """Learn profiles, each under a lease on what it shows.

    The page is older than the leases. Under them the map says all that has happened since: whichever call changes,
    merges or erases a customer writes it down before it gives its lease back.
    """
    # Step 1: take the leases. Their intents are harmless: a profile that the map does not have needs no repair.
    leases = yield from Each(call.account, tuple(_acquire(call, each) for each in news))
    held: list[Lease | None] = []
    for each, lease in zip(news, leases, strict=True):
        held.append((yield from _own(call, each, lease)))
    # Step 2: decide again by what the map says now.
    found = yield from _found(call, news)
    lessons = yield from _without_erased(call, news, [learn(each, _about(each, found)) for each in news])
    # Step 3: write it down, each under its lease, which ends with that.
    changes = [
        (at, Change(lesson.binding, verified=False, token=lease.token))
        for at, (lesson, lease) in enumerate(zip(lessons, held, strict=True))
        if lesson.binding is not None and lease is not None
    ]
    outcomes = yield from Each(call.account, tuple(Bind(call.account, change) for _, change in changes))
    bound = {at for (at, _), outcome in zip(changes, outcomes, strict=True) if outcome.status == "bound"}
    # Step 4: give the other leases back.
    left = [lease for at, lease in enumerate(held) if lease is not None and at not in bound]
    yield from Each(call.account, tuple(Release(call.account, lease.token) for lease in left))
    return [
        _status(each, lesson, has_lease=held[at] is not None, is_bound=at in bound)
        for at, (each, lesson) in enumerate(zip(news, lessons, strict=True))
    ]


def _acquire(call: Call, shown: Binding) -> Acquire:
    intent = RepairIntent(external_id=shown.external_id, email=shown.email, profile_id=required(shown.profile_id))
    return Acquire(call.account, intent.identifiers(), intent.encode(), call.lease_ttl)


def _own(call: Call, shown: Binding, lease: Lease | None) -> Flow[Lease | None]:
    """Return this call's lease. One that was taken over has another call's write, which is finished first (H6)."""
    while lease is not None and lease.taken_over:
        try:
            yield from finish_intent(call, lease)
        except (ProfileNotVisibleError, LeaseHeldError):
            return None  # nothing can be concluded yet, and its own call, or `recover`, tries again
        lease = yield from _acquire(call, shown)
    return lease


def _without_erased(call: Call, news: list[Binding], lessons: list[Lesson]) -> Flow[list[Lesson]]:
    """Leave out customers who were erased: Klaviyo may take its time to delete a profile, and lists it until then.

    A customer who is in the map was not erased, even if an erased customer had the address before.
    """
    emails = {
        at: Identifier(Kind.EMAIL, required(each.email))
        for at, (each, lesson) in enumerate(zip(news, lessons, strict=True))
        if lesson.binding is not None and not lesson.binding.key
    }
    erased = yield from erased_among(call, emails.values())
    refused = Lesson(contradiction=_ERASED)
    return [refused if emails.get(at) in erased else lesson for at, lesson in enumerate(lessons)]


def _status(shown: Binding, lesson: Lesson, *, has_lease: bool, is_bound: bool) -> tuple[Status, str]:
    if is_bound:
        return "added", ""
    if has_lease and lesson.contradiction:
        return "refused", f"profile {shown.profile_id}: {lesson.contradiction}"
    if has_lease and lesson.binding is None:
        return "unchanged", ""
    return "passed over", f"profile {shown.profile_id}: {_BUSY}"
