"""Keeps the locks: in memory and in this broker's journal first, then in the state that brokers share.

A lock that is set here holds here at once, whatever has become of the database. Lifting goes through the database
alone, so that whoever is cut off from it can only take away, never give back; and it takes what a broker signed, so
that whoever writes the database cannot either.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from broker.access.locks import LocksInForce, merged
from broker.adapters.clock import random_id
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_journal import LockJournal
from broker.adapters.state_locks import LockRows
from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError, StateUnavailableError
from broker.ledger import records
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.session_register import STATE_STALE, SessionRegister
from broker.model.lock import Lift, Lock, LockKind, LockTaken
from broker.model.vocabulary import EndReason
from broker.settings.broker_file import Settings
from broker.wiring.kept_file import KeptFile
from broker.wiring.lifts import LiftProofs
from broker.wiring.request_parts import signing
from broker.wiring.state_follower import StateFollower

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.25
HEARTBEAT_SECONDS = 0.5
OWN_FILE_HEARTBEAT_SECONDS = 2.0
STALE_SECONDS = 5.0
KEPT_FIRST_SECONDS = 0.5
MOST_TOLD = 200
LIFTED_KEPT_SECONDS = 30 * 86400.0
"""How long others may be away and still hear that a lock was lifted."""
_BY_LOCKS = frozenset({EndReason.LOCKED, EndReason.SITE_ISOLATED})


class LockKeeper:
    """One per broker. Until the state has been read, and when it was last read too long ago, no session is there."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        desk: DecisionDesk,
        register: SessionRegister,
        chance: Callable[[str], str],
        database: StateDatabase,
        journal: LockJournal,
        lifts: LiftProofs,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._register = register
        self._chance = chance
        self._journal = journal
        self._lifts = lifts
        self._rows = LockRows(database)
        heartbeat = HEARTBEAT_SECONDS if database.shared else OWN_FILE_HEARTBEAT_SECONDS
        # Whatever goes wrong there, the view of the state grows old meanwhile, and sessions end.
        self._follower = StateFollower(database, heartbeat, self._look, "the state could not be looked at")
        self._held: dict[str, Lock] = {}
        self._file = KeptFile[tuple[Lock, ...]]((), lambda: tuple(self._held.values()), journal.write, "the locks held")
        self._turn = asyncio.Lock()
        self._seen_at = float("-inf")
        self._trouble = "not read yet"
        self._was_away = True
        self._timer: asyncio.TimerHandle | None = None

    @property
    def readiness(self) -> tuple[bool, str]:
        """Whether the state is there, and in what state it is."""
        trouble = "; ".join(filter(None, (self._trouble, self._file.trouble)))
        return not trouble, trouble or f"read, {len(self._held)} locks"

    @property
    def state_age_seconds(self) -> float:
        """How long ago the state was read; infinite before the first time."""
        return self._clock.monotonic() - self._seen_at

    async def start(self) -> None:
        """Take the locks of the last run into force, then what the state has. Raises ConfigError."""
        self._file.kept = await asyncio.to_thread(self._journal.read)
        self._held = {lock.id: lock for lock in self._file.kept}
        self._enforce()
        await self._look()
        self._watch()
        self._follower.start()

    async def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        await self._follower.stop()
        await self._file.stop()

    def locks(self) -> tuple[Lock, ...]:
        """Those that hold, the oldest first."""
        return tuple(sorted(self._held.values(), key=lambda lock: (lock.set_at, lock.id)))

    async def set(
        self,
        kind: LockKind,
        target: str,
        *,
        message: str,
        by: str,
        seconds: float | None = None,
        isolation: bool = False,
    ) -> LockTaken:
        """Let a lock take effect here at once, elsewhere once the state has it; `seconds` None: until it is lifted."""
        now = self._clock.now()
        until = None if seconds is None else now + seconds
        lock = Lock(self._chance("lck"), kind, target, message, by, now, self._lifts.origin, until, isolation)
        before = self._register.sessions()
        self._hold((lock,))
        with suppress(TimeoutError):
            # First here, then there; but a disk that hangs here does not keep it from the others.
            async with asyncio.timeout(KEPT_FIRST_SECONDS):
                await self._file.settled()
        shared = await self._store(lock)
        await self._file.settled()
        return LockTaken(lock, sum(session.ended in _BY_LOCKS for session in before), shared)

    async def _store(self, lock: Lock) -> bool:
        try:
            await self._rows.add((lock,))
        except StateUnavailableError as error:
            log.warning("lock %s holds here, and is stored when the state is back: %s", lock.id, error)
            return False
        return True

    async def lift(self, lock: Lock, by: str) -> bool:
        """Lift a lock everywhere; False if somebody has before.

        Raises StateUnavailableError or LedgerUnavailableError, and it still holds.
        """
        now = self._clock.now()
        signed = partial(self._lifts.sign, lock, by, now)
        async with self._turn:
            await self._rows.forget_lifted(now - LIFTED_KEPT_SECONDS)
            lifted = await self._rows.lift(lock, by, now, self._is_lifted, signed)
        await self._look()
        return lifted

    async def _look(self) -> None:
        """Read the state, store what it does not have, and let both take effect."""
        async with self._turn:
            began = self._clock.monotonic()
            try:
                if self._was_away:
                    # What a broker signed that is known no more would count for nothing, however long ago it was.
                    await self._rows.forget_lifted(self._clock.now() - LIFTED_KEPT_SECONDS)
                    self._was_away = False
                stored, odd = await self._rows.locks(tuple(self._held), self._clock.now())
                known = {lock.id for lock in stored}.union(odd)
                missing = [lock for lock in self._held.values() if lock.id not in known]
                if missing:
                    await self._rows.add(missing)
            except StateUnavailableError as error:
                self._was_away = True
                self._missed(error.detail or error.public)
                return
            self._take(stored)
            if odd:
                self._missed(f"rows of it can be no locks: {', '.join(odd)[:MOST_TOLD]}")
            else:
                self._found(began)
        self._file.wake()

    def _missed(self, why: str) -> None:
        if not self._trouble:
            log.warning("the state cannot be read: %s", why)
        self._trouble = why

    def _found(self, began: float) -> None:
        if self._trouble:
            log.info("the state has been read")
        self._trouble = ""
        self._seen_at = began
        self._register.shut_for.discard(STATE_STALE)

    def _take(self, stored: Iterable[Lock]) -> None:
        """What another broker has set or lifted takes effect here."""
        known = merged(self._held.values(), stored)
        lifts = {key: lift for key, lock in known.items() if (lift := self._lifts.proven(lock)) is not None}
        now = self._clock.now()
        fresh = [lock.as_set for key, lock in known.items() if key not in self._held and key not in lifts]
        self._hold(lock for lock in fresh if lock.holds_at(now))
        self._drop(key for key, lift in lifts.items() if key in self._held and self._record_lift(lift))

    def _is_lifted(self, lock: Lock) -> bool:
        return self._lifts.proven(lock) is not None

    def _hold(self, locks: Iterable[Lock]) -> None:
        fresh = tuple(locks)
        if fresh:
            self._held |= {lock.id: lock for lock in fresh}
            self._enforce()
            for lock in fresh:
                self._record_set(lock)

    def _drop(self, ids: Iterable[str]) -> None:
        gone = set(ids)
        if gone:
            self._held = {key: lock for key, lock in self._held.items() if key not in gone}
            self._desk.enforce(LocksInForce(self._held.values()))

    def _enforce(self) -> None:
        self._desk.enforce(LocksInForce(self._held.values()))
        self._register.enforce_locks()

    def _record_set(self, lock: Lock) -> None:
        """Recorded or not, it takes effect."""
        log.warning("lock %s on %s %s, set by %s", lock.id, lock.kind.value, lock.target, lock.set_by)
        told = asdict(lock)
        del told["lifted_by"], told["lifted_at"], told["lift"]
        try:
            self._ledger.append(records.lock_set(self._clock.now(), lock=told))
            self._ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            log.error("a lock was not recorded: the ledger is closed")
        except Exception:
            # Whatever is in another broker's row, it keeps no other lock out of the record.
            log.exception("lock %s was not recorded", lock.id)

    def _record_lift(self, lift: Lift) -> bool:
        """Whether it is recorded: what cannot be, goes on holding."""
        now = self._clock.now()
        try:
            record = records.lock_lifted(
                now, lock=lift.lock, by=lift.by, at=lift.at, broker=lift.broker, index=lift.index
            )
            self._ledger.append(record)
            self._ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            log.error("lock %s still holds: that it was lifted cannot be recorded", lift.lock)
            return False
        log.warning("lock %s was lifted by %s", lift.lock, lift.by)
        return True

    def _watch(self) -> None:
        """End locks whose time is over, and sessions when the view of the state is too old."""
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._watch)
        now = self._clock.now()
        self._drop([lock.id for lock in self._held.values() if not lock.holds_at(now)])
        if self.state_age_seconds > STALE_SECONDS and STATE_STALE not in self._register.shut_for:
            log.error("the state was last read more than %d seconds ago: sessions end", STALE_SECONDS)
            self._register.shut_for.add(STATE_STALE)
            self._register.end_all_but_emergencies(EndReason.STATE_STALE)


def lock_keeper(
    settings: Settings,
    clock: Clock,
    ledger: Ledger,
    desk: DecisionDesk,
    register: SessionRegister,
    state: StateDatabase,
) -> LockKeeper:
    """The locks of a broker."""
    journal = LockJournal(Path(settings.state_dir) / "locks.json")
    lifts = LiftProofs(clock, ledger, *signing(settings))
    return LockKeeper(clock, ledger, desk, register, random_id, state, journal, lifts)
