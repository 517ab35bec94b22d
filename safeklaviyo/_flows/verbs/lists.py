"""Lists: reading them, and changing who is in them.

Decided here: how a person becomes a member (the profile is found by the rules, with first contact where neither the map
nor Klaviyo knows the person yet), whom a request leaves out, and which failure concerns one person alone. Consent is
not changed, which is what `subscribe` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from safeklaviyo._api import lists as requests
from safeklaviyo._api.consent import get_list as ask_for_list
from safeklaviyo._api.responses import read_profiles
from safeklaviyo._flows.call import MISSING, Call, Setup, run, send
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.identity.drift import forget_profile
from safeklaviyo._flows.identity.reads import endless_pages, not_visible, understood
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.person import person_of
from safeklaviyo._flows.verbs.resolve import who
from safeklaviyo._input.consents import list_id_from
from safeklaviyo._input.findings import refused
from safeklaviyo._rules.claims import claim_from
from safeklaviyo.errors import (
    APIConnectionError,
    BadRequestError,
    ConfigurationError,
    DeadlineExceededError,
    IdentityError,
    InvalidPropertyError,
    LeaseHeldError,
    NotFoundError,
    RateLimitError,
    SafeKlaviyoError,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._effects import Flow
    from safeklaviyo.identity import Claim
    from safeklaviyo.lists import MailingList
    from safeklaviyo.models import Binding, Profile

T = TypeVar("T")

_NOT_THIS_TIME = (APIConnectionError, RateLimitError, ServerError)


@dataclass(frozen=True, slots=True, repr=False)
class Member:
    """A person who is to join or to leave a list.

    Attributes:
        binding: What the map knows; None for a person who is to leave.
    """

    profile_id: str
    binding: Binding | None = None


def get_list(setup: Setup, list_id: object, *, operation: str = "lists.get") -> Flow[MailingList]:
    """See `Lists.get`."""

    def _body(call: Call) -> Flow[MailingList]:
        response = yield from _ask(call, ask_for_list(_list_id(call, list_id)))
        return understood(requests.read_list, response)

    return run(setup, operation, _body)


def list_lists(setup: Setup, *, cursor: str | None, seen: set[str]) -> Flow[tuple[list[MailingList], str | None]]:
    """Fetch one page for `Lists.iterate`."""

    def _body(call: Call) -> Flow[tuple[list[MailingList], str | None]]:
        _require_lists(call)
        return (yield from _page(call, requests.list_lists(cursor_url=cursor), seen, requests.read_lists))

    return run(setup, "lists.iterate", _body)


def list_members(
    setup: Setup, list_id: object, *, subscriptions: bool, cursor: str | None, seen: set[str]
) -> Flow[tuple[tuple[Profile, ...], str | None]]:
    """Fetch one page for `Lists.members`."""

    def _body(call: Call) -> Flow[tuple[tuple[Profile, ...], str | None]]:
        wanted = _list_id(call, list_id)

        def _read(response: Response) -> tuple[tuple[Profile, ...], str | None]:
            page = read_profiles(response, requests.members_path(wanted))
            return page.profiles, page.next_path

        request = requests.list_members(wanted, subscriptions=subscriptions, cursor_url=cursor)
        return (yield from _page(call, request, seen, _read))

    return run(setup, "lists.members", _body)


def member_to_add(setup: Setup, row: object) -> Flow[Member | None]:
    """Find the profile of a person who is to join a list; it is made if there is none."""

    def _body(call: Call) -> Flow[Member]:
        resolved = yield from person_of(call, _claim(call, row))
        return Member(required(resolved.binding.profile_id), resolved.binding)

    return run(setup, "lists.add", _body)


def member_to_remove(setup: Setup, row: object) -> Flow[Member | None]:
    """Find the profile of a person who is to leave a list; None if there is none, which is in no list."""

    def _body(call: Call) -> Flow[Member | None]:
        found = yield from who(call, _claim(call, row))
        return None if found.profile_id is None else Member(found.profile_id)

    return run(setup, "lists.remove", _body)


def add_members(setup: Setup, list_id: str, members: Sequence[Member]) -> Flow[dict[str, SafeKlaviyoError]]:
    """Add up to 1,000 profiles to a list; return what went wrong with which profile."""

    def _body(call: Call) -> Flow[dict[str, SafeKlaviyoError]]:
        gone, failed = yield from _change(call, members, lambda ids: requests.add_members(list_id, ids))
        for member in members:
            if member.profile_id in gone:
                failed[member.profile_id] = yield from _lost(call, member)
        return failed

    return run(setup, "lists.add", _body)


def remove_members(setup: Setup, list_id: str, members: Sequence[Member]) -> Flow[dict[str, SafeKlaviyoError]]:
    """Take up to 1,000 profiles from a list; return what went wrong with which profile."""

    def _body(call: Call) -> Flow[dict[str, SafeKlaviyoError]]:
        # A profile that is gone is in no list.
        _, failed = yield from _change(call, members, lambda ids: requests.remove_members(list_id, ids))
        return failed

    return run(setup, "lists.remove", _body)


def is_about_one(error: SafeKlaviyoError) -> bool:
    """Tell whether a failure to find one person concerns that person alone, so that the others can go on."""
    if isinstance(error, DeadlineExceededError):
        return isinstance(error.__cause__, LeaseHeldError)
    return isinstance(error, IdentityError | InvalidPropertyError | LeaseHeldError | NotFoundError | BadRequestError)


def _claim(call: Call, row: object) -> Claim:
    if not isinstance(row, Mapping):
        raise refused("row", "has to be a mapping with email, external_id or both")
    given = cast("Mapping[str, Any]", row)
    return claim_from(given.get("external_id"), given.get("email"), None, call.policy)


def _list_id(call: Call, list_id: object) -> str:
    _require_lists(call)
    if list_id is None:
        raise refused("list_id", "is missing")
    return required(list_id_from(list_id))


def _require_lists(call: Call) -> None:
    if not call.dialect.has_other_calls:
        raise ConfigurationError("the legacy API has no lists; use the current dialect")


def _ask(call: Call, request: Request) -> Flow[Response]:
    response = yield from send(call, request, accept=MISSING)
    if response.status in MISSING:
        raise NotFoundError("Klaviyo knows no such list: check list_id", status_code=404)
    return response


def _page(call: Call, request: Request, seen: set[str], read: Callable[[Response], T]) -> Flow[T]:
    # A link that leads back would let the caller go on for ever.
    if request.path in seen:
        raise endless_pages()
    seen.add(request.path)
    return understood(read, (yield from _ask(call, request)))


def _change(
    call: Call, members: Sequence[Member], request: Callable[[Sequence[str]], Request]
) -> Flow[tuple[set[str], dict[str, SafeKlaviyoError]]]:
    """Send profiles in one request, and those that Klaviyo then does not refuse again.

    Klaviyo refuses a request whole for one profile that it does not know. It names that profile; where it does not, the
    request is halved until the one is found.

    Returns:
        The profiles that Klaviyo does not know, and what went wrong with others.
    """
    gone: set[str] = set()
    failed: dict[str, SafeKlaviyoError] = {}
    waiting = [list(dict.fromkeys(member.profile_id for member in members))]
    while waiting:
        ids = waiting.pop()
        if not ids:
            continue
        yield from start_deadline(call)
        try:
            yield from send(call, request(ids), main=True)
        except BadRequestError as error:
            named = _named(error, ids)
            gone |= named
            if named or len(ids) > 1:
                left, middle = [each for each in ids if each not in named], 0 if named else len(ids) // 2
                waiting += [left[middle:], left[:middle]]
            else:
                failed[ids[0]] = error
        except _NOT_THIS_TIME as error:
            failed |= dict.fromkeys(ids, error)
    return gone, failed


def _named(error: BadRequestError, ids: Sequence[str]) -> set[str]:
    """Return the profiles that a refusal names."""
    words = {word.strip(".,:;'\"`") for each in error.errors for word in str(each.get("detail", "")).split()}
    return words.intersection(ids)


def _lost(call: Call, member: Member) -> Flow[SafeKlaviyoError]:
    """Let the map forget a profile that Klaviyo does not know, once that is certain; return the error for its row."""
    # The row fails either way, and may be sent again: the profile is then seen, or another one found or made.
    with suppress(SafeKlaviyoError):
        yield from forget_profile(call, required(member.binding))
    return not_visible(retry_after=call.policy.lag)
