"""Properties: what a call says about a person, sorted into Klaviyo's fields and checked.

Decided here: where each reserved key goes, and what is given twice. Not here: what keys mean (`reserved_keys`), single
values (`values`), what becomes of what cannot be sent (`findings`), how it is written down (`_api`, `_api.legacy`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from uuid import UUID

from safeklaviyo._input.reserved_keys import LOCATION, SENT, Meaning, Role, meaning_of_person_key
from safeklaviyo._input.values import LEFT_OUT, is_plain, mapping_of, sendable, sendable_value, shown
from safeklaviyo.identity import PHONE_PUNCTUATION, text_of
from safeklaviyo.models import CLEAR

if TYPE_CHECKING:
    from collections.abc import Collection

    from safeklaviyo._input.findings import Findings

_VERBS: Final = {
    "email": "change_email", "external_id": "change_external_id", "phone_number": "change_phone_number",
}  # fmt: skip
_LEGACY_PAYLOAD: Final = frozenset({"token", "event", "customer_properties", "properties", "time"})
_TWICE: Final = "is given twice, with different values"
_CHANGED_TWICE: Final = "is given twice: set, appended to or removed; do one at a time"


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
        return self is NOTHING or not (self.attributes or self.properties or self.append or self.unappend or self.unset)

    def first_values(self) -> Person:
        """Return what this means for a new profile, which has no lists to append to and nothing to take away.

        Writing the result twice is the same as writing it once.
        """
        lists = {key: _as_list(value) for key, value in self.append.items()}
        return Person(self.attributes, self.properties | lists)

    def __repr__(self) -> str:
        return f"Person({len(self.attributes)} attributes, {len(self.properties)} properties)"


class GivenIdentifiers(NamedTuple):
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
    findings: Findings,
    *,
    append: Mapping[str, Any] | None = None,
    unappend: Mapping[str, Any] | None = None,
    unset: str | Collection[str] | None = None,
    where: str = "properties",
) -> tuple[Person, GivenIdentifiers]:
    """Sort a person's properties into Klaviyo's fields, and take the identifiers out.

    Legacy keys are taken as they stand. `CLEAR` becomes null; None is left out, because a missing first name must
    never erase data. The caller's mappings are not changed.

    Args:
        findings: Takes what cannot be sent, and who the customer is where that is said twice.
        where: The argument's name, for the paths.
    """
    if properties is None and append is None and unappend is None and unset is None:
        return NOTHING, NO_IDENTIFIERS
    sorting = _Sorting(where, findings)
    if properties is not None:
        given = mapping_of(properties, where, findings)
        if given is not None:
            sorting.take(*attributes_of("profile", given, where, findings))
    for name, change in (("append", append), ("unappend", unappend)):
        if change is not None:
            sorting.patch(name, change, name)
    if unset is not None:
        sorting.remove(unset, "unset")
    return sorting.person(), GivenIdentifiers(**sorting.identifiers)


def combine(
    given: GivenIdentifiers,
    findings: Findings,
    *,
    external_id: object = None,
    email: object = None,
    phone_number: object = None,
) -> GivenIdentifiers:
    """Join the identifiers found among the properties with those given as arguments."""
    if given is NO_IDENTIFIERS:
        return GivenIdentifiers(external_id, email, phone_number)
    return GivenIdentifiers(
        _once("external_id", external_id, given.external_id, findings),
        _once("email", email, given.email, findings),
        _once("phone_number", phone_number, given.phone_number, findings),
    )


def attributes_of(kind: str, given: dict[Any, Any], where: str, findings: Findings) -> tuple[dict[Any, Any], str]:
    """Return the attributes of a profile or an event, where the caller gave a JSON:API document around them (F-38)."""
    document, path = given, where
    data = given.get("data")
    if len(given) == 1 and isinstance(data, dict):
        document, path = cast("dict[Any, object]", data), f"{where}.data"
    attributes = document.get("attributes")
    if not isinstance(attributes, dict) or document.get("type", None if document is given else kind) != kind:
        return _without_token(given, where, findings), where
    for key in document:
        if key not in ("type", "attributes"):
            # What stands beside the attributes is no property, yet `meta` and `id` mean something to Klaviyo.
            meaning = meaning_of_person_key(key) if isinstance(key, str) else None
            is_refused = meaning is not None and meaning.role is Role.REFUSED
            why = meaning.name if meaning is not None and is_refused else f"stands beside the attributes of the {kind}"
            findings.leave_out(f"{path}.{shown(key)}", why)
    return cast("dict[Any, object]", attributes), f"{path}.attributes"


def _without_token(given: dict[Any, Any], where: str, findings: Findings) -> dict[Any, Any]:
    # Only in the payload of the retired API: elsewhere a token may be a property of the shop's own.
    if "token" not in given or not _is_mapping(given.get("properties")) or not given.keys() <= _LEGACY_PAYLOAD:
        return given
    findings.leave_out(f"{where}.token", "is the key of a legacy payload, which the client has already")
    return {key: value for key, value in given.items() if key != "token"}


class _Sorting:
    """The fields of one person while its keys are read one by one."""

    def __init__(self, where: str, findings: Findings) -> None:
        self.where = where
        self.findings = findings
        self.identifiers: dict[str, object] = {}
        self.attributes: dict[str, Any] = {}
        self.location: dict[str, Any] = {}
        self.properties: dict[str, Any] = {}
        self.patches: dict[str, dict[str, Any]] = {"append": {}, "unappend": {}}
        self.unset: dict[str, None] = {}

    def take(self, properties: dict[Any, Any], where: str, *, is_nested: bool = False) -> None:
        """Sort properties by what Klaviyo does with each key.

        Args:
            properties: As the caller gave them.
            where: Their path, for findings.
            is_nested: They stood under the key ``properties``.
        """
        custom: dict[Any, Any] = {}
        others: list[tuple[str, Any, Meaning]] = []
        for key, value in properties.items():
            # A key that is no text is the reader's to convert or to leave out.
            meaning = meaning_of_person_key(key) if isinstance(key, str) else None
            if meaning is None or meaning.role is Role.CUSTOM:
                custom[key] = value
            elif meaning.role is Role.UNKNOWN:
                self.findings.take("key_unknown", f"{where}.{shown(key)}", UNKNOWN_KEY)
                custom[key] = value
            elif meaning.role is Role.NESTED and (is_nested or not _is_mapping(value)):
                custom[key] = value
            else:
                others.append((key, value, meaning))
        # The shop's own properties in one pass; the reserved ones below each have a place of their own.
        read = sendable(custom, where, self.findings, of_person=True) if custom else custom
        if is_nested:
            for key, value in read.items():
                self._put(self.properties, key, value, f"{where}.{shown(key)}")
        else:
            self.properties = read
        for key, value, meaning in others:
            # Klaviyo's own names are shown as they are; one that is refused may be anything.
            self._place(value, meaning, f"{where}.{shown(key) if meaning.role is Role.REFUSED else key}")

    def _place(self, value: Any, meaning: Meaning, path: str) -> None:
        role, name = meaning
        if role is Role.IDENTIFIER:
            self._identify(name, value, path)
        elif role is Role.ATTRIBUTE:
            self._put(self.attributes, name, self._text(value, path), path)
        elif role is Role.LOCATION:
            self._put(self.location, name, self._part(name, value, path), path)
        elif role is Role.PLACE:
            self._locate(value, path)
        elif role is Role.NESTED:
            nested = mapping_of(value, path, self.findings)
            if nested is not None:
                self.take(nested, path, is_nested=True)
        elif role is Role.REFUSED:
            self.findings.leave_out(path, name)
        elif name == "unset":
            self.remove(value, path)
        else:
            self.patch(name, value, path)

    def _identify(self, name: str, value: object, path: str) -> None:
        # An identifier among the properties says who the customer is; it cannot be changed or cleared that way (P3).
        if value is None:
            self.findings.leave_out(path, "is None; leave it out where it is not known")
        elif value is CLEAR:
            self._refuse_identifier(name, path)
        else:
            self.identifiers[name] = _once(name, self.identifiers.get(name), value, self.findings)

    def _locate(self, value: object, path: str) -> None:
        for key, part in (mapping_of(value, path, self.findings) or {}).items():
            here = f"{path}.{shown(key)}"
            if key in LOCATION:
                self._put(self.location, key, self._part(key, part, here), here)
            else:
                self.findings.leave_out(here, f"is no part of a location; those are {', '.join(LOCATION)}")

    def patch(self, name: str, change: object, path: str) -> None:
        """Take the values to append, or to remove from lists; `name` is ``"append"`` or ``"unappend"``."""
        wanted: dict[Any, Any] = {}
        for key, value in (mapping_of(change, path, self.findings) or {}).items():
            meaning = meaning_of_person_key(key) if isinstance(key, str) else None
            # Klaviyo keeps lists only among custom properties; its own fields hold one value each.
            if meaning is not None and meaning.role not in SENT and meaning.role is not Role.NESTED:
                why = f"cannot be changed by {name}, which is for lists of the shop's own"
                why = meaning.name if meaning.role is Role.REFUSED else why
                self.findings.leave_out(f"{path}.{shown(key)}", why)
            elif value is CLEAR:
                self.findings.leave_out(f"{path}.{shown(key)}", "is CLEAR; use unset to remove the whole property")
            else:
                wanted[key] = value
        for key, value in sendable(wanted, path, self.findings, of_person=True).items():
            self._put(self.patches[name], key, value, f"{path}.{shown(key)}")

    def remove(self, keys: object, path: str) -> None:
        """Take the properties to remove as a whole."""
        names = (keys,) if isinstance(keys, str) else keys
        if not isinstance(names, Sequence | AbstractSet):
            self.findings.leave_out(path, "is neither a key nor a list of keys")
            return
        for key in cast("Sequence[object]", names):
            self._remove(key, f"{path}.{shown(key)}")

    def _remove(self, key: object, path: str) -> None:
        if not isinstance(key, str):
            self.findings.leave_out(path, "is a key that is not a string")
            return
        role, name = meaning_of_person_key(key)
        if role is Role.IDENTIFIER:
            self._refuse_identifier(name, path)
        elif role is Role.ATTRIBUTE:
            self._put(self.attributes, name, None, path)
        elif role is Role.LOCATION:
            self._put(self.location, name, None, path)
        elif role in SENT or role is Role.NESTED:
            text = sendable_value(key, path, self.findings, of_person=True)
            if text is not LEFT_OUT:
                self.unset[text] = None
        else:
            why = name if role is Role.REFUSED else "cannot be removed as a whole; name its parts"
            self.findings.leave_out(path, why)

    def person(self) -> Person:
        """Return the person with all that was taken. A key that is changed in two ways keeps the first one."""
        # Klaviyo does not say in which order it makes the changes, so that two of one key would end either way.
        append, unappend = self.patches.values()
        for key in [key for key in self.unset if key in self.properties]:
            self.findings.leave_out(f"unset.{shown(key)}", _CHANGED_TWICE)
            del self.unset[key]
        for name, patch in self.patches.items():
            for key in [key for key in patch if key in self.properties or key in self.unset]:
                self.findings.leave_out(f"{name}.{shown(key)}", _CHANGED_TWICE)
                del patch[key]
        attributes = {**self.attributes, "location": self.location} if self.location else self.attributes
        return Person(attributes, self.properties, append, unappend, tuple(self.unset))

    def _refuse_identifier(self, name: str, path: str) -> None:
        self.findings.refuse(path, f"is an identifier, which is changed by {_VERBS[name]}")

    def _text(self, value: Any, path: str) -> Any:
        if type(value) is str and is_plain(value):
            return value
        sent = sendable_value(value, path, self.findings, of_person=True)
        if sent is None or sent is LEFT_OUT or isinstance(sent, str):
            return sent
        if isinstance(sent, int) and not isinstance(sent, bool):
            return text_of(sent)
        self.findings.leave_out(path, f"is a {type(sent).__name__}; Klaviyo keeps a string there")
        return LEFT_OUT

    def _part(self, name: str, value: Any, path: str) -> Any:
        if name not in ("latitude", "longitude"):
            return self._text(value, path)
        sent = sendable_value(value, path, self.findings, of_person=True)
        if isinstance(sent, bool | list | tuple | dict):
            self.findings.leave_out(path, f"is a {type(value).__name__}; give a number or a string")
            return LEFT_OUT
        return sent

    def _put(self, fields: dict[str, Any], name: str, value: Any, path: str) -> None:
        if value is LEFT_OUT:
            return
        # A field has several spellings (first_name, $first_name). The same value twice is harmless.
        if name in fields and fields[name] != value:
            self.findings.leave_out(path, _TWICE)
        else:
            fields[name] = value


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


UNKNOWN_KEY: Final = "has the dollar sign of Klaviyo's own names and is none of those known here; it was sent as it is"


def _once(name: str, first: object, second: object, findings: Findings) -> object:
    if first is None or second is None:
        return second if first is None else first
    # Two identifiers of one kind are two customers, or one and a mistake.
    if _folded(name, first) != _folded(name, second):
        findings.refuse(name, _TWICE)
    return first


def _folded(name: str, value: object) -> object:
    # Compared loosely, because the two were not normalised yet; the one that is kept will be.
    if not isinstance(value, str | int | UUID):
        return value
    text = text_of(value).strip()
    if name == "phone_number":
        return text.translate(PHONE_PUNCTUATION)
    return text.lower() if name == "email" else text


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType] - JSON
