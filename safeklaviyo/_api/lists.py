"""Requests about lists, in the current dialect: reading them, and who is in them. None of them changes a consent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._api.bodies import encoded
from safeklaviyo._api.messages import Repeat, Request
from safeklaviyo._api.paths import ADD_TO_LIST, GET_LIST_PROFILES, GET_LISTS, LISTS_PATH, REMOVE_FROM_LIST
from safeklaviyo._api.profiles import SUBSCRIPTIONS
from safeklaviyo._api.responses import UnreadableAnswer, next_path, read_next_path
from safeklaviyo.lists import MailingList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo._api.messages import Response

MOST_MEMBERS: Final = 1000
"""Profiles of one request that adds or removes."""


def members_path(list_id: str) -> str:
    """Return the path of a list's members."""
    return f"{LISTS_PATH}/{list_id}/profiles"


def list_lists(*, cursor_url: str | None = None) -> Request:
    """Ask for a page of all lists, which has ten at most.

    Raises:
        UnreadableAnswer: The link to the page leads elsewhere.
    """
    path = LISTS_PATH if cursor_url is None else next_path(cursor_url, LISTS_PATH)
    return Request("GET", path, GET_LISTS, Repeat.READ)


def list_members(list_id: str, *, subscriptions: bool = False, cursor_url: str | None = None) -> Request:
    """Ask for a page of the profiles in a list.

    Raises:
        UnreadableAnswer: The link to the page leads elsewhere.
    """
    path = members_path(list_id)
    if cursor_url is not None:
        return Request("GET", next_path(cursor_url, path), GET_LIST_PROFILES, Repeat.READ)
    # Only in the first request: the link to the next page has it.
    query = "page%5Bsize%5D=100" + f"&{SUBSCRIPTIONS}" * subscriptions
    return Request("GET", f"{path}?{query}", GET_LIST_PROFILES, Repeat.READ)


def add_members(list_id: str, profile_ids: Sequence[str]) -> Request:
    """Add profiles to a list. To add one twice is to add it once."""
    return _change("POST", list_id, profile_ids)


def remove_members(list_id: str, profile_ids: Sequence[str]) -> Request:
    """Take profiles from a list. To take one out twice is to take it out once."""
    return _change("DELETE", list_id, profile_ids)


def _change(method: str, list_id: str, profile_ids: Sequence[str]) -> Request:
    body = encoded({"data": [{"type": "profile", "id": each} for each in profile_ids]})
    endpoint = ADD_TO_LIST if method == "POST" else REMOVE_FROM_LIST
    path = f"{LISTS_PATH}/{list_id}/relationships/profiles"
    # Repeated after a lost answer: a profile is in a list or it is not.
    return Request(method, path, endpoint, Repeat.IDEMPOTENT, body)


def read_list(response: Response) -> MailingList:
    """Read one list.

    Raises:
        UnreadableAnswer: The answer is not about a list.
    """
    return _list(_fields(response.json).get("data"))


def read_lists(response: Response) -> tuple[list[MailingList], str | None]:
    """Read a page of lists, and the path of the page after it.

    Raises:
        UnreadableAnswer: The answer holds no lists, or its link leads elsewhere.
    """
    rows: object = _fields(response.json).get("data")
    if not isinstance(rows, list):
        raise UnreadableAnswer("the answer holds no lists")
    return [_list(row) for row in cast("list[object]", rows)], read_next_path(response, LISTS_PATH)


def _list(data: object) -> MailingList:
    record = _fields(data)
    attributes = _fields(record.get("attributes"))
    found = (record.get("id"), attributes.get("name"), attributes.get("opt_in_process"))
    if not all(isinstance(each, str) for each in found):
        raise UnreadableAnswer("the answer is not about a list")
    return MailingList(*map(str, found))


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
