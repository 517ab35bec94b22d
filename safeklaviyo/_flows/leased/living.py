"""Living profiles and their consent: read by id now, because only their addresses may be named to Klaviyo (R19).

Klaviyo's requests that withdraw or suppress create a profile for an address that no profile has. So an address stands
in one only if a profile that was just read by its id shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._api.consent import find_in_list, get_list, is_double_opt_in
from safeklaviyo._api.responses import is_success, read_profile_ids
from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.call import MISSING, Call, send
from safeklaviyo._flows.identity.absence import carry_doubt
from safeklaviyo._flows.identity.pending_withdrawals import channels_in
from safeklaviyo._flows.identity.reads import Evidence, read_profile, search, spellings, understood
from safeklaviyo._rules.consent import CONSENT_WORDS, Said, latest
from safeklaviyo._rules.shown import email_of
from safeklaviyo.errors import LeaseHeldError, NotFoundError
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Find, Journal, ReadBindings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from safeklaviyo._effects import Flow
    from safeklaviyo.models import Profile
    from safeklaviyo.stores.base import JournalRow

_PAGE = 1000
_TRIES = 8
"""Tries to write a row of the journal, while other calls note that they have checked the same binding."""


def living_with(call: Call, names: Iterable[Identifier], *, also: Iterable[str] = ()) -> Flow[Evidence]:
    """Return the profiles that the search shows for these identifiers, each read by its id with its consent.

    The search lags behind: a profile that it hides is found by `recheck_changes`.

    Args:
        also: The ids of profiles that are read in any case.
    """
    ids = dict.fromkeys(also)
    for name in names:
        for spelling in spellings(name.kind, name.value):
            ids.update(dict.fromkeys((yield from search(call, name.kind, spelling))))
    profiles = Evidence()
    for profile_id in ids:
        profile = yield from read_profile(call, profile_id)
        if profile is None:
            profiles.missing.add(profile_id)
        else:  # one that was merged away may be shown as the one that it went into
            profiles.setdefault(profile.id, profile)
    return profiles


def others_own(call: Call, profile: Profile, keys: Collection[str]) -> Flow[bool]:
    """Tell whether the map gives a profile, or what it shows, to another binding than these."""
    shown = Claim(profile.external_id, email_of(profile)).identifiers()
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile.id), *shown))
    return any(match.retired_at is None and match.binding.key not in keys for match in found.matches)


def check_list(call: Call, list_id: str) -> Flow[bool]:
    """Tell whether a list asks its members to confirm.

    Raises:
        NotFoundError: Klaviyo knows no such list.
    """
    # The rows of a batch ask once for each list.
    known = {} if call.setup.joins is None else call.setup.joins.lists
    if list_id not in known:
        response = yield from send(call, get_list(list_id), accept=MISSING)
        if response.status in MISSING:
            raise NotFoundError("Klaviyo knows no such list: check list_id", status_code=404)
        known[list_id] = understood(is_double_opt_in, response)
    return known[list_id]


def is_in_list(call: Call, list_id: str, profile: Profile) -> Flow[bool]:
    """Tell whether a profile is a member of a list.

    Raises:
        NotFoundError: Klaviyo knows no such list.
    """
    names = ((Kind.EMAIL, profile.email), (Kind.PHONE_NUMBER, profile.phone_number))
    kind, value = next((kind, value) for kind, value in names if value is not None)
    response = yield from send(call, find_in_list(list_id, kind, value), accept=MISSING)
    if not is_success(response.status):
        raise NotFoundError("Klaviyo knows no such list: check list_id", status_code=404)
    return profile.id in understood(read_profile_ids, response)


def write_down(call: Call, keys: Iterable[str], entry: JournalEntry) -> Flow[None]:
    """Write a row into the journal of each of these bindings.

    Raises:
        LeaseHeldError: Other calls kept changing one of them.
    """
    for key in keys:
        for _ in range(_TRIES):
            bindings = yield from ReadBindings(call.account, (key,))
            if not bindings:
                break
            after = yield from bind(call, Change(bindings[0], verified=False, journal=entry))
            if after is not None:
                yield from carry_doubt(call, bindings[0], after)
                break
        else:
            raise LeaseHeldError("other calls keep changing this customer; try again later")


def said_since(call: Call, keys: Collection[str], since: float) -> Flow[list[Said]]:
    """Return what stands last, by the journal, of what these customers have said since a moment.

    The journal is read by time, so that an old moment costs a read for each 1,000 rows.
    """
    found: list[JournalRow] = []
    after = 0
    while rows := (yield from Journal(call.account, since=since, after=after, limit=_PAGE)):
        after = rows[-1].number
        found += [row for row in rows if row.key in keys and row.entry.verb in CONSENT_WORDS]
    return latest((row.at, row.entry.verb, channels_in(row.entry), row.entry.new) for row in found)
