"""Undoes what somebody left when the access ended: by the broker itself, in sessions of its own, bounded in time.

An access ends with its last session, at once or after a grace in which a lost connection may come back; debts are then
due. What is in the way (a freeze, a lock, an isolation, a ledger that is closed) is waited for, and given up at last.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from broker.adapters.state_leaves import DebtJournal, LeaveFile
from broker.engine.events import Answered, Refused
from broker.engine.in_force import ITSELF
from broker.engine.ports import Clock, Ledger
from broker.engine.sessions import Session
from broker.engine.undoing import End, undo
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.driver import Driver
from broker.listeners.session_register import SessionRegister
from broker.model.leave import Debt, Errand, Leave, PointLeft, Undone
from broker.model.place import Device, OnLeave
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import NO_ANSWER, EndReason, Reason
from broker.settings.broker_file import LeaveSection
from broker.wiring.leave_timing import Endings

log = logging.getLogger(__name__)
LISTENER = "leave"
LOOK_SECONDS = 0.25
AGAIN_SECONDS = 5.0
ATTEMPTS = 3
LEAVE_SECONDS = 60.0
MOST_AT_ONCE = 8
MOST_POINTS = 100
MOST_UNSETTLED = 1000
ELSEWHERE = "written since, and not through this broker"
# What passes by itself, so that it is waited for instead of being counted as an attempt.
_PASSING = NO_ANSWER | frozenset(
    {
        Reason.LOCKED,
        Reason.SITE_ISOLATED,
        Reason.FREEZE_ACTIVE,
        Reason.STATE_STALE,
        Reason.SESSION_ENDED,
        Reason.ACCESS_CHANGED,
        Reason.NOTHING_OWED,
        Reason.BUDGET_EXHAUSTED,
    }
)


class LeaveKeeper:
    """One per broker. `origin` and `fingerprint` name this broker and its ledger's key; it is `alone` if it knows of no
    other that might relay to the same devices.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        desk: DecisionDesk,
        register: SessionRegister,
        driver: Driver,
        journal: DebtJournal,
        file: LeaveFile,
        chance: Callable[[str], str],
        settings: LeaveSection,
        origin: str,
        fingerprint: str,
        *,
        alone: bool,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._register = register
        self._driver = driver
        self._journal = journal
        self._file = file
        self._chance = chance
        self._settings = settings
        self._origin = origin
        self._fingerprint = fingerprint
        self._alone = alone
        self._endings = Endings(clock, desk, register, journal, settings.grace_seconds)
        self._unsettled: dict[str, Leave] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._unrecorded = False
        self.results: Counter[str] = Counter()

    async def start(self) -> None:
        """Take up what the last run left. Raises ConfigError."""
        self._unsettled = {leave.id: leave for leave in await asyncio.to_thread(self._file.read)}
        if self._unsettled:
            log.error(
                "%d leaves left something that nobody has taken note of: see `otb leave ls`", len(self._unsettled)
            )
        self._turn()

    async def stop(self) -> None:
        """Begin nothing more; what is under way ends with its session."""
        if self._timer is not None:
            self._timer.cancel()
        while tasks := {*self._running.values(), *self._keeping}:
            await asyncio.wait(tasks)

    @property
    def unsettled(self) -> tuple[Leave, ...]:
        """Leaves of which something could not be undone, until somebody takes note; the oldest first."""
        return tuple(self._unsettled.values())

    def debts(self) -> tuple[tuple[Debt, str], ...]:
        """What is owed now, each with what it waits for."""
        return tuple((debt, self._endings.waits_for(debt)) for debt in self._journal.debts.all())

    async def acknowledge(self, leave: Leave, by: str, why: str) -> None:
        """Somebody has taken note. Raises LedgerUnavailableError: no record, no act."""
        self._ledger.append(records.leave_acknowledged(self._clock.now(), leave=leave.id, by=by, why=why))
        self._ledger.settle(True, _ignore)
        self._unsettled.pop(leave.id, None)
        await self._keep()

    def _turn(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._turn)
        try:
            self._journal.retry()
            self._look()
        except Exception:
            # The next turn looks again; what is owed stays owed meanwhile.
            log.exception("debts could not be looked at")

    def _look(self) -> None:
        for (_, device), owed in self._endings.due(self._running).items():
            if device not in self._running and len(self._running) < MOST_AT_ONCE:
                self._begin(device, owed[:MOST_POINTS])

    def _begin(self, key: str, debts: Sequence[Debt]) -> None:
        told = [(debt, Undone.KEPT, debt.kept_because) for debt in debts if debt.since]
        lost = [(debt, self._endings.lost_because(debt)) for debt in debts if not debt.since]
        told += [(debt, Undone.FAILED, why) for debt, why in lost if why]
        if told:
            # Nothing is sent for these, so nothing is in the way of them. The others have the next turn.
            self._finish(told[0][0], told)
            return
        device = self._desk.in_force.device(key)
        if device is None:
            return
        obstacle = self._obstacle(device)
        if obstacle:
            self._wait(debts, obstacle)
            return
        task = asyncio.create_task(self._undo_all(device, debts))
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))

    def _obstacle(self, device: Device) -> str:
        """What is in the way now and passes by itself."""
        itself = self._itself()
        if shut := self._endings.shut_because:
            return shut
        locks = self._desk.locks
        for lock in filter(None, (locks.on_session(itself, device, ""), *locks.isolations(device.site))):
            return f"{Reason.SITE_ISOLATED if lock.isolation else Reason.LOCKED} ({lock.id})"
        frozen = self._desk.situation(itself, device, self._clock.now()).calendar.frozen
        return f"{Reason.FREEZE_ACTIVE} ({frozen[0].id})" if frozen else ""

    def _wait(self, debts: Sequence[Debt], obstacle: str) -> None:
        """Nothing can be done now; after too long nobody waits any more."""
        given_up = []
        for debt in debts:
            end = self._endings.of(debt)
            end.waits_for = obstacle
            since = end.at if end.due_at is None else end.due_at
            if self._clock.monotonic() >= since + self._settings.give_up_seconds:
                given_up.append((debt, Undone.GIVEN_UP, obstacle))
        if given_up:
            self._finish(given_up[0][0], given_up)

    async def _undo_all(self, device: Device, debts: Sequence[Debt]) -> None:
        """One attempt at everything that one subject owes at one device."""
        errand = Errand(self._chance("lve"), debts[0].subject, self._endings.of(debts[0]).why.value)
        opened = await self._open(device, errand)
        if isinstance(opened, Refused):
            self._try_again(debts, ", ".join(opened.reasons), passing=not _PASSING.isdisjoint(opened.reasons))
            return
        timer = asyncio.get_running_loop().call_later(
            LEAVE_SECONDS, self._register.end, opened, EndReason.LIMIT_EXCEEDED
        )
        try:
            await self._undo_each(opened, debts)
        except Exception:
            log.exception("an attempt to undo something failed; there will be another", extra={"session": opened.id})
            self._try_again(debts, EndReason.BROKER_FAULT, passing=False)
        finally:
            timer.cancel()
            self._register.close(opened, EndReason.LEAVE_OVER)

    async def _undo_each(self, session: Session, debts: Sequence[Debt]) -> None:
        ends: list[tuple[Debt, Undone, str]] = []
        for owed in debts:
            debt = self._journal.debts.held(owed)
            if debt is None:
                continue
            result, detail = await self._run(session, debt)
            if result is None:
                passing = session.ended is not None or not _PASSING.isdisjoint(detail.split(", "))
                result = self._failed(debt, detail, passing)
            if result is Undone.KEPT and self._may_be_owed_elsewhere(debt):
                result, detail = Undone.UNKNOWN, ELSEWHERE
            if result is not None:
                ends.append((debt, result, detail))
            if session.ended is not None:
                break
        if ends:
            self._finish(ends[0][0], ends, session)

    def _may_be_owed_elsewhere(self, debt: Debt) -> bool:
        """Whether another broker may put back there what this debtor wrote, as the value from before a later write.

        A priority is released by that one too, and nobody's value stays.
        """
        known = self._journal.debts.held(debt) or debt
        return not self._alone and not known.since and debt.undo is OnLeave.RESTORE

    def _try_again(self, debts: Sequence[Debt], detail: str, passing: bool) -> None:
        results = [(debt, self._failed(debt, detail, passing)) for debt in debts]
        ends = [(debt, result, detail) for debt, result in results if result is not None]
        if ends:
            self._finish(ends[0][0], ends)

    def _failed(self, debt: Debt, detail: str, passing: bool) -> Undone | None:
        """An attempt that sent nothing: None if there will be another."""
        end = self._endings.of(debt)
        end.attempts += not passing
        end.again_at, end.waits_for = self._clock.monotonic() + AGAIN_SECONDS, detail
        if passing:
            self._wait((debt,), detail)
            return None
        return Undone.FAILED if end.attempts >= ATTEMPTS else None

    def open_own(self, device: Device, subject: Subject, why: str, opened: Callable[[Session | Refused], None]) -> None:
        """Ask for a session of the broker's own to end what the broker holds at a device for a subject, and why."""
        current = self._desk.in_force.device(device.key)
        if current is None or current.way != device.way:
            opened(Refused((Reason.DEVICE_UNKNOWN,)))  # what stands there now has been told nothing
            return
        errand = Errand(self._chance("lve"), subject, why)
        self._register.open(self._itself(), current, LISTENER, "", lambda reason: None, opened, errand=errand)

    def close_own(self, session: Session) -> None:
        """What a session of the broker's own was for is done, or given up."""
        self._register.close(session, EndReason.LEAVE_OVER)

    async def _open(self, device: Device, errand: Errand) -> Session | Refused:
        opened: asyncio.Future[Session | Refused] = asyncio.get_running_loop().create_future()
        self._register.open(self._itself(), device, LISTENER, "", lambda reason: None, opened.set_result, errand=errand)
        return await opened

    async def _run(self, session: Session, debt: Debt) -> End:
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._driver.run(session, undo(session, debt), done.set_result)
        end = await done
        if isinstance(end, tuple):
            return end
        # A bug of ours was caught on the way: what may have been sent is not known.
        return (Undone.UNKNOWN if isinstance(end, Answered) else None), EndReason.BROKER_FAULT

    def _finish(self, debt: Debt, ends: Iterable[tuple[Debt, Undone, str]], session: Session | None = None) -> None:
        """Record what became of debts, list what somebody has to look after, and strike them out."""
        found = tuple(ends)
        end = self._endings.of(debt)
        identifier = session.errand.leave if session is not None and session.errand else self._chance("lve")
        points = tuple(PointLeft(d.point, d.undo, d.priority, result, detail) for d, result, detail in found)
        leave = Leave(identifier, debt.subject.id, debt.device, end.why.value, end.ended, self._clock.now(), points)
        if not self._recorded(leave, session):
            for owed, _, _ in found:
                waiting = self._endings.of(owed)
                waiting.again_at = self._clock.monotonic() + AGAIN_SECONDS
                waiting.waits_for = Reason.LEDGER_CLOSED
            return
        self.results.update(point.result.value for point in points)
        self._alarm(leave)
        for owed, _, _ in found:
            self._journal.strike(owed)

    def _recorded(self, leave: Leave, session: Session | None) -> bool:
        """Whether it could be recorded: what is not stays owed, and is looked at again. Told once until it can be."""
        record = records.leave_finished(
            leave.finished,
            leave=leave.id,
            subject=leave.subject,
            device=leave.device,
            why=leave.why,
            ended=leave.ended,
            points=[asdict(point) for point in leave.points],
            unsettled=len(leave.unsettled),
            session=session.id if session is not None and session.ended is None else "",
        )
        if self._append(record):
            self._unrecorded = False
            return True
        if not self._unrecorded:
            log.error("leave of %s on %s is not recorded: the ledger is closed", leave.subject, leave.device)
        self._unrecorded = True
        return False

    def _append(self, record: bytes) -> bool:
        try:
            self._ledger.append(record)
            self._ledger.settle(True, _ignore)
        except LedgerUnavailableError:
            return False
        return True

    def _alarm(self, leave: Leave) -> None:
        for point in leave.points:
            level = logging.ERROR if point in leave.unsettled else logging.INFO
            told = (leave.id, leave.subject, leave.device, point.point, point.result.value, point.detail)
            log.log(level, "leave %s of %s on %s: %s %s %s", *told)
        if not leave.unsettled:
            return
        self._unsettled[leave.id] = leave
        self._make_room()
        task = asyncio.create_task(self._keep())
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    def _make_room(self) -> None:
        """Nothing is dropped from the list that nobody is told of: what cannot be recorded stays."""
        for leave in self.unsettled[: max(0, len(self._unsettled) - MOST_UNSETTLED)]:
            now = self._clock.now()
            if not self._append(records.leave_dropped(now, leave=leave.id, subject=leave.subject, device=leave.device)):
                return
            told = (leave.id, leave.subject, leave.device)
            log.error("leave %s of %s on %s is listed no more: the list is full, see `otb leave ls`", *told)
            del self._unsettled[leave.id]

    async def _keep(self) -> None:
        async with self._writing:
            leaves = self.unsettled
            try:
                await asyncio.to_thread(self._file.write, leaves)
            except OSError as error:
                log.error("leaves that left something cannot be kept: %s", error)

    def _itself(self) -> Subject:
        """The broker as a subject, proven by nothing but that it is this broker, and for no longer than a leave."""
        now = self._clock.now()
        identifier = f"otbroker:{self._origin}"
        proof = Proof(ProofKind.BROKER, self._origin, identifier, self._fingerprint, now, now + 2 * LEAVE_SECONDS)
        return Subject(identifier, SubjectKind.SERVICE, ITSELF.id, proofs=(proof,))


def _ignore(error: LedgerUnavailableError | None) -> None:
    """A failed ledger has already been latched; there is nothing more to do about it here."""
