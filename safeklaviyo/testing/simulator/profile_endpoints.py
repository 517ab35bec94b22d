"""The endpoints about profiles, in the current dialect (Klaviyo's Profiles and Data Privacy references)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from safeklaviyo.testing.simulator import matching, revisions
from safeklaviyo.testing.simulator.checks import MAX_PROFILE, Body, fields, resource
from safeklaviyo.testing.simulator.documents import (
    CONVERSATION,
    LISTS,
    PUSH_TOKENS,
    SEGMENTS,
    list_document,
    profile_document,
    push_token_document,
    segment_document,
)
from safeklaviyo.testing.simulator.merging import Deletion, Merge
from safeklaviyo.testing.simulator.records import JSON, Answer, Asked, Profile
from safeklaviyo.testing.simulator.refusals import Refusal, invalid, missing
from safeklaviyo.testing.simulator.searching import search
from safeklaviyo.testing.simulator.shapes import identifiers, many, one, shape
from safeklaviyo.testing.simulator.tables import EMAIL, PHONE_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.persons import Person
    from safeklaviyo.testing.simulator.shapes import Shape

_SEARCHED = (PUSH_TOKENS, "conversation", "conversations")
_READ = (LISTS, SEGMENTS, *_SEARCHED)
_AT = "/data/attributes"


def get_profiles(account: Account, asked: Asked) -> Answer:
    """Search: a page of the profiles that the filter describes, which may be none."""
    shown = shape(asked, _SEARCHED)
    page, links = search(account, asked)
    several = _conversations(asked)
    rows = [profile_document(account, profile, shown, conversation=several) for profile in page]
    return many(asked, rows, links, [each for profile in page for each in _included(account, profile, shown)])


def get_profile(account: Account, asked: Asked) -> Answer:
    """One profile by its id, as it is: unlike the search, this read never lags."""
    shown = shape(asked, _READ)
    profile = existing(account, asked.named)
    return one(
        asked,
        profile_document(account, profile, shown, conversation=_conversations(asked)),
        _included(account, profile, shown),
    )


def get_lists_for_profile(account: Account, asked: Asked) -> Answer:
    """The lists that a profile is in."""
    shown = shape(asked)
    lists = account.lists_of(existing(account, asked.named).id)
    return many(asked, [list_document(account.lists[each], shown) for each in lists])


def get_list_ids_for_profile(account: Account, asked: Asked) -> Answer:
    """The ids of the lists that a profile is in."""
    return many(asked, identifiers("list", account.lists_of(existing(account, asked.named).id)))


def get_segments_for_profile(account: Account, asked: Asked) -> Answer:
    """The segments that a profile is in."""
    shown = shape(asked)
    segments = account.segments_of(existing(account, asked.named).id)
    return many(asked, [segment_document(account.segments[each], shown) for each in segments])


def get_segment_ids_for_profile(account: Account, asked: Asked) -> Answer:
    """The ids of the segments that a profile is in."""
    return many(asked, identifiers("segment", account.segments_of(existing(account, asked.named).id)))


def create_profile(account: Account, asked: Asked) -> Answer:
    """Create a profile, unless another one has one of the identifiers."""
    data = resource(asked.body, "profile", MAX_PROFILE)
    # The reference of Create Profile has neither. An unknown field is refused or ignored, by the readings.
    for name in ("id", "meta"):
        if data.get(name) is not None and account.readings.unknown_fields == "refused":
            raise invalid(f"'{name}' is not a valid field for the resource 'profile'.", f"/data/{name}")
    person = Body(account.readings, _also(asked)).person({**data, "id": None}, "/data", None)
    _require_identifier(person, data)
    return _answer(account, 201, matching.create(account, person), asked)


def update_profile(account: Account, asked: Asked) -> Answer:
    """Change one profile by its id, unless another one has one of the identifiers."""
    data = resource(asked.body, "profile", MAX_PROFILE)
    if data.get("id") != asked.named:
        raise invalid("The id in the body must be the id in the path.", "/data/id")
    profile = existing(account, asked.named)
    person = Body(account.readings, _also(asked)).person(data, "/data", data.get("meta"))
    return _answer(account, 200, matching.update(account, profile, person), asked)


def create_or_update_profile(account: Account, asked: Asked) -> Answer:
    """Create a profile, or update the one that the identifiers lead to: no conflict, if they lead to one only."""
    data = resource(asked.body, "profile", MAX_PROFILE)
    person = Body(account.readings, {*_also(asked), "_kx"}).person(data, "/data", data.get("meta"))
    if person.profile_id is None:
        _require_identifier(person, data)
    profile, created = matching.create_or_update(account, person)
    return _answer(account, 201 if created else 200, profile, asked)


def merge_profiles(account: Account, asked: Asked) -> Answer:
    """Accept a merge of one profile into another."""
    data = resource(asked.body, "profile-merge")
    at = "/data/relationships/profiles/data"
    sources = fields(fields(data.get("relationships"), "/data/relationships").get("profiles"), at).get("data")
    listed = cast("list[object]", sources) if isinstance(sources, list) else []
    source_id, destination_id = fields(listed[0], at).get("id") if len(listed) == 1 else None, data.get("id")
    if not isinstance(source_id, str) or not isinstance(destination_id, str):
        raise invalid("Exactly one source profile and a destination are required.", at)
    # A merge that does nothing is accepted in some readings, and then not queued.
    if _may_merge(account, source_id, destination_id):
        account.enqueue(asked.endpoint, Merge(source_id, destination_id))
    return one(asked, shape(asked).resource("profile", destination_id, {}), status=account.readings.merge_status)


def request_profile_deletion(account: Account, asked: Asked) -> Answer:
    """Accept the deletion of every profile that exactly one identifier matches."""
    attributes = fields(resource(asked.body, "data-privacy-deletion-job").get("attributes"), _AT)
    at = f"{_AT}/profile/data"
    profile = fields(fields(attributes.get("profile"), f"{_AT}/profile").get("data"), at)
    person = Body(account.readings).person(profile, at, None)
    named = [(kind, value) for kind, value in person.named().items() if kind in {EMAIL, PHONE_NUMBER}]
    # An external id is none of the three by which the reference lets a profile be deleted.
    if len(named) + (person.profile_id is not None) != 1:
        raise invalid("Exactly one of 'email', 'phone_number' and 'id' is required.", at)
    account.enqueue(asked.endpoint, _deletion(account, person.profile_id, named[0] if named else None))
    return Answer(202)


def existing(account: Account, profile_id: str) -> Profile:
    """Return a profile.

    Raises:
        Refusal: 404.
    """
    profile = account.get(profile_id)
    if profile is None:
        raise missing(profile_id)
    return profile


def _answer(account: Account, status: int, profile: Profile, asked: Asked) -> Answer:
    shown = profile_document(account, profile, shape(asked, _READ), conversation=CONVERSATION, made=status == 201)
    return one(asked, shown, status=status)


def _included(account: Account, profile: Profile, shown: Shape) -> Iterator[JSON]:
    if LISTS in shown.include:
        yield from (list_document(account.lists[each], shown) for each in account.lists_of(profile.id))
    if SEGMENTS in shown.include:
        yield from (segment_document(account.segments[each], shown) for each in account.segments_of(profile.id))
    if PUSH_TOKENS in shown.include:
        yield from (push_token_document(each, shown) for each in account.push_tokens_of(profile.id))


def _conversations(asked: Asked) -> str:
    return "conversations" if asked.revision >= "2026-07-15" else CONVERSATION


def _also(asked: Asked) -> frozenset[str]:
    return frozenset({"anonymous_id"} if revisions.profiles_take_anonymous_id(asked.revision) else ())


def _require_identifier(person: Person, data: dict[str, Any]) -> None:
    if not person.named() and not fields(data.get("attributes"), _AT).get("_kx"):
        raise invalid("One of 'email', 'phone_number' and 'external_id' is required.", _AT)


def _may_merge(account: Account, source: str, destination: str) -> bool:
    """Whether there is something to merge.

    Raises:
        Refusal: A profile is unknown, or both are one, unless the readings accept that.
    """
    if source == destination:
        status = account.readings.merge_into_itself
    elif account.get(source) is None or account.get(destination) is None:
        status = account.readings.merge_unknown
    else:
        return True
    if status != 202:
        raise Refusal(status)
    return False


def _deletion(account: Account, profile_id: str | None, named: tuple[str, str] | None) -> Deletion:
    if named is None:
        return Deletion((existing(account, profile_id or "").id,))
    owners = account.live.owners(*named)
    if not owners:
        words = f'No profile with {named[0]} "{named[1]}" found.  The profile may have already been deleted.'
        raise Refusal(404, words)
    # All profiles with the address: an old account may have several.
    return Deletion(tuple(owner.id for owner in owners), named)
