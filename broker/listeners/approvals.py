"""Operations that wait for a person, on this broker: what is asked, armed, refused and used is recorded as it happens.

An approval lives in the memory of the broker where it was asked for, and goes with it: at another broker, and after a
restart, the operation waits again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from broker.access.approvals import ApprovalBook
from broker.access.locks import LocksInForce
from broker.engine.ports import Clock, Ledger
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.listeners.approvers import Approvers
from broker.model.approval import FRESH_SECONDS, OPEN_SECONDS, Approval, ApprovalEnd, ApprovalState, Approver, OldValues
from broker.model.decision import Arming, Decision, Obligation
from broker.model.operation import Request
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, Reason

log = logging.getLogger(__name__)
Values = tuple[tuple[str, str], ...]
SKEW_SECONDS = 30.0
# The caller went, or has to come again with fresh proofs: what he asked for waits on.
_WAITS_ON = frozenset(
    {
        EndReason.PEER_CLOSED,
        EndReason.CONNECTION_CLOSED,
        EndReason.IDLE,
        EndReason.TOKEN_EXPIRED,
        EndReason.CERTIFICATE_EXPIRED,
        EndReason.FRAME_REFUSED,
        EndReason.LIMIT_EXCEEDED,
    }
)


class Approvals:
    """One per broker, on the event loop. What acts raises LedgerUnavailableError: no record, no act."""

    def __init__(self, clock: Clock, ledger: Ledger, chance: Callable[[str], str]) -> None:
        self._clock = clock
        self._ledger = ledger
        self._chance = chance
        self._book = ApprovalBook()
        self.approvers: Approvers | None = None
        self._waiters: dict[asyncio.Event, frozenset[str]] = {}

    def __bool__(self) -> bool:
        """Whether anything waits or is armed: asked for every operation that hits no lease."""
        return bool(self._book)

    def all(self) -> tuple[Approval, ...]:
        """Those that wait, are armed or were lately refused, the oldest first."""
        return self._book.all()

    def get(self, identifier: str) -> Approval | None:
        """The approval of that id, None if there never was one or it is over."""
        return self._book.get(identifier)

    def armed(self, session: Session, request: Request, now: float) -> tuple[Arming, ...]:
        """What persons have armed of exactly this operation."""
        approval = self._of(session, request)
        return () if approval is None else self._book.armed(approval.key, now)

    def ask(
        self, session: Session, request: Request, decisions: tuple[Decision, ...], needs: tuple[Obligation, ...]
    ) -> Approval | None:
        """The approval that an operation waits for, a new one if there is none; None without room or record."""
        known = self._of(session, request)
        if known is not None:
            self._book.need(known.id, needs)
            return self._book.get(known.id)
        now = self._clock.now()
        identifier = self._chance("arm")
        asked = Approval(
            identifier,
            session.id,
            session.subject,
            session.device,
            request,
            decisions,
            needs,
            now,
            now + OPEN_SECONDS,
            () if request.before is None else None,
        )
        if session.ended is not None or not self._book.has_room_for(asked) or not self._record_asked(asked):
            return None
        self._book.add(asked)
        return asked

    def show_before(self, approval: Approval, before: tuple[tuple[str, str], ...]) -> None:
        """What its points read when it was asked for."""
        self._book.show_before(approval.id, before)

    def use(
        self,
        session: Session,
        request: Request,
        decisions: tuple[Decision, ...],
        before: Values | None,
        used: Callable[[str], None],
    ) -> None:
        """Use up what these decisions rest on, if who armed it still may and what he was shown is `before` still there;
        `used` is told "" or a `Reason` word.
        """
        approval = self._of(session, request)
        if approval is None or self.approvers is None:
            used(Reason.APPROVAL_NEEDED)
            return

        def asked(word: str) -> None:
            if word == Reason.APPROVAL_NEEDED and self._book.get(approval.id) is not None:
                self._end(approval, ApprovalEnd.APPROVER_LOST_ACCESS)
            used(word or self._use_up(session, request, decisions, before))

        self.approvers.ask(approval, asked)

    def _use_up(
        self, session: Session, request: Request, decisions: tuple[Decision, ...], before: Values | None
    ) -> str:
        """In one step: of several that come at once, one gets it."""
        if session.barred:
            return session.barred
        now = self._clock.now()
        armings = frozenset(arming for decision in decisions for arming in decision.armed)
        approval = self._of(session, request)
        if approval is None or any(arming.approval != approval.id for arming in armings):
            return Reason.APPROVAL_NEEDED
        if any(arming.kind is Obligation.SECOND_PERSON for arming in armings):
            word = _compared(approval, before)
            if word == Reason.OLD_VALUE_CHANGED:
                self._end(approval, ApprovalEnd.OLD_VALUE_CHANGED)
            if word:
                return word
        if self._book.use(armings, now) is None:
            return Reason.APPROVAL_NEEDED
        self._wake(approval.id)
        relied = [decision.index for decision in decisions if decision.armed]
        try:
            self._ledger.append(records.arming_used(now, approval=approval.id, session=session.id, decisions=relied))
        except LedgerUnavailableError as error:
            return Reason.LEDGER_PAUSED if error.code == Reason.LEDGER_PAUSED else Reason.LEDGER_CLOSED
        return ""

    def arm(self, approval: Approval, by: Approver, why: str = "", *, without_old: bool = False) -> Approval | None:
        """A person meets one obligation; None if it is over, was refused or does not need that.

        Nor does a second person while nobody can see what would be written over, or (unless `without_old`, which is to
        say that it is known to be so) where that could not be read.
        """
        known = self._book.get(approval.id)
        if known is None or known.state is ApprovalState.REFUSED or by.kind not in known.missing:
            return None
        now = self._clock.now()
        if now >= known.until or (by.kind is Obligation.SECOND_PERSON and not _is_seen(known, without_old)):
            return None
        armed = self._book.arm(known.id, by, now)
        try:
            self._record_armed(armed, by.kind, why)
        except LedgerUnavailableError:
            self._book.add(known)
            raise
        self._wake(known.id)
        return armed

    def refuse(self, approval: Approval, by: Subject, why: str = "") -> Approval | None:
        """A second person refuses; None if it is over or refused already."""
        known = self._book.get(approval.id)
        if known is None or known.state is ApprovalState.REFUSED:
            return None
        self._record_end(known, ApprovalEnd.REFUSED, by.id, why)
        refused = self._book.refuse(known.id, by.id, self._clock.now())
        self._wake(known.id)
        return refused

    def proven_anew(self, approval: Approval, subject: Subject) -> bool:
        """Whether the subject has proven itself to its issuer since this was asked for, minutes ago at most: the proof
        of before was not fresh enough to the policy, however young it was.
        """
        earliest = max(self._clock.now() - FRESH_SECONDS, approval.asked_at - SKEW_SECONDS)
        latest = self._clock.now() + SKEW_SECONDS
        proven = (proof.authenticated_at for proof in subject.proofs if proof.authenticated_at is not None)
        return any(earliest <= at <= latest for at in proven)

    async def wait(self, identifiers: Iterable[str], seconds: float) -> bool:
        """Until none of them waits any more, at most that long; whether it came to that."""
        watched, event = frozenset(identifiers), asyncio.Event()
        self._waiters[event] = watched
        try:
            async with asyncio.timeout(seconds):
                while any(self._waits(identifier) for identifier in watched):
                    await event.wait()
                    event.clear()
        except TimeoutError:
            return False
        finally:
            del self._waiters[event]
        return True

    def sweep(self, locks: LocksInForce) -> None:
        """End what has run out, and what a lock has come over: on who asked, where, or on who armed it."""
        now = self._clock.now()
        for approval in self._book.all():
            if now >= approval.until:
                self._end(approval, ApprovalEnd.EXPIRED)
            elif locks.on_session(approval.subject, approval.device, approval.session) is not None:
                self._end(approval, ApprovalEnd.LOCKED)
            elif any(locks.on_subject(approver.subject) is not None for approver in approval.armed_by):
                self._end(approval, ApprovalEnd.APPROVER_LOCKED)

    def session_ended(self, session: Session) -> None:
        """What was approved for a subject on a device does not outlive that its session there was cut."""
        if session.ended in _WAITS_ON:
            return
        for approval in self._book.all():
            if approval.subject.id == session.subject.id and approval.device.key == session.device_key:
                self._end(approval, ApprovalEnd.SESSION_ENDED)

    def end_all(self, reason: ApprovalEnd) -> None:
        """Nothing waits and nothing is armed any more."""
        for approval in self._book.all():
            self._end(approval, reason)

    def _of(self, session: Session, request: Request) -> Approval | None:
        """The approval of an operation, unless the device is no longer what it was when that was asked."""
        subject = session.subject
        approval = self._book.of((subject.organisation, subject.id, session.device_key, request.digest))
        if approval is not None and (
            approval.device != session.device or approval.request.operations != request.operations
        ):
            self._end(approval, ApprovalEnd.INVENTORY_CHANGED)
            return None
        return approval

    def _waits(self, identifier: str) -> bool:
        known = self._book.get(identifier)
        return known is not None and known.state is ApprovalState.WAITING

    def _wake(self, identifier: str) -> None:
        for event, watched in self._waiters.items():
            if identifier in watched:
                event.set()

    def _end(self, approval: Approval, reason: ApprovalEnd) -> None:
        """Recorded or not, it is over: what ends can only take away."""
        self._book.drop(approval.id)
        self._wake(approval.id)
        if approval.state is ApprovalState.REFUSED:
            return
        try:
            self._record_end(approval, reason)
        except LedgerUnavailableError:
            log.error("end of approval %s was not recorded: the ledger is closed", approval.id)

    def _record_asked(self, asked: Approval) -> bool:
        try:
            self._ledger.append(
                records.approval_asked(
                    asked.asked_at,
                    approval=asked.id,
                    session=asked.session,
                    subject=asked.subject.id,
                    device=asked.device.key,
                    digest="" if asked.request.conceals else asked.request.digest,
                    needs=[kind.value for kind in asked.needs],
                    decisions=[decision.index for decision in asked.decisions],
                    until=asked.until,
                )
            )
        except LedgerUnavailableError:
            return False
        return True

    def _record_armed(self, armed: Approval, kind: Obligation, why: str) -> None:
        arming = next(arming for arming in armed.armings if arming.kind is kind)
        self._ledger.append(
            records.operation_armed(
                arming.at,
                approval=armed.id,
                session=armed.session,
                obligation=kind.value,
                by=arming.by,
                until=arming.until,
                before=() if armed.request.conceals else armed.before or (),
                why=why,
            )
        )
        self._ledger.settle(True, _ignore)

    def _record_end(self, approval: Approval, reason: ApprovalEnd, by: str = "", why: str = "") -> None:
        self._ledger.append(
            records.approval_ended(
                self._clock.now(),
                approval=approval.id,
                session=approval.session,
                reason=reason.value,
                by=by,
                why=why,
            )
        )
        self._ledger.settle(False, _ignore)


def _is_seen(approval: Approval, without_old: bool) -> bool:
    if approval.old_values is OldValues.UNREADABLE:
        return without_old
    return approval.old_values is OldValues.READ


def _compared(approval: Approval, before: Values | None) -> str:
    """The `Reason` word if what a second person was shown is not there any more; he was shown what could be read."""
    shown, there = approval.shown, dict(before or ())
    if not shown.keys() <= there.keys():
        return Reason.OBLIGATION_UNMET
    return "" if all(there[point] == value for point, value in shown.items()) else Reason.OLD_VALUE_CHANGED


def _ignore(error: LedgerUnavailableError | None) -> None:
    """A failed ledger has already been latched; there is nothing more to do about it here."""
