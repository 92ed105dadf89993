"""Brings changed inventory, revocation lists and policies into force: losses at once, gains as the settings say."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from broker.access.losses import losses_only
from broker.adapters.policy_files import PolicyFiles
from broker.adapters.upstreams import Upstreams
from broker.engine.in_force import InForce
from broker.engine.ports import Clock, Ledger
from broker.errors import BrokerError, ConfigError, LedgerUnavailableError, Problem
from broker.identity.certificate import Trust
from broker.ledger import records
from broker.listeners.authentication import Authenticator
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.session_register import FILES_INVALID, SessionRegister
from broker.model.place import Inventory
from broker.model.vocabulary import EndReason
from broker.settings.broker_file import Settings
from broker.wiring.inventory_changes import InventoryChange, InventoryChanges
from broker.wiring.policy_review import PolicyReview, PolicySources

log = logging.getLogger(__name__)
LATE_SECONDS = 30.0
KEPT = "copy in the state folder"


class Sources(PolicySources, Protocol):
    """The files behind; every method reads files and is called from a worker thread."""

    def inventory_mark(self) -> str:
        """Changes whenever the inventory's files do."""

    def policy_mark(self) -> str:
        """Changes whenever the policy's files do."""

    def approved_revision(self) -> str:
        """The inventory revision whose gains were approved last."""

    def inventory(self) -> Inventory:
        """Read the inventory. Raises ConfigError."""

    def keep(self, inventory: Inventory) -> None:
        """Remember the inventory in force for the next start, and archive it by its revision."""

    def keep_settings(self, settings: Settings) -> tuple[str, str]:
        """Archive the settings by their revision; that, and the revision at the last start ("" at the first)."""

    def spend_approval(self) -> None:
        """An approval serves once: the same files later are gains that somebody must approve again."""

    def certificate_mark(self) -> str:
        """Changes whenever a listener's certificate or key file does."""

    def emergency_policies(self) -> PolicyFiles:
        """The library that comes with the broker, which decides in emergencies. Raises ConfigError."""


