"""What the calls of a cause would have done through this library, shown by sending them through it.

Each call of the log becomes the verb that a shop would use for it. A client sends the verbs to a simulator, in the
order of the cause. Decided here: which verb a call becomes, and how its outcome is told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.audit._diagnosis.bodies import CLIENT
from safeklaviyo.errors import EmailMismatchError, LeaseHeldError, SafeKlaviyoError
from safeklaviyo.policy import Policy
from safeklaviyo.testing.simulator import KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from safeklaviyo import Klaviyo
    from safeklaviyo.audit._diagnosis.calls import Call, Named
    from safeklaviyo.audit._diagnosis.causes import Cause
    from safeklaviyo.audit._diagnosis.people import Part, Who

_EVENT: Final = "Event of the log"
_KINDS: Final = ("external_id", "email", "phone_number")
_METRIC: Final[dict[str, Any]] = {
    "properties": {}, "metric": {"data": {"type": "metric", "attributes": {"name": _EVENT}}}
}  # fmt: skip
_HEADERS: Final = {"authorization": "Klaviyo-API-Key pk_browser"}
_POLICY: Final = Policy(merge_wait=0.0, visible_wait=0.0, wait=0.001)
"""Without waits, because the simulator does nothing while the client waits."""


def prevented(cause: Cause) -> tuple[str, ...]:
    """Return, for each call of a cause in the log's order, what it would have done through this library."""
    return replayed(cause)[0]


def replayed(cause: Cause) -> tuple[tuple[str, ...], KlaviyoSimulator]:
    """Same as `prevented`, with the account as it is afterwards."""
    simulator = KlaviyoSimulator(cause.reading.readings)
    for each in (*cause.stage.before, *(each for each in cause.before if each not in cause.stage.before)):
        simulator.add_profile(external_id=each.external_id, email=each.email, phone_number=each.phone_number)
    # The simulator applies each call at once. A delayed call is applied with the call that came before it in Klaviyo.
    change = cause.change
    late = change.one if change is not None and change.operator == "delayed" else None
    told: list[str] = []
    with simulator.client(account="SiMuLa", policy=_POLICY) as klaviyo:
        shop = _Shop(klaviyo, simulator)
        for number in cause.in_log_order:
            told.append(shop.told(cause.stage.parts[number]))
            if late is None or change is None or number == change.other:
                simulator.drain()
        simulator.drain()
        if late is not None:
            told[cause.in_log_order.index(late)] += shop.repaired()
        if change is not None and change.operator == "racing":
            told[-1] += "; of two calls at the same moment the second one waits for the first (R13)"
        if shop.has_two(cause.twice.who):
            told[-1] += "; the customer has two profiles here too"
    return tuple(told), simulator


