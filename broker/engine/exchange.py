"""The way of one operation.

    request -> Decide (each operation) -> [a person is missing: AskApproval, refused] -> [before-value, Owe] ->
    [what persons armed: UseArming] -> RecordIntents -> LastLook -> Relay -> [a write: SettleDebts] ->
    RecordOutcomes -> [a read that a change overtook: decided again, once] -> answer

A generator yields commands and is sent their answers; one driver performs them. Whatever goes wrong at any step,
nothing is relayed without a recorded intent, and every recorded intent gets exactly one outcome.
"""

from collections.abc import Generator

from broker.access.debts import OBLIGE
from broker.engine.commands import (
    AskApproval,
    ClaimUse,
    Command,
    Decide,
    GiveBackUse,
    LastLook,
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
from broker.engine.sessions import Session
from broker.model.approval import Approval, ApprovalState
from broker.model.decision import Decision, Obligation
from broker.model.leave import Debt
from broker.model.operation import Operation, Relayed, Request
from broker.model.vocabulary import Reason, Result
from broker.wire.meaning import values_of

Steps = Generator[Command, object, Finding]
Values = tuple[tuple[str, str], ...]
Owed = tuple[tuple[Debt, ...], ...]
"""The debts of each operation of a request."""
_NEEDED = {Obligation.STEP_UP: Reason.STEP_UP_NEEDED, Obligation.SECOND_PERSON: Reason.APPROVAL_NEEDED}
_READ_BEFORE = frozenset({Obligation.BEFORE_VALUE, Obligation.RESTORE})
_NOTHING_TRIED = frozenset({Result.NOT_SENT, Result.UNATTEMPTED})


def exchange(session: Session, request: Request) -> Steps:
    """Decide one request and carry it out if every operation of it is allowed."""
    decisions = yield from decide(session, request)
    for decision in decisions:
        if not decision.allow:
            return (yield from deny(session, request, decisions))
    return (yield from carry_out(session, request, decisions))


def exchange_whole(session: Session, requests: tuple[Request, ...]) -> Generator[Command, object, tuple[Finding, ...]]:
    """Decide several requests whole before any is relayed: one denial, or one person missing, refuses all. Then carry
    them out in order.

    The first that is not done keeps back those after it: they are `Refused(())`, without intent and without reason.
    """
    taken = []
    for request in requests:
        taken.append((yield from decide(session, request)))
    findings: list[Finding] = []
    denied = any(not d.allow for decisions in taken for d in decisions)
    allowed = not denied and not any(d.lacks for decisions in taken for d in decisions)
    for request, decisions in zip(requests, taken, strict=True):
        if allowed and findings and not _done(findings[-1]):
            findings.append(Refused((), decisions))
            continue
        lacks = () if denied else _lacks(decisions)
        if allowed:
            step = carry_out(session, request, decisions)
        else:
            step = _wait(session, request, decisions, lacks) if lacks else deny(session, request, decisions)
        findings.append((yield from step))
    return tuple(findings)


def carry_out(session: Session, request: Request, decisions: tuple[Decision, ...]) -> Steps:
    """Record, look once more, relay, record: for a request whose operations are all allowed.

    What writes nothing and was overtaken by a change before it was sent is decided by what holds now, once.
    """
    finding = yield from _carry_out(session, request, decisions)
    if request.writes or not _overtaken(finding):
        return finding
    decisions = yield from decide(session, request)
    if not all(decision.allow for decision in decisions):
        return (yield from deny(session, request, decisions))
    return (yield from _carry_out(session, request, decisions))


def _carry_out(session: Session, request: Request, decisions: tuple[Decision, ...], *, claimed: bool = False) -> Steps:
    """`claimed`: what it uses of a grant for single use has been taken up."""
    before: Values | None = ()
    owed: Owed = ()
    obliged: tuple[Obligation, ...] = ()
    armed = spends = False
    for decision in decisions:
        if decision.spends:
            spends = True
        obliged += decision.obligations
        if decision.armed:
            armed = True
    if obliged and (lacks := _lacks(decisions)):
        return (yield from _wait(session, request, decisions, lacks))
    if spends and not claimed:
        return (yield from _spend(session, request, decisions))
    if obliged or armed:
        met = yield from _meet(session, request, decisions, obliged)
        if isinstance(met, str):
            yield RecordDenial(session, request, decisions, (met,))
            return Refused((met,), decisions)
        before, owed = met
    if armed and (refused := (yield from _use_up(session, request, decisions, before))) is not None:
        yield from _unowe(session, request, owed)
        return refused
    before = before or ()
    first = yield RecordIntents(session, request, decisions, before)
    if not isinstance(first, int):
        yield from _unowe(session, request, owed)
        return Refused((str(first),), decisions)
    changed = yield LastLook(session, decisions)
    if changed:
        yield from _unowe(session, request, owed)
        yield RecordOutcomes(session, request, first, Relayed(Result.NOT_SENT, code=str(changed)), ())
        return Refused((str(changed),), decisions)
    relayed = yield Relay(session, request, decisions)
    assert isinstance(relayed, Relayed)
    if request.writes:
        yield SettleDebts(session, request, owed, relayed, first)
    after: Values = ()
    if Obligation.AFTER_VALUE in obliged and _anything_done(relayed):
        after = (yield from _read_back(session, request)) or ()
    recorded = yield RecordOutcomes(session, request, first, relayed, after)
    return Answered(relayed, decisions, recorded is True, before, after)


def decide(session: Session, request: Request) -> Generator[Command, object, tuple[Decision, ...]]:
    """Decide each operation of a request."""
    decisions: tuple[Decision, ...] = ()
    for place in range(len(request.operations)):
        decision = yield Decide(session, request, place)
        assert isinstance(decision, Decision)
        decisions += (decision,)
    return decisions


def deny(session: Session, request: Request, decisions: tuple[Decision, ...]) -> Generator[Command, object, Refused]:
    """Record that a request is denied."""
    yield RecordDenial(session, request, decisions)
    reasons = dict.fromkeys(reason for d in decisions if not d.allow for reason in d.reasons)
    return Refused(tuple(reasons), decisions)


def _wait(
    session: Session, request: Request, decisions: tuple[Decision, ...], lacks: tuple[Obligation, ...]
) -> Generator[Command, object, Refused]:
    """Refuse at once, and let persons see what waits for them, with what is there now: nobody is kept waiting here."""
    approval = yield AskApproval(session, request, decisions, lacks)
    reasons, known = tuple(_NEEDED[kind] for kind in lacks), ""
    if isinstance(approval, Approval):
        known = approval.id
        if approval.state is ApprovalState.REFUSED:
            reasons = (Reason.APPROVAL_REFUSED,)
        elif approval.before is None:
            read = yield from _read_back(session, request)
            yield ShowBefore(approval, read or ())
    yield RecordDenial(session, request, decisions, reasons, known)
    return Refused(reasons, decisions, known)


def _use_up(
    session: Session, request: Request, decisions: tuple[Decision, ...], before: Values | None
) -> Generator[Command, object, Refused | None]:
    """What persons armed is used up before anything is intended; whoever comes second, or too late, waits again."""
    word = yield UseArming(session, request, decisions, before)
    if not word:
        return None
    if word == Reason.APPROVAL_NEEDED:
        lacks = tuple(dict.fromkeys(arming.kind for decision in decisions for arming in decision.armed))
        return (yield from _wait(session, request, decisions, lacks))
    yield RecordDenial(session, request, decisions, (str(word),))
    return Refused((str(word),), decisions)


def _spend(session: Session, request: Request, decisions: tuple[Decision, ...]) -> Steps:
    """Take up what a request uses of grants for single use, and carry it out; only what nobody tried gives it back."""
    uses: dict[str, tuple[int, ...]] = {}
    for place, decision in enumerate(decisions):
        if decision.spends:
            uses[decision.spends] = (*uses.get(decision.spends, ()), place)
    taken: dict[str, tuple[int, ...]] = {}
    for grant, places in uses.items():
        word = yield ClaimUse(session, _at(request, places), grant)
        if word:
            yield from _give_back(session, request, taken, None)
            yield RecordDenial(session, request, decisions, (str(word),))
            return Refused((str(word),), decisions)
        taken[grant] = places
    finding = yield from _carry_out(session, request, decisions, claimed=True)
    yield from _give_back(session, request, taken, None if isinstance(finding, Refused) else finding.relayed)
    return finding


def _give_back(
    session: Session, request: Request, taken: dict[str, tuple[int, ...]], relayed: Relayed | None
) -> Generator[Command, object, None]:
    for grant, places in taken.items():
        unused = tuple(place for place in places if relayed is None or relayed.of(place)[0] in _NOTHING_TRIED)
        kept = tuple(place for place in places if place not in unused)
        if unused:
            yield GiveBackUse(session, _at(request, unused), grant, _at(request, kept))


def _at(request: Request, places: tuple[int, ...]) -> tuple[Operation, ...]:
    return tuple(request.operations[place] for place in places)


def _lacks(decisions: tuple[Decision, ...]) -> tuple[Obligation, ...]:
    return tuple(dict.fromkeys(kind for decision in decisions for kind in decision.lacks))


def _overtaken(finding: Finding) -> bool:
    """Whether a request was allowed, and not sent because what its decisions rest on changed meanwhile."""
    if isinstance(finding, Answered):
        return finding.relayed.result == Result.NOT_SENT and finding.relayed.code == Reason.ACCESS_CHANGED
    return finding.reasons == (Reason.ACCESS_CHANGED,)


def _done(finding: Finding) -> bool:
    return isinstance(finding, Answered) and finding.done


def _anything_done(relayed: Relayed) -> bool:
    return relayed.result == Result.DONE or any(result == Result.DONE for result, _ in relayed.each)


def _meet(
    session: Session, request: Request, decisions: tuple[Decision, ...], obliged: tuple[Obligation, ...]
) -> Generator[Command, object, tuple[Values | None, Owed] | str]:
    """Do what is obliged before the relay: the values before, and the debts; a `Reason` word if that cannot be.

    What a second person approved, knowing what is there, is read as well; not obliged, it need not succeed.
    """
    before: Values | None = ()
    needed = not _READ_BEFORE.isdisjoint(obliged)
    if needed or _approved(decisions):
        before = yield from _read_back(session, request)
    if needed and not _complete(request, before):
        return Reason.OBLIGATION_UNMET
    if OBLIGE.isdisjoint(obliged):
        return before, ()
    owed = yield Owe(session, request, decisions, before or ())
    if isinstance(owed, tuple):
        return before, owed
    return owed if isinstance(owed, str) else Reason.OBLIGATION_UNMET


def _complete(request: Request, before: Values | None) -> bool:
    """Whether everything was read; a device may answer with what is no value that can be told, or put back."""
    if request.before is None or before is None:
        return False
    known = dict(before)
    touches = (touch for operation in request.before.operations for touch in operation.touches)
    return all(touch.point.id in known for touch in touches if touch.whole)


def _approved(decisions: tuple[Decision, ...]) -> bool:
    return any(arming.kind is Obligation.SECOND_PERSON for decision in decisions for arming in decision.armed)


def _unowe(session: Session, request: Request, owed: Owed) -> Generator[Command, object, None]:
    if owed:
        yield SettleDebts(session, request, owed, Relayed(Result.NOT_SENT), 0)


def _read_back(session: Session, request: Request) -> Generator[Command, object, Values | None]:
    """Read what the request writes, as an operation of its own; None if that cannot be had."""
    if request.before is None:
        return None
    finding = yield from exchange(session, request.before)
    if isinstance(finding, Answered) and _done(finding):
        return values_of(session.device, request.before, finding.relayed.payload)
    return None
