"""Profiles by their id: what is read is always the profile itself, never the search's copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeklaviyo import _evidence, _wire
from safeklaviyo._flow import Find
from safeklaviyo._operations import _merge
from safeklaviyo._operations._call import MISSING, Call, send
from safeklaviyo._operations._leases import Intent
from safeklaviyo._operations._reading import not_visible, read_profile, search, understood
from safeklaviyo._operations._settle import act, give_way, take
from safeklaviyo._properties import NOBODY, GivenIdentifiers, Person
from safeklaviyo._values import refused
from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError
from safeklaviyo.identity import (
    Identifier,
    Kind,
    normalise_email,
    normalise_external_id,
    normalise_phone_number,
    normalise_profile_id,
)
from safeklaviyo.models import MergeRequest

if TYPE_CHECKING:
    from safeklaviyo._flow import Flow
    from safeklaviyo.models import MergePlan, Profile


@dataclass(frozen=True, slots=True)
class ProfilePage:
    """A part of the profiles.

    Attributes:
        cursor: Where the next part begins; None after the last.
    """

    profiles: tuple[Profile, ...]
    cursor: str | None


def search_profiles(call: Call, *, external_id: object, email: object, phone_number: object) -> Flow[list[Profile]]:
    """Search by one identifier, and read each profile found by its id."""
    wanted = _one(call, external_id=external_id, email=email, phone_number=phone_number)
    profiles: list[Profile] = []
    for profile_id in (yield from search(call, wanted.kind, wanted.value)):
        profile = yield from read_profile(call, profile_id)
        if profile is not None:
            profiles.append(profile)
    return profiles


def _one(call: Call, *, external_id: object, email: object, phone_number: object) -> Identifier:
    policy = call.policy
    given: list[Identifier] = []
    if external_id is not None:
        value = normalise_external_id(external_id, max_length=policy.max_external_id_length)
        given.append(Identifier(Kind.EXTERNAL_ID, value))
    if email is not None:
        given.append(Identifier(Kind.EMAIL, normalise_email(email)))
    if phone_number is not None:
        given.append(Identifier(Kind.PHONE_NUMBER, normalise_phone_number(phone_number)))
    if len(given) != 1:
        raise InvalidIdentifierError("search by exactly one of email, external_id and phone_number", rule="R2")
    return given[0]


def get_profile(call: Call, profile_id: object) -> Flow[Profile]:
    """Read one profile; Klaviyo's 404 is raised."""
    response = yield from send(call, call.dialect.get(normalise_profile_id(profile_id)))
    return understood(call.dialect.read, response)


def update_profile(call: Call, profile_id: object, person: Person, given: GivenIdentifiers) -> Flow[Profile]:
    """Write properties onto one profile."""
    if given is not NOBODY:
        for name in ("external_id", "email", "phone_number"):
            if getattr(given, name) is not None:
                raise refused(f"properties.{name}", "is an identifier, which has a verb of its own")
    if not call.dialect.verifies:
        raise ConfigurationError("the legacy API cannot update a profile by its id; use identify")
    if person.is_empty:
        return (yield from get_profile(call, profile_id))
    request = _wire.update_profile(normalise_profile_id(profile_id), person)
    response = yield from send(call, request, main=True, accept=MISSING)
    if response.status in MISSING:
        raise not_visible()
    return understood(call.dialect.read, response)


def list_profiles(
    call: Call, *, filter: str | None, sort: str | None, page_size: int, cursor: str | None
) -> Flow[ProfilePage]:
    """Read one page of all profiles."""
    if not call.dialect.verifies:
        raise ConfigurationError("the legacy API cannot list profiles")
    if not 1 <= page_size <= 100:
        raise ConfigurationError("page_size has to be from 1 to 100")
    request = _wire.list_profiles(filter=filter, sort=sort, page_size=page_size, cursor_url=cursor)
    response = yield from send(call, request)
    page = understood(_wire.read_profiles, response)
    return ProfilePage(page.profiles, page.next_path)


def plan_merge(call: Call, source: object, into: object) -> Flow[MergePlan]:
    """Say what a merge would do."""
    _require_current(call)
    plan, _, _ = yield from _merge.plan_merge(call, normalise_profile_id(source), normalise_profile_id(into))
    return plan


def merge(call: Call, source: object, into: object, *, allow_suppressed: bool) -> Flow[MergeRequest]:
    """Merge one profile into another, where the evidence allows it."""
    _require_current(call)
    source_id, into_id = normalise_profile_id(source), normalise_profile_id(into)
    was_begun = False
    while True:
        found = yield from Find(call.account, tuple(Identifier(Kind.PROFILE_ID, each) for each in (source_id, into_id)))
        if found.lease is not None:
            begun = Intent.decode(found.lease.intent)
            was_begun = was_begun or (begun.source_id, begun.profile_id) == (source_id, into_id)
            yield from give_way(call, found.lease)
            continue
        if (yield from _merge.is_done(call, source_id, into_id, was_begun=was_begun)):
            return MergeRequest("completed", source_id, into_id, tuple(call.notices))
        plan, profile, survivor = yield from _merge.plan_merge(call, source_id, into_id)
        _merge.check_plan(plan, profile, may_suppress=allow_suppressed)
        intent = Intent(
            "merge",
            survivor.external_id,
            _evidence.email_of(survivor),
            into_id,
            source_id=source_id,
            source_email=_evidence.email_of(profile),
            may_suppress=allow_suppressed,
        )
        lease = yield from take(call, intent)
        if lease is None:
            continue
        was_begun = True
        done = yield from act(call, lease, _merge.merge_under_lease(call, lease, intent, main=True))
        if done is not None:
            return MergeRequest("completed" if done.is_done else "requested", source_id, into_id, tuple(call.notices))


def _require_current(call: Call) -> None:
    if not call.dialect.verifies:
        raise ConfigurationError("merging needs the current dialect")
