"""Performs what the engine commands. A command that can be answered at once is answered without creating a task."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from broker.access.debts import debts_of
from broker.engine.audit_reporting import Fared, denied
from broker.engine.commands import (
    AskApproval,
    ClaimUse,
    Command,
    CountDenial,
    Decide,
    GiveBackUse,
    LastLook,
    MarkUndoing,
    Owe,
    RecordDenial,
    RecordIntents,
    RecordOutcomes,
    Relay,
    SettleDebts,
    ShowBefore,
    UseArming,
)
from broker.engine.events import Answered, Finding, Refused
from broker.engine.ports import Audits, Clock, DebtBook, Ledger, Upstream, Uses
from broker.engine.sessions import Observer, Session
from broker.errors import DeviceUnavailableError, LedgerUnavailableError
from broker.ledger import operation_records
from broker.listeners.decision_desk import NOT_RECORDED, PENDING, DecisionDesk
from broker.listeners.decisions_ahead import Ahead, DecisionsAhead
from broker.listeners.operation_evidence import intent_of, outcome_of
from broker.listeners.writes_under_way import WritesUnderWay
from broker.model.leave import Debt
from broker.model.operation import Relayed
from broker.model.vocabulary import EndReason, Reason, Result

log = logging.getLogger(__name__)
Steps = Generator[Command, Any, Any]


class Driver:
    """One per broker. `upstream_of` gives the way to a device; `fault` ends a session after a bug of ours."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        desk: DecisionDesk,
        upstream_of: Callable[[str], Upstream],
        fault: Callable[[Session, EndReason], None],
        debts: DebtBook,
    ) -> None:
        self._debts = debts
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._upstream_of = upstream_of
        self._fault = fault
        self.uses: Uses | None = None
        self.audits: Audits | None = None
        self.running = 0
        self._writes = WritesUnderWay()
        self.results: Counter[str] = Counter()
        self._quiet: list[asyncio.Future[None]] = []
        self.performers: dict[type, Callable[[Any, _Run], Any]] = {
            Decide: DecisionsAhead(desk).decide,
            RecordIntents: self._record_intents,
            RecordDenial: self._record_denial,
            CountDenial: self._count_denial,
            AskApproval: self._ask_approval,
            ShowBefore: self._show_before,
            UseArming: self._use_arming,
            ClaimUse: self._claim_use,
            GiveBackUse: self._give_back_use,
            LastLook: self.last_look,
            Relay: self._relay,
            RecordOutcomes: self._record_outcomes,
            Owe: self._owe,
            SettleDebts: self._settle_debts,
            MarkUndoing: self._mark_undoing,
        }

    def run(self, session: Session, steps: Steps, done: Callable[[Any], None]) -> None:
        """Drive an exchange to its end; `done` gets what it returns, at once if nothing had to wait."""
        self.running += 1
        _Run(self, session, steps, done).advance(None)

    async def quiet(self, seconds: float) -> bool:
        """Wait until no exchange is under way, at most that long."""
        if not self.running:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._quiet.append(waiter)
        done, _ = await asyncio.wait({waiter}, timeout=seconds)
        return bool(done)

    def finished(self) -> None:
        """An exchange has ended, well or not."""
        self.running -= 1
        if not self.running:
            for waiter in self._quiet:
                if not waiter.done():
                    waiter.set_result(None)
            self._quiet.clear()

    def failed(self, run: "_Run") -> None:
        """A bug: nothing is carried on. An intent without outcome becomes `unknown`; the session ends."""
        log.exception("exchange failed; the session ends", extra={"session": run.session.id})
        self._writes.forget(run)
        self._settle_open_intents(run, 0, Result.UNKNOWN)
        self._fault(run.session, EndReason.BROKER_FAULT)

    def _record_intents(self, command: RecordIntents, run: "_Run") -> Any:
        session, request = command.session, command.request
        barred = session.barred
        if barred and session.ended is not None:
            return Reason.SESSION_ENDED
        open_before = len(run.open_intents)
        try:
            run.first_intent = self._append_intents(command, run)
        except LedgerUnavailableError as error:
            reason = Reason.LEDGER_PAUSED if error.code == Reason.LEDGER_PAUSED else Reason.LEDGER_CLOSED
            self._settle_open_intents(run, open_before, Result.NOT_SENT, reason)
            return reason
        if barred:
            self._settle_open_intents(run, open_before, Result.NOT_SENT, barred)
            return barred
        session.operations += 1
        if request.writes:
            run.intended = command
        return run.first_intent if self._ledger.settle(request.writes, run.intents_settled) else PENDING

    def _append_intents(self, command: RecordIntents, run: "_Run") -> int:
        """The index of the first. Raises LedgerUnavailableError; those before may then be in the ledger."""
        now, conceal, first = self._clock.now(), self._desk.concealment, len(run.open_intents)
        for place, decision in enumerate(command.decisions):
            record = intent_of(conceal, now, command.session, command.request, place, decision, command.before)
            run.open_intents.append(self._ledger.append(record, intent=True))
        return run.open_intents[first]

    def _settle_open_intents(self, run: "_Run", start: int, result: Result, code: str = "") -> None:
        """Give the intents that were left open, from that one on, the outcome they have; what cannot be recorded, the
        next start does. Those before belong to a write whose after-value is being read.
        """
        try:
            while len(run.open_intents) > start:
                intent = run.open_intents[start]
                self._ledger.append(
                    operation_records.outcome(self._clock.now(), intent=intent, result=result, code=code)
                )
                del run.open_intents[start]
        except LedgerUnavailableError:
            log.error("an outcome was not recorded; the next start records it as unknown")

    def _record_denial(self, command: RecordDenial, run: "_Run") -> Any:
        session, now, request, decisions = command.session, self._clock.now(), command.request, command.decisions
        places = tuple(range(len(decisions))) if command.places is None else command.places
        session.refusals += 1
        self.results[Result.DENIED] += 1
        if session.observer is not None:
            _tell_denied(session.observer, command, places)
        if any(decisions[place].index == NOT_RECORDED for place in places):
            return None  # beyond the quota, and counted where it was decided; or the ledger is closed
        if session.ended is not None:
            self._desk.quota.suppress(session.subject.id, now)
            return None
        intents: list[int] = []
        code = command.code or next(iter(command.reasons), "")
        try:
            for place in places:
                record = intent_of(self._desk.concealment, now, session, request, place, decisions[place])
                intents.append(self._ledger.append(record, intent=True))
                self._ledger.append(operation_records.outcome(now, intent=intents[-1], result=Result.DENIED, code=code))
        except LedgerUnavailableError:
            self._desk.quota.suppress(session.subject.id, now)
            return None
        if self.audits is not None and self.audits.wants(session, request):
            self.audits.tell(session, request, denied(command, zip(places, intents, strict=True)))
        return None if self._ledger.settle(False, run.denial_settled) else PENDING

    def _count_denial(self, command: CountDenial, run: "_Run") -> None:
        command.session.refusals += 1
        self.results[Result.DENIED] += 1
        self._desk.quota.suppress(command.session.subject.id, self._clock.now())

    def _ask_approval(self, command: AskApproval, run: "_Run") -> Any:
        return self._desk.approvals.ask(command.session, command.request, command.decisions, command.needs)

    def _show_before(self, command: ShowBefore, run: "_Run") -> Any:
        self._desk.approvals.show_before(command.approval, command.before)

    def _use_arming(self, command: UseArming, run: "_Run") -> Any:
        self._desk.approvals.use(command.session, command.request, command.decisions, command.before, run.advance)
        return PENDING

    def _claim_use(self, command: ClaimUse, run: "_Run") -> Any:
        if self.uses is None:
            return Reason.STATE_STALE
        self.uses.claim(command.session, command.operations, command.grant, run.advance)
        return PENDING

    def _give_back_use(self, command: GiveBackUse, run: "_Run") -> Any:
        if self.uses is not None:
            self.uses.give_back(command.session, command.operations, command.grant, command.kept)

    def _owe(self, command: Owe, run: "_Run") -> Any:
        """Obliged writes alone come here: they are decided anew each time, and wait for the disk twice anyway."""
        session, now = command.session, self._clock.now()
        situation = self._desk.situation(session.subject, session.device, now)
        run.owed = debts_of(
            session.subject,
            session.device,
            session.id,
            [grant for grant in situation.grants if grant.id in session.relied_on],
            command.request,
            command.decisions,
            command.before,
            now,
        )
        if run.owed is None:
            return None
        debts = tuple(debt for of_one in run.owed for debt in of_one)
        if not self._writes.before_is_known(debts, run.first_intent):
            return Reason.ACCESS_CHANGED
        return PENDING if self._debts.note(debts, run.debts_noted) else None

    def _settle_debts(self, command: SettleDebts, run: "_Run") -> Any:
        """Who takes a value over is told that his write is done once that outlives the broker."""
        for place, debts in enumerate(command.debts):
            if debts:
                result, _ = command.relayed.of(place)
                self._debts.settle(debts, result, command.first_intent + place)
                self._writes.settled(debts, result)
        session = command.session
        taken_over = self._debts.written(
            session.subject.id,
            session.device,
            command.request,
            command.relayed,
            command.first_intent,
            frozenset(self._writes.met(run)),
            run.advance,
        )
        return PENDING if taken_over else None

    def _mark_undoing(self, command: MarkUndoing, run: "_Run") -> Any:
        self._debts.mark(command.debt, command.undoing, run.advance)
        return PENDING

    def last_look(self, command: LastLook | Relay, run: "_Run") -> str:
        """The word for what has changed since the decisions were taken, or none."""
        session = command.session
        if session.barred:
            return session.barred
        if not self._desk.still_holds(command.decisions):
            return Reason.ACCESS_CHANGED
        return "" if session.errand is None else self._last_look_at_debt(session, session.errand.debt)

    def _last_look_at_debt(self, session: Session, debt: Debt | None) -> str:
        """Nothing is undone where somebody has written since, or has a write on its way."""
        if debt is None:
            return ""
        return "" if self._debts.owed_still(debt) and not self._writes.disputed(debt) else Reason.NOTHING_OWED

    def _relay(self, command: Relay, run: "_Run") -> Any:
        try:
            upstream = self._upstream_of(command.session.device_key)
        except DeviceUnavailableError as error:
            return Relayed(Result.NOT_SENT, code=error.code)
        run.relaying = command
        if command.request.writes and run.session.errand is None:
            self._writes.begins(run, command)
        upstream.relay(command.request, run.advance, run.still_allowed)
        return PENDING

    def _record_outcomes(self, command: RecordOutcomes, run: "_Run") -> Any:
        now, relayed, first = self._clock.now(), command.relayed, command.first_intent
        self.results[relayed.result] += 1
        conceal, request = self._desk.concealment, command.request
        try:
            for place in range(len(request.operations)):
                record = outcome_of(conceal, now, request, place, first + place, relayed, command.after)
                index = self._ledger.append(record)
                run.open_intents.remove(first + place)
        except LedgerUnavailableError:
            self._writes.forget(run)
            return False
        if request.writes:
            self._writes.came_out(run, relayed, index)
            run.came_out = command
        observer = command.session.observer
        if observer is not None:
            observer(command.session, request, relayed.result, relayed.code, (), relayed.each)
        if not self._ledger.settle(request.writes, run.outcomes_settled):
            return PENDING
        self.tell_audits(run)
        return True

    def tell_audits(self, run: "_Run") -> None:
        """The outcomes of a write are on record: others may be told."""
        intended, came_out, run.came_out = run.intended, run.came_out, None
        if self.audits is None or intended is None or came_out is None:
            return
        session, request = came_out.session, came_out.request
        if self.audits.wants(session, request):
            fared = [
                Fared(place, came_out.first_intent + place, *came_out.relayed.of(place), decision.id)
                for place, decision in enumerate(intended.decisions)
            ]
            self.audits.tell(session, request, fared, intended.before)


