"""The guard of all hooks: a request comes in, a plan goes out; an answer comes in, and what the caller gets goes out.

Decided here: what each mode does. In observe nothing of the guard's own can reach the caller, whatever fails. In
enforce nothing that is not settled leaves the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.guard._background import LateError
from safeklaviyo.guard._carry.finishing import answered, finish, needs_finishing
from safeklaviyo.guard._carry.settling import NOTHING_FOUND, settle
from safeklaviyo.guard._common import COUNTERS, OBSERVED, Common, OnStoreFailure, is_busy, shell_of

if TYPE_CHECKING:
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._clients import Guarded
    from safeklaviyo.guard._plans import Incoming, Plan
    from safeklaviyo.guard._write.replies import Reply
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.base import Found

__all__ = ["COUNTERS", "OBSERVED", "Core", "OnStoreFailure", "is_busy", "shell_of"]


class Core(Common):
    """The guard over clients with blocking calls."""

    def begin(self, incoming: Incoming) -> Plan:
        """Return what is to be done with a request. Nothing of the guard's own is raised."""
        plan = self.opened_safely(incoming)
        if plan.case is None:
            return plan
        self.decide(plan)
        return self.concluded(plan)

    def decide(self, plan: Plan) -> None:
        """Decide about a request whose mode is known."""
        assert plan.case is not None
        assert plan.client is not None
        if plan.mode == "enforce":
            self._settle(plan, plan.case, plan.client)
        else:
            self._observe(plan.case, plan.client)

    def end(self, plan: Plan, reply: Reply) -> Reply:
        """Take in the answer to what was sent, and return what the caller gets."""
        if plan.case is None:
            return reply
        return self.ended(plan, reply, self.finished(plan, reply) if plan.mode == "enforce" else reply)

    def finished(self, plan: Plan, reply: Reply) -> Reply:
        """Take in what an answer says about the customers, in enforce, and return what the caller gets."""
        assert plan.case is not None
        assert plan.client is not None
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
        busy = is_busy.set(True)
        try:
            shell_of(client).run(settle, case)
        except SafeKlaviyoError as error:
            self.not_settled(plan, error)
        except Exception as error:  # noqa: BLE001 - `broken` logs it
            self.broken(plan, error)
        except BaseException:
            case.land()
            raise
        finally:
            is_busy.reset(busy)


def _look(client: Guarded, names: tuple[Identifier, ...]) -> Found | None:
    """Look into the map; None where the account is not known."""
    store = shell_of(client).store
    if client.account is None and client.remembered_under is not None:
        client.note_account(store.recall("", client.remembered_under))
    if client.account is None:
        return None
    found: Found = store.find(client.account, names)
    return found
