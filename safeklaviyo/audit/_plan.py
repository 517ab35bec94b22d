"""The plan of a repair: the merges that the data prove, as a file that a person reads, edits and signs off.

Decided here: which safe merges go together.

- A profile that two findings would merge into two different ones is left alone.
- No profile is both merged and merged into in one plan.
- A plan that was edited into nonsense is refused. The message names the entry.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo.audit._files import write_private
from safeklaviyo.audit._finding import RULES, Shown, ShownBinding
from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError
from safeklaviyo.identity import normalise_profile_id

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from safeklaviyo.audit._table import Table

KIND: Final = "safeklaviyo repair plan"
VERSION: Final = 1
NOT_CERTAIN: Final = "two findings lead it to different customers"
ANOTHER_FIRST: Final = "another merge of this plan comes first; audit again after the repair"
_CONSENTS: Final = frozenset({"subscribed", "unsubscribed", "suppressed", "never_subscribed", "unknown"})


@dataclass(frozen=True, slots=True)
class PlannedMerge:
    """One merge of a plan.

    Attributes:
        source: The profile that ends, as the audit saw it.
        into: The profile that stays, as the audit saw it.
        rule: The rule of the finding that the merge mends, such as ``"A2"``.
        why: Why the two profiles are one customer's. Holds no personal data.
        finding: The finding's key.
        binding: What the map, or the shop's file, says about the customer.
    """

    source: Shown
    into: Shown
    rule: str
    why: str
    finding: str
    binding: ShownBinding | None = None


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """The merges that an audit proposes. `repair` carries them out.

    Attributes:
        account: The account of the audit; None for an export.
        made_at: When the audit was made.
        merges: The merges, in the order of the audit's rules.
        left_out: How many findings are not in the plan, by the reason.
    """

    account: str | None
    made_at: datetime
    merges: tuple[PlannedMerge, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])

    def to_json(self) -> str:
        """Return the plan as a text that people can read and edit. Identifiers are not masked."""
        given: dict[str, Any] = {
            "kind": KIND, "version": VERSION, "account": self.account, "made_at": self.made_at.isoformat(),
            "left_out": dict(self.left_out), "merges": [asdict(each) for each in self.merges],
        }  # fmt: skip
        return json.dumps(given, indent=2, ensure_ascii=False) + "\n"

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file that its owner alone may read.

        Raises:
            OSError: The file cannot be written.
        """
        write_private(Path(path), [self.to_json()])

    @classmethod
    def from_json(cls, text: str) -> RepairPlan:
        """Read a plan.

        Raises:
            ConfigurationError: The text is no plan; the message names the line or the entry.
        """
        # Step 1: is this a plan at all? Then the entries, each with its line, for a person who has edited them.
        try:
            given: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            at = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise ConfigurationError(f"the plan is no JSON{at}; mend it, or let the audit write it again") from None
        head = _object(given, "the plan")
        if head.get("kind") != KIND or head.get("version") != VERSION:
            raise ConfigurationError("this is no repair plan of this version; write one with safeklaviyo audit --plan")
        listed = head.get("merges")
        if not isinstance(listed, list):
            raise ConfigurationError("the plan has no list of merges; let the audit write it again")
        lines = _lines_of_merges(text)
        entries = cast("list[object]", listed)
        merges = tuple(_merge(each, _Entry(number, lines.get(number))) for number, each in enumerate(entries, start=1))
        # Step 2: each entry may be right and the plan wrong: two entries can contradict each other.
        _check_together(merges, lines)
        account = head.get("account")
        if not (account is None or isinstance(account, str)):
            raise ConfigurationError("the plan's account is no text; let the audit write it again")
        return cls(account, _moment(head.get("made_at")), merges, _counts(head.get("left_out")))


def plan_from(given: RepairPlan | str | os.PathLike[str]) -> RepairPlan:
    """Return a plan, given as such or as the path of its file.

    Raises:
        ConfigurationError: The file holds no plan.
        OSError: The file cannot be read.
    """
    if isinstance(given, RepairPlan):
        _check_together(given.merges, {})
        return given
    try:
        text = Path(given).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError("the plan is no text in UTF-8; save it so, or let the audit write it again") from None
    return RepairPlan.from_json(text)


def choose_merges(table: Table) -> None:
    """Choose the merges of the plan from all safe ones, and write them into the table."""
    # Step 1: leave out a profile that safe merges would lead into two others, unless these two are merged as well. One
    # of the two would be wrong, and a merge cannot be undone.
    table.run("""
        CREATE TEMP TABLE IF NOT EXISTS doubtful AS
        SELECT DISTINCT one.source FROM finding one
        JOIN finding two ON one.source = two.source AND one.stays < two.stays
        WHERE NOT EXISTS (
            SELECT 1 FROM finding other
            WHERE (other.source = one.stays AND other.stays = two.stays)
               OR (other.source = two.stays AND other.stays = one.stays)
        )
    """)
    # Step 2: take the others in the order of their rules and keys, so that the same data make the same plan. A merge
    # into a profile that itself ends is left to the next audit.
    doubtful = {source for (source,) in table.ask("SELECT source FROM doubtful")}
    ending: set[object] = set()
    staying: set[object] = set()
    wanted = list(table.ask("SELECT source, stays, name FROM finding WHERE source IS NOT NULL ORDER BY rule, name"))
    sources = {source for source, _, _ in wanted} - doubtful
    # Merges into a profile that never ends come first: so most of a chain is done at once.
    for source, stays, name in sorted(wanted, key=lambda each: each[1] in sources):
        if source in doubtful or source in ending or source in staying or stays in ending:
            continue
        ending.add(source)
        staying.add(stays)
        table.write("INSERT INTO merge VALUES (?, ?, ?)", [(source, stays, name)])
    table.commit()


