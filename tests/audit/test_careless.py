"""Accounts that careless shops have made by plain requests: all is found, and mended without a mistake."""

from __future__ import annotations

import pytest

from safeklaviyo.audit import audit, repair
from safeklaviyo.stores.memory import MemoryStore
from support.careless import careless


def mended(seed, open_client, folder):
    """Audit a shop, carry the plan out, and check both; return how many merges there were."""
    shop = careless(seed)
    customers = shop.write_customers(folder / "customers.csv")
    shows = {each.id: (each.external_id, each.email) for each in shop.simulator.profiles}
    with open_client(shop.simulator, MemoryStore(clock=shop.simulator.now)) as k:
        with audit(k, bindings=customers) as found:
            every = [(each.rule, {shows[one.profile_id] for one in each.profiles}) for each in found.findings]
            assert [] == [each for each in shop.expected if each not in every], seed
            plan = found.plan()
        for each in plan.merges:
            pair = [shop.owner(*shows[one.profile_id]) for one in (each.source, each.into)]
            assert 1 == len(set(pair)), (seed, each.rule)
        proved = [pair for rule, pair in shop.expected if rule in {"A2", "A3", "A5", "A7"}]
        assert len(proved) == len(plan.merges), seed
        report = repair(k, plan, dry_run=False, journal=folder / f"{seed}.journal")
        assert [] == [(each.rule, each.reason) for each in report.results if each.status != "merged"], seed
        assert len(proved) == report.merged, seed
        assert len(shows) - len(proved) == len(shop.simulator.profiles)
        with audit(k, bindings=customers) as found:
            assert set() == {"A2", "A3", "A5", "A7"} & {each.rule for each in found.findings}, seed
    return len(proved)


def test_what_careless_shops_leave_behind(open_client, tmp_path):
    """All is found in each account; each merge joins one person's profiles; nothing is left of it afterwards."""
    assert sum(mended(seed, open_client, tmp_path) for seed in range(4)) > 10


@pytest.mark.slow
def test_what_a_thousand_careless_shops_leave_behind(open_client, tmp_path):
    """The same, a thousand times."""
    assert sum(mended(seed, open_client, tmp_path) for seed in range(100, 1100)) > 3000