class Reload:
    """Polls the files; `trust_changed` lets listeners take new anchors into their handshakes.

    `follow` lets what serves devices follow the inventory in force; it is called at every look, so that it can try
    again what failed.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        desk: DecisionDesk,
        register: SessionRegister,
        authenticator: Authenticator,
        upstreams: Upstreams,
        policies: PolicyReview,
        sources: Sources,
        *,
        review_gains: bool,
        invalid_stop_seconds: float,
        trust_changed: Callable[[Inventory], None],
        follow: Callable[[Inventory], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._register = register
        self._authenticator = authenticator
        self._upstreams = upstreams
        self._policies = policies
        self._sources = sources
        self._review_gains = review_gains
        self._invalid_stop_seconds = invalid_stop_seconds
        self._trust_changed = trust_changed
        self._follow = follow
        self._inventory_changes = InventoryChanges(clock, ledger)
        self._begun: InventoryChange | None = None
        self._inventory_seen = ("", "")
        self._policy_seen = ""
        self._certificates_seen = ""
        self._unkept: tuple[Inventory, bool] | None = None
        self._invalid_since: dict[str, float] = {}
        self._looking_since: dict[str, float] = {}
        self.waiting_revision = ""
        self.inventory_since = clock.monotonic()

    @property
    def invalid(self) -> tuple[str, ...]:
        """What cannot be used as it stands in the files: `inventory`, `policy`; what could not be looked at."""
        return tuple(self._invalid_since)

    @property
    def state(self) -> str:
        """The files in a few words: what is invalid, and which gains somebody has yet to approve."""
        words = f"invalid: {', '.join(self.invalid)}" if self.invalid else "valid"
        if self.waiting_revision:
            words += f"; gains of inventory revision {self.waiting_revision} wait for `otbroker config apply`"
        if self._policies.waiting:
            words += f"; policy revision {self._policies.waiting} waits for `otb policy activate`"
        return words

    def begin(self, change: InventoryChange) -> None:
        """What is in force from the start on, after what was when the broker last ran: told once the ledger is open."""
        self._begun = change
        self._gains_wait_for(change.waiting_revision)

    def _gains_wait_for(self, revision: str) -> None:
        if revision and revision != self.waiting_revision:
            log.warning(
                "inventory revision %s is in force without its gains: they wait for `otbroker config apply`", revision
            )
        self.waiting_revision = revision

    async def told(self) -> None:
        """Until every change of the inventory that is in force has been recorded."""
        await self._inventory_changes.told()

    async def close(self) -> None:
        """Record what is not recorded yet, at once."""
        await self._inventory_changes.close()

    async def remember(self) -> None:
        """Take the files as they are now for seen, and tell what has changed since the broker last ran."""
        if self._begun is not None:
            if self._begun.is_news:
                self._inventory_changes.note(self._begun)
            # Without it the next start would take everything for new and approved: then rather no start.
            await asyncio.to_thread(self._sources.keep, self._begun.in_force)
        self._inventory_seen = await asyncio.to_thread(self._inventory_marks)
        self._certificates_seen = await asyncio.to_thread(self._sources.certificate_mark)

    async def run(self, poll_seconds: float) -> None:
        """Poll until cancelled.

        A policy is looked at beside everything else: what evaluates it may take its time to take it, and no revocation
        waits for that.
        """
        async with asyncio.TaskGroup() as both:
            both.create_task(self._poll(self.look, poll_seconds, "files"))
            both.create_task(self._poll(self.look_at_policy, poll_seconds, "policy files"))
            both.create_task(self._watch(poll_seconds))

    async def _poll(self, look: Callable[[], Awaitable[None]], poll_seconds: float, what: str) -> None:
        while True:
            await asyncio.sleep(poll_seconds)
            self._looking_since[what] = self._clock.monotonic()
            try:
                await look()
            except Exception:
                # A fault here must neither end the watching nor leave a revocation unseen for long without a word.
                log.exception("%s could not be looked at", what)
                self._invalid_since.setdefault(what, self._clock.monotonic())
                self._shut_if_invalid_too_long()
            else:
                self._invalid_since.pop(what, None)
            finally:
                self._looking_since.pop(what, None)

    async def _watch(self, poll_seconds: float) -> None:
        """What has not come back is as bad as what cannot be used: a disk that hangs has revocations unread as well."""
        while True:
            await asyncio.sleep(poll_seconds)
            now = self._clock.monotonic()
            for what, since in self._looking_since.items():
                if now - since >= LATE_SECONDS and what not in self._invalid_since:
                    log.error("%s could not be looked at for %d seconds", what, LATE_SECONDS)
                    self._invalid_since[what] = since
            self._shut_if_invalid_too_long()

    async def look(self) -> None:
        """One look at all files but the policy's; whatever changed comes into force or is refused."""
        await self._keep()
        marks = await asyncio.to_thread(self._inventory_marks)
        if marks != self._inventory_seen and await self._attempt("inventory", self._take_inventory):
            self._inventory_seen = marks
        await self._follow(self._desk.in_force.inventory)
        mark = await asyncio.to_thread(self._sources.certificate_mark)
        if mark != self._certificates_seen:
            self._certificates_seen = mark
            self._trust_changed(self._desk.in_force.inventory)
        self._shut_if_invalid_too_long()

    async def look_at_policy(self) -> None:
        """One look at the policy's files and at what people have activated; lasts until the policy has been taken."""
        mark = await asyncio.to_thread(self._sources.policy_mark)
        if mark != self._policy_seen and await self._attempt("policy", self._policies.take):
            self._policy_seen = mark
        await self._attempt("activation", self._policies.activate)
        self._shut_if_invalid_too_long()

    async def _attempt(self, what: str, take: Callable[[], Awaitable[None]]) -> bool:
        """Whether nothing more is to be done about this state of the files."""
        try:
            await take()
        except ConfigError as error:
            self._refuse(what, error)
            return True
        except BrokerError as error:
            log.warning("%s is not in force yet: %s", what, error)
            return False
        self._invalid_since.pop(what, None)
        return True

    async def _take_inventory(self) -> None:
        wanted = await asyncio.to_thread(self._sources.inventory)
        previous = self._desk.in_force.inventory
        approved = await asyncio.to_thread(self._sources.approved_revision)
        held_back = self._review_gains and approved != wanted.revision
        inventory = losses_only(previous, wanted) if held_back else wanted
        change = InventoryChange(previous, inventory, wanted)
        waited_for = self.waiting_revision
        self._gains_wait_for(change.waiting_revision)
        if inventory.revision != previous.revision:
            await self._bring_into_force(change, spend_approval=not held_back)
        elif change.waiting_revision not in ("", waited_for):
            self._inventory_changes.note(change)

    async def _bring_into_force(self, change: InventoryChange, *, spend_approval: bool) -> None:
        inventory = change.in_force
        trust, in_force = Trust(inventory.organisations), InForce(inventory)
        await self._upstreams.replace(inventory.devices, inventory.endpoints)
        self._authenticator.replace_trust(trust)
        self._trust_changed(inventory)
        self._desk.in_force = in_force
        self.inventory_since = self._clock.monotonic()
        self._inventory_changes.note(change)
        self._in_force(EndReason.INVENTORY_CHANGED)
        self._unkept = (inventory, spend_approval)
        await self._keep()

    async def _keep(self) -> None:
        """Remember what is in force for the next start. A disk that is full is a fault, and no reason to let a
        revocation wait: it is tried again at each look.
        """
        if self._unkept is None:
            return
        inventory, spend_approval = self._unkept
        try:
            await asyncio.to_thread(self._sources.keep, inventory)
            if spend_approval:
                await asyncio.to_thread(self._sources.spend_approval)
        except OSError as error:
            log.error("the inventory in force cannot be kept for the next start: %s", error)
            self._invalid_since.setdefault(KEPT, self._clock.monotonic())
        else:
            self._unkept = None
            self._invalid_since.pop(KEPT, None)

    def _in_force(self, cause: EndReason) -> None:
        """Every lease dies, every session is looked at."""
        self._desk.epoch += 1
        self._register.examine_all(cause)

    def _refuse(self, what: str, error: ConfigError) -> None:
        self._invalid_since.setdefault(what, self._clock.monotonic())
        problems = [f"{_place(problem)}: {problem.message}" for problem in error.problems] or [str(error)]
        log.error("%s not reloaded, the last good state stays: %s", what, "; ".join(problems[:5]))
        try:
            self._ledger.append(records.reload_refused(self._clock.now(), what=what, problems=problems))
        except LedgerUnavailableError:
            log.error("a refused reload was not recorded: the ledger is closed")

    def _shut_if_invalid_too_long(self) -> None:
        now = self._clock.monotonic()
        if any(now - since >= self._invalid_stop_seconds for since in self._invalid_since.values()):
            self._register.shut_for.add(FILES_INVALID)
        else:
            self._register.shut_for.discard(FILES_INVALID)

    def _inventory_marks(self) -> tuple[str, str]:
        return self._sources.inventory_mark(), self._sources.approved_revision()


def _place(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
