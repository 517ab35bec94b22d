"""Properties: what a call says about a person, sorted into Klaviyo's fields and checked.

Decided here: where each reserved key goes, and what is given twice. Not here: what keys mean (`reserved_keys`), single
values (`values`), events (`events`), how it is written down (`_api`, `_api.legacy`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast

from safeklaviyo._input.reserved_keys import LOCATION, Meaning, Role, meaning_of_person_key
from safeklaviyo._input.values import refused, sendable, sendable_value, shown
from safeklaviyo.identity import PHONE_PUNCTUATION
from safeklaviyo.models import CLEAR

_VERBS: Final = {
    "email": "change_email", "external_id": "change_external_id", "phone_number": "change_phone_number",
}  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """What a call says about a person besides who it is, ready for JSON; None stands for null, which clears.

    Attributes:
        attributes: Klaviyo's own fields, ``location`` among them.
        properties: The shop's own properties.
        append: Values to add to lists among the properties.
        unappend: Values to take out of lists among the properties.
        unset: Properties to remove.
    """

    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    properties: dict[str, Any] = field(default_factory=dict[str, Any])
    append: dict[str, Any] = field(default_factory=dict[str, Any])
    unappend: dict[str, Any] = field(default_factory=dict[str, Any])
    unset: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.attributes or self.properties or self.append or self.unappend or self.unset)

    def first_values(self) -> Person:
        """Return what this means for a new profile, which has no lists to append to and nothing to take away.

        Writing the result twice is the same as writing it once.
        """
        lists = {key: _as_list(value) for key, value in self.append.items()}
        return Person(self.attributes, self.properties | lists)

    def __repr__(self) -> str:
        return f"Person({len(self.attributes)} attributes, {len(self.properties)} properties)"


@dataclass(frozen=True, slots=True, repr=False)
class GivenIdentifiers:
    """The identifiers of a call as the caller gave them, not yet normalised or checked."""

    external_id: object = None
    email: object = None
    phone_number: object = None

    def __repr__(self) -> str:
        given = [name for name in _VERBS if getattr(self, name) is not None]
        return f"GivenIdentifiers({', '.join(given)})"


NO_IDENTIFIERS: Final = GivenIdentifiers()
NOTHING: Final = Person()


def person_from(
    properties: Mapping[str, Any] | None,
    *,
    append: Mapping[str, Any] | None = None,
    unappend: Mapping[str, Any] | None = None,
    unset: str | Sequence[str] | None = None,
    where: str = "properties",
) -> tuple[Person, GivenIdentifiers]:
    """Sort a person's properties into Klaviyo's fields, and take the identifiers out.

    Legacy keys are taken as they stand. `CLEAR` becomes null; None is refused, because a missing first name must
    never erase data. The caller's mappings are not changed.

    Args:
        where: The argument's name, for the paths in errors.

    Raises:
        InvalidPropertyError: A key is reserved, misspelt or given twice, or a value cannot be sent.
    """
    if properties is None and append is None and unappend is None and unset is None:
        return NOTHING, NO_IDENTIFIERS
    sorting = _Sorting(where)
    if properties is not None:
        sorting.take(_mapping(properties, where))
    for name, change in (("append", append), ("unappend", unappend)):
        if change is not None:
            sorting.patch(name, change, name)
    if unset is not None:
        sorting.remove(unset, "unset")
    return sorting.person(), GivenIdentifiers(**sorting.identifiers)


def combine(
    given: GivenIdentifiers, *, external_id: object = None, email: object = None, phone_number: object = None
) -> GivenIdentifiers:
    """Join the identifiers found among the properties with those given as arguments.

    Raises:
        InvalidPropertyError: One was given twice with different values; `path` is its kind.
    """
    if given is NO_IDENTIFIERS:
        return GivenIdentifiers(external_id, email, phone_number)
    return GivenIdentifiers(
        _once("external_id", external_id, given.external_id),
        _once("email", email, given.email),
        _once("phone_number", phone_number, given.phone_number),
    )


class _Sorting:
    """The fields of one person while its keys are read one by one."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.identifiers: dict[str, object] = {}
        self.attributes: dict[str, Any] = {}
        self.location: dict[str, Any] = {}
        self.properties: dict[str, Any] = {}
        self.patches: dict[str, dict[str, Any]] = {"append": {}, "unappend": {}}
        self.unset: dict[str, None] = {}

    def take(self, properties: Mapping[str, Any]) -> None:
        custom: dict[str, Any] = {}
        others: list[tuple[str, Any, Meaning]] = []
        for key, value in properties.items():
            meaning = _meaning(key, self.where)
            if meaning.role is Role.CUSTOM:
                custom[key] = value
            else:
                others.append((key, value, meaning))
        # The shop's own properties in one pass; the reserved ones below each have a place of their own.
        self.properties = sendable(custom, self.where, of_person=True)
        for key, value, meaning in others:
            self._place(key, value, meaning)

    def _place(self, key: str, value: Any, meaning: Meaning) -> None:
        path = f"{self.where}.{key}"
        if meaning.role is Role.IDENTIFIER:
            self._identify(meaning.name, value, path)
        elif meaning.role is Role.ATTRIBUTE:
            _put(self.attributes, meaning.name, _text(value, path), path)
        elif meaning.role is Role.LOCATION:
            _put(self.location, meaning.name, _part(meaning.name, value, path), path)
        elif meaning.role is Role.PLACE:
            self._locate(value, path)
        elif meaning.name == "unset":
            self.remove(value, path)
        else:
            self.patch(meaning.name, value, path)

    def _identify(self, name: str, value: object, path: str) -> None:
        # An identifier among the properties says who the customer is; it cannot be changed or cleared that way (P3).
        if value is None:
            raise refused(path, "is None; leave it out where it is not known")
        if value is CLEAR:
            _refuse_identifier(name, path)
        self.identifiers[name] = _once(name, self.identifiers.get(name), value)

    def _locate(self, value: object, path: str) -> None:
        for key, part in _mapping(value, path).items():
            if key not in LOCATION:
                raise refused(f"{path}.{shown(key)}", f"is no part of a location; those are {', '.join(LOCATION)}")
            _put(self.location, key, _part(key, part, f"{path}.{key}"), f"{path}.{key}")

    def patch(self, name: str, change: object, path: str) -> None:
        changes = sendable(_mapping(change, path), path, of_person=True)
        for key, value in changes.items():
            here = f"{path}.{shown(key)}"
            # Klaviyo keeps lists only among custom properties; its own fields hold one value each.
            if _meaning(key, path).role is not Role.CUSTOM:
                raise refused(here, f"cannot be changed by {name}, which is for lists of the shop's own")
            if value is None:
                raise refused(here, "is CLEAR; use unset to remove the whole property")
            _put(self.patches[name], key, value, here)

    def remove(self, keys: object, path: str) -> None:
        names = (keys,) if isinstance(keys, str) else keys
        if not isinstance(names, Sequence | set | frozenset):
            raise refused(path, "is neither a key nor a list of keys")
        for key in cast("Sequence[object]", names):
            self._remove(key, path)

    def _remove(self, key: object, path: str) -> None:
        meaning = _meaning(key, path)
        here = f"{path}.{meaning.name}"
        if meaning.role is Role.IDENTIFIER:
            _refuse_identifier(meaning.name, here)
        elif meaning.role is Role.ATTRIBUTE:
            _put(self.attributes, meaning.name, None, here)
        elif meaning.role is Role.LOCATION:
            _put(self.location, meaning.name, None, here)
        elif meaning.role is Role.CUSTOM:
            self.unset[meaning.name] = None
        else:
            raise refused(here, "cannot be removed as a whole; name its parts")

    def person(self) -> Person:
        append, unappend = self.patches["append"], self.patches["unappend"]
        for first, second in ((self.properties, append), (self.properties, unappend), (self.unset, append | unappend)):
            _refuse_both(first, second, self.where)
        _refuse_both(self.properties, self.unset, self.where)
        attributes = {**self.attributes, "location": self.location} if self.location else self.attributes
        return Person(attributes, self.properties, append, unappend, tuple(self.unset))


