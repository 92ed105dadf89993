"""Opens, watches and ends sessions: access ends when it ends, on every listener, within one second."""

import heapq
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

from broker.engine.events import Refused
from broker.engine.ports import Clock, Ledger
from broker.engine.sessions import Session, end_of, look_again_at
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.session_pace import SessionPace
from broker.model.decision import Decision
from broker.model.leave import Errand
from broker.model.lock import Lock
from broker.model.place import Device, Grant
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, Reason

SPARE_LOOKS = 1024
STATE_STALE = "the state is too old"
LOGOUTS_UNREAD = "logouts have not been read"
FILES_INVALID = "files have been invalid for too long"
REQUESTS_UNREAD = "requests have not been read"
SPARING_EMERGENCIES = frozenset({STATE_STALE, LOGOUTS_UNREAD, FILES_INVALID})
"""What only says that the state or new files are not there: emergencies are for when they are not."""
log = logging.getLogger(__name__)
Cut = Callable[[EndReason], None]
Opened = Callable[[Session | Refused], None]
ProveAgain = Callable[[Subject, float], Subject | EndReason]


class SessionRegister:
    """Every session of every listener.

    `prove_again` gives a subject as its proofs hold now, or why they no longer do (revoked, stale CRL). While
    `shut_for` names anything (the broker stops, the clock is behind the record, files are invalid too long) no session
    is opened. While `grants_unread` names anything, a grant that is not there may go on all the same. `followers` are
    told of each session that was entered or has ended.
    """

    def __init__(
        self, clock: Clock, ledger: Ledger, desk: DecisionDesk, chance: Callable[[str], str], prove_again: ProveAgain
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._chance = chance
        self._prove_again = prove_again
        self._cuts: dict[str, tuple[Session, Cut]] = {}
        self._looks: list[tuple[float, int, Session]] = []
        self._order = itertools.count()
        self.shut_for: set[str] = set()
        self.grants_unread: set[str] = set()
        self.opened = 0
        self._pace = SessionPace()
        self.followers: list[Callable[[Session], None]] = []

    @property
    def shut_for_emergencies(self) -> set[str]:
        """For what not even a session of an emergency is opened."""
        return self.shut_for - SPARING_EMERGENCIES

    def sessions(self) -> tuple[Session, ...]:
        """All that are open."""
        return tuple(session for session, _ in self._cuts.values())

    def session(self, identifier: str) -> Session | None:
        """The open session of that id."""
        entry = self._cuts.get(identifier)
        return None if entry is None else entry[0]

    def open(
        self,
        subject: Subject,
        device: Device,
        listener: str,
        peer: str,
        cut: Cut,
        opened: Opened,
        *,
        errand: Errand | None = None,
    ) -> None:
        """Ask the policy, record, and give a session or the refusal; `cut` is called once if it must end."""
        session = Session(self._chance("ses"), subject, device, listener, peer, self._clock.now(), errand=errand)
        self._desk.emergencies.enter(session)
        if self._shut_for(session):
            opened(Refused((Reason.STATE_STALE if STATE_STALE in self.shut_for else Reason.SESSION_ENDED,)))
            return
        if not self._pace.admits(subject.id, session.started):
            self._desk.quota.suppress(subject.id, session.started)
            opened(Refused((Reason.BUDGET_EXHAUSTED,)))
            return

        def decided(decision: Decision, *, overtaken: bool = False) -> None:
            try:
                holds = self._desk.still_holds((decision,))
                if not decision.allow:
                    opened(Refused(decision.reasons, (decision,)))
                elif not holds and not overtaken:
                    self._desk.session(session, partial(decided, overtaken=True))
                elif self._shut_for(session) or not holds or self._is_old(session):
                    opened(Refused((Reason.ACCESS_CHANGED,), (decision,)))
                else:
                    self._enter(session, decision, cut, opened)
            except Exception:
                log.exception("a session could not be opened; it ends", extra={"session": session.id})
                self.end(session, EndReason.BROKER_FAULT)
                cut(EndReason.BROKER_FAULT)

        self._desk.session(session, decided)

    def close(self, session: Session, reason: EndReason, detail: str = "") -> None:
        """End a session from the listener's side (the peer left, a frame was refused); no cut is called."""
        if session.ended is not None:
            return
        session.end(reason)
        self._let_speak(session)
        self._cuts.pop(session.id, None)
        self._forget_old_looks()
        try:
            self._ledger.append(
                records.session_closed(
                    self._clock.now(),
                    session=session.id,
                    reason=reason,
                    operations=session.operations,
                    refusals=session.refusals,
                    detail=detail,
                )
            )
            self._ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            log.error("end of a session was not recorded: the ledger is closed", extra={"session": session.id})
        self._tell(session)

    def _let_speak(self, session: Session) -> None:
        last_words, session.last_words = session.last_words, None
        if last_words is None:
            return
        try:
            last_words()
        except Exception:
            log.exception("what was counted in a session is not recorded", extra={"session": session.id})

    def left(self, session: Session) -> None:
        """Its caller is gone. Who went because access has ended just now, before that was looked at, went for that."""
        if session.ended is None:
            situation = self._desk.situation_of(session, self._clock.now())
            self.close(session, end_of(session, situation) or EndReason.PEER_CLOSED)

    def end(self, session: Session, reason: EndReason, detail: str = "") -> None:
        """End a session from our side: record the true reason, then cut the live path."""
        entry = self._cuts.get(session.id)
        self.close(session, reason, detail)
        if entry is not None:
            entry[1](reason)

    def renew(self, session: Session, subject: Subject) -> None:
        """Go on with fresh proofs of the same subject: leases die and the policy is asked again."""
        session.subject = subject
        session.leases.clear()
        if self._examine(session, self._clock.now()):
            self._ask_again(session, EndReason.DENIED)

    def end_all(self, reason: EndReason) -> None:
        """End every session."""
        for session in self.sessions():
            self.end(session, reason)

    def end_all_but_emergencies(self, reason: EndReason) -> None:
        """End every session but those of emergencies."""
        for session in self.sessions():
            if not session.emergency:
                self.end(session, reason)

    def enforce_emergencies(self) -> None:
        """After an emergency ended: end the sessions that were opened in it."""
        now = self._clock.now()
        for session in self.sessions():
            if session.emergency:
                self._examine(session, now)

    def supervisor_left(self, session: Session) -> None:
        """Nobody supervises it any more: it ends if anything that it may do asks for that."""
        situation = self._desk.situation_of(session, self._clock.now())
        if any(grant.supervised for grant in situation.grants):
            self.end(session, EndReason.SUPERVISOR_LEFT)

    def tick(self, now: float) -> None:
        """End what has run out by `now`; called several times a second."""
        while self._looks and self._looks[0][0] <= now:
            when, _, session = heapq.heappop(self._looks)
            if session.ended is None and session.look_at == when:
                self._examine(session, now)

    def examine_all(self, cause: EndReason) -> None:
        """After a change of inventory, policy, trust or time: end what no longer holds, ask the policy about the
        rest.
        """
        now = self._clock.now()
        for session in self.sessions():
            device = self._desk.in_force.device(session.device.key)
            if device != session.device:
                self.end(session, EndReason.INVENTORY_CHANGED)
            elif self._examine(session, now):
                self._ask_again(session, cause)

    def give(self, source: str, grants: Iterable[Grant], gone: EndReason = EndReason.GRANT_ENDED) -> None:
        """These are the grants of that source from now on: end what relied on one that is gone, for that reason."""
        before, now = self._desk.given, self._clock.now()
        self._desk.give(source, grants)
        for session in self.sessions():
            asked = session.subject, session.device, now
            if before.for_(*asked) != self._desk.given.for_(*asked):
                self._examine(session, now, gone)

    def enforce_locks(self) -> None:
        """After locks were set: end what they name. The policy is asked about sessions that lost a grant, and once for
        each subject at an isolated site: a question for each session could take longer than they may last.
        """
        locks = self._desk.locks
        isolated: defaultdict[tuple[Lock, Subject], list[Session]] = defaultdict(list)
        for session in self.sessions():
            lock = locks.on_session(session.subject, session.device, session.id)
            isolation = self._desk.emergencies.isolation_of(session, locks)
            if lock is not None:
                self.end(session, EndReason.LOCKED, lock.id)
            elif isolation is not None and session.errand is not None:
                self.end(session, EndReason.SITE_ISOLATED, isolation.id)
            elif isolation is not None:
                isolated[isolation, session.subject].append(session)
            else:
                self._enforce_grants(session)
        for (isolation, _), sessions in isolated.items():
            self._desk.spared(sessions[0], isolation.target, partial(self._isolate, sessions, isolation))

    def _isolate(self, sessions: list[Session], isolation: Lock, spared: Decision) -> None:
        for session in sessions:
            self._end_if_denied(session, EndReason.SITE_ISOLATED, isolation.id, spared)
            self._enforce_grants(session)

    def _enforce_grants(self, session: Session) -> None:
        """Ask the policy again about a session that a locked grant was there for."""
        now, locked = self._clock.now(), self._desk.locks.grants
        if session.ended is not None or not locked:
            return
        situation = self._desk.situation_without_locks(session.subject, session.device, now)
        relies = session.emergency in locked or not locked.isdisjoint(grant.id for grant in situation.grants)
        if relies and self._examine(session, now):
            self._ask_again(session, EndReason.LOCKED)

    def _ask_again(self, session: Session, cause: EndReason) -> None:
        self._desk.session(session, partial(self._end_if_denied, session, cause, ""))

    def _end_if_denied(self, session: Session, cause: EndReason, detail: str, decision: Decision) -> None:
        if not decision.allow and session.ended is None:
            self.end(session, cause, detail)

    def _enter(self, session: Session, decision: Decision, cut: Cut, opened: Opened) -> None:
        subject, now = session.subject, self._clock.now()
        try:
            self._ledger.append(
                records.session_opened(
                    now,
                    session=session.id,
                    subject={"id": subject.id, "kind": subject.kind.value, "organisation": subject.organisation},
                    device=session.device.key,
                    listener=session.listener,
                    peer=session.peer,
                    proofs=[{"kind": p.kind.value, "fingerprint": p.fingerprint} for p in subject.proofs],
                    decision=decision.index,
                    emergency=session.emergency,
                )
            )
        except LedgerUnavailableError:
            opened(Refused((Reason.LEDGER_CLOSED,), (decision,)))
            return

        def recorded(error: LedgerUnavailableError | None) -> None:
            if error is None and session.ended is None:
                opened(session)
            else:
                opened(Refused((Reason.LEDGER_CLOSED if error else Reason.SESSION_ENDED,), (decision,)))

        self._cuts[session.id] = (session, cut)
        self.opened += 1
        self._tell(session)
        if not self._examine(session, now):
            opened(Refused((Reason.ACCESS_CHANGED,), (decision,)))
        elif self._ledger.settle(False, recorded):
            opened(session)

    def _examine(self, session: Session, now: float, gone: EndReason = EndReason.GRANT_ENDED) -> bool:
        """Whether the session may go on; if so, when to look again is noted."""
        proven = self._prove_again(session.subject, now)
        if isinstance(proven, EndReason):
            self.end(session, proven)
            return False
        session.subject = proven
        situation = self._desk.situation_of(session, now)
        reason = end_of(session, situation)
        if reason is not None:
            if reason is EndReason.GRANT_ENDED:
                locked = not self._desk.locks.grants.isdisjoint(session.relied_on | session.viewing_by)
                reason = EndReason.LOCKED if locked else gone
            self.end(session, reason)
            return False
        session.look_at = look_again_at(session, situation)
        heapq.heappush(self._looks, (session.look_at, next(self._order), session))
        return True

    def _is_old(self, session: Session) -> bool:
        """Whether its device is described otherwise by now: whoever opened it had it from before a reload."""
        return self._desk.in_force.device(session.device.key) != session.device

    def _shut_for(self, session: Session) -> set[str]:
        return self.shut_for_emergencies if session.emergency else self.shut_for

    def _tell(self, session: Session) -> None:
        for follow in self.followers:
            follow(session)

    def _forget_old_looks(self) -> None:
        """Drop looks at sessions that are gone, so that many short sessions do not pile up until their certificates
        end.
        """
        if len(self._looks) > 2 * len(self._cuts) + SPARE_LOOKS:
            self._looks = [look for look in self._looks if look[2].ended is None and look[2].look_at == look[0]]
            heapq.heapify(self._looks)
