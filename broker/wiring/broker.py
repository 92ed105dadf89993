"""A running broker: built from settings, started in order, stopped in order."""

import asyncio
import importlib.metadata
import logging
import secrets
import sys
from functools import partial
from pathlib import Path

from broker.adapters.clock import SystemClock, random_id
from broker.adapters.jwks import KeyCache
from broker.adapters.ledger_disclosures import DisclosureWriter
from broker.adapters.ledger_files import State
from broker.adapters.notice_positions import NoticePositions
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_leaves import DebtJournal, LeaveFile
from broker.calendar.zones import tzdata_version
from broker.engine.in_force import InForce
from broker.errors import LedgerUnavailableError
from broker.identity.certificate import Trust, fingerprint
from broker.ledger import records
from broker.listeners.approvers import Approvers
from broker.listeners.audit_desk import AuditDesk
from broker.listeners.authentication import Authenticator
from broker.listeners.bacnet_subscriptions import CovDesk
from broker.listeners.concealment import Concealment
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.driver import Driver
from broker.listeners.figures import Figures
from broker.listeners.frame_refusals import FrameRefusals
from broker.listeners.gate import Gate, Parts
from broker.listeners.identity_refusals import IdentityRefusals
from broker.listeners.interpreters import Interpreters
from broker.listeners.modbus_tls import Floor
from broker.listeners.ops import INFORMATIONAL, OpsListener
from broker.listeners.session_register import SessionRegister
from broker.listeners.supervision import Supervision
from broker.listeners.tls import TlsConnection
from broker.listeners.watch import Watch
from broker.model.place import Inventory
from broker.model.proposal import ProposalAct
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, RecordKind
from broker.settings.broker_file import Settings
from broker.wiring.bacnet_hubs import BacnetHubs
from broker.wiring.emergencies import Emergencies
from broker.wiring.exports import checkpoint_export
from broker.wiring.figures import figures
from broker.wiring.host_commands import HostCommands
from broker.wiring.https_api import HttpsApi
from broker.wiring.leaves import LeaveKeeper
from broker.wiring.ledger_view import RunningLedgerView
from broker.wiring.locks import lock_keeper
from broker.wiring.logouts import LogoutKeeper
from broker.wiring.modbus_listeners import ModbusListeners
from broker.wiring.notices import Notices
from broker.wiring.parts import Addresses, command_places, file_ledger, policy_engine, state_place, tunnels, upstreams
from broker.wiring.people.parts import people
from broker.wiring.policy_review import PolicyReview
from broker.wiring.proposals import proposal_book
from broker.wiring.proving import prove_again
from broker.wiring.readiness import ledger_words, readiness
from broker.wiring.recording import record_dispute
from broker.wiring.reload import Reload, Sources
from broker.wiring.requests import request_book
from broker.wiring.retention import retain

log = logging.getLogger(__name__)
SWITCH_INTERVAL_SECONDS = 0.0005
DRAIN_SECONDS = 5.0
STOPPING = "the broker stops"
LEDGER_CLOSED = "the ledger is closed"


