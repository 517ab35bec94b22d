"""The tests that every identity map has to pass, for authors of stores.

Subclass `StoreContract` in a test module and override its fixtures::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def clock(self):
            return ManualClock()

        @pytest.fixture
        def store(self, clock):
            with MyStore(clock=clock) as store:
                yield store

The fixture `clock`:

- a store that takes its clock as an argument gets a `ManualClock`;
- for a store that uses its server's clock, do not override the fixture. The tests then wait a few hundredths of a
  second where time has to pass;
- if tests can set the server's clock, return an object with `advance`, `moment` and `is_exact` (`StoreClock`).

Test an asynchronous store through `BlockingStore`, and call its `stop` when the test has ended.
"""

from __future__ import annotations

from safeklaviyo.testing._blocking import BlockingStore
from safeklaviyo.testing._contract_adding import AddRules
from safeklaviyo.testing._contract_base import ManualClock, StoreClock, SystemClock
from safeklaviyo.testing._contract_bindings import BindingRules
from safeklaviyo.testing._contract_leases import LeaseRules
from safeklaviyo.testing._contract_past import JournalRules, PastRules
from safeklaviyo.testing._contract_records import RecordRules, WholeRules
from safeklaviyo.testing._contract_several import SeveralRules

__all__ = ["BlockingStore", "ManualClock", "StoreClock", "StoreContract", "SystemClock"]


class StoreContract(BindingRules, LeaseRules, AddRules, PastRules, JournalRules, RecordRules, WholeRules, SeveralRules):
    """Every sentence of `safeklaviyo.stores.base`, as tests."""
