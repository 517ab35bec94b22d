"""What `recheck_changes` does about consent: each withdrawal that was written down is compared with what Klaviyo shows.

A search lags, a request is carried out late, a browser makes a profile on a former address: so a customer who has
withdrawn may still be reached (H26 to H31). Such a withdrawal is carried out again, also without `repair`, because the
customer has asked for it. What was subscribed since, by a form or by a newer call, is left and reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._effects import Flow, Now
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.identity.pending_withdrawals import channels_in, forget_withdrawal, pending_withdrawals
from safeklaviyo._flows.identity.second_looks import forget_look, second_looks
from safeklaviyo._flows.identity.tombstones import erased_among
from safeklaviyo._flows.leased.giving import withdrawn_since
from safeklaviyo._flows.leased.intents import WithdrawIntent
from safeklaviyo._flows.leased.living import is_in_list, living_with, others_own, write_down
from safeklaviyo._flows.verbs.erase import erase_person
from safeklaviyo._flows.verbs.unsubscribe import carried_out
from safeklaviyo._rules.consent import Said, is_given, is_newer, is_suppressed, latest, still_reached
from safeklaviyo._rules.shown import email_of, has_email, phone_of
from safeklaviyo.errors import IdentityError, LeaseHeldError, NotFoundError
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.models import ChangeReview
from safeklaviyo.policy import DAY
from safeklaviyo.stores.base import JournalEntry
from safeklaviyo.stores.calls import Find, Former

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._flows.call import Call
    from safeklaviyo._flows.identity.pending_withdrawals import Pending
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import JournalRow


def review_consent(call: Call, binding: Binding, rows: Iterable[JournalRow]) -> Flow[list[ChangeReview]]:
    """Compare what one customer has said, by the journal, with the customer's living profiles."""
    said = latest((row.at, row.entry.verb, channels_in(row.entry), row.entry.new) for row in rows)
    now = yield from Now()
    # What was said just now may be on its way still: its own intent waits for it.
    settled = [each for each in said if now - each.at >= _settling(call)]
    if not settled:
        return []
    former = yield from Former(call.account, (binding,))
    names = [match.identifier for match in former if match.identifier.kind is Kind.EMAIL]
    if binding.email is not None:
        names.append(Identifier(Kind.EMAIL, binding.email))
    own = () if binding.profile_id is None else (binding.profile_id,)
    living = yield from living_with(call, names, also=own)
    theirs: list[Profile] = []
    for profile in living.values():
        is_other = yield from others_own(call, profile, (binding.key,))
        if profile.id in own or (not is_other and profile.external_id in {None, binding.external_id}):
            theirs.append(profile)
    reviews: list[ChangeReview] = []
    for each in settled:
        if each.is_given:
            reviews += yield from _lifted(call, binding, each, theirs, now)
        else:
            reviews += yield from _compare(call, each, theirs, binding)
    return reviews


def review_pending(call: Call) -> Flow[list[ChangeReview]]:
    """Compare the withdrawals by people who were not known, and look again at the addresses of erased customers."""
    reviews: list[ChangeReview] = []
    for pending in (yield from pending_withdrawals(call)):
        yield from start_deadline(call)
        reviews += yield from _pending(call, pending)
    for email, at in (yield from second_looks(call)).items():
        yield from start_deadline(call)
        reviews += yield from _second_look(call, email, at)
    return reviews


def _settling(call: Call) -> float:
    return max(call.policy.lag, call.policy.consent_wait)


def _compare(
    call: Call, said: Said, profiles: Iterable[Profile], binding: Binding | None = None
) -> Flow[list[ChangeReview]]:
    """Carry a withdrawal out again on each profile that could still receive; report what was subscribed since."""
    again: list[Profile] = []
    reviews: list[ChangeReview] = []
    for profile in profiles:
        if said.list_id is not None:
            reached = said.channels if (yield from is_in_list(call, said.list_id, profile)) else ()
        elif said.verb == "suppress":
            reached = () if is_suppressed(profile) else said.channels
        else:
            reached = still_reached(profile, said.channels)
        if not reached:
            continue
        if all(is_newer(profile, channel, said) for channel in reached):
            reviews.append(_found("subscribed_since", binding, profile))
        else:
            again.append(profile)
    if again:
        intent = _intent(said, again, binding, (yield from Now()))
        try:
            while (yield from carried_out(call, intent)) is None:
                pass  # another call was waited for
        except LeaseHeldError:
            return reviews  # a withdrawal of the same customer is being carried out, or the next run finds it again
        reviews += [_found("withdrawn_again", binding, profile) for profile in again]
    return reviews


