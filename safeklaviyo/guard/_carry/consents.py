"""The consent jobs, each row by its verb (R18, R19). They are answered as Klaviyo answers: accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.subscribe import subscribe
from safeklaviyo._flows.verbs.unsubscribe import suppress, unsubscribe, unsuppress
from safeklaviyo.errors import ConsentWithdrawnError, IdentityError, InvalidPropertyError
from safeklaviyo.guard._carry.updating import owner_of
from safeklaviyo.guard._write.replies import accepted, document, fault_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._decide.by_map import Ruling
    from safeklaviyo.guard._parse.asked import Named

_KINDS: Final = {
    "bulk_suppress_profiles": "profile-suppression-bulk-create-job",
    "bulk_unsuppress_profiles": "profile-suppression-bulk-delete-job",
}
_REFUSALS: Final = (IdentityError, InvalidPropertyError, ConsentWithdrawnError)


def give(call: Call, case: Case, each: Iterable[Ruling]) -> Flow[None]:
    """Give consent, or lift a suppression, for each row."""
    # A row that is refused does not stop the others: each row is a person of its own, and the answer names the faults.
    for ruling in each:
        named = ruling.person.named
        try:
            who = yield from _who(call, ruling)
            if case.asked.name == "bulk_unsuppress_profiles":
                yield from unsuppress(call.setup, external_id=who["external_id"], email=who["email"])
            else:
                yield from _subscribe(call, case, named, who)
        except _REFUSALS as error:
            case.faults.append(fault_of(error, named.pointer))
    _end(case, "R18", "consent was given by the verb")


def withdraw(call: Call, case: Case) -> Flow[None]:
    """Withdraw consent, or suppress, for each row. A withdrawal reaches every profile of the customer (R19)."""
    # The people and not the rulings: a withdrawal is carried out even where the map contradicts the row.
    for person in case.people:
        named = person.named
        who = {name: named.given(name) for name in ("external_id", "email", "phone_number")}
        try:
            if case.asked.name == "bulk_suppress_profiles":
                yield from suppress(call.setup, external_id=who["external_id"], email=who["email"])
            else:
                channels = channels_of(named)
                yield from unsubscribe(call.setup, channels, **who, list_id=_list_id(case))
        except _REFUSALS as error:
            case.faults.append(fault_of(error, named.pointer))
    _end(case, "R19", "consent was withdrawn by the verb")


def _end(case: Case, rule: str, reason: str) -> None:
    """Answer in Klaviyo's place: the verbs have sent the requests already."""
    if case.faults:
        case.say("refuse", case.faults[0].rule, case.faults[0].reason)
        return
    case.say("answer", rule, reason)
    kind = _KINDS.get(case.asked.name or "")
    if kind is None:
        case.answer = accepted()
    else:
        case.answer = document(202, {"type": kind, "id": "safeklaviyo", "attributes": {"status": "processing"}})


def _who(call: Call, ruling: Ruling) -> Flow[dict[str, Any]]:
    """Return the identifiers of a row. For a row that names a profile by its id, they are those of the profile."""
    named = ruling.person.named
    given: dict[str, Any] = {name: named.given(name) for name in ("external_id", "email", "phone_number")}
    if ruling.person.targets is None:
        return given
    owner = yield from owner_of(call, ruling.person.targets)
    binding = required(owner)
    return {**given, "external_id": binding.external_id, "email": binding.email}


def _subscribe(call: Call, case: Case, named: Named, who: dict[str, Any]) -> Flow[None]:
    is_historical = case.asked.attribute("historical_import") is True
    yield from subscribe(
        call.setup,
        channels_of(named),
        **who,
        list_id=_list_id(case),
        consented_at=_consented_at(named),
        historical=is_historical,
        source=case.asked.attribute("custom_source"),
        resubscribe=False,
        date_of_birth=named.given("age_gated_date_of_birth"),
    )


def _list_id(case: Case) -> Any:
    related = case.asked.related("list")
    return cast("dict[str, Any]", related).get("id") if isinstance(related, dict) else None


def channels_of(named: Named) -> list[str]:
    """Return the channels that a row names. A row without channels means those that its identifiers reach."""
    given = named.given("subscriptions")
    if not isinstance(given, dict):
        by_identifier = {"email": "email", "phone_number": "sms"}
        return [channel for name, channel in by_identifier.items() if named.given(name) is not None]
    return [
        channel if kind == "marketing" else f"{channel}_{kind}"
        for channel, types in cast("dict[str, Any]", given).items()
        for kind in (cast("dict[str, Any]", types) if isinstance(types, dict) else ())
    ]


def _consented_at(named: Named) -> Any:
    """Return the earliest time of consent that a row gives.

    A row may give a time for each channel, while the verb takes one for all channels.
    """
    given = named.given("subscriptions")
    moments: list[str] = []
    for types in cast("dict[str, Any]", given).values() if isinstance(given, dict) else ():
        for said in cast("dict[str, Any]", types).values() if isinstance(types, dict) else ():
            at = cast("dict[str, Any]", said).get("consented_at") if isinstance(said, dict) else None
            moments += [at] if isinstance(at, str) else []
    return min(moments, default=None)