@dataclass(slots=True)
class _Shop:
    """A shop that makes the calls of a log by the verbs of this library."""

    klaviyo: Klaviyo
    simulator: KlaviyoSimulator
    pairs: dict[Who, Named] = field(default_factory=dict["Who", "Named"])
    """The identifiers under which each person was last named."""
    profiles: dict[str, str] = field(default_factory=dict[str, str])
    """The simulator's id of each profile, by the log's id."""
    landed: dict[Who, set[str]] = field(default_factory=dict["Who", "set[str]"])
    """The profiles to which this library has written each person's calls."""

    def has_two(self, who: Who) -> bool:
        """Tell whether calls about one person were written to two profiles that both exist."""
        alive = {profile.id for profile in self.simulator.profiles}
        return len(alive & self.landed.get(who, set())) > 1

    def repaired(self) -> str:
        """Run the shop's scheduled `recheck_changes` after a late event, and tell what it finds."""
        try:
            found = sorted({each.finding for each in self.klaviyo.recheck_changes(repair=True)})
        except SafeKlaviyoError:
            return "; `recheck_changes` looks at it again later"
        return f"; what it brings back late (`{'`, `'.join(found)}`) is put right by `recheck_changes`" if found else ""

    def told(self, part: Part) -> str:
        """Make one call, and tell its outcome."""
        call = part.call
        begin = f"call {call.index}"
        if call.operation in CLIENT.values():
            return f"{begin}: {self._browser(part)}"
        if call.merged is not None:
            return f"{begin}: {self._merge(call)}"
        told = [self._row(call, row, who) for row, who in part.rows]
        return f"{begin}: {'; '.join(dict.fromkeys(told)) or 'it names no one'}"

    def _row(self, call: Call, row: Named, who: Who | None) -> str:
        carry_out = _VERBS.get(call.operation, _Shop.track)
        try:
            verb, result = carry_out(self, row, who)
        except EmailMismatchError:
            return self._changed_first(call, row, who)
        except LeaseHeldError:
            return "waits until Klaviyo has done what was asked before about this customer (R13)"
        except SafeKlaviyoError as error:
            by = f" ({error.rule})" if error.rule else ""
            return f"refused by {type(error).__name__}{by}, so that nothing is written"
        return self._written(call, row, who, verb, result)

    def _changed_first(self, call: Call, row: Named, who: Who | None) -> str:
        """Give the customer the new address by the verb for that, as the error asks for, and make the call again."""
        try:
            self.klaviyo.change_email(row.email or "", external_id=row.external_id)
            verb, result = _VERBS.get(call.operation, _Shop.track)(self, row, who)
        except SafeKlaviyoError as error:
            return f"refused by {type(error).__name__} ({error.rule}), so that nothing is written"
        told = self._written(call, row, who, verb, result)
        return f"refused by EmailMismatchError (R6), which asks for `change_email`; after that {told}"

    def _written(self, call: Call, row: Named, who: Who | None, verb: str, result: Any) -> str:
        if who is not None and (row.external_id or row.email):
            self.pairs[who] = row
        found: str | None = getattr(result, "profile_id", None)
        profile_id = found or next(iter(getattr(result, "profile_ids", ())), None)
        if profile_id is not None and who is not None:
            self.landed.setdefault(who, set()).add(profile_id)
        shown = next((each.profile_id for each in self._shown(call)), None)
        if shown is not None and profile_id is not None:
            self.profiles.setdefault(shown, profile_id)
        rule = getattr(result, "rule", None)
        return (
            f"`{verb}` writes to the customer's one profile{f' ({rule})' if rule else ''}{self._differs(row, result)}"
        )

    def _shown(self, call: Call) -> tuple[Named, ...]:
        return call.shown if len(call.people) == 1 else ()

    def _differs(self, row: Named, result: Any) -> str:
        identity = getattr(result, "identity", None)
        if identity is None or row.address is None or identity.email in {None, row.address}:
            return ""
        return ", by the address that it has now"

    # The verbs. Each returns its name and its result.

    def track(self, row: Named, _who: Who | None) -> tuple[str, Any]:
        """Record an event."""
        return "track", self.klaviyo.track(_EVENT, **self._named(row))

    def identify(self, row: Named, _who: Who | None) -> tuple[str, Any]:
        """Write the person's profile."""
        return "identify", self.klaviyo.identify(**self._named(row))

    def subscribe(self, row: Named, _who: Who | None) -> tuple[str, Any]:
        """Give consent for the channel that the identifiers reach."""
        channel: Any = "email" if row.email is not None else "sms"
        return "subscribe", self.klaviyo.subscribe((channel,), **self._named(row))

    def unsubscribe(self, row: Named, _who: Who | None) -> tuple[str, Any]:
        """Withdraw consent for the channel that the identifiers reach."""
        channel: Any = "email" if row.email is not None else "sms"
        return "unsubscribe", self.klaviyo.unsubscribe((channel,), **self._named(row))

    def suppress(self, row: Named, _who: Who | None) -> tuple[str, Any]:
        """Suppress the address."""
        return "suppress", self.klaviyo.suppress(email=row.email)

    def change(self, row: Named, who: Who | None) -> tuple[str, Any]:
        """Give a profile other identifiers, as an update by its id does."""
        known = None if who is None else self.pairs.get(who)
        if known is None:
            return self.identify(row, who)
        if row.email is not None and row.address != known.address:
            given: dict[str, Any] = (
                {"external_id": known.external_id} if known.external_id else {"old_email": known.email}
            )
            return "change_email", self.klaviyo.change_email(row.email, **given)
        if row.external_id is not None and known.external_id not in {None, row.external_id}:
            return "change_external_id", self.klaviyo.change_external_id(
                row.external_id, old_external_id=known.external_id
            )
        return self.identify(row if row.external_id or row.email else known, who)

    def erase(self, row: Named, who: Who | None) -> tuple[str, Any]:
        """Erase the person, under the identifiers by which they were last known if the call names a profile's id."""
        known = row if row.email or row.external_id or who is None else self.pairs.get(who, row)
        given = {name: value for name, value in self._named(known).items() if name != "phone_number"}
        return "erase", self.klaviyo.erase(**given)

    def _named(self, row: Named) -> dict[str, Any]:
        external_id: Any = row.external_id
        if row.is_number and external_id is not None:
            # A number in Python, as the shop's code has it.
            external_id = int(external_id) if external_id.lstrip("-").isdigit() else float(external_id)
        given = {"external_id": external_id, "email": row.email, "phone_number": row.phone_number}
        return {name: value for name, value in given.items() if value is not None}

    def _merge(self, call: Call) -> str:
        source, destination = (self.profiles.get(each, each) for each in call.merged or ("", ""))
        try:
            self.klaviyo.profiles.merge(source, into=destination, allow_suppressed=True)
        except SafeKlaviyoError as error:
            return f"refused by {type(error).__name__}, so that nothing is written"
        self.simulator.drain()
        return "`profiles.merge` remembers that the source's address is the customer's"

    def _browser(self, part: Part) -> str:
        """Send a browser's call to Klaviyo itself, past the client, and tell what `recheck_changes` finds."""
        for row, _ in part.rows:
            given = {kind: value for kind in _KINDS if (value := getattr(row, kind)) is not None}
            body = {"data": {"type": "event", "attributes": {**_METRIC, "profile": {"data": _profile(given)}}}}
            self.simulator.handle("POST", "/api/events", _HEADERS, json.dumps(body).encode())
        self.simulator.drain()
        found = sorted({each.finding for each in self.klaviyo.recheck_changes()})
        if not found:
            return "a browser's own call, which no backend can prevent; it does no harm here"
        return f"a browser's own call, which no backend can prevent; `recheck_changes` reports it as {', '.join(found)}"


def _profile(given: dict[str, str]) -> dict[str, Any]:
    return {"type": "profile", "attributes": given}


_VERBS: Final[Mapping[str, Callable[[_Shop, Named, Who | None], tuple[str, Any]]]] = {
    **dict.fromkeys(("create_profile", "create_or_update_profile", "bulk_import_profiles", "identify"), _Shop.identify),
    "update_profile": _Shop.change,
    "update_person": _Shop.change,
    "bulk_subscribe_profiles": _Shop.subscribe,
    "bulk_unsubscribe_profiles": _Shop.unsubscribe,
    "bulk_suppress_profiles": _Shop.suppress,
    "request_profile_deletion": _Shop.erase,
}
