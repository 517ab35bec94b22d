"""Why a customer cannot be added to the map: the rules for rows, by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeklaviyo import Binding
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Found, Match
from safeklaviyo.stores.memory import MemoryStore
from support.rules import BUSY, contradiction, former_conflict, names_of, why_refused

ROW = Binding("A1", "ann@shop.dev", "01A")


def found(*bindings: Binding, row: Binding = ROW) -> Found:
    """Return what a map with these bindings knows about the row."""
    store = MemoryStore()
    store.add("SiMuLa", bindings)
    return store.find("SiMuLa", names_of(row))


@pytest.mark.parametrize(
    ("bindings", "why"),
    [
        ([("A1", None, None), (None, "ann@shop.dev", None)], "two customers'"),
        ([("A1", "other@shop.dev", None)], "with another email"),
        ([("B2", "ann@shop.dev", None)], "with another external_id"),
        ([("B2", "other@shop.dev", "01A")], "for another customer"),
        ([("A1", "ann@shop.dev", None), (None, "other@shop.dev", "01A")], "for another customer"),
        ([("A1", "ann@shop.dev", "01B")], "with another profile_id"),
    ],
)
def test_p3_each_contradiction_has_its_sentence(bindings: list[tuple[str | None, ...]], why: str) -> None:
    """P3: the sentence says which identifier is another's, and no identifier."""
    said = contradiction(ROW, found(*(Binding(*each) for each in bindings)))
    assert said is not None
    assert why in said
    assert "shop.dev" not in said


@pytest.mark.parametrize(
    "bindings",
    [[], [(None, "ann@shop.dev", None)], [("A1", None, None)], [("A1", "ann@shop.dev", "01A")], [(None, None, "01A")]],
)
def test_what_completes_a_customer_contradicts_nothing(bindings: list[tuple[str | None, ...]]) -> None:
    """Then only a lease can be why the store has refused the row."""
    known = found(*(Binding(*each) for each in bindings))
    assert contradiction(ROW, known) is None
    assert BUSY == why_refused(ROW, known)


names = st.sampled_from([None, "1", "2"])
bindings = st.builds(Binding, names, st.sampled_from([None, "1@shop.dev", "2@shop.dev"]), names)


@given(st.lists(bindings.filter(names_of), max_size=4), bindings.filter(lambda row: row.email is not None))
def test_p3_there_is_a_contradiction_just_where_the_store_sees_one(known: list[Binding], row: Binding) -> None:
    """P3: the sentence and the store never disagree."""
    store = MemoryStore()
    store.add("SiMuLa", known)
    said = contradiction(row, store.find("SiMuLa", names_of(row)))
    assert (store.add("SiMuLa", [row]) == ("conflict",)) is (said is not None)


OLD = Identifier(Kind.EMAIL, "old@shop.dev")
OTHER = Binding("B2", "ben@shop.dev", key="b")


@pytest.mark.parametrize(
    ("former", "others", "why"),
    [
        ([], [], None),
        ([Match(OLD, Binding("A1", "ann@shop.dev", key="a"), 1.0)], [], None),
        ([Match(OLD, OTHER, 1.0)], [], "another customer's former one"),
        ([Match(OLD, OTHER)], [], "is current in the map"),
        ([Match(OLD, ROW)], [], "is current in the map"),
        ([], [OLD], "the current one of another row"),
    ],
)
def test_r8_r11_whose_a_former_identifier_may_be(
    former: list[Match], others: list[Identifier], why: str | None
) -> None:
    """R8, R11: it is nobody's, or this customer's former one already."""
    said = former_conflict(ROW, former, others)
    assert (said is None) if why is None else (said is not None and why in said)
