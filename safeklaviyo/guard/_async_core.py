"""The guard over a client with awaited calls, and over one with blocking calls that is used from an event loop.

Read `_core` first.
"""

from __future__ import annotations

import asyncio
import contextvars
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.guard._carry.finishing import answered, finish, needs_finishing
from safeklaviyo.guard._carry.learning import learn_from
from safeklaviyo.guard._carry.settling import NOTHING_FOUND, settle, settled_by_map
from safeklaviyo.guard._common import LESSONS
from safeklaviyo.guard._core import Core, is_busy, shell_of
from safeklaviyo.guard._log.records import KEY_NOTE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._clients import Guarded
    from safeklaviyo.guard._plans import Incoming, Plan
    from safeklaviyo.guard._write.replies import Reply
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.base import Found

_TASKS: Final = 100

P = ParamSpec("P")
T = TypeVar("T")


class AsyncCore:
    """Same as `Core`, awaited.

    Args:
        core: The guard that counts and logs. Its clients may be of both kinds; those with blocking calls work in
            threads.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self._tasks: set[asyncio.Task[None]] = set()

    def wants(self, method: str, url: str) -> bool:
        """Same as `Core.wants`."""
        return self.core.wants(method, url)

    async def begin(self, incoming: Incoming) -> Plan:
        """Same as `Core.begin`."""
        core = self.core
        plan = core.opened_safely(incoming)
        if plan.case is None or plan.client is None:
            return plan
        # The log's lines are written in a thread, which cannot await the map. So the key is fetched here.
        if plan.client.is_async and plan.client.log_key is None and core.is_logging:
            await self._know_key(plan.client, core.patience)
        if not plan.client.is_async:
            await _in_thread(core.decide, plan)
        elif plan.mode == "enforce":
            await self._settle(plan, plan.case, plan.client)
        else:
            await self._observe(plan.case, plan.client)
        return core.concluded(plan)

    async def prepare(self, seconds: float) -> None:
        """Fetch what the first call would otherwise wait for."""
        for client in self.core.clients.all:
            if client.is_async and self.core.is_logging:
                await self._know_key(client, seconds)

    async def _know_key(self, client: Guarded, seconds: float) -> None:
        """Ask the map for the key of the log's hashes. All processes of a shop hash with the same key."""
        if client.account is None:
            return
        store = shell_of(client).store
        try:
            async with asyncio.timeout(seconds):
                # `new` keeps the key of the process that came first; so the key is read back.
                await store.remember(client.account, KEY_NOTE, token_hex(32), new=True)
                client.log_key = await store.recall(client.account, KEY_NOTE)
        except (TimeoutError, SafeKlaviyoError):
            return
        except Exception as error:  # noqa: BLE001 - nothing of the guard's own reaches the caller
            self.core.report(error)

    async def end(self, plan: Plan, reply: Reply) -> Reply:
        """Same as `Core.end`."""
        core, case = self.core, plan.case
        if case is None or plan.client is None:
            return reply
        if not plan.client.is_async:
            final: Reply = reply
            if plan.mode == "enforce" and needs_finishing(case, reply):
                final = await _in_thread(core.finished, plan, reply)
            elif plan.mode == "enforce":
                final = answered(case, reply)
            return core.ended(plan, reply, final)
        final = reply
        if plan.mode == "enforce":
            try:
                final = await self._finish(plan.client, case, reply)
            except Exception as error:  # noqa: BLE001 - the request is done
                core.report(error)
                final = answered(case, reply)
        final = core.ended(plan, reply, final)
        if core.learns(plan, reply):
            self._begin(self._learn(plan.client, plan, reply))
        return final

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task beside the call; at most a hundred at once."""
        # A lesson is only a hint, so dropping one costs nothing. A map that hangs must not pile up tasks.
        if len(self._tasks) >= _TASKS:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        # The loop keeps only weak references; a task without another one may be collected before it ends.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _learn(self, client: Guarded, plan: Plan, reply: Reply) -> None:
        """Take what an answer shows into the map."""
        profile = self.core.lessons.of(plan, reply)
        if profile is None or client.account is None:
            return
        try:
            self.core.count_lesson(await shell_of(client).run(learn_from, client.account, profile))
        except Exception as error:  # noqa: BLE001 - a map that is away learns nothing
            self.core.report(error)

    def failed(self, plan: Plan, error: BaseException | None = None) -> None:
        """Same as `Core.failed`."""
        self.core.failed(plan, error)

    def close(self) -> None:
        """Same as `Core.close`."""
        self.core.close()

    async def _observe(self, case: Case, client: Guarded) -> None:
        core = self.core
        found: Found | None = None
        try:
            names = core.names(case, client)
            found = NOTHING_FOUND
            if names:
                async with asyncio.timeout(core.patience):
                    found = await _look(client, names)
        except (TimeoutError, SafeKlaviyoError):
            found = None
        except Exception as error:  # noqa: BLE001 - in observe nothing reaches the caller
            core.report(error)
            found = None
        core.judge(case, client, found)

    async def _settle(self, plan: Plan, case: Case, client: Guarded) -> None:
        # As in `Core.finish_lessons`.
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=LESSONS)
        busy = is_busy.set(True)
        try:
            shell = shell_of(client)
            names = self.core.names(case, client)
            looked = await shell.look(names) if names else None
            if looked is None or not settled_by_map(looked[0], case, looked[1]):
                await shell.run(settle, case)
        except SafeKlaviyoError as error:
            self.core.not_settled(plan, error)
        except Exception as error:  # noqa: BLE001 - `broken` logs it
            self.core.broken(plan, error)
        except BaseException:
            case.land()
            raise
        finally:
            is_busy.reset(busy)

    async def _finish(self, client: Guarded, case: Case, reply: Reply) -> Reply:
        if not needs_finishing(case, reply):
            return answered(case, reply)
        busy = is_busy.set(True)
        try:
            final: Reply = await shell_of(client).run(finish, case, reply)
        finally:
            is_busy.reset(busy)
        return final


async def _in_thread(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Do blocking work beside the event loop, in this context."""
    # `is_busy` is a context variable: the thread has to see that the guard is at work, or a hook guards its requests.
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(None, lambda: context.run(work, *given, **named))


async def _look(client: Guarded, names: tuple[Identifier, ...]) -> Found | None:
    """Look into the map; None if the account is not known."""
    store = shell_of(client).store
    if client.account is None and client.remembered_under is not None:
        client.note_account(await store.recall("", client.remembered_under))
    if client.account is None:
        return None
    found: Found = await store.find(client.account, names)
    return found
