"""What the guard says about one call of the shop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, get_args

from safeklaviyo._api.paths import NAMING
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

Mode: TypeAlias = Literal["observe", "enforce", "off"]
Modes: TypeAlias = Mode | Mapping[str, Mode]
"""One mode for all operations, or one for each by Klaviyo's id of the operation; those left out are observed."""

Action: TypeAlias = Literal["pass", "rewrite", "answer", "change", "contact", "lookup", "wait", "refuse"]
OPERATIONS: Final = tuple(sorted(NAMING.values()))
"""The operations that can be guarded, by Klaviyo's ids."""

_MODES: Final = frozenset(get_args(Mode))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard says about one call. It holds no identifier of a person.

    Attributes:
        operation: Klaviyo's id of the operation; None for one that names no people.
        action: What became of the call; in observe, what the map says of it:
            ``"pass"``: it went as it was;
            ``"rewrite"``: identifiers were replaced in it;
            ``"answer"``: the guard carried it out, and answered in Klaviyo's place;
            ``"change"``: it first changes an identifier of a customer;
            ``"contact"``: the customer's profile has to be found or made first;
            ``"lookup"``: Klaviyo has to be asked who is meant;
            ``"wait"``: another call holds a lease on the customer;
            ``"refuse"``: it does not reach Klaviyo.
        rule: The rule that decided, such as ``"R6"``; None if none did.
        reason: Why, in one sentence.
        rewritten: The changed places in the body, as JSON pointers; in observe those that enforce would change.
        account: The namespace of the map; None if it is not known.
        at: When the call was made, in UTC.
    """

    operation: str | None
    action: Action
    rule: str | None
    reason: str
    rewritten: tuple[str, ...]
    account: str | None
    at: datetime


def modes_from(given: object) -> dict[str, Mode]:
    """Return the mode of each operation.

    Raises:
        ConfigurationError: A mode or an operation is unknown.
    """
    if isinstance(given, str) and given in _MODES:
        return dict.fromkeys(OPERATIONS, cast("Mode", given))
    if not isinstance(given, Mapping):
        raise ConfigurationError('mode has to be "observe", "enforce" or "off", or a mapping of operations to these')
    modes = cast("Mapping[str, Mode]", given)
    for name, mode in modes.items():
        if name not in OPERATIONS:
            raise ConfigurationError(f"mode names an operation that is not guarded; there are {', '.join(OPERATIONS)}")
        if mode not in _MODES:
            raise ConfigurationError('the mode of an operation has to be "observe", "enforce" or "off"')
    return {name: modes.get(name, "observe") for name in OPERATIONS}
