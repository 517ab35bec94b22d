"""What one request writes about a person, and what a profile is after that.

Decided here: null clears, what is left out stays, properties are merged per key, lists are appended to (Klaviyo's
*Update Profile* reference). Not here: which profile is written (`matching`), what the values may be (`checks`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from safeklaviyo.testing.simulator.consents import without_phone
from safeklaviyo.testing.simulator.records import JSON, Profile, Record
from safeklaviyo.testing.simulator.tables import KINDS, PHONE_NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo.testing.simulator.readings import Readings

LOCATION = "location"


@dataclass(frozen=True, slots=True, repr=False)
class Person(Record):
    """What one request says.

    Attributes:
        profile_id: The profile it names, if any.
        identifiers: By kind, as they are stored; None clears.
        attributes: Klaviyo's own; None clears.
        unset: Custom properties to take away.
        anonymous_id: The id of a browser or device.
    """

    profile_id: str | None = None
    identifiers: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any])
    append: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unappend: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unset: tuple[str, ...] = ()
    anonymous_id: str | None = None

    def named(self) -> dict[str, str]:
        """Return the identifiers that are given, in the order of their rank."""
        given = ((kind, self.identifiers.get(kind)) for kind in KINDS)
        return {kind: value for kind, value in given if value is not None}


def without_nulls(person: Person) -> Person:
    """Return what a job of many says: null clears nothing there (Klaviyo's guide to its bulk import)."""
    attributes: JSON = {name: value for name, value in person.attributes.items() if value is not None}
    if LOCATION in attributes:
        places = cast("JSON", attributes[LOCATION])
        attributes[LOCATION] = {name: value for name, value in places.items() if value is not None}
    properties = {name: value for name, value in person.properties.items() if value is not None}
    return replace(person, identifiers=person.named(), attributes=attributes, properties=properties)


def written(profile: Profile, person: Person, readings: Readings) -> Profile:
    """Return the profile after the write."""
    identifiers = dict(person.identifiers)
    consents = profile.consents
    if identifiers.get(PHONE_NUMBER, profile.phone_number) != profile.phone_number:
        # Consent to text messages belongs to the number, not to the person (Klaviyo's help centre).
        consents = without_phone(consents)
    return replace(
        profile,
        **cast("dict[str, Any]", identifiers),
        consents=consents,
        attributes=_attributes(profile.attributes, person.attributes),
        properties=_properties(profile.properties, person, deep=readings.deep_merge),
    )


def _attributes(before: JSON, given: Mapping[str, Any]) -> JSON:
    after = dict(before)
    for name, value in given.items():
        if value is None:
            after.pop(name, None)
        elif name == LOCATION:
            after[name] = _attributes(after.get(name, {}), value)
        else:
            after[name] = value
    return after


def _properties(before: JSON, person: Person, *, deep: bool) -> JSON:
    after = _merged(before, person.properties, deep=deep)
    for name, value in person.append.items():
        after[name] = _listed(after.get(name)) + _listed(value)
    for name, value in person.unappend.items():
        gone = _listed(value)
        after[name] = [item for item in _listed(after.get(name)) if item not in gone]
    for name in person.unset:
        after.pop(name, None)
    return after


def _merged(before: Mapping[str, Any], given: Mapping[str, Any], *, deep: bool) -> JSON:
    after = dict(before)
    for name, value in given.items():
        if deep and isinstance(value, dict) and isinstance(after.get(name), dict):
            after[name] = _merged(after[name], cast("JSON", value), deep=True)
        else:
            after[name] = value
    return after


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
