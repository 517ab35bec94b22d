"""The endpoints about lists (Klaviyo's Lists reference). Joining and leaving a list here changes no consent."""

from __future__ import annotations

import json
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from safeklaviyo.testing.simulator.checks import fields, resource, text
from safeklaviyo.testing.simulator.documents import list_document, profile_document
from safeklaviyo.testing.simulator.filters import AMONG, LATER
from safeklaviyo.testing.simulator.pages import Listing
from safeklaviyo.testing.simulator.records import JSON, Answer, Asked, MailingList
from safeklaviyo.testing.simulator.refusals import Refusal, invalid
from safeklaviyo.testing.simulator.searching import members
from safeklaviyo.testing.simulator.shapes import PROFILE_COUNT, identifiers, many, one, shape

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account

MAX_MEMBERS = 1000

_INCLUDES = ("tags", "flow-triggers")
_PROCESSES = frozenset({"single_opt_in", "double_opt_in"})
_LISTS: Listing[MailingList] = Listing(
    {"name": AMONG, "id": AMONG, "created": LATER, "updated": LATER},
    {name: attrgetter(name) for name in ("name", "id", "created", "updated")},
    {name: attrgetter(name) for name in ("created", "updated", "name", "id")},
    usual=10,
    largest=10,
)


def get_lists(account: Account, asked: Asked) -> Answer:
    """The lists, ten a page."""
    shown = shape(asked, _INCLUDES)
    rows, links = _LISTS.page(asked, account.lists.values())
    return many(asked, [list_document(row, shown) for row in rows], links)


def get_list(account: Account, asked: Asked) -> Answer:
    """One list."""
    shown = shape(asked, _INCLUDES)
    listed = existing(account, asked.named)
    count = sum(each == listed.id for each, _ in account.members) if PROFILE_COUNT in shown.additional else None
    return one(asked, list_document(listed, shown, count))


def create_list(account: Account, asked: Asked) -> Answer:
    """Create a list, which has double opt-in unless the body says otherwise, as the account's default is."""
    attributes = fields(resource(asked.body, "list").get("attributes"), "/data/attributes")
    made = account.add_list(_name(attributes), _process(attributes, "double_opt_in"))
    return one(asked, list_document(made, shape(asked)), status=201)


def update_list(account: Account, asked: Asked) -> Answer:
    """Rename a list, or change its opt-in process."""
    data = resource(asked.body, "list")
    attributes = fields(data.get("attributes"), "/data/attributes")
    if data.get("id") != asked.named:
        raise invalid("The id in the body must be the id in the path.", "/data/id")
    listed = existing(account, asked.named)
    name = listed.name if attributes.get("name") is None else _name(attributes)
    process = _process(attributes, listed.opt_in_process)
    changed = replace(listed, name=name, opt_in_process=process, updated=account.clock.now())
    account.lists[changed.id] = changed
    return one(asked, list_document(changed, shape(asked)))


def delete_list(account: Account, asked: Asked) -> Answer:
    """Delete a list, not its profiles."""
    list_id = existing(account, asked.named).id
    del account.lists[list_id]
    # Collected first: `leave` changes the dictionary that is read here.
    for member in [profile_id for each, profile_id in account.members if each == list_id]:
        account.leave(list_id, member)
    return Answer(204)


def get_profiles_for_list(account: Account, asked: Asked) -> Answer:
    """The profiles in a list."""
    shown = shape(asked)
    rows, links = members(account, asked, existing(account, asked.named).id)
    return many(asked, [profile_document(account, each, shown, joined=joined) for each, joined in rows], links)


def get_profile_ids_for_list(account: Account, asked: Asked) -> Answer:
    """The ids of the profiles in a list."""
    rows, links = members(account, asked, existing(account, asked.named).id)
    return many(asked, identifiers("profile", [each.id for each, _ in rows]), links)


def add_profiles_to_list(account: Account, asked: Asked) -> Answer:
    """Add up to 1,000 profiles by id, or none if one of them is unknown."""
    list_id = existing(account, asked.named).id
    for profile_id in _profile_ids(account, asked):
        account.join(list_id, profile_id)
    return Answer(204)


def remove_profiles_from_list(account: Account, asked: Asked) -> Answer:
    """Take up to 1,000 profiles from a list by id."""
    list_id = existing(account, asked.named).id
    for profile_id in _profile_ids(account, asked):
        account.leave(list_id, profile_id)
    return Answer(204)


def existing(account: Account, list_id: str) -> MailingList:
    """Return a list.

    Raises:
        Refusal: 404.
    """
    listed = account.lists.get(list_id)
    if listed is None:
        raise Refusal(404, f"A list with id `{list_id}` does not exist.")
    return listed


def _name(attributes: JSON) -> str:
    name = text(attributes.get("name"), "/data/attributes/name")
    if name is None:
        raise invalid("'name' is required.", "/data/attributes/name")
    return name


def _process(attributes: JSON, usual: str) -> str:
    process = attributes.get("opt_in_process") or usual
    if process not in _PROCESSES:
        raise invalid("This is not an opt-in process.", "/data/attributes/opt_in_process")
    return process


def _profile_ids(account: Account, asked: Asked) -> list[str]:
    """Return the profiles of the body, each as it is found now.

    Raises:
        Refusal: 400.
    """
    try:
        decoded: object = json.loads(asked.body)
    except (ValueError, RecursionError):
        raise invalid("The body is not valid JSON.", "/data") from None
    listed = cast("JSON", decoded).get("data") if isinstance(decoded, dict) else None
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    if not 1 <= len(rows) <= MAX_MEMBERS:
        raise invalid(f"1 to {MAX_MEMBERS} profiles are required.", "/data")
    given = [str(fields(row, f"/data/{index}").get("id")) for index, row in enumerate(rows)]
    found = {each: account.get(each) for each in given}
    # Before any of them is added or taken out: the request is done whole, or not at all.
    unknown = [each for each, profile in found.items() if profile is None]
    if unknown:
        raise invalid(f"Invalid profile IDs: {', '.join(unknown)}", "/data")
    # By the id that the profile has now: in one reading that of a merged profile leads to its survivor.
    return [profile.id for profile in found.values() if profile is not None]
