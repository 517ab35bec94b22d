"""What each public operation does, as flows: who is meant, what is sent, and what is written down.

Here stand the operations themselves, one function each: they take the client's arguments as they were given. The steps
are in the modules beside; read `_resolve` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo import _rules
from safeklaviyo._event import event_from, moment_from
from safeklaviyo._flow import Find, Flow, NewId, Now
from safeklaviyo._operations import (
    _bindings,
    _changes,
    _erase,
    _identify,
    _profiles,
    _recover,
    _resolution,
    _track,
)
from safeklaviyo._operations._call import Call, Setup, run
from safeklaviyo._properties import GivenIdentifiers, combine, person_from
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.identity import (
    Claim,
    normalise_email,
    normalise_external_id,
    normalise_phone_number,
    normalise_profile_id,
)
from safeklaviyo.models import CLEAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from safeklaviyo._operations._profiles import ProfilePage
    from safeklaviyo.models import (
        Binding,
        ChangeReview,
        Decision,
        EmailChange,
        Erasure,
        ExternalIdChange,
        IdentifyResult,
        ImportReport,
        MergePlan,
        MergeRequest,
        PhoneChange,
        Profile,
        Recovery,
        Resolution,
        TrackResult,
    )
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
    setup: Setup, new_email: object, *, external_id: object, old_email: object, on_taken: str
) -> Flow[EmailChange]:
    """See `Klaviyo.change_email`."""

    def body(call: Call) -> Flow[EmailChange]:
        if on_taken not in {"refuse", "merge"}:
            raise ConfigurationError('on_taken has to be "refuse" or "merge"')
        wanted = normalise_email(new_email, blocked=call.policy.blocked_values)
        claim = _rules.claim_from(external_id, old_email, None, call.policy)
        return (yield from _changes.change_email(call, wanted, claim, merges=on_taken == "merge"))

    return run(setup, "change_email", body)


def change_external_id(
    setup: Setup, new_external_id: object, *, old_external_id: object, email: object
) -> Flow[ExternalIdChange]:
    """See `Klaviyo.change_external_id`."""

    def body(call: Call) -> Flow[ExternalIdChange]:
        claim = _rules.claim_from(old_external_id, email, None, call.policy)
        wanted = None
        if new_external_id is not CLEAR:
            policy = call.policy
            wanted = normalise_external_id(
                new_external_id, blocked=policy.blocked_values, max_length=policy.max_external_id_length
            )
        return (yield from _changes.change_external_id(call, wanted, claim))

    return run(setup, "change_external_id", body)


def change_phone_number(
    setup: Setup, new_phone_number: object, *, external_id: object, email: object
) -> Flow[PhoneChange]:
    """See `Klaviyo.change_phone_number`."""

    def body(call: Call) -> Flow[PhoneChange]:
        claim = _rules.claim_from(external_id, email, None, call.policy)
        wanted = None if new_phone_number is CLEAR else normalise_phone_number(new_phone_number)
        return (yield from _changes.change_phone_number(call, wanted, claim))

    return run(setup, "change_phone_number", body)


def resolve(setup: Setup, *, external_id: object, email: object) -> Flow[Resolution]:
    """See `Klaviyo.resolve`."""
    return run(
        setup,
        "resolve",
        lambda call: _resolution.who(call, _rules.claim_from(external_id, email, None, call.policy)),
    )


def erase(setup: Setup, *, external_id: object, email: object, profile_id: object) -> Flow[Erasure]:
    """See `Klaviyo.erase`."""

    def body(call: Call) -> Flow[Erasure]:
        claim = Claim()
        if external_id is not None or email is not None or profile_id is None:
            claim = _rules.claim_from(external_id, email, None, call.policy)
        named = None if profile_id is None else normalise_profile_id(profile_id)
        return (yield from _erase.erase(call, claim, named))

    return run(setup, "erase", body)


def recover(setup: Setup, limit: int | None) -> Flow[list[Recovery]]:
    """See `Klaviyo.recover`."""
    return run(setup, "recover", lambda call: _recover.recover(call, limit))


def recheck_changes(setup: Setup, since: object, *, repair: bool) -> Flow[list[ChangeReview]]:
    """See `Klaviyo.recheck_changes`."""

    def body(call: Call) -> Flow[list[ChangeReview]]:
        start = None if since is None else moment_from(since, "since")
        return (yield from _recover.recheck_changes(call, start, repair=repair))

    return run(setup, "recheck_changes", body)


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


def plan_merge(setup: Setup, source: object, into: object) -> Flow[MergePlan]:
    """See `Profiles.plan_merge`."""
    return run(setup, "profiles.plan_merge", lambda call: _profiles.plan_merge(call, source, into))


def merge_profiles(setup: Setup, source: object, into: object, *, allow_suppressed: bool) -> Flow[MergeRequest]:
    """See `Profiles.merge`."""
    return run(
        setup,
        "profiles.merge",
        lambda call: _profiles.merge(call, source, into, allow_suppressed=allow_suppressed),
    )


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
    return run(setup, "bindings.get", lambda call: _bindings.get_binding(call, external_id=external_id, email=email))


def add_bindings(setup: Setup, rows: Iterable[Binding | Mapping[str, object]], *, trusted: bool) -> Flow[ImportReport]:
    """See `Bindings.add`."""
    return run(setup, "bindings.add", lambda call: _bindings.add_bindings(call, rows, trusted=trusted))


def remove_binding(setup: Setup, *, external_id: object, email: object) -> Flow[bool]:
    """See `Bindings.remove`."""
    return run(
        setup, "bindings.remove", lambda call: _bindings.remove_binding(call, external_id=external_id, email=email)
    )


def release_email(setup: Setup, email: object) -> Flow[bool]:
    """See `Bindings.release_email`."""
    return run(setup, "bindings.release_email", lambda call: _bindings.release_email(call, email))


def list_bindings(setup: Setup, *, after: str | None) -> Flow[Page]:
    """Fetch one page for the iteration of `Bindings`."""
    return run(setup, "bindings", lambda call: _bindings.list_bindings(call, after))


def _claim(call: Call, given: GivenIdentifiers, external_id: object, email: object, phone_number: object) -> Claim:
    who = combine(given, external_id=external_id, email=email, phone_number=phone_number)
    return _rules.claim_from(who.external_id, who.email, who.phone_number, call.policy)
