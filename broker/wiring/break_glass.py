"""Keeps emergencies: opens them with sealed parts, ends them in time, and holds their reviews open until two signed.

Nothing here asks for anything outside this host: not an issuer of tokens, not the policy's server, not the database. An
emergency holds on the broker at which it was opened and on no other, so that no row of a database can be one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, replace

from broker.access.emergencies import EmergenciesInForce, opening_refused, signed, signing_refused
from broker.access.opening_pace import OpeningPace
from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError, PeerError
from broker.ledger import emergency_records as records
from broker.ledger.record_forms import stamp
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.opening_refusals import OpeningRefusals
from broker.listeners.session_register import SessionRegister
from broker.model.emergency import Emergency, EmergencyTerms, NotOpened, OpeningRefusal, Signature, SigningRefusal
from broker.model.parts import decode_part
from broker.model.subject import Subject
from broker.wiring.emergency_ends import Ends
from broker.wiring.emergency_journal import EmergencyJournal
from broker.wiring.recording import durable, record_durably

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.25
FILE_LOOK_SECONDS = 1.0
_LATER = frozenset({"ended_at", "ended_by", "signatures"})


class BreakGlass:
    """One per broker. `terms` None: nothing can be opened. `may_record`: whether the ledger takes records now.

    `load_policy` sees to it that the fixed policy is there. `recorded_ends` reads in the ledger how emergencies ended.
    `changed` are called when an emergency is not as it was.
    `elsewhere` is what was last seen of those that other brokers opened, which `close_elsewhere` asks to close one.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        desk: DecisionDesk,
        register: SessionRegister,
        chance: Callable[[str], str],
        terms: EmergencyTerms | None,
        journal: EmergencyJournal,
        origin: str,
        may_record: Callable[[], bool],
        load_policy: Callable[[], Awaitable[None]],
        recorded_ends: Callable[[Collection[Emergency]], Ends],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._register = register
        self._chance = chance
        self._terms = terms
        self._journal = journal
        self._origin = origin
        self._may_record = may_record
        self._load_policy = load_policy
        self._recorded_ends = recorded_ends
        self._recorded: set[str] = set()
        self._turn = asyncio.Lock()
        self._pace = OpeningPace()
        self.refusals = OpeningRefusals(clock, ledger)
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self.changed: list[Callable[[], None]] = []
        self.elsewhere: tuple[Emergency, ...] = ()
        self.close_elsewhere: Callable[[Emergency, str], Awaitable[None]] | None = None

    @property
    def emergencies(self) -> tuple[Emergency, ...]:
        """Those that were opened at this broker, in that order."""
        return self._journal.emergencies

    @property
    def holding(self) -> tuple[Emergency, ...]:
        """Those that hold now: what is not in the ledger does not."""
        now = self._clock.now()
        return tuple(found for found in self.opened_here if found.id in self._recorded and found.holds_at(now))

    @property
    def opened_here(self) -> tuple[Emergency, ...]:
        """Those of this ledger, where the file has others as well: an emergency holds where it was opened alone."""
        return tuple(found for found in self.emergencies if found.broker == self._origin)

    @property
    def parts_left(self) -> int:
        """How many parts can still open something."""
        return self._journal.seal.unspent if self._journal.seal is not None else 0

    @property
    def readiness(self) -> tuple[bool, str]:
        """Whether there is nothing to see to, and what there is."""
        reviews = [found.id for found in self.emergencies if not found.reviewed]
        if self._journal.trouble:
            return False, self._journal.trouble
        if reviews:
            held = ", ".join(f"{found.id} at {found.site} by {found.subject}" for found in self.holding)
            return False, f"open now: {held or 'none'}; reviews open: {', '.join(reviews)}"
        if self._terms is None:
            return True, "not set up"
        seal = self._journal.seal
        if seal is None or not seal.usable:
            return False, "no parts are sealed" if seal is None else "too few parts are left: seal again"
        return True, f"sealed, {seal.unspent} parts left, {seal.needed} needed"

    def now(self) -> float:
        """The moment, in epoch seconds."""
        return self._clock.now()

    def holds(self, subject: Subject, site: str) -> bool:
        """Whether a subject holds an emergency, at a site or ("") anywhere; whoever is locked holds nothing."""
        now, emergencies = self._clock.now(), self._desk.emergencies.in_force
        if self._desk.locks.on_subject(subject) is not None:
            return False
        return emergencies.of(subject, site, now) is not None if site else emergencies.anywhere(subject, now)

    async def start(self) -> None:
        """Take up what was open, recorded anew, before anybody can connect. Raises ConfigError or UnavailableError."""
        await self._journal.read()
        await self._learn_ends()
        if self._terms is not None:
            await self._load_policy()
            now = self._clock.now()
            for emergency in [found for found in self.opened_here if found.holds_at(now)]:
                await self._begin(emergency, resumed=True)
        self._watch()
        self._tasks.add(asyncio.create_task(self._look()))

    async def _learn_ends(self) -> None:
        """What the ledger has as ended is over, whatever the file still says: it may have been on a full disk."""
        going_on = tuple(found for found in self.opened_here if found.ended_at is None)
        ends = await asyncio.to_thread(self._recorded_ends, going_on) if going_on else {}
        for emergency in going_on:
            if emergency.id in ends:
                at, by = ends[emergency.id]
                log.warning("break-glass %s was ended, and that was not kept: it stays ended", emergency.id)
                self._journal.put(replace(emergency, ended_at=min(at, emergency.until), ended_by=by))

    async def stop(self) -> None:
        """Look no more; what is open goes on after the next start, if that comes in time."""
        if self._timer is not None:
            self._timer.cancel()
        async with self._turn:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self.refusals.flush()

    async def open(
        self, subject: Subject, site: str, why: str, minutes: int | None, raw_parts: Sequence[str], peer: str
    ) -> Emergency | NotOpened:
        """Open an emergency; finished and recorded whoever waits. Raises UnavailableError: then nothing holds.

        `minutes` None: the longest that the settings give.
        """
        task = asyncio.create_task(self._open(subject, self._asked(subject, site, why, minutes, peer), raw_parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def close(self, emergency: Emergency, by: str) -> None:
        """End an emergency early, also one that was kept and not recorded: its sessions are cut before this returns.

        One of another broker it closes within some seconds. Raises StateUnavailableError if that cannot be told.
        """
        own = next((found for found in self.emergencies if found.id == emergency.id), None)
        if own is not None and own.ended_at is None:
            self._end(replace(own, ended_at=self._clock.now(), ended_by=by))
            await self._journal.keep()
            with suppress(LedgerUnavailableError):
                await durable(self._ledger)
        if self.close_elsewhere is not None and emergency.id in {found.id for found in self.elsewhere}:
            await self.close_elsewhere(emergency, by)

    async def sign(self, emergency: Emergency, by: str, comment: str) -> Emergency | SigningRefusal:
        """Sign the review of an emergency. Raises UnavailableError: no record, no signature."""
        async with self._turn:
            current = next(found for found in self.emergencies if found.id == emergency.id)
            now = self._clock.now()
            refused = signing_refused(current, by, now)
            if refused is not None:
                return refused
            after = signed(current, Signature(by, now, comment))
            count = len(after.signatures)
            record = records.break_glass_reviewed(now, emergency=after.id, by=by, comment=comment, signatures=count)
            await record_durably(self._ledger, record)
            self._journal.put(after)
        await self._journal.keep()
        self._tell()
        return after

    def _asked(self, subject: Subject, site: str, why: str, minutes: int | None, peer: str) -> Emergency:
        """The emergency that is asked for, as it will be if the parts are right."""
        now, terms = self._clock.now(), self._terms
        longest = terms.longest_minutes if terms is not None else 0
        return Emergency(
            id=self._chance("emg"),
            site=site,
            subject=subject.id,
            organisation=subject.organisation,
            why=why,
            opened_at=now,
            until=float(int(now) + 60 * (longest if minutes is None else minutes)),
            actions=terms.actions if terms is not None else (),
            broker=self._origin,
            seal="",
            parts=(),
            peer=peer,
            passes=tuple(isolation.id for isolation in self._desk.locks.isolations(site)),
        )

    async def _open(self, subject: Subject, asked: Emergency, raw_parts: Sequence[str]) -> Emergency | NotOpened:
        async with self._turn:
            ticks = self._clock.monotonic()
            wait = self._pace.wait_seconds(subject.id, ticks)
            barred = self._barred(subject, asked) or (OpeningRefusal.TOO_SOON if wait else None)
            if barred is not None:
                return self._refuse(subject, asked, barred, wait)
            if not self._may_record():
                raise LedgerUnavailableError("ledger_closed", "The ledger takes no records.")
            if self._register.shut_for_emergencies:
                return self._refuse(subject, asked, OpeningRefusal.NO_SESSIONS)
            await self._load_policy()
            self._pace.look(ticks)
            opened = await self._spend(asked, raw_parts)
            if isinstance(opened, OpeningRefusal):
                self._pace.failed(subject.id, self._clock.monotonic())
                return self._refuse(subject, asked, opened)
            self._pace.succeeded(subject.id)
            await self._begin(opened)
            return opened

    def _barred(self, subject: Subject, asked: Emergency) -> OpeningRefusal | None:
        """Why no parts are looked at."""
        if self._terms is None:
            return OpeningRefusal.NOT_SET_UP
        minutes = (int(asked.until) - int(asked.opened_at)) // 60
        organisation, locks = self._desk.in_force.organisation(subject), self._desk.locks
        refused = opening_refused(self._terms, subject, organisation, asked.site, minutes, self._clock.now())
        locked = locks.on_subject(subject) or locks.on_site(asked.site)
        return refused or (None if locked is None else OpeningRefusal.LOCKED)

    async def _spend(self, asked: Emergency, raw_parts: Sequence[str]) -> Emergency | OpeningRefusal:
        """Spend the parts and keep the emergency; it does not hold yet."""
        try:
            parts = tuple(decode_part(raw) for raw in raw_parts)
        except PeerError:
            return OpeningRefusal.PARTS_MALFORMED
        return await self._journal.spend(replace(asked, parts=tuple(sorted(part.number for part in parts))), parts)

    def _refuse(self, subject: Subject, asked: Emergency, because: OpeningRefusal, wait: float = 0.0) -> NotOpened:
        log.warning("break-glass at %s was refused to %s: %s", asked.site, subject.id, because)
        self.refusals.count(subject.id, because)
        return NotOpened(because, wait)

    async def _begin(self, emergency: Emergency, resumed: bool = False) -> None:
        """Record an emergency, then let it hold. Raises LedgerUnavailableError, and it does not."""
        told = {name: value for name, value in asdict(emergency).items() if name not in _LATER}
        await record_durably(
            self._ledger, records.break_glass_opened(self._clock.now(), emergency=told, resumed=resumed)
        )
        self._recorded.add(emergency.id)
        self._enforce()
        log.critical(
            "BREAK-GLASS %s at site %s by %s of %s until %s: %s",
            "goes on" if resumed else "was opened",
            emergency.site,
            emergency.subject,
            emergency.organisation,
            stamp(emergency.until),
            emergency.why,
        )
        self._tell()

    def _end(self, ended: Emergency) -> None:
        """Recorded or not, it gives nothing any more."""
        self._journal.put(ended)
        try:
            self._ledger.append(records.break_glass_ended(self._clock.now(), emergency=ended.id, by=ended.ended_by))
            self._ledger.settle(True, lambda _: None)
        except LedgerUnavailableError:
            log.error("the end of an emergency was not recorded: the ledger is closed")
        self._enforce()
        self._register.enforce_emergencies()
        log.critical("break-glass %s at site %s has ended; its review is open", ended.id, ended.site)
        self._tell()

    def _enforce(self) -> None:
        self._desk.enforce_emergencies(EmergenciesInForce(self.holding))

    def _watch(self) -> None:
        """End what is over."""
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._watch)
        now = self._clock.now()
        for emergency in self.emergencies:
            if emergency.ended_at is None and now >= emergency.until:
                self._end(replace(emergency, ended_at=emergency.until))
        self.refusals.flush(now)

    async def _look(self) -> None:
        """Keep what changed, and take up what was sealed anew."""
        while True:
            try:
                await self._journal.look()
                await self._record_seal()
            except Exception:
                log.exception("the file of break-glass could not be looked at")
            await asyncio.sleep(FILE_LOOK_SECONDS)

    async def _record_seal(self) -> None:
        seal = self._journal.unrecorded_seal
        if seal is None:
            return
        log.warning("break-glass was sealed: %d parts, %d needed", len(seal.parts), seal.needed)
        record = records.break_glass_sealed(
            self._clock.now(), seal=seal.id, parts=len(seal.parts), needed=seal.needed, sealed_at=seal.sealed_at
        )
        with suppress(LedgerUnavailableError):
            await record_durably(self._ledger, record)
            await self._journal.keep(recorded=seal)

    def _tell(self) -> None:
        for changed in self.changed:
            changed()
