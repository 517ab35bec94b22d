"""What each public operation does, as flows: who is meant, what is sent, and what is written down.

Here stand the operations themselves, one function each: they take the client's arguments as they were given. The steps
are in the modules beside; read `_resolve` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo import _rules
from safeklaviyo._event import event_from
from safeklaviyo._flow import Find, Flow, NewId, Now
from safeklaviyo._operations import _bindings, _change_email, _identify, _profiles, _track
from safeklaviyo._operations._call import Call, Setup, run
from safeklaviyo._properties import GivenIdentifiers, combine, person_from
from safeklaviyo.identity import Claim, normalise_email

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from safeklaviyo._operations._profiles import ProfilePage
    from safeklaviyo.models import Binding, Decision, EmailChange, IdentifyResult, ImportReport, Profile, TrackResult
    from safeklaviyo.stores.base import Page


def identify(
    setup: Setup,
    properties: Mapping[str, Any] | None,
    *,
    external_id: object,
    email: object,
    phone_number: object,
    append: Mapping[str, Any] | None,
    unappend: Mapping[str, Any] | None,
    unset: str | Sequence[str] | None,
) -> Flow[IdentifyResult]:
    """See `Klaviyo.identify`."""

    def body(call: Call) -> Flow[IdentifyResult]:
        person, given = person_from(properties, append=append, unappend=unappend, unset=unset)
        claim = _claim(call, given, external_id, email, phone_number)
        return (yield from _identify.identify(call, claim, person))

    return run(setup, "identify", body)


def track(
    setup: Setup,
    event: str,
    *,
    external_id: object,
    email: object,
    phone_number: object,
    customer_properties: Mapping[str, Any] | None,
    properties: Mapping[str, Any] | None,
    value: object,
    value_currency: object,
    time: object,
    unique_id: object,
    backfill: bool,
) -> Flow[TrackResult]:
    """See `Klaviyo.track`."""

    def body(call: Call) -> Flow[TrackResult]:
        person, given = person_from(customer_properties, where="customer_properties")
        claim = _claim(call, given, external_id, email, phone_number)
        checked = event_from(
            event,
            properties,
            value=value,
            value_currency=value_currency,
            time=time,
            unique_id=unique_id,
            backfill=backfill,
            now=(yield from Now()),
            new_id=(yield from NewId()),
        )
        return (yield from _track.track(call, claim, checked, person))

    return run(setup, "track", body)


def change_email(
    setup: Setup, new_email: object, *, external_id: object, old_email: object
) -> Flow[EmailChange]:
    """See `Klaviyo.change_email`."""

    def body(call: Call) -> Flow[EmailChange]:
        wanted = normalise_email(new_email, blocked=call.policy.blocked_values)
        claim = _rules.claim_from(external_id, old_email, None, call.policy)
        return (yield from _change_email.change_email(call, wanted, claim))

    return run(setup, "change_email", body)


def explain(setup: Setup, *, external_id: object, email: object, phone_number: object) -> Flow[Decision]:
    """See `Klaviyo.explain`."""

    def body(call: Call) -> Flow[Decision]:
        claim = _rules.claim_from(external_id, email, phone_number, call.policy)
        found = yield from Find(call.account, claim.identifiers())
        return _rules.decide(claim, found, call.policy, needs_profile=call.dialect.verifies)

    return run(setup, "explain", body)


def search_profiles(setup: Setup, *, external_id: object, email: object, phone_number: object) -> Flow[list[Profile]]:
    """See `Profiles.search`."""
    return run(
        setup,
        "profiles.search",
        lambda call: _profiles.search_profiles(call, external_id=external_id, email=email, phone_number=phone_number),
    )


def get_profile(setup: Setup, profile_id: object) -> Flow[Profile]:
    """See `Profiles.get`."""
    return run(setup, "profiles.get", lambda call: _profiles.get_profile(call, profile_id))


def update_profile(
    setup: Setup,
    profile_id: object,
    properties: Mapping[str, Any] | None,
    *,
    append: Mapping[str, Any] | None,
    unappend: Mapping[str, Any] | None,
    unset: str | Sequence[str] | None,
) -> Flow[Profile]:
    """See `Profiles.update`."""

    def body(call: Call) -> Flow[Profile]:
        person, given = person_from(properties, append=append, unappend=unappend, unset=unset)
        return (yield from _profiles.update_profile(call, profile_id, person, given))

    return run(setup, "profiles.update", body)


def list_profiles(
    setup: Setup, *, filter: str | None, sort: str | None, page_size: int, cursor: str | None
) -> Flow[ProfilePage]:
    """Fetch one page for `Profiles.iterate`."""
    return run(
        setup,
        "profiles.iterate",
        lambda call: _profiles.list_profiles(call, filter=filter, sort=sort, page_size=page_size, cursor=cursor),
    )


def get_binding(setup: Setup, *, external_id: object, email: object) -> Flow[Binding | None]:
    """See `Bindings.get`."""
    return run(
        setup, "bindings.get", lambda call: _bindings.get_binding(call, external_id=external_id, email=email)
    )


def add_bindings(
    setup: Setup, rows: Iterable[Binding | Mapping[str, object]], *, trusted: bool
) -> Flow[ImportReport]:
    """See `Bindings.add`."""
    return run(setup, "bindings.add", lambda call: _bindings.add_bindings(call, rows, trusted=trusted))


def remove_binding(setup: Setup, *, external_id: object, email: object) -> Flow[bool]:
    """See `Bindings.remove`."""
    return run(
        setup, "bindings.remove", lambda call: _bindings.remove_binding(call, external_id=external_id, email=email)
    )


def list_bindings(setup: Setup, *, after: str | None) -> Flow[Page]:
    """Fetch one page for the iteration of `Bindings`."""
    return run(setup, "bindings", lambda call: _bindings.list_bindings(call, after))


def _claim(call: Call, given: GivenIdentifiers, external_id: object, email: object, phone_number: object) -> Claim:
    who = combine(given, external_id=external_id, email=email, phone_number=phone_number)
    return _rules.claim_from(who.external_id, who.email, who.phone_number, call.policy)
