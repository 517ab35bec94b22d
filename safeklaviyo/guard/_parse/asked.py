"""Reading a caller's request: which people it names, and where each person stands in the body."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._api.bodies import MAX_BODY_BYTES
from safeklaviyo.guard._parse.spans import EACH, Array, Object, scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from safeklaviyo.guard._parse.operations import Operation
    from safeklaviyo.guard._parse.spans import Shape

_PERSON: Final[Shape] = {"attributes": {}}
_OF_EVENT: Final[Shape] = {"attributes": {"profile": {"data": _PERSON}}}
_ROWS: Final[Shape] = {"data": {"attributes": {"profiles": {"data": {EACH: _PERSON}}}}}
_SHAPES: Final[Mapping[str, Shape]] = {
    "create_event": {"data": _OF_EVENT},
    "create_back_in_stock_subscription": {"data": _OF_EVENT},
    "create_push_token": {"data": _OF_EVENT},
    "bulk_create_events": {"data": {"attributes": {"events-bulk-create": {"data": {EACH: _OF_EVENT}}}}},
    "create_or_update_profile": {"data": _PERSON},
    "create_profile": {"data": _PERSON},
    "update_profile": {"data": _PERSON},
    "bulk_import_profiles": _ROWS,
    "bulk_subscribe_profiles": _ROWS,
    "bulk_unsubscribe_profiles": _ROWS,
    "bulk_suppress_profiles": _ROWS,
    "bulk_unsuppress_profiles": _ROWS,
    "merge_profiles": {"data": {}},
}
_EVENTS_OF: Final = "/data/attributes/events-bulk-create/data"
_ROWS_OF: Final = "/data/attributes/profiles/data"
_IN_EVENT: Final = "attributes/profile/data"
_OTHER: Final = "the body is not the document that this endpoint takes"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request cannot be understood.

    Attributes:
        status: The HTTP status with which Klaviyo refuses such a request.
        reason: One sentence, without personal data.
        pointer: The place in the body.
    """

    status: int
    reason: str
    pointer: str = "/data"


@dataclass(slots=True, repr=False)
class Named:
    """One person whom a request names, as the caller wrote it; no identifier is normalised.

    Attributes:
        pointer: The place in the body.
        node: The resource object.
        attributes: The object's attributes; None if it has none.
    """

    pointer: str
    node: Object
    attributes: Object | None

    @property
    def profile_id(self) -> Any:
        """Klaviyo's id, if the caller gave one."""
        return self.node.get("id")

    def given(self, name: str) -> Any:
        """Return an attribute; None if it was not given."""
        return None if self.attributes is None else self.attributes.get(name)

    @property
    def names_nobody(self) -> bool:
        """Whether the request gives none of the shop's identifiers of the person."""
        return all(self.given(name) is None for name in ("external_id", "email", "phone_number"))

    @property
    def is_of_browser(self) -> bool:
        """Whether the person is named as a browser knows them."""
        return self.given("anonymous_id") is not None or self.given("_kx") is not None


@dataclass(slots=True, repr=False)
class Asked:
    """A request, read.

    Attributes:
        method: In upper case.
        path: Without the query.
        operation: None for a request that names no people.
        revision: The revision of Klaviyo's API that the caller asks for.
        text: The body, decoded; empty if it was not read.
        root: The body's outermost object; None if the body was not read, or is none.
        people: The people whom the body names.
        rows: Of a job with rows, each row as it was opened; the person of the same number is in it.
        problem: Why the body cannot be understood; None if it can.
        packed: The body travels packed with gzip.
        headers: By lower-case name.
    """

    method: str
    path: str
    operation: Operation | None
    revision: str | None = None
    text: str = ""
    root: Object | None = None
    people: tuple[Named, ...] = ()
    rows: tuple[Any, ...] = ()
    problem: Problem | None = None
    packed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def name(self) -> str | None:
        """Klaviyo's id of the operation."""
        return None if self.operation is None else self.operation.name

    def attribute(self, name: str) -> Any:
        """Return an attribute of the request itself, which may be an event or a job."""
        data = None if self.root is None else self.root.opened("data")
        attributes = None if data is None else data.get("attributes")
        if isinstance(attributes, Object):
            return attributes.get(name)
        return cast("dict[str, Any]", attributes).get(name) if isinstance(attributes, dict) else None

    def related(self, name: str) -> Any:
        """Return the ``data`` of one of the request's relationships, such as its list; None if it has none."""
        data = None if self.root is None else self.root.opened("data")
        value: Any = None if data is None else data.get("relationships")
        for step in (name, "data"):
            value = cast("dict[str, Any]", value).get(step) if isinstance(value, dict) else None
        return value


