"""Profiles by id and by identifier. Decided here: when two spellings of an identifier are the same.

Several profiles may have one identifier: in old accounts, and in a search index that lags.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.testing.simulator.readings import Readings
    from safeklaviyo.testing.simulator.records import Profile

EXTERNAL_ID = "external_id"
EMAIL = "email"
PHONE_NUMBER = "phone_number"
KINDS = (EXTERNAL_ID, EMAIL, PHONE_NUMBER)
"""The kinds of identifier, in the order of their rank (Klaviyo's help centre, on merging profiles)."""


class Table:
    """Profiles, and the index of their identifiers."""

    def __init__(self, readings: Readings) -> None:
        self._exact = readings.email_case == "distinct"
        self._profiles: dict[str, Profile] = {}
        self._owners: dict[tuple[str, str], tuple[str, ...]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Table:
        # The values are immutable, so copies of the dictionaries are enough.
        copied = copy(self)
        vars(copied).update(_profiles=self._profiles.copy(), _owners=self._owners.copy())
        return copied

    def __len__(self) -> int:
        return len(self._profiles)

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._profiles.values())

    def get(self, profile_id: str) -> Profile | None:
        """Return a profile, or None."""
        return self._profiles.get(profile_id)

    def put(self, profile: Profile) -> None:
        """Add a profile, or replace the one with its id."""
        self.remove(profile.id)
        self._profiles[profile.id] = profile
        for key in self._keys(profile):
            self._owners[key] = (*self._owners.get(key, ()), profile.id)

    def remove(self, profile_id: str) -> None:
        """Take a profile out, if it is there."""
        profile = self._profiles.pop(profile_id, None)
        if profile is None:
            return
        for key in self._keys(profile):
            left = tuple(owner for owner in self._owners[key] if owner != profile_id)
            if left:
                self._owners[key] = left
            else:
                del self._owners[key]

    def owners(self, kind: str, value: str) -> list[Profile]:
        """Return the profiles with an identifier, the oldest first."""
        found = [self._profiles[each] for each in self._owners.get((kind, self._same(kind, value)), ())]
        return sorted(found, key=_serial)

    def _keys(self, profile: Profile) -> Iterator[tuple[str, str]]:
        for kind in KINDS:
            value = getattr(profile, kind)
            if value is not None:
                yield kind, self._same(kind, value)

    def _same(self, kind: str, value: str) -> str:
        return value.lower() if kind == EMAIL and not self._exact else value


def _serial(profile: Profile) -> int:
    return profile.serial
