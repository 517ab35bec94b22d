"""Reading Klaviyo inside flows: one profile, or all that answer to a pair.

Decided here: that a search is only a pointer. Each profile that it finds is read by its id before a flow relies on it
(H7).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from safeklaviyo._api.responses import UnreadableAnswer
from safeklaviyo._flows.call import MISSING, Call, send
from safeklaviyo._flows.required import required
from safeklaviyo._rules.claims import refusal
from safeklaviyo._rules.conflicts import ambiguity_error
from safeklaviyo._rules.evidence import contact_step, decide_mismatch
from safeklaviyo._rules.shown import differences, email_of, has_email
from safeklaviyo.errors import NoResponseError, ProfileNotVisibleError
from safeklaviyo.identity import Identifier, Identity, Kind, shown_domain
from safeklaviyo.models import Binding, Profile
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._effects import Flow

T = TypeVar("T")

_PAGES = 100
"""Pages of one search. An identifier is one customer's, so that even two pages are many."""


class Evidence(dict[str, Profile]):
    """The profiles that were read, by their ids.

    Attributes:
        missing: The ids for which Klaviyo answered 404.
    """

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        super().__init__((profile.id, profile) for profile in profiles)
        self.missing: set[str] = set()


def understood(read: Callable[[Response], T], response: Response) -> T:
    """Read an answer that nothing can be decided without.

    Raises:
        NoResponseError: The answer cannot be read. Taken for "no such profile", it could give a profile away (P6).
    """
    try:
        return read(response)
    except UnreadableAnswer as exc:
        raise NoResponseError("Klaviyo's answer could not be read; try again later", may_retry=True) from exc


def read_profile(call: Call, profile_id: str, *, subscriptions: bool = True) -> Flow[Profile | None]:
    """Read one profile; None where Klaviyo answers 404. Whether the profile is gone then is decided in `absence`.

    Args:
        subscriptions: Also its consent and suppression: a change of address carries those on, and a merge may cost one.

    Raises:
        NoResponseError: Klaviyo has answered about another profile.
    """
    return (yield from ask_for(call, profile_id, call.dialect.get(profile_id, subscriptions=subscriptions)))


def ask_for(call: Call, profile_id: str, request: Request, *, accept: frozenset[int] = MISSING) -> Flow[Profile | None]:
    """Send a request for one profile, and compare the answer with the question.

    A merged profile's id may lead to the profile that it went into. So an answer about another profile counts if
    Klaviyo gives it twice. Once it may be the answer to another question, which something in between has mixed up.

    Returns:
        The profile, or the one that it went into; None where Klaviyo answers 404.

    Raises:
        NoResponseError: Klaviyo has answered about two other profiles.
    """
    shown: str | None = None
    for _ in range(2):
        response = yield from send(call, request, accept=accept)
        if response.status in MISSING:
            return None
        profile = understood(call.dialect.read, response)
        if profile.id in {profile_id, shown}:
            return profile
        shown = profile.id
    message = "Klaviyo answered about another profile than it was asked for; try again later"
    raise NoResponseError(message, may_retry=True)


def read_answer(call: Call, response: Response, profile_id: str | None = None) -> Flow[Profile | None]:
    """Return the profile in the answer to a write; None where it cannot be read (F-23: the write stands).

    Args:
        profile_id: The profile that was written; None for a new one. If the answer shows another, this one is read.
    """
    try:
        profile = call.dialect.read(response)
    except UnreadableAnswer:
        return None
    return profile if profile_id in {None, profile.id} else (yield from read_profile(call, str(profile_id)))


def search(call: Call, kind: Kind, value: str) -> Flow[tuple[str, ...]]:
    """Return the ids of all profiles that Klaviyo's search shows for an identifier. The search may lag behind.

    Raises:
        NoResponseError: The pages cannot be followed to their end.
    """
    ids: dict[str, None] = {}
    seen: set[str] = set()
    request = call.dialect.search(kind, value)
    while request.path not in seen and len(seen) < _PAGES:
        seen.add(request.path)
        response = yield from send(call, request, accept=call.dialect.empty_search_statuses)
        ids.update(dict.fromkeys(understood(call.dialect.read_search, response)))
        following = understood(call.dialect.search_on, response)
        if following is None:
            return tuple(ids)
        request = following
    raise endless_pages()


def endless_pages() -> NoResponseError:
    """Return the error for pages that lead back to one another, or go on without end."""
    return NoResponseError("Klaviyo's pages of profiles do not end; try again later", may_retry=True)


