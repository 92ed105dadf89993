"""Shows the emergencies of this broker to the others that share its state, and theirs to the people at this one.

It is for looking only: a row gives nobody access, and signs no review. What another broker may ask of this one is to
close an emergency early.
"""

import asyncio
import logging
from contextlib import suppress

from broker.adapters.state_emergencies import EmergencyRows
from broker.errors import StateUnavailableError
from broker.model.emergency import Emergency
from broker.wiring.break_glass import BreakGlass

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0


class EmergencyMirror:
    """One per broker; `rows` None where no other broker shares the state. Without the state it goes on trying."""

    def __init__(self, break_glass: BreakGlass, rows: EmergencyRows | None, origin: str) -> None:
        self._break_glass = break_glass
        self._rows = rows
        self._origin = origin
        self._woken = asyncio.Event()
        self._shown: dict[str, Emergency] = {}
        self._task: asyncio.Task[None] | None = None
        break_glass.close_elsewhere = self._ask_to_close
        break_glass.changed.append(self._woken.set)

    def start(self) -> None:
        """Begin."""
        if self._rows is not None:
            self._task = asyncio.create_task(self._run(self._rows))

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _ask_to_close(self, emergency: Emergency, by: str) -> None:
        """Let the broker that opened it close it, within a second or two. Raises StateUnavailableError."""
        assert self._rows is not None
        await self._rows.ask_to_close(emergency.id, by)

    async def _run(self, rows: EmergencyRows) -> None:
        while True:
            self._woken.clear()
            try:
                await self._look(rows)
            except StateUnavailableError as error:
                log.debug("emergencies cannot be shown to other brokers: %s", error)
            except Exception:
                log.exception("emergencies could not be shown to other brokers")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()

    async def _look(self, rows: EmergencyRows) -> None:
        stored = {found.id: (found, asked_by) for found, asked_by in await rows.emergencies()}
        self._break_glass.elsewhere = tuple(found for found, _ in stored.values() if found.broker != self._origin)
        for mine in self._break_glass.opened_here:
            shown, asked_by = stored.get(mine.id, (None, ""))
            if asked_by and mine.ended_at is None:
                # Who that was is proven in the ledger of the broker where it was asked, not by the row.
                await self._break_glass.close(mine, f"{asked_by}, says the shared state")
            elif shown != mine and not (mine.reviewed and self._shown.get(mine.id) == mine):
                await rows.show(mine)
                self._shown[mine.id] = mine
