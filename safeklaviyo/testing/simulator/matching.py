"""Which profile a write changes: the six situations, the order of identifiers, and the takeover by a phone number.

Decided here: what an event, a legacy call and Create or Update Profile do to identities (Klaviyo's help centre, on
merging profiles; its guide *Update profile identifiers via API*). Not here: what a merge moves (`merging`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator.merging import merge
from safeklaviyo.testing.simulator.persons import Person, written
from safeklaviyo.testing.simulator.refusals import Refusal, conflict, missing
from safeklaviyo.testing.simulator.tables import EMAIL, EXTERNAL_ID, KINDS, PHONE_NUMBER

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Profile


def owners_of(account: Account, person: Person) -> dict[str, Profile]:
    """Return the profile with each of the identifiers given, by kind, in the order of their rank."""
    found = {kind: account.live.owners(kind, value) for kind, value in person.named().items()}
    return {kind: owners[0] for kind, owners in found.items() if owners}


def others_of(account: Account, profile: Profile, person: Person) -> dict[str, Profile]:
    """Return the other profiles with the identifiers given.

    An identifier that several profiles of an old account share, and this one among them, counts as this profile's own.
    """
    owners = owners_of(account, person)
    return {kind: owner for kind, owner in owners.items() if not _has(account, profile, kind, person)}


def store(account: Account, profile: Profile | None, person: Person) -> Profile:
    """Write onto a profile, or onto a new one."""
    if profile is None:
        return account.create(lambda empty: written(empty, person, account.readings))
    return account.put(written(profile, person, account.readings))


def create(account: Account, person: Person) -> Profile:
    """Create a profile, unless another one has one of the identifiers.

    Raises:
        Refusal: 409.
    """
    reading = account.readings.external_id_unique_on_create
    owners = owners_of(account, person)
    # The one conditional write that Klaviyo has: an email or a number that is taken refuses the whole create.
    for kind, owner in owners.items():
        if kind != EXTERNAL_ID or reading is True:
            raise conflict(owner.id)
    if EXTERNAL_ID in owners and reading == "dropped":
        person = _without_id_and_names(person)
    return store(account, None, person)


def _without_id_and_names(person: Person) -> Person:
    kept = {kind: value for kind, value in person.identifiers.items() if kind != EXTERNAL_ID}
    fields = {name: value for name, value in person.attributes.items() if name not in {"first_name", "last_name"}}
    return replace(person, identifiers=kept, attributes=fields)


def update(account: Account, profile: Profile, person: Person) -> Profile:
    """Change a profile, unless another one has one of the identifiers.

    Raises:
        Refusal: 409.
    """
    # A 409 names one owner, even if several profiles stand in the way.
    for other in others_of(account, profile, person).values():
        raise conflict(other.id)
    return store(account, profile, person)


def create_or_update(account: Account, person: Person) -> tuple[Profile, bool]:
    """Create a profile, or update the only one that the identifiers lead to; tell which.

    Raises:
        Refusal: 404 for an unknown id, 409 for identifiers of several profiles. With an id, another profile's email
            answers 404 too, unless the readings say 409.
    """
    # Without an id the identifiers lead to the profile, the external id first (situations 1 to 4).
    if person.profile_id is None:
        profile = next(iter(owners_of(account, person).values()), None)
    else:
        profile = account.get(person.profile_id)
        if profile is None:
            raise missing(person.profile_id)
    if profile is not None:
        for kind, other in others_of(account, profile, person).items():
            raise _import_conflict(account, person, kind, other)
    return store(account, profile, person), profile is None


def meet(account: Account, person: Person) -> Profile | None:
    """Create or update the profile that an event or a legacy call names; None if it names none."""
    # Step 1: find the profile: by Klaviyo's id, else by the identifier of the highest rank, else by the device.
    profile = None if person.profile_id is None else account.get(person.profile_id)
    if profile is None:
        if not person.named() and person.anonymous_id is None:
            return None
        profile = _first(owners_of(account, person), email_first=account.readings.event_email_first)
    profile = _known_by_device(account, profile, person)
    if profile is None:
        # Situation 6 ends here: an email that no profile has makes a second profile of a customer with an id.
        return _remember_device(account, store(account, None, person), person)
    # Step 2: identifiers of other profiles. A phone number may hand one customer's profile to another here.
    for kind, other in others_of(account, profile, person).items():
        _collide(account, profile, kind, other)
    # Step 3: write. The profile is read again, because the merges may have changed it. It is still there, because the
    # others were merged into it.
    merged = account.live.get(profile.id)
    assert merged is not None
    return _remember_device(account, store(account, merged, _free(account, merged, person)), person)


def _known_by_device(account: Account, profile: Profile | None, person: Person) -> Profile | None:
    """Return the profile that is meant, given the one of the other identifiers.

    The id of a device or browser ranks last: its profile is meant if there is no other one, and merged into another one
    if nothing else is known of it (Klaviyo's help centre, on merging profiles).
    """
    anonymous = None if person.anonymous_id is None else account.get(account.anonymous.get(person.anonymous_id, ""))
    if anonymous is None:
        return profile
    is_nobody = all(getattr(anonymous, kind) is None for kind in KINDS)
    if profile is None:
        return anonymous if is_nobody or not person.named() else None
    if is_nobody:
        merge(account, anonymous.id, profile.id)
    return profile


def _remember_device(account: Account, profile: Profile, person: Person) -> Profile:
    # A device that is known already stays with its profile, unless that was deleted.
    known = person.anonymous_id
    if known is not None and account.get(account.anonymous.get(known, "")) is None:
        account.anonymous[known] = profile.id
    return profile


def _import_conflict(account: Account, person: Person, kind: str, owner: Profile) -> Refusal:
    # With an id, another profile's email may be answered as if the id were unknown (R17).
    if person.profile_id is not None and kind == EMAIL and account.readings.import_conflict == 404:
        return missing(person.profile_id)
    return conflict(owner.id)


def _first(owners: dict[str, Profile], *, email_first: bool) -> Profile | None:
    order = (EMAIL, EXTERNAL_ID, PHONE_NUMBER) if email_first else KINDS
    return next((owners[kind] for kind in order if kind in owners), None)


def _collide(account: Account, profile: Profile, kind: str, other: Profile) -> None:
    """Merge the profile of a lower-ranking identifier into the event's profile, or leave it, by the readings."""
    how = account.readings.event_conflict
    alone = all(getattr(other, each) is None for each in KINDS if each != kind)
    if how == "merge" or (how == "merge_alone" and alone):
        merge(account, other.id, profile.id)


def _free(account: Account, profile: Profile, person: Person) -> Person:
    """Leave out the identifiers that other profiles keep, and an email that must not replace the profile's."""
    taken = set(others_of(account, profile, person))
    if profile.email is not None and not account.readings.event_replaces_email:
        taken.add(EMAIL)
    if taken.isdisjoint(person.identifiers):
        return person
    return replace(person, identifiers={kind: value for kind, value in person.identifiers.items() if kind not in taken})


def _has(account: Account, profile: Profile, kind: str, person: Person) -> bool:
    value = person.named()[kind]
    return any(owner.id == profile.id for owner in account.live.owners(kind, value))
