"""The tests that every identity map has to pass, for whoever writes a store of their own.

Subclass `StoreContract` in a test module and override its fixtures::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def clock(self):
            return ManualClock()

        @pytest.fixture
        def store(self, clock):
            with MyStore(clock=clock) as store:
                yield store

A store that goes by a server's clock leaves the fixture `clock` as it is, and the tests wait a few hundredths of a
second where time has to pass; where the server's clock can be set, give an object with `advance`, `moment` and
`is_exact`. An asynchronous store is tested through `BlockingStore`, which is stopped when the test has ended.
"""

from __future__ import annotations

from safeklaviyo.testing._blocking import BlockingStore
from safeklaviyo.testing._contract_adding import AddRules
from safeklaviyo.testing._contract_base import ManualClock, StoreClock, SystemClock
from safeklaviyo.testing._contract_bindings import BindingRules
from safeklaviyo.testing._contract_leases import LeaseRules
from safeklaviyo.testing._contract_past import JournalRules, PastRules
from safeklaviyo.testing._contract_records import RecordRules, WholeRules

__all__ = ["BlockingStore", "ManualClock", "StoreClock", "StoreContract", "SystemClock"]


class StoreContract(BindingRules, LeaseRules, AddRules, PastRules, JournalRules, RecordRules, WholeRules):
    """Every sentence of `safeklaviyo.stores.base`, as tests."""
