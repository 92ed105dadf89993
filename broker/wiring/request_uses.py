"""Takes up the uses of grants for single use, in the state that brokers share, before anything is relayed.

A use is taken up by a row that can be there once. Nothing that may have been sent gives it back, and what this broker
took up it remembers by itself: whoever deletes the row gets no second use of it here.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from broker.access.uses import uses_of
from broker.adapters.state_use_journal import Use
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError, StateUnavailableError
from broker.ledger import request_records
from broker.model.operation import Operation
from broker.model.vocabulary import Reason
from broker.wiring.request_grants import RequestGrants
from broker.wiring.request_parts import RequestParts

log = logging.getLogger(__name__)
REMEMBERED_SECONDS = 90 * 86_400.0
"""How long after a grant's end: it may have been prolonged, and what prolongs it uses up the same."""
CLAIMED, RETURNED = "claimed", "returned"


class RequestUses:
    """Implements the engine's `Uses`. Each use is a task of its own: these writes are few, and wait for the disk."""

    def __init__(self, parts: RequestParts, grants: RequestGrants) -> None:
        self._parts = parts
        self._grants = grants
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken: dict[Use, float] = {}
        self._keeping = asyncio.Lock()

    async def start(self) -> None:
        """Remember what was taken up before. Raises ConfigError."""
        self._taken = await asyncio.to_thread(self._parts.use_journal.read)

    def claim(
        self, session: Session, operations: tuple[Operation, ...], grant: str, claimed: Callable[[str], None]
    ) -> None:
        """Take up what the operations use; `claimed` is told "", or the `Reason` word for which nothing may be sent."""

        async def answer() -> None:
            try:
                word = await self._claim(session, operations, grant)
            except Exception:
                log.exception("a use could not be taken up; nothing is sent")
                word = Reason.STATE_STALE
            claimed(word)

        self._begin(answer())

    def give_back(
        self, session: Session, operations: tuple[Operation, ...], grant: str, kept: tuple[Operation, ...] = ()
    ) -> None:
        """These were not carried out: their use may be taken up again, unless the state cannot be reached."""
        self._begin(self._give_back(session, operations, grant, kept))

    async def settled(self) -> None:
        """Until what was begun is done."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _claim(self, session: Session, operations: tuple[Operation, ...], identifier: str) -> str:
        parts, asked = self._parts, self._grants.request(identifier)
        if asked is None or not self._grants.is_given(identifier):
            return Reason.ACCESS_CHANGED
        uses = uses_of(asked.terms.grant(), session.device_key, operations)
        if uses is None:
            return Reason.OUTSIDE_PLAN
        chain, now = asked.terms.chain, parts.clock.now()
        if any((chain, use) in self._taken for use in uses):
            return Reason.GRANT_USED
        try:
            if not await parts.rows.claim(chain, identifier, uses, parts.origin, now):
                return Reason.GRANT_USED
        except StateUnavailableError:
            return Reason.STATE_STALE
        try:
            await self._remember(chain, uses, asked.terms.ends + REMEMBERED_SECONDS)
            await self._record(session, identifier, uses, CLAIMED)
        except (LedgerUnavailableError, OSError) as error:
            log.error("that %s was used could not be kept, so nothing is sent: %s", identifier, error)
            return Reason.LEDGER_CLOSED
        return ""

    async def _give_back(
        self, session: Session, operations: tuple[Operation, ...], identifier: str, kept: tuple[Operation, ...]
    ) -> None:
        asked = self._grants.request(identifier)
        if asked is None:
            return
        unused, used = (uses_of(asked.terms.grant(), session.device_key, each) for each in (operations, kept))
        uses = tuple(use for use in unused or () if use not in (used or ()))
        if not uses:
            return
        try:
            await self._record(session, identifier, uses, RETURNED)
            await self._parts.rows.give_back(asked.terms.chain, identifier, uses)
            await self._forget(asked.terms.chain, uses)
        except (LedgerUnavailableError, StateUnavailableError, OSError) as error:
            log.warning("a use of %s stays taken up, though nothing was sent: %s", identifier, error)

    async def _remember(self, chain: str, uses: Iterable[str], until: float) -> None:
        """Keep on the disk what was taken up, and that before anything is intended. Raises OSError."""
        now = self._parts.clock.now()
        async with self._keeping:
            self._taken = {use: end for use, end in self._taken.items() if now < end}
            self._taken |= {(chain, use): until for use in uses}
            await asyncio.to_thread(self._parts.use_journal.write, self._taken)

    async def _forget(self, chain: str, uses: Iterable[str]) -> None:
        """What was not sent may be taken up again. Raises OSError, and after a restart it may not."""
        async with self._keeping:
            for use in uses:
                self._taken.pop((chain, use), None)
            await asyncio.to_thread(self._parts.use_journal.write, self._taken)

    async def _record(self, session: Session, grant: str, uses: tuple[str, ...], result: str) -> None:
        now, use = self._parts.clock.now(), "; ".join(uses)
        record = request_records.grant_used(now, grant=grant, use=use, session=session.id, result=result)
        await self._parts.recorded(record)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