class _Entry:
    """The place of a merge in a plan, for messages.

    Args:
        number: The number of the entry, from 1.
        line: Its line in the file; None if the plan is no file.
    """

    def __init__(self, number: int, line: int | None) -> None:
        self.where = f"merge {number} of the plan" + ("" if line is None else f" (line {line})")

    def refused(self, why: str) -> ConfigurationError:
        """Return the error that refuses the entry.

        Args:
            why: The rest of the sentence that begins with the entry's place.
        """
        return ConfigurationError(f"{self.where} {why}; mend it or take it out, and nothing was written")


def _merge(given: object, entry: _Entry) -> PlannedMerge:
    if not isinstance(given, dict):
        raise entry.refused("is no object")
    record = cast("dict[str, object]", given)
    rule = record.get("rule")
    if rule not in RULES or rule in {"A4", "A8"}:
        raise entry.refused("names no rule by which profiles are merged")
    binding = record.get("binding")
    return PlannedMerge(
        _shown(record.get("source"), "source", entry), _shown(record.get("into"), "into", entry), str(rule),
        str(record.get("why", "")), str(record.get("finding", "")),
        None if binding is None else _bound(binding, entry),
    )  # fmt: skip


def _shown(given: object, name: str, entry: _Entry) -> Shown:
    """Return a profile of an entry. A person may have edited it, so each field is checked."""
    if not isinstance(given, dict):
        raise entry.refused(f"has no {name}")
    record = cast("dict[str, Any]", given)
    known = {each.name for each in fields(Shown)}
    if unknown := sorted(set(record) - known):
        raise entry.refused(f"has {len(unknown)} unknown fields in its {name}")
    for each, value in record.items():
        kinds = int if each == "line" else str
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise entry.refused(f"has a {each} of its {name} that is no {'number' if each == 'line' else 'text'}")
    try:
        profile_id = normalise_profile_id(record.get("profile_id"))
    except InvalidIdentifierError:
        raise entry.refused(f"has no profile_id of its {name}") from None
    if not {record.get("consent", "unknown"), record.get("sms", "unknown")} <= _CONSENTS:
        raise entry.refused(f"has a consent of its {name} that is none")
    known_as: dict[str, Any] = {**record, "profile_id": profile_id}
    return Shown(**known_as)


def _bound(given: object, entry: _Entry) -> ShownBinding:
    record = cast("dict[str, Any]", given) if isinstance(given, dict) else {"": None}
    former: object = record.get("former", [])
    if set(record) - {each.name for each in fields(ShownBinding)} or not isinstance(former, list | tuple):
        raise entry.refused("has a binding that cannot be read")
    texts = {name: value for name, value in record.items() if name != "former"}
    listed = cast("list[object]", former)
    if any(value is not None and not isinstance(value, str) for value in (*texts.values(), *listed)):
        raise entry.refused("has a binding that is no text")
    return ShownBinding(**texts, former=tuple(map(str, listed)))


def _check_together(merges: tuple[PlannedMerge, ...], lines: Mapping[int, int]) -> None:
    """Refuse merges that contradict each other."""
    ends: dict[str | None, int] = {}
    stays = {each.into.profile_id for each in merges}
    for number, each in enumerate(merges, start=1):
        entry = _Entry(number, lines.get(number))
        if each.source.profile_id is None or each.into.profile_id is None:
            raise entry.refused("has a profile without its profile_id")
        if each.source.profile_id == each.into.profile_id:
            raise entry.refused("merges a profile into itself")
        if each.source.profile_id in ends:
            raise entry.refused(f"ends the same profile as merge {ends[each.source.profile_id]}")
        if each.source.profile_id in stays:
            raise entry.refused("ends a profile into which another one is merged")
        ends[each.source.profile_id] = number


def _lines_of_merges(text: str) -> dict[int, int]:
    """Return the line at which each merge begins."""
    # The standard decoder does not say where a value stands, so the list is decoded once more, entry by entry.
    decoder = json.JSONDecoder()
    found: dict[int, int] = {}
    at = text.index("[", text.index('"merges"')) + 1
    line = 1 + text.count("\n", 0, at)
    while (begin := _past_blanks(text, at)) < len(text) and text[begin] != "]":
        line += text.count("\n", at, begin)
        found[len(found) + 1] = line
        _, at = decoder.raw_decode(text, begin)
        line += text.count("\n", begin, at)
    return found


def _past_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def _object(given: object, what: str) -> dict[str, object]:
    if not isinstance(given, dict):
        raise ConfigurationError(f"{what} is no JSON object; let the audit write it again")
    return cast("dict[str, object]", given)


def _moment(given: object) -> datetime:
    try:
        return datetime.fromisoformat(str(given))
    except ValueError:
        raise ConfigurationError("the plan's made_at is no time; let the audit write it again") from None


def _counts(given: object) -> dict[str, int]:
    listed = cast("dict[str, object]", given) if isinstance(given, dict) else {}
    return {name: value for name, value in listed.items() if isinstance(value, int)}
