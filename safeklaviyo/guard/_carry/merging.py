"""A merge: checked against its plan first, as `profiles.merge` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from safeklaviyo._flows.verbs.merge import merge_profiles
from safeklaviyo.guard._write.replies import Fault, document

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._parse.asked import Asked


def merge(call: Call, case: Case) -> Flow[None]:
    """Merge two profiles if the evidence allows it, and answer as Klaviyo does: accepted."""
    # Step 1: read which two are meant. A merge cannot be undone, so a document in another shape is refused.
    source = _source(case.asked)
    root = case.asked.root
    data = None if root is None else root.opened("data")
    into = None if data is None else data.get("id")
    if not isinstance(source, str) or not isinstance(into, str):
        reason = "a merge names one profile that stays, and one that goes"
        case.faults.append(Fault(400, reason, None, "/data/relationships/profiles/data"))
        case.say("refuse", None, reason)
        return
    # Step 2: merge by the verb, which reads both profiles first. A suppressed profile never takes in a consenting one.
    merged = yield from merge_profiles(call.setup, source, into, allow_suppressed=False)
    case.say("answer", None, "the profiles were merged by the plan")
    links = {"self": f"{call.setup.base}/api/profiles/{merged.into_id}/"}
    case.answer = document(202, {"type": "profile", "id": merged.into_id, "attributes": {}, "links": links})


def _source(asked: Asked) -> Any:
    listed: Any = asked.related("profiles")
    if not isinstance(listed, list) or len(cast("list[object]", listed)) != 1 or not isinstance(listed[0], dict):
        return None
    return cast("dict[str, Any]", listed[0]).get("id")