def gather(
    call: Call,
    external_ids: Iterable[str | None],
    emails: Iterable[str | None],
    *,
    also: Iterable[str | None] = (),
    merged: str | None = None,
) -> Flow[Evidence]:
    """Search by each identifier, and read every profile found, and those of `also`, by its id.

    Args:
        merged: A profile that was merged away: that the search still shows it means nothing.

    Raises:
        ProfileNotVisibleError: The search shows a profile that cannot be read. The two contradict each other, so
            nothing is concluded: to take the profile for missing would make its customer a second one.
    """
    # Step 1: ask the search for each identifier, in each spelling that Klaviyo may have kept.
    found: set[str] = set()
    for kind, values in ((Kind.EMAIL, emails), (Kind.EXTERNAL_ID, external_ids)):
        for value in dict.fromkeys(values):
            for spelling in () if value is None else spellings(kind, value):
                found.update((yield from search(call, kind, spelling)))
    # Step 2: read each profile by its id. What the search says about it may be out of date (H7). Profiles that the
    # caller names in `also` are read too: the search may not show them yet.
    evidence = Evidence()
    for profile_id in dict.fromkeys((*also, *sorted(found))):
        profile = None if profile_id is None else (yield from read_profile(call, profile_id))
        if profile is not None:
            evidence[profile.id] = profile
        elif profile_id in found and profile_id != merged:
            raise not_visible()
        elif profile_id is not None:
            evidence.missing.add(profile_id)
    return evidence


def not_visible(*, retry_after: float | None = None) -> ProfileNotVisibleError:
    """Return the error that says that Klaviyo does not show a profile now."""
    return ProfileNotVisibleError(
        "Klaviyo does not show this customer's profile now; try the same call again later",
        status_code=404,
        retry_after=retry_after,
    )


def with_profile_id(call: Call, binding: Binding) -> Flow[Binding]:
    """Return a binding with its profile's id, looked up in Klaviyo where the map does not know it.

    A binding that was imported has no profile id, although its customer may have a profile. Only Klaviyo can say that
    there is none, so it is asked as first contact asks it (F-35). The map is not written.

    Raises:
        IdentityError: The profiles that Klaviyo shows are another customer's too, or several.
    """
    if binding.profile_id is not None:
        return binding
    evidence = yield from gather(call, (binding.external_id,), (binding.email,))
    profile = only_profile(binding.identity, list(evidence.values()))
    return binding if profile is None else replace(binding, profile_id=profile.id)


def only_profile(asked: Identity, profiles: list[Profile]) -> Profile | None:
    """Return the one profile that an id, an email or a pair means; None if none of these is.

    Raises:
        IdentityError: Several answer, or one that is another customer's too.
    """
    if asked.email is not None:
        step = contact_step(asked.external_id, asked.email, profiles)
        if step.kind == "mismatch":
            raise refusal(decide_mismatch(asked, required(step.profile), may_change=False, orphan=step.orphan))
        return step.profile
    owners = [profile for profile in profiles if profile.external_id == asked.external_id]
    if len(owners) > 1:
        raise ambiguity_error("several profiles have this external_id", asked.external_id, None, owners)
    return owners[0] if owners else None


def spellings(kind: Kind, value: str) -> tuple[str, ...]:
    """Return how Klaviyo may have written an identifier: an internationalised domain in either of its forms."""
    local, _, domain = value.rpartition("@")
    if kind is not Kind.EMAIL or "xn--" not in domain:
        return (value,)
    return (value, f"{local}@{shown_domain(domain)}")


def owner_in_map(call: Call, profile: Profile, email: str | None) -> Flow[tuple[Binding | None, bool]]:
    """Return the owner of a profile by the map, and whether the profile shows a former address of that owner.

    A late event or a late write can put a former address back (H2). The caller then repairs the profile (R15) before it
    reports that the address is taken.
    """
    wanted = [Identifier(Kind.PROFILE_ID, profile.id)]
    # A former address counts only where the profile shows it: the same customer may have left many behind.
    if email is not None and has_email(profile, email):
        wanted.append(Identifier(Kind.EMAIL, email))
    found = yield from Find(call.account, tuple(wanted))
    owner, former = found.current(Kind.PROFILE_ID), found.retired(Kind.EMAIL)
    return owner, owner is not None and former is not None and former.binding.key == owner.key


def former_kinds(call: Call, binding: Binding, profile: Profile) -> Flow[set[Kind]]:
    """Return the kinds of identifier of which a profile shows a former one of this customer."""
    shown = {Kind.EMAIL: email_of(profile), Kind.EXTERNAL_ID: profile.external_id}
    differing = ((kind, shown[kind]) for kind in differences(binding, profile))
    names = tuple(Identifier(kind, value) for kind, value in differing if value is not None)
    # Without a difference the map is not asked: this is the usual case, and a look costs a round trip.
    if not names:
        return set()
    found = yield from Find(call.account, names)
    return {
        match.identifier.kind
        for match in found.matches
        if match.retired_at is not None and match.binding.key == binding.key
    }


def was_put_back(call: Call, binding: Binding, profile: Profile) -> Flow[bool]:
    """Tell whether each identifier in which the profile differs from the map is a former one of the same customer."""
    former = yield from former_kinds(call, binding, profile)
    # More than former identifiers: another program has changed the profile, and that is not to be undone.
    return bool(former) and differences(binding, profile).keys() <= former
