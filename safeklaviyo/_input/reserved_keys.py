"""Reserved keys: which keys of a mapping mean something to Klaviyo, and which look as if they should.

Decided here: the meaning of each key of a person's and an event's properties (Klaviyo's legacy Track and Identify
reference, and its chart from the legacy to the current API). Not here: values (`values`), people (`_rules`).
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple


class Role(Enum):
    """What a key stands for."""

    CUSTOM = "a property of the shop's own"
    IDENTIFIER = "an identifier"
    ATTRIBUTE = "an attribute of Klaviyo's profile"
    LOCATION = "a part of the profile's location"
    PLACE = "the whole location"
    PATCH = "a change of custom properties"
    NESTED = "all of the shop's own properties, if it is a mapping"
    EVENT = "a field of the event itself"
    WORTH = "a property of the shop's own that also says what the event is worth"
    UNKNOWN = "a name with Klaviyo's dollar sign that is not known here"
    REFUSED = "nothing that could be sent"
    FIXING = "what would fix the event, in a form that is not understood"


SENT: Final = frozenset({Role.CUSTOM, Role.WORTH, Role.UNKNOWN})
"""The roles of keys that are sent as they are."""


class Meaning(NamedTuple):
    """The role of a key, and Klaviyo's name for it; for a refused key, the sentence that says what to do."""

    role: Role
    name: str


IDENTIFIERS: Final = ("external_id", "email", "phone_number")
ATTRIBUTES: Final = ("first_name", "last_name", "organization", "title", "image", "locale")
LOCATION: Final = (
    "address1", "address2", "city", "country", "latitude", "longitude", "region", "zip", "timezone", "ip",
)  # fmt: skip

# What Klaviyo's own scripts and integrations write beside the legacy keys. Sent as it is; Klaviyo reads it.
_KLAVIYOS_OWN: Final = (
    "$source", "$extra", "$use_ip", "$is_session_activity", "$referrer", "$last_referrer", "$initial_referrer",
    "$consent_timestamp", "$consent_method", "$consent_form_id", "$consent_form_version", "$phone_number_region",
    "$service", "$flow", "$message", "$variation", "$attribution",
)  # fmt: skip

_ID = Meaning(Role.REFUSED, "is ambiguous: external_id is the shop's own id, and a profile id has its own methods")
_CONSENT = Meaning(
    Role.REFUSED, "cannot be set as a property; consent is given by subscribe and withdrawn by unsubscribe"
)
_META = Meaning(Role.REFUSED, "is no property; append, unappend and unset change lists and remove properties")
_BROWSER = Meaning(Role.REFUSED, "names a browser, not a customer; give an email or an external_id")
_TOKENS = Meaning(Role.REFUSED, "cannot be set as a property; Klaviyo's push token endpoint registers devices")
_FLAG = "is a legacy flag; give the event a unique_id made from what happens only once"
_ONCE, _ONCE_FIXES = Meaning(Role.REFUSED, _FLAG), Meaning(Role.FIXING, _FLAG)
_UNIQUE = Meaning(Role.FIXING, "would be an ordinary property here; give unique_id as an argument of its own")

_REFUSED_ANYWHERE = {
    "$consent": _CONSENT, "$anonymous": _BROWSER, "anonymous_id": _BROWSER, "$anonymous_id": _BROWSER,
    "$exchange_id": _BROWSER, "_kx": _BROWSER, "$kx": _BROWSER, "$ios_tokens": _TOKENS, "$android_tokens": _TOKENS,
}  # fmt: skip

_PERSON: Final[dict[str, Meaning]] = {
    "$id": Meaning(Role.IDENTIFIER, "external_id"),
    **{prefix + name: Meaning(Role.IDENTIFIER, name) for name in IDENTIFIERS for prefix in ("", "$")},
    **{prefix + name: Meaning(Role.ATTRIBUTE, name) for name in ATTRIBUTES for prefix in ("", "$")},
    # Without its dollar sign a place is the shop's own property, as it was in the legacy API: "region" may be "EMEA".
    **{f"${name}": Meaning(Role.LOCATION, name) for name in LOCATION},
    "location": Meaning(Role.PLACE, "location"),
    **{f"${name}": Meaning(Role.PATCH, name) for name in ("append", "unappend", "unset")},
    "properties": Meaning(Role.NESTED, "properties"),
    "subscriptions": _CONSENT,
    "meta": _META,
    "__track_once__": _ONCE,
    **{name: Meaning(Role.CUSTOM, name) for name in _KLAVIYOS_OWN},
    **_REFUSED_ANYWHERE,
}
_EVENT: Final[dict[str, Meaning]] = {
    "$event_id": Meaning(Role.EVENT, "unique_id"),
    "$value": Meaning(Role.EVENT, "value"),
    "$value_currency": Meaning(Role.EVENT, "value_currency"),
    "$currency_code": Meaning(Role.EVENT, "value_currency"),
    **{name: Meaning(Role.WORTH, name) for name in ("value", "value_currency")},
    "unique_id": _UNIQUE,
    "__track_once__": _ONCE_FIXES,
    **{name: Meaning(Role.CUSTOM, name) for name in _KLAVIYOS_OWN},
    # The bare ones are ordinary names of an event's own data; only the dollar sign makes Klaviyo read them.
    **{key: meaning for key, meaning in _REFUSED_ANYWHERE.items() if key[0] == "$"},
}

