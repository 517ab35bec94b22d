"""What an audit reads: a page of Klaviyo's profiles with their consent, and a page of the map with former addresses.

Decided here: which fields are asked for, and that the map learns of each page on the way, as `bindings.learn` does.
Nothing is written to Klaviyo. What is wrong with what was read is decided in `audit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from safeklaviyo._api.profiles import IDENTIFIERS, list_profiles
from safeklaviyo._api.responses import UnreadableAnswer, read_profiles
from safeklaviyo._flows.call import Setup, run, send
from safeklaviyo._flows.identity.reads import understood
from safeklaviyo._flows.verbs.learn import learn_profiles
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores.calls import Former, ListBindings

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Profile
    from safeklaviyo.policy import Policy
    from safeklaviyo.stores.base import Match, Page

_FIELDS: Final = f"{IDENTIFIERS},first_name,last_name,created,last_event_date"
_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A page of profiles.

    Attributes:
        path: The path by which this page was asked for.
        next_path: That of the next page; None after the last.
        bound: The places of those that the map has now, just as they are.
        began_again: Klaviyo no longer knows the page that was asked for, and this is the first one.
    """

    profiles: tuple[Profile, ...]
    path: str
    next_path: str | None
    bound: frozenset[int] = frozenset()
    began_again: bool = False


@dataclass(frozen=True, slots=True)
class Surveyor:
    """The account that is read, and its client's policy.

    Attributes:
        base: The scheme and the host to which requests go.
    """

    account: str
    base: str
    policy: Policy


def surveyor_of(setup: Setup) -> Flow[Surveyor]:
    """Return the account that a client reads. Klaviyo is asked if the caller has not named it."""

    def _body(call: Call) -> Flow[Surveyor]:
        yield from ()
        return Surveyor(call.account, setup.base, call.policy)

    return run(setup, "audit", _body)


def survey_page(setup: Setup, path: str | None) -> Flow[Surveyed]:
    """Read one page, and let the map learn of it.

    Args:
        path: The page's; None for the first.

    Raises:
        ConfigurationError: The dialect is the legacy one.
    """
    return run(setup, "audit", lambda call: _survey(call, path))


def map_page(setup: Setup, after: str | None) -> Flow[tuple[Page, tuple[Match, ...]]]:
    """Read one page of the map, and what is retired from its bindings."""
    return run(setup, "audit", lambda call: _map_page(call, after))


def _survey(call: Call, path: str | None) -> Flow[Surveyed]:
    if not call.dialect.has_lists:
        raise ConfigurationError("the legacy API cannot list profiles; give an export")
    # By the time of creation, so that profiles which are created during the reading come at the end.
    first = list_profiles(sort="created", fields=_FIELDS, subscriptions=True)
    try:
        request = first if path is None else list_profiles(cursor_url=path)
    except UnreadableAnswer:
        request = first  # the note is of another version, or damaged
    refusals = frozenset({HTTPStatus.BAD_REQUEST}) if request is not first else frozenset[int]()
    response = yield from send(call, request, accept=refusals)
    if response.status in refusals:
        request = first
        response = yield from send(call, request)
    page = understood(read_profiles, response)
    bound = yield from learn_profiles(call, page.profiles)
    began_again = path is not None and request is first
    return Surveyed(page.profiles, request.path, page.next_path, bound, began_again=began_again)


def _map_page(call: Call, after: str | None) -> Flow[tuple[Page, tuple[Match, ...]]]:
    page = yield from ListBindings(call.account, after, _AT_ONCE)
    former: tuple[Match, ...] = ()
    if page.bindings:
        former = yield from Former(call.account, page.bindings)
    return page, former
