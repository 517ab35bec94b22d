"""Merging one profile into another, and deleting one.

Decided here (Klaviyo's help centre, on merging profiles):

- the destination keeps its values, and gets those of the source that it lacks;
- of two locations the one with more fields stays, with the source's time zone;
- a suppression of either stays, and a withdrawal of either wins over a consent of the other;
- the destination joins the lists of the source, and gets its push tokens;
- every event moves with its own time;
- the source's email is free again: the next event with it creates a profile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safeklaviyo.testing.simulator.consents import united_consents, united_suppressions
from safeklaviyo.testing.simulator.persons import LOCATION
from safeklaviyo.testing.simulator.records import JSON, Event, Profile, Record
from safeklaviyo.testing.simulator.tables import KINDS

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account

MERGED_PROFILE = "Merged Profile"

_TIMEZONE = "timezone"


def merge(account: Account, source_id: str, destination_id: str) -> None:
    """Merge two profiles now, if both still exist and are not the same."""
    source, destination = account.live.get(source_id), account.get(destination_id)
    if source is None or destination is None or source.id == destination.id:
        return
    # The source goes first, so that no identifier belongs to two profiles in between.
    account.remove(source.id)
    # The old id still leads to the destination in one reading, so it is kept.
    account.merged[source.id] = destination.id
    account.put(_united(source, destination))
    for group_id in (*account.lists_of(source.id), *account.segments_of(source.id)):
        account.join(group_id, destination.id)
        account.leave(group_id, source.id)
    for token in account.push_tokens_of(source.id):
        account.push_tokens[token.id] = replace(token, profile_id=destination.id)
    _move_events(account, source.id, destination.id)
    # Klaviyo records the merge itself as an event of the destination.
    named = {"merged_profile_id": source.id} if account.readings.merged_event_names_source else {}
    now = int(account.clock.now())
    account.record(Event(account.event_id(), destination.id, MERGED_PROFILE, None, now, properties=named))


def delete(account: Account, profile_id: str) -> None:
    """Delete a profile and its events now."""
    account.remove(profile_id)
    for group_id in (*account.lists_of(profile_id), *account.segments_of(profile_id)):
        account.leave(group_id, profile_id)
    for token in account.push_tokens_of(profile_id):
        del account.push_tokens[token.id]
    account.events[:] = [event for event in account.events if event.profile_id != profile_id]


@dataclass(frozen=True, slots=True)
class Merge(Record):
    """An accepted merge."""

    source: str
    destination: str

    def apply(self, account: Account) -> None:
        """Merge the two profiles."""
        merge(account, self.source, self.destination)


@dataclass(frozen=True, slots=True, repr=False)
class Deletion(Record):
    """An accepted deletion.

    Attributes:
        profile_ids: The profiles that matched when the deletion was asked for.
        named: The kind and value of an identifier that is looked up again when the deletion is done, if any.
    """

    profile_ids: tuple[str, ...]
    named: tuple[str, str] | None = None

    def apply(self, account: Account) -> None:
        """Delete the profiles."""
        # A profile that got the address after the request is deleted too, in one reading.
        doomed = self.profile_ids
        if self.named is not None and account.readings.deletion_matches == "when_run":
            doomed = tuple(profile.id for profile in account.live.owners(*self.named))
        for profile_id in doomed:
            delete(account, profile_id)


def _united(source: Profile, destination: Profile) -> Profile:
    filled: dict[str, Any] = {kind: getattr(source, kind) for kind in KINDS if getattr(destination, kind) is None}
    return replace(
        destination,
        **filled,
        attributes=_attributes(source.attributes, destination.attributes),
        properties={**source.properties, **destination.properties},
        consents=united_consents(source, destination),
        suppressions=united_suppressions(source, destination),
        last_event_date=max(filter(None, (source.last_event_date, destination.last_event_date)), default=None),
    )


def _attributes(source: JSON, destination: JSON) -> JSON:
    # The location is united as a whole: single fields of two addresses would make an address that is none.
    united = {**source, **destination}
    theirs, ours = source.get(LOCATION, {}), destination.get(LOCATION, {})
    location: JSON = {**(theirs if len(theirs) > len(ours) else ours)}
    if _TIMEZONE in theirs:
        location[_TIMEZONE] = theirs[_TIMEZONE]
    if location:
        united[LOCATION] = location
    return united


def _move_events(account: Account, source: str, destination: str) -> None:
    for index, event in enumerate(account.events):
        if event.profile_id == source:
            account.events[index] = replace(event, profile_id=destination)
    # The keys of recorded events belong to a profile. What becomes of them decides whether a repeat is a second event.
    moved = {(destination, metric, key) for owner, metric, key in account.recorded if owner == source}
    both = moved & account.recorded
    if account.readings.merge_moves_keys:
        account.recorded |= moved
    if account.readings.merge_deduplicates:
        _keep_first(account, both)


def _keep_first(account: Account, keys: set[tuple[str, str, str | int]]) -> None:
    kept: list[Event] = []
    for event in account.events:
        key = (event.profile_id or "", event.metric, event.unique_id or event.time)
        if key in keys and any(key == (each.profile_id, each.metric, each.unique_id or each.time) for each in kept):
            account.deduplicated.append(replace(event, why="repeated in a merged profile"))
        else:
            kept.append(event)
    account.events[:] = kept
