"""`profiles.plan_merge` and `profiles.merge`: one profile into another, where the evidence allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.leased import merge as merging
from safeklaviyo._flows.leased.intents import ChangeIntent, MergeIntent, decode
from safeklaviyo._flows.leased.leases import acquire_lease, run_leased, wait_or_finish
from safeklaviyo._rules.shown import email_of
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.identity import (
    Identifier,
    Kind,
    normalise_profile_id,
)
from safeklaviyo.models import MergeRequest
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo.models import MergePlan


def plan_merge(setup: Setup, source: object, into: object) -> Flow[MergePlan]:
    """See `Profiles.plan_merge`."""
    return run(setup, "profiles.plan_merge", lambda call: _plan(call, source, into))


def merge_profiles(setup: Setup, source: object, into: object, *, allow_suppressed: bool) -> Flow[MergeRequest]:
    """See `Profiles.merge`."""
    return run(
        setup,
        "profiles.merge",
        lambda call: _merge_profiles(call, source, into, allow_suppressed=allow_suppressed),
    )


def _plan(call: Call, source: object, into: object) -> Flow[MergePlan]:
    """Say what a merge would do."""
    _require_merges(call)
    planned = yield from merging.plan_merge(call, normalise_profile_id(source), normalise_profile_id(into))
    return planned.plan


def _merge_profiles(call: Call, source: object, into: object, *, allow_suppressed: bool) -> Flow[MergeRequest]:
    """Merge one profile into another, where the evidence allows it."""
    _require_merges(call)
    source_id, into_id = normalise_profile_id(source), normalise_profile_id(into)
    was_begun = False
    # In a loop, because each lease that was waited for or lost means that the profiles have to be read again.
    while True:
        # Step 1: let another call finish. If it is this very merge, a source that is gone means that it is done.
        found = yield from Find(call.account, tuple(Identifier(Kind.PROFILE_ID, each) for each in (source_id, into_id)))
        if found.lease is not None:
            begun = decode(found.lease.intent)
            if isinstance(begun, MergeIntent | ChangeIntent):
                was_begun = was_begun or (begun.source_id, begun.profile_id) == (source_id, into_id)
            yield from wait_or_finish(call, found.lease)
            continue
        # Step 2: look whether it is done already. A merge must not be asked for twice.
        if (yield from merging.is_done(call, source_id, into_id, was_begun=was_begun)):
            return MergeRequest("completed", source_id, into_id, tuple(call.notices))
        # Step 3: plan it, and refuse what must not be merged, before a lease is taken.
        planned = yield from merging.plan_merge(call, source_id, into_id)
        merging.check_plan(planned, may_suppress=allow_suppressed)
        intent = _intent(planned, may_suppress=allow_suppressed)
        # Step 4: merge under a lease, which plans again: the profiles may have changed in between.
        lease = yield from acquire_lease(call, intent)
        if lease is None:
            continue
        was_begun = True
        done = yield from run_leased(call, lease, merging.merge_under_lease(call, lease, intent, main=True))
        if done is not None:
            return MergeRequest("completed" if done.is_done else "requested", source_id, into_id, tuple(call.notices))


def _intent(planned: merging.Planned, *, may_suppress: bool) -> MergeIntent:
    return MergeIntent(
        # Of two halves the id is the source's, and the survivor is expected to have it.
        external_id=planned.into.external_id or planned.source.external_id,
        email=email_of(planned.into),
        profile_id=planned.into.id,
        source_id=planned.source.id,
        source_email=email_of(planned.source),
        may_suppress=may_suppress,
    )


def _require_merges(call: Call) -> None:
    if not call.dialect.has_merges:
        raise ConfigurationError('merging needs the current dialect; pass dialect="current" to the client')