def _refuse_both(first: Mapping[str, Any], second: Mapping[str, Any], where: str) -> None:
    # Klaviyo does not say in which order it works through them.
    for key in second:
        if key in first:
            raise refused(f"{where}.{shown(key)}", "is given twice: set, appended to or removed; do one at a time")


def _refuse_identifier(name: str, path: str) -> NoReturn:
    raise refused(path, f"is an identifier, which is changed by {_VERBS[name]}")


def _meaning(key: object, where: str) -> Meaning:
    if not isinstance(key, str):
        raise refused(f"{where}.{shown(key)}", "is a key that is not a string")
    meaning = meaning_of_person_key(key)
    if meaning.role is Role.REFUSED:
        raise refused(f"{where}.{shown(key)}", meaning.name)
    return meaning


def _mapping(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise refused(path, f"is a {type(value).__name__}; give a mapping")
    return cast("Mapping[str, Any]", value)


def _text(value: Any, path: str) -> str | None:
    sent = sendable_value(value, path, of_person=True)
    if sent is not None and not isinstance(sent, str):
        raise refused(path, f"is a {type(sent).__name__}; Klaviyo keeps a string there")
    return sent


def _part(name: str, value: Any, path: str) -> Any:
    if name not in ("latitude", "longitude"):
        return _text(value, path)
    sent = sendable_value(value, path, of_person=True)
    if isinstance(sent, bool | list | tuple | dict):
        raise refused(path, f"is a {type(value).__name__}; give a number or a string")
    return sent


def _put(fields: dict[str, Any], name: str, value: Any, path: str) -> None:
    # A field has several spellings (first_name, $first_name). The same value twice is harmless.
    if name in fields and fields[name] != value:
        raise refused(path, "is given twice, with different values")
    fields[name] = value


def _once(name: str, first: object, second: object) -> object:
    if first is None or second is None:
        return second if first is None else first
    if _folded(name, first) != _folded(name, second):
        raise refused(name, "is given twice, with different values")
    return first


def _folded(name: str, value: object) -> str:
    # Compared loosely, because the two were not normalised yet; the one that is kept will be.
    text = str(value).strip()
    if name == "phone_number":
        return text.translate(PHONE_PUNCTUATION)
    return text.lower() if name == "email" else text


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType] - JSON
