"""Planted accounts: everything is found, nothing that is two people's is planned, and most of what is proved is."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from safeklaviyo.audit import Export, audit
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.examples import examples
from support.planted import SCENES, Planted, is_free, plant

if TYPE_CHECKING:
    from pathlib import Path

    from safeklaviyo.audit import Audit, RepairPlan


def found_in(audited: Audit) -> set[tuple[str, frozenset[str]]]:
    """Return what was found: the rules, and the ids of the profiles."""
    return {(each.rule, frozenset(str(shown.profile_id) for shown in each.profiles)) for each in audited.findings}


def planned(plan: RepairPlan) -> dict[frozenset[str], tuple[str, str]]:
    """Return the pairs that are planned, each with its direction."""
    ids = [(str(each.source.profile_id), str(each.into.profile_id)) for each in plan.merges]
    return {frozenset(each): each for each in ids}


def exported(account: Planted, folder: Path, order: Random | None = None) -> Audit:
    """Audit the account from an export, with the shop's data for the map."""
    path = account.write_export(folder / "profiles.csv", order)
    return audit(path, bindings=account.write_customers(folder / "customers.csv"))


def check(account: Planted, audited: Audit) -> tuple[int, int]:
    """Check an account; return how many provable merges are planned, and how many there are."""
    plan = planned(audited.plan())
    owners, consents = account.owners, {each["profile_id"]: each["consent"] for each in account.profiles}
    assert set() == account.expected - found_in(audited)
    assert [] == [pair for pair in plan if len({owners[each] for each in pair}) > 1], "two people would become one"
    assert [] == [ids for ids in plan.values() if not is_free(*(consents[each] for each in ids))]
    return len(account.provable & plan.keys()), len(account.provable)


def prove(seeds: range, folder: Path) -> tuple[int, int]:
    """Check an account for each seed."""
    done = [0, 0]
    for seed in seeds:
        account = plant(seed)
        with exported(account, folder) as audited:
            for at, number in enumerate(check(account, audited)):
                done[at] += number
    return done[0], done[1]


def test_planted_exports(tmp_path):
    """All is found, nothing that is two people's is planned, and nine of ten provable merges are."""
    planned, provable = prove(range(examples(100)), tmp_path)
    assert planned >= 0.9 * provable > 20


@pytest.mark.slow
def test_ten_thousand_planted_exports(tmp_path):
    """The same, for the figure that the documentation gives."""
    planned, provable = prove(range(1_000, 11_000), tmp_path)
    assert planned >= 0.9 * provable > 5000


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__.strip("_"))
def test_each_scene_alone(scene, tmp_path):
    """Each scene is found as it is meant, and nothing else of A2, A3, A5, A6 and A7 is."""
    account = Planted(Random(7))
    scene(account)
    with exported(account, tmp_path) as audited:
        check(account, audited)
        merging = {each for each in found_in(audited) if each[0] in {"A2", "A3", "A6", "A7"}}
        assert {each for each in account.expected if each[0] in {"A2", "A3", "A6", "A7"}} == merging


def test_the_order_of_the_rows_changes_nothing(tmp_path):
    """Findings, their keys and the plan are the same in whatever order an export has its rows."""
    for seed in range(6):
        account = plant(seed, people=15)
        with exported(account, tmp_path) as first, exported(account, tmp_path, Random(seed)) as second:
            assert [each.key for each in first.findings] == [each.key for each in second.findings]
            assert [each.merge for each in first.findings] == [each.merge for each in second.findings]
            assert planned(first.plan()) == planned(second.plan())


def test_an_account_is_audited_as_its_export(open_client, tmp_path):
    """The same account gives the same findings from Klaviyo itself, page by page, as from its export."""
    account = plant(5, people=120)
    simulator = KlaviyoSimulator(readings=Readings(email_case="distinct"))
    account.fill(simulator)
    with open_client(simulator, MemoryStore()) as klaviyo:
        customers = account.write_customers(tmp_path / "customers.csv")
        with audit(klaviyo, bindings=customers) as read, exported(account, tmp_path) as from_file:
            assert len(account.profiles) == read.profiles > 100
            assert [each.key for each in from_file.findings] == [each.key for each in read.findings]
            check(account, read)


def test_columns_in_another_language(tmp_path):
    """Columns that are not found out can be named."""
    account = plant(3)
    text = account.write_export(tmp_path / "profiles.csv").read_text()
    other = tmp_path / "profile.csv"
    other.write_text(text.replace("Email,", "E-Mail-Adresse,", 1).replace("external_id", "Kundennummer", 1))
    export = Export(other, {"email": "E-Mail-Adresse", "external_id": "Kundennummer"})
    with audit(export) as named, audit(tmp_path / "profiles.csv") as usual:
        assert [each.key for each in usual.findings] == [each.key for each in named.findings]