# The names that are watched for slips, each with how many slips still count as that name.
_WATCHED_PERSON: Final = {"email": 1, "externalid": 2, "phonenumber": 2, "firstname": 1, "lastname": 1}
_WATCHED_EVENT: Final = {"uniqueid": 1}
# Behind a dollar sign every longer name that Klaviyo reads is watched, because no name of a shop's own stands there.
_MIN_WATCHED_DOLLAR = 5
_SPELLING: Final = {
    "email": "email", "externalid": "external_id", "phonenumber": "phone_number", "firstname": "first_name",
    "lastname": "last_name", "uniqueid": "unique_id",
}  # fmt: skip
# Words that are one slip away from a watched name, yet mean something of their own.
_ORDINARY: Final = frozenset({
    "mail", "gmail", "emailed", "emailer", "emailid", "externaluid", "firstgame", "lastgame", "listname", "fastname",
    "castname", "pastname", "postname", "lasername", "lastnamed", "firstnamed", "lastsname", "uniqueids",
})  # fmt: skip
_MAX_WATCHED_LENGTH = 24


@lru_cache(maxsize=4096)
def meaning_of_person_key(key: str) -> Meaning:
    """Return what a key of a person's properties means."""
    known = _PERSON.get(key)
    if known is not None:
        return known
    if key.startswith("$"):
        return _after_dollar(key, _PERSON)
    folded = _folded(key)
    return _ID if folded == "id" else _watched(key, folded, _WATCHED_PERSON, Role.REFUSED)


@lru_cache(maxsize=4096)
def meaning_of_event_key(key: str) -> Meaning:
    """Return what a key of an event's properties means."""
    known = _EVENT.get(key)
    if known is not None:
        return known
    if key.startswith("$"):
        person = _PERSON.get(key)
        if person is not None:
            return Meaning(Role.REFUSED, "describes a person; give it in customer_properties")
        return _after_dollar(key, _EVENT)
    return _watched(key, _folded(key), _WATCHED_EVENT, Role.FIXING)


_seen: Final[set[str]] = set()
"""Names of the shop's own among the properties of events so far; at most `_MOST_SEEN`."""
_MOST_SEEN: Final = 4096
_AROUND: Final = frozenset({"data", "attributes", "properties", "token"})
"""Names of the shop's own that may also be a document around the properties, in which others are looked for."""


def are_ordinary(properties: dict[Any, object]) -> bool:
    """Tell whether all keys of an event's properties surely are the shop's own, and stand for themselves."""
    if properties.keys() <= _seen:
        return True
    for key in properties:
        if type(key) is not str or key in _AROUND or meaning_of_event_key(key).role is not Role.CUSTOM:
            return False
        if len(_seen) < _MOST_SEEN:
            _seen.add(key)
    return True


def _after_dollar(key: str, names: dict[str, Meaning]) -> Meaning:
    """Return the meaning of a key with a dollar sign that is no known one: misspelt, or new to this library."""
    folded = _folded(key)
    if len(folded) <= _MAX_WATCHED_LENGTH and not any(map(str.isdigit, folded)):
        for name, meaning in names.items():
            word = _folded(name)
            if (
                name[0] == "$"
                and len(word) >= _MIN_WATCHED_DOLLAR
                and folded != f"{word}s"
                and _is_slip(folded, word, 1)
            ):
                role = Role.FIXING if meaning == Meaning(Role.EVENT, "unique_id") else Role.REFUSED
                return Meaning(role, f"looks like {name}; spell it so, or choose another name")
    return Meaning(Role.UNKNOWN, key)


def _watched(key: str, folded: str, names: dict[str, int], role: Role) -> Meaning:
    """Refuse a key that looks like a misspelt watched name: Klaviyo would drop it without a word (F-24)."""
    # A digit or a plural means something of its own: email_2, emails.
    if len(folded) <= _MAX_WATCHED_LENGTH and folded not in _ORDINARY and not any(map(str.isdigit, folded)):
        for name, slips in names.items():
            if folded != f"{name}s" and _is_slip(folded, name, slips):
                return Meaning(role, f"looks like {_SPELLING[name]}; spell it so, or choose another name")
    return Meaning(Role.CUSTOM, key)


def _folded(key: str) -> str:
    return "".join(filter(str.isalnum, key)).casefold()


def _is_slip(word: str, name: str, slips: int) -> bool:
    if abs(len(word) - len(name)) > 1:
        return False
    distance = _distance(word, name)
    # Two slips that change the first letter make another word: internal_id is not external_id.
    return distance <= 1 or (distance <= slips and word[0] == name[0])


def _distance(left: str, right: str) -> int:
    """Count the letters to insert, drop, replace or swap with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, letter in enumerate(left, 1):
        before, row, above = row, [i], before
        for j, other in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and left[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]
