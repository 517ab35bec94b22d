"""The guard of all hooks. `begin` makes a plan of a request; `end` makes the caller's answer of Klaviyo's.

Decided here: what a failure does in each mode.

- In observe no failure of the guard reaches the caller.
- In enforce no request leaves the process before the guard has settled who it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.guard._background import LateError
from safeklaviyo.guard._carry.finishing import answered, finish, needs_finishing
from safeklaviyo.guard._carry.settling import NOTHING_FOUND, settle, settled_by_map
from safeklaviyo.guard._common import COUNTERS, OBSERVED, Common, OnStoreFailure, UniqueId, is_busy, shell_of

if TYPE_CHECKING:
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._clients import Guarded
    from safeklaviyo.guard._plans import Incoming, Plan
    from safeklaviyo.guard._write.replies import Reply
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.base import Found

__all__ = ["COUNTERS", "OBSERVED", "Core", "OnStoreFailure", "UniqueId", "is_busy", "shell_of"]


class Core(Common):
    """The guard over clients with blocking calls."""

    def begin(self, incoming: Incoming) -> Plan:
        """Return the plan for a request. No error of the guard's own code is raised."""
        plan = self.opened_safely(incoming)
        if plan.case is None:
            return plan
        self.decide(plan)
        return self.concluded(plan)

    def decide(self, plan: Plan) -> None:
        """Decide about a request that `opened` has given a client and a mode."""
        assert plan.case is not None
        assert plan.client is not None
        if plan.mode == "enforce":
            self._settle(plan, plan.case, plan.client)
        else:
            self._observe(plan.case, plan.client)

    def end(self, plan: Plan, reply: Reply) -> Reply:
        """Record Klaviyo's answer to the request that was sent, and return what the caller gets."""
        if plan.case is None:
            return reply
        return self.ended(plan, reply, self.finished(plan, reply) if plan.mode == "enforce" else reply)

    def finished(self, plan: Plan, reply: Reply) -> Reply:
        """Take what an answer shows into the map, in enforce, and return what the caller gets."""
        assert plan.case is not None
        assert plan.client is not None
        # Most answers need no look at the map; then no store is asked.
        if not needs_finishing(plan.case, reply):
            return answered(plan.case, reply)
        busy = is_busy.set(True)
        try:
            final: Reply = shell_of(plan.client).run(finish, plan.case, reply)
        except Exception as error:  # noqa: BLE001 - the request is done
            self.report(error)
            return answered(plan.case, reply)
        finally:
            is_busy.reset(busy)
        return final

    def _observe(self, case: Case, client: Guarded) -> None:
        """Ask the map, for a bounded time, and note what enforce would have done."""
        found: Found | None = None
        try:
            names = self.names(case, client)
            found = NOTHING_FOUND
            if names:
                found = self._looks.ask(lambda: _look(client, names), self.patience)
        except (LateError, SafeKlaviyoError):
            found = None
        except Exception as error:  # noqa: BLE001 - in observe nothing reaches the caller
            self.report(error)
            found = None
        self.judge(case, client, found)

    def _settle(self, plan: Plan, case: Case, client: Guarded) -> None:
        """Settle with the map and Klaviyo who a request is about; refuse the request if that fails."""
        self.finish_lessons()
        # The flows' own requests must pass the hooks, or they would be guarded again.
        busy = is_busy.set(True)
        try:
            shell = shell_of(client)
            # Most requests are settled by one look into the map, for which a flow would cost more than the look.
            names = self.names(case, client)
            looked = shell.look(names) if names else None
            if looked is None or not settled_by_map(looked[0], case, looked[1]):
                shell.run(settle, case)
        except SafeKlaviyoError as error:
            self.not_settled(plan, error)
        except Exception as error:  # noqa: BLE001 - `broken` logs it
            self.broken(plan, error)
        except BaseException:
            # The call was interrupted: nothing about its customers is on its way any more.
            case.land()
            raise
        finally:
            is_busy.reset(busy)


def _look(client: Guarded, names: tuple[Identifier, ...]) -> Found | None:
    """Look into the map; None if the account is not known."""
    store = shell_of(client).store
    # Another process may have noted the account. Asking Klaviyo would cost the observed call a request.
    if client.account is None and client.remembered_under is not None:
        client.note_account(store.recall("", client.remembered_under))
    if client.account is None:
        return None
    found: Found = store.find(client.account, names)
    return found