def _tell_denied(observer: Observer, command: RecordDenial, places: tuple[int, ...]) -> None:
    decided = (word for place in places for word in command.decisions[place].reasons)
    reasons = tuple(dict.fromkeys((*command.reasons, *decided)))
    denied = replace(command.request, operations=tuple(command.request.operations[place] for place in places))
    observer(command.session, denied, Result.DENIED, command.code, reasons, ())


class _Run:
    """One exchange under way."""

    __slots__ = (
        *("_done", "_driver", "_steps", "ahead", "came_out", "first_intent", "intended", "open_intents", "owed"),
        *("relaying", "session"),
    )

    def __init__(self, driver: Driver, session: Session, steps: Steps, done: Callable[[Any], None]) -> None:
        self._driver = driver
        self._steps = steps
        self._done = done
        self.session = session
        self.open_intents: list[int] = []
        self.first_intent = -1
        self.ahead: Ahead | None = None
        self.relaying: Relay | None = None
        self.intended: RecordIntents | None = None
        self.came_out: RecordOutcomes | None = None
        self.owed: tuple[tuple[Debt, ...], ...] | None = None

    def _after_fault(self) -> Finding:
        """What the caller is told after a bug of ours: that nothing was sent only if nothing was."""
        if self.relaying is None:
            return Refused((Reason.SESSION_ENDED,))
        unknown = Relayed(Result.UNKNOWN, code=EndReason.BROKER_FAULT)
        return Answered(unknown, self.relaying.decisions, recorded=False)

    def intents_settled(self, error: LedgerUnavailableError | None) -> None:
        """The ledger's word on the intents."""
        self.advance(self.first_intent if error is None else Reason.LEDGER_CLOSED)

    def denial_settled(self, _error: LedgerUnavailableError | None) -> None:
        """The ledger's word on a denial, which is one, recorded or not."""
        self.advance(None)

    def outcomes_settled(self, error: LedgerUnavailableError | None) -> None:
        """The ledger's word on the outcomes."""
        if error is None and self.came_out is not None:
            self._driver.tell_audits(self)
        self.advance(error is None)

    def debts_noted(self, on_disk: bool) -> None:
        """The book's word on debts."""
        self.advance(self.owed if on_disk else None)

    def still_allowed(self) -> str:
        """Asked again about a request that had to wait for its turn."""
        assert self.relaying is not None
        return self._driver.last_look(self.relaying, self)

    def advance(self, answer: Any) -> None:
        performers, send = self._driver.performers, self._steps.send
        try:
            while True:
                command = send(answer)
                answer = performers[type(command)](command, self)
                if answer is PENDING:
                    return
        except StopIteration as stop:
            result = stop.value
        except Exception:
            self._driver.failed(self)
            result = self._after_fault()
        self._driver.finished()
        try:
            self._done(result)
        except Exception:
            self._driver.failed(self)
