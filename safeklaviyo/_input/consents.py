"""What callers give about consent: channels, a list, and when the customer agreed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, cast, get_args

from safeklaviyo._input.events import moment_from
from safeklaviyo._input.findings import refused
from safeklaviyo.consent import Channel

CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
BY_PHONE: Final[frozenset[Channel]] = frozenset(CHANNELS) - {"email"}
"""The channels that reach a phone number."""

HISTORY: Final = 60.0
"""Seconds by which the consent of an import has to be past: Klaviyo refuses one that is not past by its own clock."""
_AHEAD: Final = 60.0
"""Seconds by which the caller's clock may be ahead of this one."""
_LIST_ID: Final = re.compile(r"[A-Za-z0-9]{1,64}")
_SOURCE_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a customer has agreed.

    Attributes:
        consented_at: When, in unix seconds; None if the caller does not say.
        historical: It is imported: no double opt-in, no flows of the list (Klaviyo's ``historical_import``).
        source: What the consent record is to say of where it came from.
        date_of_birth: In ISO 8601, for accounts with an age limit.
        resubscribe: It lifts what the customer has withdrawn before.
    """

    consented_at: float | None = None
    historical: bool = False
    source: str | None = None
    date_of_birth: str | None = None
    resubscribe: bool = False


def channels_from(value: object) -> tuple[Channel, ...]:
    """Return the channels, each once, in the order of `Channel`.

    Raises:
        InvalidPropertyError: There is none, or one that is not known.
    """
    listed = [value] if isinstance(value, str) else list(cast("Iterable[object]", value)) if _is_many(value) else None
    if not listed:
        raise refused("channels", "have to be a channel or a collection of channels: " + ", ".join(CHANNELS))
    if not all(isinstance(each, str) and each in CHANNELS for each in listed):
        raise refused("channels", "hold an unknown one; there are " + ", ".join(CHANNELS))
    return tuple(each for each in CHANNELS if each in listed)


def _is_many(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, bytes | bytearray)


def list_id_from(value: object) -> str | None:
    """Return the id of a list.

    Raises:
        InvalidPropertyError: The value cannot be a list's id.
    """
    if value is not None and not (isinstance(value, str) and _LIST_ID.fullmatch(value)):
        raise refused(
            "list_id", "is not made of letters and digits; it stands in the address of the list's page in Klaviyo"
        )
    return value


def agreement_from(
    *, consented_at: object, historical: object, source: object, resubscribe: object, date_of_birth: object, now: float
) -> Agreement:
    """Return how the customer has agreed.

    Raises:
        InvalidPropertyError: An argument makes no sense, or contradicts another.
    """
    at = None if consented_at is None else moment_from(consented_at, "consented_at")
    if at is not None and at > now + _AHEAD:
        raise refused("consented_at", "is in the future")
    for name, flag in (("historical", historical), ("resubscribe", resubscribe)):
        if not isinstance(flag, bool):
            raise refused(name, "has to be True or False")
    if historical and (at is None or at > now - HISTORY):
        raise refused("consented_at", "has to be given with historical=True, and to be at least a minute ago")
    return Agreement(at, bool(historical), _source_from(source), _birth_from(date_of_birth), bool(resubscribe))


def _source_from(value: object) -> str | None:
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > _SOURCE_LENGTH or not text.isprintable():
        raise refused("source", f"has to be a text of 1 to {_SOURCE_LENGTH} characters that can be printed")
    return text


def _birth_from(value: object) -> str | None:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            value = Ellipsis  # refused below, unchained: the message of the parser quotes the date
    if value is None:
        return None
    if isinstance(value, datetime) or not isinstance(value, date):
        raise refused("date_of_birth", "has to be a date, such as 1990-12-31")
    return value.isoformat()
