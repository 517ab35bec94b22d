"""The simulator against Klaviyo's own description of its API, operation by operation."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlencode

import pytest
from klaviyo_api import KlaviyoAPI

from support import openapi
from support.simulator import routes
from support.tour import Call, calls, scene

if TYPE_CHECKING:
    from safeklaviyo.testing import KlaviyoSimulator

LACKING = {
    name
    for name in openapi.operations()
    if any(word in name for word in ("custom_metric", "mapped_metric", "propert"))
    or name in {"query_metric_aggregates", "create_segment", "update_segment", "delete_segment"}
}
"""What this simulator does not have: metrics of the shop's own and their figures, and writing segments."""
OPERATIONS = sorted(openapi.operations().keys() - LACKING)
GROUPS = ("Accounts", "Data_Privacy", "Events", "Lists", "Metrics", "Profiles", "Segments", "Catalogs")
UNREAD = {".data.relationships.conversation", ".included.relationships.conversation"}
"""What was recorded, and that package does not know."""
TIERS = {
    "XS": ("1/s", "15/m"), "S": ("3/s", "60/m"), "M": ("10/s", "150/m"), "L": ("75/s", "750/m"),
    "XL": ("350/s", "3500/m"),
}  # fmt: skip


def asked(
    simulator: KlaviyoSimulator,
    operation: str,
    call: Call,
    revision: str = openapi.REVISION,
    host: str = "a.klaviyo.com",
) -> Any:
    """Make a call, and return its answer."""
    method, path, _ = openapi.operations()[operation]
    path = path.replace("{job_id}", "{id}").replace("{id}", call.named or "")
    target = path + (f"?{urlencode(call.query)}" if call.query else "")
    headers = {
        "authorization": "Klaviyo-API-Key pk_x",
        "revision": revision,
        "content-type": "application/json",
        "host": host,
    }
    return simulator.handle(method, target, headers, b"" if call.body is None else json.dumps(call.body).encode())


def test_the_tour_calls_every_operation():
    """Each operation that is described, but for those named above, is called; and the simulator has no others."""
    assert set(OPERATIONS) == calls(scene()[1]).keys()
    own = {route.name for route in routes.ROUTES if not route.legacy}
    assert set(OPERATIONS) == own


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_is_where_it_is_described(operation):
    """The path, the method and the limits are the described ones."""
    method, path, found = openapi.operations()[operation]
    (route,) = (each for each in routes.ROUTES if each.name == operation)
    assert (path.replace("{job_id}", "{id}").replace("{id}", "{}"), (method,)) == (route.path, route.methods)
    limits = found["x-klaviyo-ratelimit"]
    assert TIERS[route.tier] == (limits["burst"], limits["steady"])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_answer_is_as_it_is_described(operation):
    """A call that finds something, and asks for all that can be shown, is answered as the description says."""
    simulator, ids = scene()
    answer = asked(simulator, operation, calls(ids)[operation])
    assert answer.status < 300, answer.body
    openapi.check(operation, answer)
    # An empty list would be as described whatever its rows are.
    if "_for_list" not in operation and answer.body and operation not in EMPTY:
        assert json.loads(answer.body)["data"], operation


EMPTY = {name for name in OPERATIONS if any(word in name for word in ("tag", "flow", "conversation"))}
"""Reads of what is never there."""


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name.startswith("get_")])
@pytest.mark.parametrize("name", ["include", "sort", "filter", "fields", "page[size]", "additional-fields"])
def test_what_can_be_asked_is_what_is_described(operation, name):
    """Every described include, order, field, filter and size of a page is taken, and nothing else."""
    simulator, ids = scene()
    call = calls(ids)[operation]
    _, _, found = openapi.operations()[operation]
    for parameter in found["parameters"]:
        if parameter["name"].partition("[")[0] != name.partition("[")[0] or parameter["name"] == "page[cursor]":
            continue
        for value, taken in described(parameter):
            answer = asked(simulator, operation, Call(call.named, {parameter["name"]: value}))
            assert (200 if taken else 400) == answer.status, (parameter["name"], value)


