"""Profiles by their ids: searching, reading, updating and listing. A search is only a pointer to what is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeklaviyo._api import profiles as requests
from safeklaviyo._api.responses import read_profiles
from safeklaviyo._flows.call import MISSING, NOTHING_ELSE, Call, Setup, run, send
from safeklaviyo._flows.identity.reads import (
    ask_for,
    endless_pages,
    not_visible,
    read_answer,
    read_profile,
    search,
    understood,
)
from safeklaviyo._flows.required import required
from safeklaviyo._input.findings import Findings
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._input.properties import person_from
from safeklaviyo._input.values import UnsendableError, leaf
from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError, NoResponseError
from safeklaviyo.identity import (
    Identifier,
    Kind,
    normalise_email,
    normalise_external_id,
    normalise_profile_id,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from safeklaviyo._api.messages import Request
    from safeklaviyo._effects import Flow
    from safeklaviyo._input.properties import Person
    from safeklaviyo.models import Profile


def search_profiles(
    setup: Setup, *, external_id: object, email: object, phone_number: object, subscriptions: bool
) -> Flow[list[Profile]]:
    """See `Profiles.search`."""

    def _body(call: Call) -> Flow[list[Profile]]:
        wanted = _one(call, external_id=external_id, email=email, phone_number=phone_number)
        return (yield from _search(call, wanted, subscriptions=subscriptions))

    return run(setup, "profiles.search", _body)


def get_profile(setup: Setup, profile_id: object, *, subscriptions: bool) -> Flow[Profile]:
    """See `Profiles.get`."""
    return run(setup, "profiles.get", lambda call: _get(call, profile_id, subscriptions=subscriptions))


def update_profile(
    setup: Setup,
    profile_id: object,
    properties: Mapping[str, Any] | None,
    *,
    append: Mapping[str, Any] | None,
    unappend: Mapping[str, Any] | None,
    unset: str | Collection[str] | None,
) -> Flow[Profile]:
    """See `Profiles.update`."""

    def _body(call: Call) -> Flow[Profile]:
        findings = Findings()
        person, given = person_from(properties, findings, append=append, unappend=unappend, unset=unset)
        for name in (name for name, value in given._asdict().items() if value is not None):
            findings.refuse(f"properties.{name}", "is an identifier, which has a verb of its own, such as change_email")
        call.take_in(findings)
        return (yield from _update(call, profile_id, person))

    return run(setup, "profiles.update", _body)


def list_profiles(
    setup: Setup,
    *,
    filter: object,
    sort: object,
    page_size: object,
    subscriptions: bool,
    cursor: str | None,
    seen: set[str],
) -> Flow[ProfilePage]:
    """Fetch one page for `Profiles.iterate`.

    Args:
        seen: The pages that were fetched before, to which this one is added.
    """

    def _body(call: Call) -> Flow[ProfilePage]:
        if not call.dialect.has_lists:
            raise ConfigurationError("the legacy API cannot list profiles; use the current dialect")
        if not isinstance(page_size, int) or not 1 <= page_size <= 100:
            raise ConfigurationError("page_size has to be from 1 to 100")
        wanted, order = _text("filter", filter), _text("sort", sort)
        request = requests.list_profiles(
            filter=wanted, sort=order, page_size=page_size, subscriptions=subscriptions, cursor_url=cursor
        )
        return (yield from _list(call, request, seen))

    return run(setup, "profiles.iterate", _body)


@dataclass(frozen=True, slots=True)
class ProfilePage:
    """A part of the profiles.

    Attributes:
        cursor: Where the next part begins; None after the last.
    """

    profiles: tuple[Profile, ...]
    cursor: str | None


def _search(call: Call, wanted: Identifier, *, subscriptions: bool) -> Flow[list[Profile]]:
    """Search by one identifier, and read each profile found by its id."""
    _check_subscriptions(call, subscriptions=subscriptions)
    profiles: list[Profile] = []
    for profile_id in (yield from search(call, wanted.kind, wanted.value)):
        # The search is only a pointer, and may show a profile that is gone (H7).
        profile = yield from read_profile(call, profile_id, subscriptions=subscriptions)
        if profile is not None:
            profiles.append(profile)
    return profiles


def _one(call: Call, *, external_id: object, email: object, phone_number: object) -> Identifier:
    policy = call.policy
    given: list[Identifier] = []
    if external_id is not None:
        value = normalise_external_id(external_id, max_length=policy.max_external_id_length)
        given.append(Identifier(Kind.EXTERNAL_ID, value))
    if email is not None:
        given.append(Identifier(Kind.EMAIL, normalise_email(email)))
    if phone_number is not None:
        given.append(Identifier(Kind.PHONE_NUMBER, phone_number_from(phone_number, policy.phone_region)))
    if len(given) != 1:
        raise InvalidIdentifierError("search by exactly one of email, external_id and phone_number", rule="R2")
    return given[0]


def _check_subscriptions(call: Call, *, subscriptions: bool) -> None:
    if subscriptions and not call.dialect.has_consent:
        raise ConfigurationError("the legacy API does not show subscriptions; use the current dialect")


def _get(call: Call, profile_id: object, *, subscriptions: bool = False) -> Flow[Profile]:
    """Read one profile; Klaviyo's 404 is raised."""
    _check_subscriptions(call, subscriptions=subscriptions)
    wanted = normalise_profile_id(profile_id)
    request = call.dialect.get(wanted, subscriptions=subscriptions)
    return required((yield from ask_for(call, wanted, request, accept=NOTHING_ELSE)))


def _update(call: Call, profile_id: object, person: Person) -> Flow[Profile]:
    """Write properties onto one profile."""
    if not call.dialect.has_profile_ids:
        raise ConfigurationError("the legacy API cannot update a profile by its id; use identify")
    if person.is_empty:
        return _with_warnings(call, (yield from _get(call, profile_id)))
    wanted = normalise_profile_id(profile_id)
    request = requests.update_profile(wanted, person)
    response = yield from send(call, request, main=True, accept=MISSING)
    # A 404 of a write may be a lagging replica's too, so the caller may try again (H36).
    if response.status in MISSING:
        raise not_visible()
    # The write stands. Where its answer is about another profile, this one is read.
    profile = yield from read_answer(call, response, wanted)
    if profile is None:
        raise NoResponseError("the write succeeded, and its answer could not be read; get the profile", may_retry=False)
    return _with_warnings(call, profile)


def _with_warnings(call: Call, profile: Profile) -> Profile:
    return profile.model_copy(update={"warnings": tuple(call.notices)}) if call.notices else profile


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    try:
        leaf(value)
    except UnsendableError:
        value = None
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} has to be a text")
    return value


def _list(call: Call, request: Request, seen: set[str]) -> Flow[ProfilePage]:
    """Read one page of all profiles."""
    # A link that leads back would let the caller go on for ever.
    if request.path in seen:
        raise endless_pages()
    seen.add(request.path)
    response = yield from send(call, request)
    page = understood(read_profiles, response)
    return ProfilePage(page.profiles, page.next_path)