class Broker:
    """One broker process. `start` raises BrokerError if something that must be there is not."""

    def __init__(self, settings: Settings, sources: Sources, inventory: Inventory) -> None:
        self.settings = settings
        self.addresses = Addresses()
        self._sources = sources
        self.clock = SystemClock()
        self.ledger = file_ledger(settings, self.clock, self._ledger_state, self._checkpoint, self._recorded)
        self.export = checkpoint_export(settings.ledger.exports)
        self.notices = self._new_notices()
        self.policy = policy_engine(settings)
        self.disclosures = DisclosureWriter(Path(settings.ledger_folder), self.ledger)
        concealment = Concealment(self.disclosures)
        self.desk = DecisionDesk(self.clock, self.ledger, self.policy, InForce(inventory), random_id, concealment)
        self.keys = KeyCache(settings.trust_issuers(), self.clock, changed=self._keys_changed)
        self.authenticator = Authenticator(
            Trust(inventory.organisations), settings.trust_issuers(), self.keys, self.clock
        )
        proves = partial(prove_again, self.authenticator)
        self.desk.approvals.approvers = Approvers(self.clock, self.desk.admin, proves)
        self.register = SessionRegister(self.clock, self.ledger, self.desk, random_id, proves)
        self.supervision = Supervision(self.clock, self.ledger, self.desk, self.register, proves)
        self.upstreams = upstreams(settings, inventory, self.clock)
        self.upstreams.disputed = partial(record_dispute, self.clock, self.ledger)
        self.debts = DebtJournal(Path(settings.state_dir) / "owed.json")
        self.driver = Driver(self.clock, self.ledger, self.desk, self.upstreams.upstream, self.register.end, self.debts)
        self.driver.audits = self.audits = AuditDesk(
            self.clock, self.ledger, lambda: self.desk.in_force, self.upstreams.upstream, settings.ledger.origin
        )
        self.identity_refusals = IdentityRefusals(self.clock, self.ledger)
        self.frame_refusals = FrameRefusals(
            self.clock, self.ledger, self.desk.quota.suppress, lambda: self.desk.in_force.anything_confidential
        )
        self.interpreters = Interpreters()
        self.watch = Watch(self.clock, self.ledger, self.desk, self.register, self.identity_refusals)
        self.modbus = self._new_modbus_listeners()
        self.state = StateDatabase(state_place(self.settings))
        self.proposals = proposal_book(settings, self.clock, self.ledger, self.desk, self.authenticator, self.state)
        self.policies = self._new_policies()
        self.reload = self._new_reload()
        self.locks = lock_keeper(settings, self.clock, self.ledger, self.desk, self.register, self.state)
        self.emergencies = Emergencies(settings, sources, self.clock, self.ledger, self.desk, self.register, self.state)
        self.break_glass = self.emergencies.book
        self.people = people(
            settings, self.clock, self.ledger, self.desk, self.register, self.authenticator, self.state
        )
        self.leaves = self._new_leaves()
        self.requests = request_book(
            settings, self.clock, self.ledger, self.desk, self.register, self.policy, self.state
        )
        self.driver.uses = self.requests.uses
        self.gate = self._new_gate()
        self.tunnels = tunnels(self.gate, self._prove, self.identity_refusals, settings)
        self.hubs = BacnetHubs(settings, self.authenticator, self.gate, self.frame_refusals, self.identity_refusals)
        self.logouts = LogoutKeeper(self.clock, self.ledger, self.authenticator, self.register, self.state)
        self.https = HttpsApi(
            settings.https, self.gate, self.authenticator, self.tunnels, self.logouts, self.identity_refusals
        )
        self.host_commands = HostCommands(self.clock, self.ledger, command_places(settings))
        self._checkpoint_at, self._started, self._stopped = 0.0, False, False
        self._ops = OpsListener(self.readiness, self.figures)
        self._tasks: list[asyncio.Task[None]] = []

    def _new_notices(self) -> Notices:
        return Notices(
            self.settings.notifications,
            self.ledger,
            self.clock,
            random_id,
            self.settings.ledger.origin,
            NoticePositions(Path(self.settings.state_dir) / "notices.json"),
            lambda: {} if self._stopped else self.readiness(),
            INFORMATIONAL,
        )

    def _new_modbus_listeners(self) -> ModbusListeners:
        floor = Floor(
            self.driver,
            self.register,
            self.authenticator,
            self.interpreters,
            self.frame_refusals,
            lambda: self.desk.in_force,
        )
        return ModbusListeners(self.settings.modbus_tls, floor, self.identity_refusals, self.ledger, self.clock)

    def _new_reload(self) -> Reload:
        return Reload(
            self.clock,
            self.ledger,
            self.desk,
            self.register,
            self.authenticator,
            self.upstreams,
            self.policies,
            self._sources,
            review_gains=self.settings.reload.gains == "review",
            invalid_stop_seconds=self.settings.reload.invalid_stop_seconds,
            trust_changed=self._trust_changed,
            follow=self._follow,
        )

    async def _follow(self, inventory: Inventory) -> None:
        """What serves devices, and what hears them, follows the inventory in force."""
        self.upstreams.register(inventory.bacnet_networks)
        await self.modbus.follow(inventory)

    def _new_policies(self) -> PolicyReview:
        return PolicyReview(
            self.clock,
            self.ledger,
            self.policy,
            self._sources,
            review=self.settings.policy.activation == "review",
            warrants=lambda: self.proposals.warrants(ProposalAct.POLICY_ACTIVATE),
            decided=lambda: self.proposals.decided(ProposalAct.POLICY_ACTIVATE),
            in_force=self._look_again,
            classify=self.desk.classify,
        )

    def _new_leaves(self) -> LeaveKeeper:
        return LeaveKeeper(
            self.clock,
            self.ledger,
            self.desk,
            self.register,
            self.driver,
            self.debts,
            LeaveFile(Path(self.settings.state_dir) / "leaves.json"),
            random_id,
            self.settings.leave,
            self.settings.ledger.origin,
            fingerprint(self.ledger.vkey.encode()),
            alone=not self.settings.state.brokers,
        )

    def _new_gate(self) -> Gate:
        parts = Parts(
            self.clock,
            self.ledger,
            self.desk,
            self.driver,
            self.register,
            self.interpreters,
            self.frame_refusals,
            self.supervision,
            CovDesk(
                self.clock,
                self.ledger,
                self.driver,
                self.interpreters,
                self.upstreams.upstream,
                _first_cov_process,
                self.leaves,
            ),
            self.upstreams.live,
        )
        books = (self.locks, self.leaves, self.break_glass, self.people, self.requests)
        gate = Gate(parts, RunningLedgerView(self.ledger), self.readiness, *books)
        gate.policies, gate.proposals = self.policies, self.proposals
        return gate

    async def start(self) -> None:
        """Ledger first (orphan intents get their outcome before anybody can connect), listeners last."""
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        await self.ledger.open()
        self.export.start()
        await self.notices.start()
        await self.keys.start()
        await self.proposals.start()
        await self.policies.start()
        await self._record_start()
        await self.host_commands.start()
        await self.reload.remember()
        await self.locks.start()
        await self.emergencies.start()
        await self.logouts.start()
        if self.people is not None:
            await self.people.start()
        await self.debts.open()
        await self.requests.start()
        await self._open_listeners()
        self.upstreams.register(self.desk.in_force.inventory.bacnet_networks)
        await self.leaves.start()
        self.watch.start()
        self.supervision.start()
        self._tasks.append(asyncio.create_task(self.reload.run(self.settings.reload.poll_seconds)))
        self._tasks.append(asyncio.create_task(self.host_commands.run()))
        days = self.settings.ledger.retention_days
        self._tasks.append(asyncio.create_task(retain(self.ledger, self.disclosures, self.clock, days)))

    async def stop(self, reason: str = "stopped") -> None:
        """Accept nobody, end all sessions with the true reason, let operations in flight finish, close the ledger."""
        self._stopped = True
        self.register.shut_for.add(STOPPING)
        await self.modbus.stop()
        await self.hubs.stop()
        await self.https.stop()
        self.register.end_all(EndReason.BROKER_STOPPED)
        self.supervision.stop()
        await self.https.quiet(DRAIN_SECONDS)
        await self.driver.quiet(DRAIN_SECONDS)
        await self.leaves.stop()
        await self.https.close()
        await self._ops.close()
        self.modbus.close_all()
        self.hubs.close_all()
        self.https.close_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.reload.close()
        if self.people is not None:
            await self.people.stop()
        await self.requests.stop()
        await self.proposals.stop()
        await self.locks.stop()
        await self.emergencies.stop()
        await self.logouts.stop()
        await self.state.close()
        self.watch.stop()
        await self.audits.stop()
        await self.upstreams.close()
        await self.driver.quiet(DRAIN_SECONDS)
        await self.debts.close()
        await self.policy.close()
        await self.emergencies.close()
        await self.keys.close()
        if self._started:
            self._record_stop(reason)
        await self.ledger.close()
        await self.disclosures.close()
        await self.export.close()
        await self.notices.close()

    def readiness(self) -> dict[str, tuple[bool, str]]:
        """Parts of readiness: good or not, and in what state."""
        return readiness(self)

    def figures(self) -> Figures:
        """What the metrics show."""
        return figures(self)

    def checkpoint_age_seconds(self) -> float:
        """How old the newest checkpoint is; 0 before the first."""
        return self.clock.monotonic() - self._checkpoint_at if self._checkpoint_at else 0.0

    async def _record_start(self) -> None:
        """What is in force from here on. Settings are read at the start only, so it is here that they change."""
        revision, previous = await asyncio.to_thread(self._sources.keep_settings, self.settings)
        revisions = {
            "settings": revision,
            "inventory": self.desk.in_force.inventory.revision,
            "policy": self.policy.revision,
            "tzdata": tzdata_version(),
        }
        version = importlib.metadata.version("otbroker")
        self._started = True
        self.ledger.append(records.broker_started(self.clock.now(), version=version, revisions=revisions))
        if previous not in ("", revision):
            changed = RecordKind.SETTINGS_CHANGED
            self.ledger.append(records.changed(changed, self.clock.now(), revision=revision, previous=previous))

    def _record_stop(self, reason: str) -> None:
        try:
            self.ledger.append(records.broker_stopped(self.clock.now(), reason=reason))
        except LedgerUnavailableError:
            log.error("the stop was not recorded: the ledger is closed")

    async def _open_listeners(self) -> None:
        inventory = self.desk.in_force.inventory
        self.addresses.modbus_tls = await self.modbus.open(inventory)
        self.addresses.bacnet_sc = await self.hubs.open(inventory)
        self.addresses.https = await self.https.open(inventory)
        host, port = await self._ops.start(self.settings.ops.address, self.settings.ops.port)
        self.addresses.ops = f"{host}:{port}"

    async def _prove(self, connection: TlsConnection, raw_token: str) -> Subject:
        assert self.settings.https is not None
        return await self.authenticator.authenticate(
            self.settings.https.requirement, connection.leaf, connection.intermediates, raw_token
        )

    def _keys_changed(self) -> None:
        """An issuer has other keys, or its keys have become too old: look at who came with its tokens."""
        self.register.examine_all(EndReason.TOKEN_KEY_WITHDRAWN)

    def _look_again(self, cause: EndReason) -> None:
        """Every lease dies, every session is looked at."""
        self.desk.epoch += 1
        self.register.examine_all(cause)

    def _trust_changed(self, inventory: Inventory) -> None:
        self.modbus.renew(inventory)
        self.hubs.renew(inventory)
        self.https.renew(inventory)

    def _ledger_state(self, state: State, detail: str) -> None:
        expected = state is State.OPEN or self._stopped
        log.log(logging.INFO if expected else logging.WARNING, "ledger %s", ledger_words(state, detail))
        if state is State.CLOSED:
            self.register.shut_for.add(LEDGER_CLOSED)
            self.register.end_all(EndReason.LEDGER_CLOSED)

    def _recorded(self, index: int, record: bytes) -> None:
        """Hand a record to the notices, which never block."""
        self.notices.recorded(index, record)

    def _checkpoint(self, note: str) -> None:
        """Hand a new checkpoint to the exports, which never block."""
        self._checkpoint_at = self.clock.monotonic()
        self.export.offer(note)


def _first_cov_process() -> int:
    """By chance, so that what an earlier run left at a device is nobody's."""
    return secrets.randbelow(0xFFFF_FFFF) + 1