def _intent(said: Said, profiles: list[Profile], binding: Binding | None, now: float) -> WithdrawIntent:
    emails = {email for profile in profiles if (email := email_of(profile)) is not None}
    ids = {profile.external_id for profile in profiles if profile.external_id is not None}
    return WithdrawIntent(
        job=said.verb,
        keys=() if binding is None else (binding.key,),
        external_ids=tuple(sorted(ids)),
        emails=tuple(sorted(emails)),
        profile_ids=tuple(profile.id for profile in profiles),
        channels=said.channels,
        list_id=said.list_id,
        alone=True,
        asked_at=now,
    )


def _lifted(
    call: Call, binding: Binding, said: Said, profiles: Iterable[Profile], now: float
) -> Flow[list[ChangeReview]]:
    """Find what a customer has withdrawn since a consent of ours, which was carried out late and lifted it (H30)."""
    reviews: list[ChangeReview] = []
    # A day is long enough for what Klaviyo has accepted, and a shop has many subscriptions to compare.
    for profile in profiles if now - said.at < DAY + _settling(call) else ():
        if profile.id != binding.profile_id or not is_given(profile, said.channels):
            continue
        channels = yield from withdrawn_since(call, profile.id, said.at, said.channels)
        if channels:
            yield from write_down(call, (binding.key,), JournalEntry("unsubscribe", ",".join(channels)))
            reviews += yield from _compare(call, said.withdrawn(channels, now), (profile,), binding)
    return reviews


def _pending(call: Call, pending: Pending) -> Flow[list[ChangeReview]]:
    """Compare the withdrawal of an identifier that no profile had."""
    now = yield from Now()
    reviews: list[ChangeReview] = []
    if now - pending.at < _settling(call):
        return reviews
    said = Said(pending.verb, pending.at, (pending.channel,), pending.list_id)
    living = yield from living_with(call, (pending.identifier,))
    holders = [profile for profile in living.values() if _has(profile, pending.identifier)]
    for profile in holders:
        found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile.id),))
        reviews += yield from _compare(call, said, (profile,), found.current(Kind.PROFILE_ID))
    # Looked at once more a day later, and then forgotten: what comes then is another person's, or a new consent.
    if now - pending.at >= DAY:
        yield from forget_withdrawal(call, pending)
    return reviews


def _has(profile: Profile, identifier: Identifier) -> bool:
    match identifier.kind:
        case Kind.EMAIL:
            return has_email(profile, identifier.value)
        case Kind.PHONE_NUMBER:
            return phone_of(profile) == identifier.value
        case _:
            return profile.external_id == identifier.value


def _second_look(call: Call, email: str, at: float) -> Flow[list[ChangeReview]]:
    """Delete what has come onto an erased customer's address without the customer's doing."""
    now = yield from Now()
    reviews: list[ChangeReview] = []
    if now - at < _settling(call):
        return reviews
    living = yield from living_with(call, (Identifier(Kind.EMAIL, email),))
    for profile in living.values():
        if not has_email(profile, email) or (yield from _has_come_back(call, profile)):
            continue
        try:
            yield from erase_person(call, Claim(), profile.id)
        except (IdentityError, NotFoundError):
            reviews.append(_found("reborn", None, profile, repaired=False))
        else:
            reviews.append(_found("reborn", None, profile))
    if now - at >= DAY:
        yield from forget_look(call, email)
    return reviews


def _has_come_back(call: Call, profile: Profile) -> Flow[bool]:
    """Tell whether a profile is of a customer who has come back, or of another one.

    Such a customer is known to the map, or has a consent or an id of their own. The id that was erased with the address
    is none of their own: an event that Klaviyo accepted before the erasure carries both, and creates the profile (H23).
    """
    if is_given(profile, ("email",)) or (yield from others_own(call, profile, ())):
        return True
    if profile.external_id is None:
        return False
    erased = yield from erased_among(call, (Identifier(Kind.EXTERNAL_ID, profile.external_id),))
    return not erased


def _found(finding: str, binding: Binding | None, profile: Profile, *, repaired: bool | None = None) -> ChangeReview:
    is_own = binding is not None and profile.id == binding.profile_id
    return ChangeReview(
        finding=finding,  # type: ignore[arg-type]  # one of the literals, above
        profile_id=profile.id if binding is None else binding.profile_id,
        external_id=profile.external_id if binding is None else binding.external_id,
        email=email_of(profile) if binding is None else binding.email,
        old_email=None if is_own or binding is None else email_of(profile),
        ghost_profile_id=None if is_own or binding is None else profile.id,
        repaired=finding != "subscribed_since" if repaired is None else repaired,
    )
