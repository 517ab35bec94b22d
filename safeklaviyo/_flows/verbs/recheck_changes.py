"""`recheck_changes`: finding, and on request repairing, what Klaviyo's own delays undid."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._effects import Flow, Now
from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.identity.reads import gather, only_profile, owner_in_map, read_profile, search, was_put_back
from safeklaviyo._flows.leased.leases import repair_profile
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.recheck_consent import review_consent, review_pending
from safeklaviyo._input.events import moment_from
from safeklaviyo._rules.consent import CONSENT_WORDS
from safeklaviyo._rules.evidence import compare
from safeklaviyo._rules.shown import email_of, has_email
from safeklaviyo.errors import IdentityError
from safeklaviyo.identity import Identifier, Identity, Kind
from safeklaviyo.models import Binding, ChangeReview, Profile
from safeklaviyo.policy import DAY
from safeklaviyo.stores.calls import Find, Journal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.stores.base import JournalRow

_ROWS = 1000


def recheck_changes(setup: Setup, since: object, *, repair: bool) -> Flow[list[ChangeReview]]:
    """See `Klaviyo.recheck_changes`."""

    def _body(call: Call) -> Flow[list[ChangeReview]]:
        start = None if since is None else moment_from(since, "since")
        return (yield from _recheck(call, start, repair=repair))

    return run(setup, "recheck_changes", _body)


def _recheck(call: Call, since: float | None, *, repair: bool) -> Flow[list[ChangeReview]]:
    """Compare Klaviyo with the map for every customer in the rows of the journal since then."""
    # What Klaviyo has queued lands within days, so a week is enough for a check that runs daily.
    if since is None:
        since = (yield from Now()) - 7 * DAY
    reviews: list[ChangeReview] = []
    changed = yield from _changed_since(call, since)
    for rows in changed.values():
        yield from start_deadline(call)
        binding = yield from _binding(call, rows)
        if binding is None:
            continue
        said = [row for row in rows if row.entry.verb in CONSENT_WORDS]
        # A consent alone changes no identifiers.
        if len(said) < len(rows):
            reviews += yield from _review(call, binding, rows, repair=repair)
        reviews += yield from review_consent(call, binding, said)
    return reviews + (yield from review_pending(call))


def _changed_since(call: Call, since: float) -> Flow[dict[str, list[JournalRow]]]:
    """Return the rows of the journal by the key of their customer, so that each customer is read once."""
    changed: dict[str, list[JournalRow]] = {}
    after = 0
    while rows := (yield from Journal(call.account, since=since, after=after, limit=_ROWS)):
        yield from start_deadline(call)
        after = rows[-1].number
        for row in rows:
            changed.setdefault(row.key, []).append(row)
    return changed


def _binding(call: Call, rows: list[JournalRow]) -> Flow[Binding | None]:
    """Return the binding as the map has it now; the rows show it as it was."""
    names: set[Identifier] = set()
    for row in rows:
        for kind, value in ((Kind.PROFILE_ID, row.profile_id), (Kind.EXTERNAL_ID, row.external_id)):
            if value is not None:
                names.add(Identifier(kind, value))
        if row.entry.new is not None and row.entry.verb not in CONSENT_WORDS:
            names.add(Identifier(Kind.EMAIL, row.entry.new))
    found = yield from Find(call.account, tuple(sorted(names)))
    return next((match.binding for match in found.matches if match.binding.key == rows[0].key), None)


def _review(call: Call, binding: Binding, rows: Iterable[JournalRow], *, repair: bool) -> Flow[list[ChangeReview]]:
    """Compare one customer's profile with the map, and look for ghosts on the former addresses."""
    # Step 1: the customer's own profile.
    reviews: list[ChangeReview] = []
    try:
        profile = yield from _profile_of(call, binding)
    except IdentityError:  # its identifiers are on several profiles, or another customer's
        return [_found("drift", binding)]
    if profile is not None and binding.profile_id is None:
        binding = replace(binding, profile_id=profile.id)
    if profile is None:
        reviews.append(_found("missing", binding))
    elif compare(binding, profile) in {"contradicts", "gained_external_id"}:
        reviews += yield from _contradiction(call, binding, profile, repair=repair)
    # Step 2: look for a profile that a late call has made of an address which the customer has left.
    former = {row.entry.old for row in rows if row.entry.old is not None and "@" in row.entry.old}
    for email in sorted(former - {binding.email}):
        reviews += yield from _ghosts(call, binding, email)
    return reviews


def _profile_of(call: Call, binding: Binding) -> Flow[Profile | None]:
    """Read a customer's profile. If the map has no profile id, look it up, by the external id before the email.

    Raises:
        IdentityError: Several profiles answer, or one that is another customer's too.
    """
    if binding.profile_id is not None:
        return (yield from read_profile(call, binding.profile_id))
    evidence = yield from gather(call, (binding.external_id,), (binding.email,))
    profiles = list(evidence.values())
    # The external id before the email: an address that was put back may be on another profile now.
    by_id = None
    if binding.external_id is not None:
        by_id = only_profile(Identity(binding.external_id, None), profiles)
    return by_id or only_profile(binding.identity, profiles)


def _contradiction(call: Call, binding: Binding, profile: Profile, *, repair: bool) -> Flow[list[ChangeReview]]:
    """Say what a profile that differs from the map means: a put-back, drift, or only a guest's new external id."""
    shown = email_of(profile)
    if (yield from was_put_back(call, binding, profile)):
        repaired = repair and (yield from repair_profile(call, profile.id))
        holder = None if repaired else (yield from _holder(call, binding))
        return [_found("put_back", binding, shown, ghost=holder, repaired=repaired)]
    is_gain = compare(binding, profile) == "gained_external_id"
    return [] if is_gain else [_found("drift", binding, shown)]


def _holder(call: Call, binding: Binding) -> Flow[str | None]:
    """Return the id of the profile that has a customer's current address, and so stands in the way of a repair."""
    for profile_id in (yield from search(call, Kind.EMAIL, required(binding.email))):
        profile = None if profile_id == binding.profile_id else (yield from read_profile(call, profile_id))
        if profile is not None and profile.id != binding.profile_id and has_email(profile, binding.email):
            return profile.id
    return None


def _ghosts(call: Call, binding: Binding, email: str) -> Flow[list[ChangeReview]]:
    """Find profiles that came of a former address and are no customer's in the map."""
    reviews: list[ChangeReview] = []
    found = yield from Find(call.account, (Identifier(Kind.EMAIL, email),))
    if found.current(Kind.EMAIL) is not None:
        return reviews  # the address is another customer's by now
    for profile_id in (yield from search(call, Kind.EMAIL, email)):
        profile = None if profile_id == binding.profile_id else (yield from read_profile(call, profile_id))
        if profile is None or profile.id == binding.profile_id or not has_email(profile, email):
            continue
        owner, _ = yield from owner_in_map(call, profile, email)
        if owner is None:
            reviews.append(_found("ghost", binding, email, ghost=profile.id))
    return reviews


def _found(
    finding: str, binding: Binding, old_email: str | None = None, *, ghost: str | None = None, repaired: bool = False
) -> ChangeReview:
    return ChangeReview(
        finding=finding,  # type: ignore[arg-type]  # one of the literals, above
        profile_id=binding.profile_id,
        external_id=binding.external_id,
        email=binding.email,
        old_email=old_email,
        ghost_profile_id=ghost,
        repaired=repaired,
    )
