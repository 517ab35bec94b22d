"""A profile that Klaviyo answers 404 for: when that means that the profile is gone.

A 404 of Klaviyo's own is a doubt, not a fact: a read may come from a replica that lags, and one that is a moment old
does not show a profile made a moment ago (H36). So the first 404 marks the doubt and concludes nothing: the caller gets
a `ProfileNotVisibleError` and may try again. The profile counts as gone when Klaviyo answers 404 again, at least
`Policy.lag` seconds after the mark, and its search does not show that profile's id (H37: for a merged profile the
search shows the survivor, so a search that finds no profile at all would be the wrong test).

The mark has two parts:
- The binding's `verified_at` is taken away, so that its next use reads the profile first (R16).
- A note in the map holds the time and the binding's version. Each check that succeeds writes the binding and so raises
  its version: a mark from before that check is void. A profile without a binding has no version; its mark is void after
  a day.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.identity.reads import not_visible, search
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.policy import DAY
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Find, Recall, Remember

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Binding

_NO_BINDING = 0


def confirm_gone(
    call: Call, profile_id: str, *, external_id: str | None = None, email: str | None = None
) -> Flow[None]:
    """Return if a profile that Klaviyo has just answered 404 for counts as gone; mark the doubt and raise otherwise.

    Args:
        external_id: An external id of the profile, for the search.
        email: Its address, for the search.

    Raises:
        ProfileNotVisibleError: Nothing can be concluded yet; `retry_after` says when the next look can conclude.
    """
    # Step 1: a profile that was seen less than `Policy.lag` ago is only not visible yet.
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile_id),))
    binding = found.current(Kind.PROFILE_ID)
    checked_at = None if binding is None else binding.verified_at
    if checked_at is not None and 0 <= found.now - checked_at < call.policy.lag:
        raise not_visible(retry_after=call.policy.lag - (found.now - checked_at))
    # Step 2: the first 404 only sets the mark, and the second one must come `Policy.lag` later (H36).
    marked_at = yield from _marked_at(call, profile_id, binding, found.now)
    if marked_at is None:
        yield from _mark(call, profile_id, binding, found.now)
        raise not_visible(retry_after=call.policy.lag)
    if found.now - marked_at < call.policy.lag:
        raise not_visible(retry_after=call.policy.lag - (found.now - marked_at))
    # Step 3: the search has the last word. A profile that it still shows is not gone (H37).
    names = ((Kind.EXTERNAL_ID, external_id), (Kind.EMAIL, email))
    for kind, value in names:
        if value is not None and profile_id in (yield from search(call, kind, value)):
            raise not_visible()
    yield from Remember(call.account, _note(profile_id), None)


def _marked_at(call: Call, profile_id: str, binding: Binding | None, now: float) -> Flow[float | None]:
    """Return when the profile was first missed, if that mark is still good."""
    note = yield from Recall(call.account, _note(profile_id))
    if note is None:
        return None
    moment, _, version = note.partition(" ")
    age = now - float(moment)
    is_good = 0 <= age <= DAY if binding is None else age >= 0
    return float(moment) if is_good and version == _version(binding) else None


def _mark(call: Call, profile_id: str, binding: Binding | None, now: float) -> Flow[None]:
    if binding is not None:
        unchecked = Change(replace(binding, verified_at=None), verified=False)
        binding = yield from bind(call, unchecked)
        if binding is None:
            return  # another call has changed the binding: what it knows is newer than this 404
    yield from Remember(call.account, _note(profile_id), f"{now!r} {_version(binding)}")


def carry_doubt(call: Call, before: Binding, after: Binding) -> Flow[None]:
    """Keep the mark of a profile that was missed, over a change of its binding that says nothing about the profile.

    Without it, a call that writes into the journal first could be repeated for ever, and the profile never be gone.
    """
    if before.profile_id is None or before.verified_at is not None:
        return
    note = yield from Recall(call.account, _note(before.profile_id))
    moment, _, version = (note or "").partition(" ")
    if version == _version(before):
        yield from Remember(call.account, _note(before.profile_id), f"{moment} {_version(after)}")


def _version(binding: Binding | None) -> str:
    return str(_NO_BINDING if binding is None else binding.version)


def _note(profile_id: str) -> str:
    return f"missing:{profile_id}"
