"""The endpoints that read segments (Klaviyo's Segments reference). A test says who is in one."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator.documents import profile_document, segment_document
from safeklaviyo.testing.simulator.filters import AMONG, LATER, SAME
from safeklaviyo.testing.simulator.pages import Listing
from safeklaviyo.testing.simulator.refusals import Refusal
from safeklaviyo.testing.simulator.searching import members
from safeklaviyo.testing.simulator.shapes import PROFILE_COUNT, identifiers, many, one, shape

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Answer, Asked, Segment

_INCLUDES = ("tags", "flow-triggers")
_FIELDS = {"name": AMONG, "id": AMONG, "created": LATER, "updated": LATER, "is_active": AMONG, "is_starred": SAME}
_SEGMENTS: Listing[Segment] = Listing(
    _FIELDS,
    {name: attrgetter(name) for name in _FIELDS},
    {name: attrgetter(name) for name in ("created", "updated", "name", "id")},
    usual=10,
    largest=10,
)


def get_segments(account: Account, asked: Asked) -> Answer:
    """The segments, ten a page."""
    shown = shape(asked, _INCLUDES)
    rows, links = _SEGMENTS.page(asked, account.segments.values())
    return many(asked, [segment_document(row, shown) for row in rows], links)


def get_segment(account: Account, asked: Asked) -> Answer:
    """One segment."""
    shown = shape(asked, _INCLUDES)
    segment = existing(account, asked.named)
    count = sum(each == segment.id for each, _ in account.members) if PROFILE_COUNT in shown.additional else None
    return one(asked, segment_document(segment, shown, count))


def get_profiles_for_segment(account: Account, asked: Asked) -> Answer:
    """The profiles in a segment."""
    shown = shape(asked)
    rows, links = members(account, asked, existing(account, asked.named).id)
    return many(asked, [profile_document(account, each, shown, joined=joined) for each, joined in rows], links)


def get_profile_ids_for_segment(account: Account, asked: Asked) -> Answer:
    """The ids of the profiles in a segment."""
    rows, links = members(account, asked, existing(account, asked.named).id)
    return many(asked, identifiers("profile", [each.id for each, _ in rows]), links)


def existing(account: Account, segment_id: str) -> Segment:
    """Return a segment.

    Raises:
        Refusal: 404.
    """
    segment = account.segments.get(segment_id)
    if segment is None:
        raise Refusal(404, f"A segment with id `{segment_id}` does not exist.")
    return segment