def read(method: str, path: str, operation: Operation | None, headers: Mapping[str, str], body: bytes | None) -> Asked:
    """Read a request.

    Args:
        headers: By lower-case name.
    """
    asked = Asked(method.upper(), path, operation, headers.get("revision"), headers=headers)
    if operation is None:
        return asked
    # Before the body: no one can say which operation Klaviyo takes this request for.
    if operation.is_disguised:
        asked.problem = Problem(400, "the path is written in a way that can be read as another one")
        return asked
    asked.problem = _unpack(asked, body or b"") or _open(asked, operation.name)
    return asked


def _unpack(asked: Asked, body: bytes) -> Problem | None:
    """Decode the body."""
    encoding = asked.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip"}:
        return Problem(415, "the body is packed in a way that is not understood here; send it plain, or with gzip")
    if encoding == "gzip" and len(body) <= MAX_BODY_BYTES:
        asked.packed = True
        unpacked = _gunzip(body)
        if unpacked is None:
            return Problem(400, "the body is not the gzip that its header says")
        body = unpacked
    if len(body) > MAX_BODY_BYTES:
        return Problem(413, "the body is larger than the 5 MB that Klaviyo accepts")
    try:
        asked.text = body.decode()
    except UnicodeDecodeError:
        return Problem(400, "the body is not UTF-8")
    return None


def _gunzip(body: bytes) -> bytes | None:
    """Return what a body unpacks to, at most one byte more than Klaviyo takes; None if it is not one whole gzip."""
    # The limit stands here and not after the unpacking: a few kilobytes may unpack to gigabytes.
    unpacking = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacking.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        return None
    is_whole = len(unpacked) > MAX_BODY_BYTES or (unpacking.eof and not unpacking.unused_data)
    return unpacked if is_whole else None


def _open(asked: Asked, name: str) -> Problem | None:
    """Find the people in the body."""
    # Step 1: decode only the places at which this operation names people.
    try:
        root, has_twins = scan(asked.text, _SHAPES[name])
    except (ValueError, RecursionError):
        return Problem(400, "the body is no JSON", "/")
    if not isinstance(root, Object) or root.opened("data") is None:
        return Problem(400, _OTHER)
    asked.root = root
    # Step 2: refuse what two readers would read differently: the guard could name one person and Klaviyo another.
    if has_twins:
        return Problem(400, "a name stands twice in one object, and it is not certain which one counts", "/")
    # Step 3: take the people out. A place with another shape could hide a person, so it is refused too.
    people: list[Named] = []
    if _SHAPES[name] is _ROWS or name == "bulk_create_events":
        asked.rows = tuple(_rows(root, "events-bulk-create" if name == "bulk_create_events" else "profiles"))
    for pointer, node in _nodes(name, root, asked.rows):
        attributes = node.get("attributes") if isinstance(node, Object) else None
        if not isinstance(node, Object) or not isinstance(attributes, Object | None):
            return Problem(400, _OTHER, pointer)
        people.append(Named(pointer, node, attributes))
    asked.people = tuple(people)
    if people or name == "merge_profiles" or any(asked.related(each) is not None for each in ("list", "segment")):
        return None
    return Problem(400, _OTHER, "/data/attributes")


def _nodes(name: str, root: Object, rows: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Yield each place at which the operation names a person, and the value that stands there."""
    if name == "merge_profiles":
        return
    if _SHAPES[name] is _ROWS:
        for number, row in enumerate(rows):
            yield f"{_ROWS_OF}/{number}", row
    elif name == "bulk_create_events":
        for number, row in enumerate(rows):
            yield f"{_EVENTS_OF}/{number}/{_IN_EVENT}", _below(row, "attributes", "profile", "data")
    elif _SHAPES[name].get("data") is _OF_EVENT:
        yield f"/data/{_IN_EVENT}", _below(root, "data", "attributes", "profile", "data")
    else:
        yield "/data", root.get("data")


def _rows(root: Object, name: str) -> list[Any]:
    rows = _below(root, "data", "attributes", name, "data")
    return rows.elements if isinstance(rows, Array) else [] if rows is None else [rows]


def _below(value: Any, *steps: str) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, Object) else None
    return value
