"""Where decisions are taken: lease, or question -> engine -> strict answer -> clamp -> ledger record."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from broker.access.emergencies import EmergenciesInForce
from broker.access.given import GivenGrants
from broker.access.locks import LocksInForce
from broker.authz import answer as answers
from broker.authz import question as questions
from broker.authz.validation import invalid_because
from broker.engine.in_force import InForce
from broker.engine.ports import Clock, Ledger, PolicyEngine
from broker.engine.sessions import NEVER, Session, Situation, look_again_at
from broker.errors import LedgerUnavailableError, PolicyUnavailableError
from broker.ledger import records
from broker.listeners.approvals import Approvals
from broker.listeners.concealment import Concealment
from broker.listeners.denial_quota import DenialQuota
from broker.listeners.emergency_sessions import EmergencySessions
from broker.listeners.judging import as_decision, denial, judged, refused_by, waits_for_persons
from broker.listeners.policy_questions import put_question
from broker.model.action_rule import ActionRule
from broker.model.decision import Answer, Arming, Decision, EntryPoint
from broker.model.lock import Lock
from broker.model.operation import Request
from broker.model.place import Device, Grant, GrantKind
from broker.model.subject import Subject
from broker.model.vocabulary import Reason
from broker.wire.bacnet.action_classes import ActionTable, classed, never_written

log = logging.getLogger(__name__)
MAX_LEASES = 2048
MAX_ADMIN_LEASES = 4096
HOLDS_SECONDS = 60.0
NOT_RECORDED = -1
PASS = "isolation.pass"
PENDING: Final = object()
Decided = Callable[[Decision], None]


class DecisionDesk:
    """Takes decisions; `epoch` counts changes of policy, inventory, locks and given grants, each of which ends every
    lease at once.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        policy: PolicyEngine,
        in_force: InForce,
        chance: Callable[[str], str],
        concealment: Concealment,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._policy = policy
        self._chance = chance
        self.in_force = in_force
        self.concealment = concealment
        self.locks = LocksInForce()
        self.given = GivenGrants()
        self.approvals = Approvals(clock, ledger, chance)
        self.emergencies = EmergencySessions(policy)
        self._classes = ActionTable(())
        self.epoch = 1
        self.quota = DenialQuota()
        self._admin_leases: dict[tuple[object, ...], Decision] = {}
        self.taken = 0
        self.leased = 0

    @property
    def policy_revision(self) -> str:
        """The policy that answers now."""
        return self._policy.revision

    def operation(self, session: Session, request: Request, place: int, decided: Decided) -> Decision | object:
        """Decide one operation of a request: at once from a lease, else PENDING and `decided` is called later."""
        now = self._clock.now()
        if session.epoch != self.epoch:
            session.leases.clear()
            session.epoch = self.epoch
        key = f"{request.digest}/{place}" if place else request.digest
        lease = session.leases.get(key)
        if lease is not None and lease.valid_until is not None and now < lease.valid_until:
            self.leased += 1
            if lease.allow or self.quota.admits(session.subject.id, now):
                return lease
            return replace(lease, index=NOT_RECORDED)
        situation = self.situation_of(session, now)
        about, operation, errand = self._about(session, situation), request.operations[place], session.errand
        operation = classed(self._classes, operation)
        armed: tuple[Arming, ...] = ()
        if errand is None:
            entry_point = EntryPoint.EMERGENCY if session.emergency else EntryPoint.OPERATION
            armed = self.approvals.armed(session, request, now) if self.approvals else ()
            question = questions.operation_question(now=now, operation=operation, armed=armed, **about)
        else:
            entry_point = EntryPoint.LEAVE
            question = questions.leave_question(now=now, operation=operation, errand=errand, **about)

        def settle(decision: Decision) -> None:
            if self.given and errand is None and decision.allow and operation.writes:
                decision = self.given.told_of_use(decision, situation.grants)
            if armed:
                decision = replace(decision, armed=armed)
            elif (
                decision.valid_until is not None
                and errand is None
                and decision.epoch == session.epoch
                and not session.barred
            ):
                _keep(session.leases, key, decision, self._clock.now())
            decided(decision)

        barred = Reason.PRIORITY_NOT_ALLOWED if never_written(operation) else None
        if session.barred == Reason.SESSION_PAUSED:
            barred = Reason.SESSION_PAUSED
        if barred is not None:
            return self._barred(barred, entry_point, session, key, question, request.conceals)
        ends = min((look_again_at(session, situation), *(arming.until for arming in armed)))
        self._ask_unless_locked(entry_point, question, session, ends, settle, conceals=request.conceals)
        return PENDING

    def _barred(
        self,
        reason: Reason,
        entry_point: EntryPoint,
        session: Session,
        key: str,
        question: dict[str, Any],
        conceals: bool,
    ) -> Decision:
        """Denied by an administrator's pause or by the standard, not by the policy. It is leased: whoever goes on
        polling a paused session leaves one decision a minute, not one an operation.
        """
        now = self._clock.now()
        answer = Answer(False, (reason,), valid_until=now + HOLDS_SECONDS)
        policy = self.emergencies.policy if session.emergency else self._policy
        decision = self._record(entry_point, question, session, answer, policy.revision, conceals)
        if decision.index != NOT_RECORDED:
            _keep(session.leases, key, decision, now)
        return decision

    def session(self, session: Session, decided: Decided) -> None:
        """Decide whether this session may be there."""
        now = self._clock.now()
        situation = self.situation_of(session, now)
        about, errand = self._about(session, situation), session.errand
        if errand is None:
            entry_point = EntryPoint.EMERGENCY if session.emergency else EntryPoint.SESSION
            question = questions.session_question(now=now, **about)
        else:
            entry_point = EntryPoint.LEAVE
            question = questions.leave_question(now=now, operation=None, errand=errand, **about)
        self._ask_unless_locked(entry_point, question, session, look_again_at(session, situation), decided)

    def situation(self, subject: Subject, device: Device, now: float) -> Situation:
        """What the outside says about this subject at this device now; a locked grant gives nothing."""
        situation = self.situation_without_locks(subject, device, now)
        if not self.locks.grants:
            return situation
        grants = tuple(grant for grant in situation.grants if grant.id not in self.locks.grants)
        return replace(situation, grants=grants)

    def situation_without_locks(self, subject: Subject, device: Device, now: float) -> Situation:
        """The same as if no grant were locked: standing grants and given ones together.

        What an organisation may no longer ask for, its requests no longer give.
        """
        situation = self.in_force.situation(subject, device, now)
        if not self.given:
            return situation
        given = self.given.for_(subject, device, now)
        organisation = self.in_force.organisation(subject)
        if organisation is None or not organisation.may_ask_for(device):
            given = tuple(grant for grant in given if grant.kind is not GrantKind.REQUEST)
        return replace(
            situation,
            grants=(*situation.grants, *given),
            grants_change_at=min(situation.grants_change_at, self.given.changes_at(subject, device, now)),
        )

    def give(self, source: str, grants: Iterable[Grant]) -> None:
        """These are the grants of that source from now on, and no others: every lease dies."""
        self.given = self.given.replaced(source, grants)
        self.epoch += 1

    def situation_of(self, session: Session, now: float) -> Situation:
        """The same of a session; one of an emergency rests on what that gives, and on no other grant."""
        if not session.emergency:
            return self.situation(session.subject, session.device, now)
        situation = self.in_force.situation(session.subject, session.device, now)
        return replace(situation, grants=self.emergencies.gives(session, self.locks, now))

    def classify(self, rules: Iterable[ActionRule]) -> None:
        """By these rules what is asked about BACnet is classed from now on: every lease dies."""
        self._classes = ActionTable(rules)
        self.epoch += 1

    def enforce_emergencies(self, emergencies: EmergenciesInForce) -> None:
        """These emergencies hold from now on, and no others: every lease dies."""
        self.emergencies.in_force = emergencies
        self.epoch += 1

    def enforce(self, locks: LocksInForce) -> None:
        """These locks hold from now on, and no others: every lease dies, and what whoever is locked has armed."""
        self.locks = locks
        self.epoch += 1
        self.approvals.sweep(locks)

    def spared(self, session: Session, site: str, decided: Decided) -> None:
        """Whether the policy names the subject for emergencies at an isolated site; silence is no."""
        about = questions.SessionFacts(id="", listener=session.listener, peer=session.peer, started=session.started)
        self.admin(session.subject, PASS, {"kind": "site", "site": site}, about, decided)

    def admin(
        self,
        subject: Subject,
        permission: str,
        resource: dict[str, object],
        about: questions.SessionFacts,
        decided: Decided,
    ) -> None:
        """Decide one action of the API or console that touches no device, or reuse such a decision.

        A lease's key is the question but for its moments: `now`, and when the same proofs were looked at again.
        """
        shown = tuple(sorted(resource.items()))
        key = (subject.id, *(p.fingerprint for p in subject.proofs), subject.roles, about.peer, permission, shown)
        lease = self._admin_leases.get(key)
        if lease is not None and lease.epoch == self.epoch and self._clock.now() < (lease.valid_until or 0):
            self.leased += 1
            decided(lease)
            return
        organisation = self.in_force.organisation(subject)
        if organisation is None:
            decided(self._own_denial(Reason.CONTRACT_ENDED))
            return
        question = questions.admin_question(
            now=self._clock.now(),
            subject=subject,
            organisation=organisation,
            permission=permission,
            resource=resource,
            session=about,
        )

        def settle(decision: Decision) -> None:
            if decision.valid_until is not None:
                if len(self._admin_leases) >= MAX_ADMIN_LEASES:
                    self._admin_leases.clear()
                self._admin_leases[key] = decision
            decided(decision)

        contract = NEVER if organisation.contract_until is None else organisation.contract_until
        ends = min((contract, *(proof.not_after for proof in subject.proofs)))
        self._ask(EntryPoint.ADMIN, question, None, ends, settle, lock=self.locks.on_subject(subject))

    def still_holds(self, decisions: tuple[Decision, ...]) -> bool:
        """Whether nothing that these decisions rest on has changed or ended since."""
        now, epoch = self._clock.now(), self.epoch
        for decision in decisions:  # noqa: SIM110 - asked for every operation, and a generator costs as much again
            if decision.epoch != epoch or now >= decision.holds_until:
                return False
        return True

    def _about(self, session: Session, situation: Situation) -> dict[str, Any]:
        mfa = max((p.authenticated_at for p in session.subject.proofs if p.authenticated_at is not None), default=None)
        return {
            "subject": session.subject,
            "organisation": self.in_force.organisation(session.subject),
            "device": session.device,
            "calendar": situation.calendar,
            "grants": situation.grants,
            "session": questions.SessionFacts(
                id=session.id,
                listener=session.listener,
                peer=session.peer,
                started=session.started,
                mfa_at=mfa,
                watched_by=session.watched_by,
            ),
        }

    def _ask_unless_locked(
        self,
        entry_point: EntryPoint,
        question: dict[str, Any],
        session: Session,
        ends: float,
        decided: Decided,
        *,
        conceals: bool = False,
    ) -> None:
        """Ask the policy in a session; a lock refuses whatever it says, an isolation all whom it does not spare, and
        the broker itself in any case.
        """
        lock = self.locks.on_session(session.subject, session.device, session.id)
        isolation = self.emergencies.isolation_of(session, self.locks)

        def judged(spared: Decision) -> None:
            # A lock may have been set while the policy was asked about the isolation.
            meanwhile = self.locks.on_session(session.subject, session.device, session.id)
            refused_by = meanwhile or (None if spared.allow else isolation)
            self._ask(entry_point, question, session, ends, decided, conceals=conceals, lock=refused_by)

        if lock is None and isolation is not None and session.errand is None:
            self.spared(session, isolation.target, judged)
        else:
            self._ask(entry_point, question, session, ends, decided, conceals=conceals, lock=lock or isolation)

    def _ask(
        self,
        entry_point: EntryPoint,
        question: dict[str, Any],
        session: Session | None,
        ends: float,
        decided: Decided,
        *,
        conceals: bool = False,
        lock: Lock | None = None,
    ) -> None:
        epoch, policy = self.epoch, self._policy
        if session is not None and session.emergency:
            policy = self.emergencies.policy

        def answered(raw: bytes | PolicyUnavailableError, revision: str) -> None:
            now = self._clock.now()
            try:
                answer = judged(raw, now, ends, entry_point, once=bool(question.get("armed")))
                decision = self._record(entry_point, question, session, answer, revision, conceals)
            except Exception:
                # A bug of ours must not leave the asker without an answer, nor reach the engine's connection.
                log.exception("an answer could not be taken; it counts as a denial")
                decision = self._own_denial(Reason.POLICY_UNAVAILABLE)
            decided(replace(decision, epoch=epoch, holds_until=min(now + HOLDS_SECONDS, ends)))

        answer = refused_by(lock) if lock else None
        if answer is None and invalid_because(entry_point, question):
            answer = denial(Reason.INPUT_INVALID)
        if answer is not None:
            decided(self._record(entry_point, question, session, answer, policy.revision, conceals))
            return
        put_question(policy, entry_point, questions.encode(question), answered)

    def _record(
        self,
        entry_point: EntryPoint,
        question: dict[str, Any],
        session: Session | None,
        answer: Answer,
        revision: str,
        conceals: bool,
    ) -> Decision:
        now = self._clock.now()
        self.taken += 1
        subject = question["subject"]["id"]
        if not answer.allow and not self.quota.admits(subject, now):
            return as_decision("", NOT_RECORDED, answer, question)
        if waits_for_persons(answer, question) and not self.quota.admits(subject, now):
            return as_decision("", NOT_RECORDED, denial(Reason.APPROVAL_NEEDED), question)
        decision_id = self._chance("dec")
        try:
            shown, concealed = self.concealment.question(question) if conceals else (question, "")
            record = records.decision(
                now,
                id=decision_id,
                session=session.id if session else "",
                entry_point=entry_point.value,
                input=shown,
                answer=answers.as_document(answer),
                revision=revision,
                allow=answer.allow,
                reasons=answer.reasons,
                concealed=concealed,
            )
            index = self._ledger.append(record)
        except LedgerUnavailableError as error:
            paused = error.code == Reason.LEDGER_PAUSED
            return self._own_denial(Reason.LEDGER_PAUSED if paused else Reason.LEDGER_CLOSED)
        return as_decision(decision_id, index, answer, question)

    def _own_denial(self, reason: Reason) -> Decision:
        return Decision("", NOT_RECORDED, False, (reason,), epoch=self.epoch)


def _keep(leases: dict[str, Decision], key: str, decision: Decision, now: float) -> None:
    """Remember a lease. When there are too many, only those that ran out make room: whoever polls more points in turn
    than there is room for would otherwise find none.
    """
    if len(leases) >= MAX_LEASES:
        for known in [k for k, lease in leases.items() if lease.valid_until is None or lease.valid_until <= now]:
            del leases[known]
    if len(leases) < MAX_LEASES:
        leases[key] = decision
