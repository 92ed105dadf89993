"""Live control: what sessions are about to do, and what administrators do to them. Every act is recorded before it
happens.
"""

import asyncio
import logging
from dataclasses import dataclass

from broker.engine.ports import Clock, Ledger
from broker.engine.sessions import Session, access_end, foreseen_end, proof_end
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.session_register import ProveAgain, SessionRegister
from broker.listeners.watchers import Watcher, Watchers
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, RecordKind

log = logging.getLogger(__name__)
MARK_SECONDS = 5.0
WARN_SECONDS = (900.0, 300.0)
Marks = tuple[float, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a session, when (epoch seconds) and why."""

    by: str
    since: float
    why: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a session rests on now, what will end it, how busy it is (requests a second), and whether it is paused."""

    grants: tuple[str, ...]
    ends: tuple[float, EndReason] | None
    per_second: float
    paused: Pause | None
    supervised: bool = False


class Supervision:
    """One per broker. What it keeps of a session goes with the session."""

    def __init__(
        self, clock: Clock, ledger: Ledger, desk: DecisionDesk, register: SessionRegister, prove_again: ProveAgain
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._register = register
        self._prove_again = prove_again
        self._pauses: dict[str, Pause] = {}
        self._watchers = Watchers(clock)
        self._marks: tuple[Marks, Marks] = ((clock.now(), {}), (clock.now(), {}))
        self._timer: asyncio.TimerHandle | None = None
        self._warned: dict[str, tuple[float, float]] = {}
        register.followers.append(self._changed)

    def start(self) -> None:
        """Begin to count by the clock."""
        self._timer = asyncio.get_running_loop().call_later(MARK_SECONDS, self._mark)

    def stop(self) -> None:
        """The broker stops: nobody watches any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._watchers.end_all(EndReason.BROKER_STOPPED)

    def session(self, identifier: str) -> Session | None:
        """The open session of that id."""
        return self._register.session(identifier)

    def outlook(self, session: Session) -> Outlook:
        """A session as it stands."""
        situation = self._desk.situation_of(session, self._clock.now())
        return Outlook(
            tuple(grant.id for grant in situation.grants),
            foreseen_end(session, situation),
            self._per_second(session),
            self._pauses.get(session.id),
            any(grant.supervised for grant in situation.grants),
        )

    def pause(self, session: Session, by: Subject, why: str) -> None:
        """Refuse operations without cutting. Raises LedgerUnavailableError: no record, no act."""
        if session.ended is None and session.id not in self._pauses:
            self._record(RecordKind.SESSION_PAUSED, session, by, why)
            self._pauses[session.id] = Pause(by.id, self._clock.now(), why)
            session.pause()
            self._watchers.tell(session, "paused", by.id)

    def resume(self, session: Session, by: Subject, why: str) -> None:
        """Let a paused session go on. Raises LedgerUnavailableError."""
        if session.ended is None and session.id in self._pauses:
            self._record(RecordKind.SESSION_RESUMED, session, by, why)
            del self._pauses[session.id]
            session.resume()
            self._watchers.tell(session, "resumed", by.id)

    def end(self, session: Session, by: Subject, why: str) -> None:
        """Cut a session. Raises LedgerUnavailableError."""
        if session.ended is None:
            self._record(RecordKind.SESSION_CUT, session, by, why)
            self._register.end(session, EndReason.ENDED_BY_ADMINISTRATOR)

    def watch(self, subject: Subject, session: Session | None, site: str = "") -> Watcher | None:
        """A live view of one session, of those at a site, or of all, to be given back with `leave`.

        None if there are too many.
        """
        watcher = self._watchers.add(subject.id, "" if session is None else session.id, site)
        if watcher is not None:
            self._follow()
        if watcher is not None and session is not None and session.ended is not None:
            watcher.end(session.ended)
        return watcher

    def supervise(self, watcher: Watcher, able: bool) -> None:
        """Whether somebody who watches counts as a supervisor from here on."""
        if watcher.supervises is not able:
            watcher.supervises = able
            self._follow()

    def leave(self, watcher: Watcher, what: str = "", reason: EndReason = EndReason.PEER_CLOSED) -> None:
        """Somebody watches no more; recorded if it was `what` that began on record."""
        self._watchers.remove(watcher)
        if what:
            self._record_leave(watcher, what, reason)
        self._follow()

    def standing(self, subject: Subject) -> Subject | EndReason:
        """A watcher as its proofs hold now, or why they no longer do."""
        now = self._clock.now()
        proven = self._prove_again(subject, now)
        if isinstance(proven, EndReason):
            return proven
        organisation = self._desk.in_force.organisation(proven)
        when, why = proof_end(proven, organisation.contract_until if organisation else 0.0)
        return why if now >= when else proven

    def revisions(self) -> tuple[str, str]:
        """What decisions rest on now: the revisions of policy and inventory."""
        return self._desk.policy_revision, self._desk.in_force.inventory.revision

    def _changed(self, session: Session) -> None:
        """The register's word: a session was entered, or has ended."""
        if session.ended is None:
            self._watchers.follow(session)
            self._watchers.tell(session, "opened")
            return
        self._pauses.pop(session.id, None)
        self._desk.approvals.session_ended(session)
        self._watchers.follow(session)
        self._watchers.closed(session)

    def _follow(self) -> None:
        for session in self._register.sessions():
            supervised = session.watched_by
            self._watchers.follow(session)
            if supervised and not session.watched_by:
                self._register.supervisor_left(session)

    def _record_leave(self, watcher: Watcher, what: str, reason: EndReason) -> None:
        now = self._clock.now()
        try:
            self._ledger.append(records.watching_ended(now, subject=watcher.subject, what=what, reason=reason.value))
            self._ledger.settle(False, _ignore)
        except LedgerUnavailableError:
            log.error("that %s no longer watches was not recorded: the ledger is closed", watcher.subject)

    def _record(self, kind: RecordKind, session: Session, by: Subject, why: str) -> None:
        self._ledger.append(records.session_act(kind, self._clock.now(), session=session.id, by=by.id, why=why))
        self._ledger.settle(True, _ignore)

    def ends_soon(self, session: Session) -> tuple[float, EndReason] | None:
        """When and why its access ends, if that is within a quarter of an hour."""
        now = self._clock.now()
        if session.look_at - now > WARN_SECONDS[0]:
            return None
        when, why = access_end(session, self._desk.situation_of(session, now))
        return (when, why) if now < when <= now + WARN_SECONDS[0] else None

    def _warn(self) -> None:
        """Tell a quarter of an hour and five minutes before access ends, each once for one end."""
        now, told = self._clock.now(), {}
        for session in self._register.sessions():
            ends = self.ends_soon(session)
            if ends is None:
                continue
            mark = min(seconds for seconds in WARN_SECONDS if ends[0] - now <= seconds)
            told[session.id] = (ends[0], mark)
            if self._warned.get(session.id) != told[session.id]:
                self._watchers.tell(session, "ends_soon")
                if session.warn is not None:
                    session.warn(*ends)
        self._warned = told

    def _mark(self) -> None:
        self.start()
        self._warn()
        counts = {session.id: session.operations for session in self._register.sessions()}
        self._marks = self._marks[1], (self._clock.now(), counts)

    def _per_second(self, session: Session) -> float:
        """Requests a second since the mark before the last one, or since the session began if that is later."""
        since, counts = self._marks[0]
        seconds = self._clock.now() - max(since, session.started)
        return (session.operations - counts.get(session.id, 0)) / max(seconds, 1.0)


def _ignore(error: LedgerUnavailableError | None) -> None:
    """A failed ledger has already been latched; there is nothing more to do about it here."""
