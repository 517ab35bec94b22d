"""Reads of what this simulator never has: tags, flows, conversations. They answer with nothing, if the owner exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo.testing.simulator import list_endpoints, metric_endpoints, profile_endpoints, segment_endpoints
from safeklaviyo.testing.simulator.shapes import many, one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Answer, Asked

Endpoint = tuple[str, str, str, "Callable[[Account, Asked], Answer]"]
"""Klaviyo's name of the endpoint, its path, its tier, and what answers."""

_OWNERS: dict[str, Callable[[Account, str], Any]] = {
    "list": list_endpoints.existing,
    "segment": segment_endpoints.existing,
    "metric": metric_endpoints.existing,
    "profile": profile_endpoints.existing,
}
_RELATED = (
    ("list", "tags", "S", "get_tags_for_list", "get_tag_ids_for_list"),
    ("list", "flow-triggers", "S", "get_flows_triggered_by_list", "get_ids_for_flows_triggered_by_list"),
    ("segment", "tags", "S", "get_tags_for_segment", "get_tag_ids_for_segment"),
    ("segment", "flow-triggers", "S", "get_flows_triggered_by_segment", "get_ids_for_flows_triggered_by_segment"),
    ("metric", "flow-triggers", "M", "get_flows_triggered_by_metric", "get_ids_for_flows_triggered_by_metric"),
    ("profile", "conversation", "S", "get_conversation_for_profile", "get_conversation_id_for_profile"),
    ("profile", "conversations", "S", "get_conversations_for_profile", "get_conversation_ids_for_profile"),
)


def endpoints() -> Iterator[Endpoint]:
    """Yield all of them."""
    for owner, related, tier, whole, ids in _RELATED:
        answer = _nothing(owner, is_many=related.endswith("s"))
        yield whole, f"/api/{owner}s/{{}}/{related}", tier, answer
        yield ids, f"/api/{owner}s/{{}}/relationships/{related}", tier, answer


def _nothing(owner: str, *, is_many: bool) -> Callable[[Account, Asked], Answer]:
    def _answer(account: Account, asked: Asked) -> Answer:
        _OWNERS[owner](account, asked.named)
        return many(asked, []) if is_many else one(asked, None)

    return _answer