def described(parameter: Any) -> list[tuple[str, bool]]:
    """Return values of a parameter, and whether they are allowed."""
    schema, name = parameter["schema"], parameter["name"]
    if name == "page[size]":
        return [(str(schema["minimum"]), True), (str(schema["maximum"]), True), (str(schema["maximum"] + 1), False)]
    if name == "filter":
        texts = [
            (f"{operator}({field}{'' if operator == 'has' else ',' + value_of(operator, field)})", True)
            for field, operators in parameter["x-filters"].items()
            for operator in operators
        ]
        return [*texts, ('equals(nonsense,"x")', False), ('contains(id,"x")', False)]
    known = schema["items"]["enum"] if schema["type"] == "array" else schema["enum"]
    if name.startswith("fields") and name[7:-1] not in {"flow", "tag", "conversation", "push-token", "attribution"}:
        return [(",".join(known), True), ("nonsense", False)]
    if name.startswith("fields"):
        return [(",".join(known), True)]
    return [*((each, True) for each in known), ("nonsense", False)]


def value_of(operator: str, field: str) -> str:
    """Return a value that a filter could have."""
    if field == "timestamp":
        value = "1780000000"
    elif field.endswith(("created", "updated", "datetime", "joined_group_at", ".timestamp")):
        value = "2026-01-01T00:00:00Z"
    else:
        value = "true" if field.startswith("is_") else '"x"'
    return f"[{value}]" if operator == "any" else value


@pytest.mark.parametrize("operation", OPERATIONS)
def test_klaviyos_own_package_reads_each_answer(operation):
    """Klaviyo's own package takes every answer into its typed models, and loses nothing that these know."""
    simulator, ids = scene()
    call = calls(ids)[operation]
    copied = deepcopy(simulator)
    with simulator.serve() as url:
        klaviyo = KlaviyoAPI("pk_x", max_retries=1, test_host=url)
        (group,) = (found for name in GROUPS if hasattr(found := getattr(klaviyo, name), operation))
        given = [each for each in (call.named, call.body) if each is not None]
        query = {spelt(name): typed(name, each) for name, each in (call.query or {}).items()}
        read = getattr(group, operation)(*given, **query)
    raw = asked(copied, operation, call, "2026-10-15", url.removeprefix("http://"))
    if not raw.body or operation == "merge_profiles":
        assert read is None  # of a recorded 202 to a merge that package makes nothing
    else:
        assert set() == lost(json.loads(raw.body), read.to_dict()) - UNREAD


def lost(raw: Any, read: Any, path: str = "") -> set[str]:
    """Return where a model has not what an answer had."""
    if isinstance(raw, dict) and isinstance(read, dict):
        return {each for name, value in raw.items() for each in lost(value, read.get(name), f"{path}.{name}")}
    if isinstance(raw, list) and isinstance(read, list) and len(raw) == len(read):
        return {each for one, other in zip(raw, read, strict=True) for each in lost(one, other, path)}
    return set() if same(raw, read) else {path}


def same(raw: Any, read: Any) -> bool:
    """Tell whether two values are the same, times however they are written."""
    if isinstance(read, datetime):
        return datetime.fromisoformat(raw) == read
    if isinstance(raw, str) and isinstance(read, str):
        return sorted(re.split("[?&]", unquote_plus(raw))) == sorted(re.split("[?&]", unquote_plus(read)))
    return raw == read or (raw is None and not read)


def spelt(name: str) -> str:
    """Return how the package spells a parameter."""
    return name.replace("-", "_").replace("[", "_").removesuffix("]")


def typed(name: str, value: str) -> Any:
    """Return a parameter as the package wants it."""
    if name == "page[size]":
        return int(value)
    return value if name in {"filter", "sort"} else value.split(",")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("attributes", "emial"), "x"),
        (("attributes", "email"), 7),
        (("attributes", "created"), "yesterday"),
        (("attributes", "created"), "2026-01-01T00:00:00"),
        (("attributes", "subscriptions", "email", "marketing", "consent"), None),
        (("attributes", "subscriptions", "email", "marketing", "suppression"), [{"reason": "X"}]),
        (("links", "self"), "profiles"),
        (("type",), "person"),
        (("id",), {}),
    ],
)
def test_a_fault_of_an_answer_would_be_found(path, value):
    """A field too many, a wrong type, word, time or address fails the comparison, however deep it stands."""
    simulator, ids = scene()
    answer = asked(simulator, "get_profile", calls(ids)["get_profile"])
    document = json.loads(answer.body)
    holder = document["data"]
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    with pytest.raises(AssertionError, match=path[-1]):
        openapi.check("get_profile", replace(answer, body=json.dumps(document).encode()))
    del document["data"]
    with pytest.raises(AssertionError, match="'data' is a required property"):
        openapi.check("get_profile", replace(answer, body=json.dumps(document).encode()))
    with pytest.raises(AssertionError, match="get_profile answers 201"):
        openapi.check("get_profile", replace(answer, status=201))
