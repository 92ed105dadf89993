"""Everything of break-glass in one broker: keeper, fixed policy, and what other brokers see of it."""

import asyncio
import logging
from functools import partial
from pathlib import Path

from broker.adapters.break_glass_file import BreakGlassFile
from broker.adapters.clock import random_id
from broker.adapters.ledger_files import FileLedger, State
from broker.adapters.rego_embedded import EmbeddedPolicyEngine
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_emergencies import EmergencyRows
from broker.engine.ports import Clock
from broker.errors import ConfigError
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.session_register import SessionRegister
from broker.settings.broker_file import Settings
from broker.wiring.break_glass import BreakGlass
from broker.wiring.emergency_ends import recorded_ends
from broker.wiring.emergency_journal import EmergencyJournal
from broker.wiring.emergency_mirror import EmergencyMirror
from broker.wiring.parts import embedded_engine
from broker.wiring.reload import Sources

log = logging.getLogger(__name__)


class EmergencyPolicy:
    """The fixed policy, in an embedded engine of its own: it answers whatever became of the policy in force.

    Loading is tried at the start and, if that failed, again before anything is opened.
    """

    def __init__(self, engine: EmbeddedPolicyEngine, sources: Sources) -> None:
        self.engine = engine
        self._sources = sources

    async def load(self) -> None:
        """Have the library that comes with the broker ready. Without it every decision in an emergency is a denial."""
        if self.engine.revision:
            return
        try:
            files = await asyncio.to_thread(self._sources.emergency_policies)
            await asyncio.to_thread(self._sources.archive_policies, files)
            await self.engine.publish(files.modules, files.data, files.revision)
        except (ConfigError, OSError) as error:
            log.error("the policy of emergencies cannot be loaded: what an emergency would allow is denied: %s", error)


class Emergencies:
    """Starts before anybody can connect, and stops while the ledger still takes records."""

    def __init__(
        self,
        settings: Settings,
        sources: Sources,
        clock: Clock,
        ledger: FileLedger,
        desk: DecisionDesk,
        register: SessionRegister,
        database: StateDatabase,
    ) -> None:
        origin, section = settings.ledger.origin, settings.break_glass
        self.policy = EmergencyPolicy(embedded_engine(settings), sources)
        desk.emergencies.policy = self.policy.engine
        self.book = BreakGlass(
            clock,
            ledger,
            desk,
            register,
            random_id,
            None if section is None else section.to_model(),
            EmergencyJournal(BreakGlassFile(Path(settings.state_dir))),
            origin,
            lambda: ledger.state is State.OPEN,
            self.policy.load,
            partial(recorded_ends, ledger),
        )
        rows = EmergencyRows(database) if database.shared else None
        self._mirror = EmergencyMirror(self.book, rows, origin)

    async def start(self) -> None:
        """Take up what was open. Raises ConfigError or LedgerUnavailableError."""
        await self.book.start()
        self._mirror.start()

    async def stop(self) -> None:
        """End what runs; the fixed policy answers until `close`."""
        await self._mirror.stop()
        await self.book.stop()

    async def close(self) -> None:
        """No operation is under way any more."""
        await self.policy.engine.close()
