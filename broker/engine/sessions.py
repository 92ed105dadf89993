"""One authenticated way of one subject to one device through one listener, and the rules for its end."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from broker.model.decision import Decision
from broker.model.leave import Errand
from broker.model.operation import Request
from broker.model.place import Device, Grant, GrantKind
from broker.model.schedule import CalendarState, Interval
from broker.model.subject import ProofKind, Subject
from broker.model.vocabulary import Action, EndReason, Reason

NEVER = float("inf")
_NEED_NO_WINDOW = frozenset({Action.VIEW, Action.DISCOVER})


@dataclass(slots=True, eq=False)
class Session:
    """A session; mutable only through the functions of this module and the driver that owns it.

    `leases` maps an operation key (request digest and place) to a decision that may be reused; `epoch` is the state of
    policy, inventory and locks in which they were taken. `relied_on` are the grants that an open window puts in force,
    `viewing_by` those that give views without one, though not for ever;
    `look_at` (epoch seconds) is when its end must be examined again. `device_key` is the device's, ready to hand.
    `barred` is the `Reason` word for which nothing is relayed now, empty while operations may be. `observer`, there
    only while somebody watches, is told of each request: result, code, reasons of a denial, result and code of each
    operation where they differ. `watched_by` are those who
    supervise it now. `warn`, there where the way can carry it, tells its caller when and why access ends
    soon. `errand` is there in sessions of the broker's own alone. `emergency` is the id of the
    emergency in which it was opened, on which alone it rests. `last_words`, there while something is counted that is
    to be recorded in it, is called once before its end is.
    """

    id: str
    subject: Subject
    device: Device
    listener: str
    peer: str
    started: float
    ended: EndReason | None = None
    epoch: int = 0
    leases: dict[str, Decision] = field(default_factory=dict)
    relied_on: frozenset[str] = frozenset()
    viewing_by: frozenset[str] = frozenset()
    look_at: float = NEVER
    operations: int = 0
    refusals: int = 0
    barred: str = ""
    watched_by: tuple[str, ...] = ()
    observer: "Observer | None" = None
    warn: Callable[[float, EndReason], None] | None = None
    errand: Errand | None = None
    emergency: str = ""
    last_words: Callable[[], None] | None = None
    device_key: str = field(init=False)

    def __post_init__(self) -> None:
        self.device_key = self.device.key

    def end(self, reason: EndReason) -> None:
        """It has ended: nothing is relayed any more, and no decision lives on."""
        self.ended = reason
        self.barred = Reason.CALLER_GONE if reason is EndReason.PEER_CLOSED else Reason.SESSION_ENDED
        self.leases.clear()

    def watch_by(self, supervisors: tuple[str, ...]) -> None:
        """These supervise it from here on: no decision that was told of others lives on, nor becomes a lease."""
        self.watched_by = supervisors
        self.leases.clear()
        self.epoch = 0

    def pause(self) -> None:
        """Refuse every operation from here on, what waits to be sent included."""
        self.barred = Reason.SESSION_PAUSED
        self.leases.clear()

    def resume(self) -> None:
        """Let operations be decided again."""
        self.barred = ""
        self.leases.clear()


Observer = Callable[[Session, Request, str, str, tuple[str, ...], tuple[tuple[str, str], ...]], None]


@dataclass(frozen=True, slots=True)
class Situation:
    """What the outside says about a session at one moment: its grants, its calendar, its organisation's contract.

    `grants_change_at` is when the next grant begins or one of these ends.
    """

    now: float
    grants: tuple[Grant, ...]
    calendar: CalendarState
    contract_until: float | None
    grants_change_at: float = NEVER


def end_of(session: Session, situation: Situation) -> EndReason | None:
    """Whether this session must end now, and why; otherwise remembers the grants it relies on from here."""
    when, why = proof_end(session.subject, situation.contract_until)
    if situation.now >= when:
        return why
    if session.emergency:
        return None if situation.grants else EndReason.GRANT_ENDED
    calendar = situation.calendar
    relied_on = in_force(situation)
    lost = session.relied_on - relied_on - prolonged(situation.grants, relied_on)
    viewing_by = frozenset(grant.id for grant in situation.grants if _gives_views_meanwhile(grant))
    if calendar.frozen and (lost or session.errand is not None or calendar.views_frozen):
        return EndReason.FREEZE_STARTED
    if lost:
        known = {grant.id for grant in situation.grants}
        return EndReason.WINDOW_CLOSED if lost & known else EndReason.GRANT_ENDED
    if session.viewing_by - viewing_by - prolonged(situation.grants, viewing_by):
        return EndReason.GRANT_ENDED
    session.relied_on, session.viewing_by = relied_on, viewing_by
    return None


def look_again_at(session: Session, situation: Situation) -> float:
    """The earliest moment (epoch seconds) at which `end_of` may say something else."""
    ends = [proof_end(session.subject, situation.contract_until)[0], situation.calendar.changes_at]
    ends += [
        situation.grants_change_at,
        *(grant.not_after for grant in situation.grants if grant.not_after is not None),
    ]
    return min((end for end in ends if end > situation.now), default=NEVER)


def foreseen_end(session: Session, situation: Situation) -> tuple[float, EndReason] | None:
    """When and why this session will end as things stand, None if nothing foreseen does. No freeze is foreseen."""
    when, why = min(proof_end(session.subject, situation.contract_until), access_end(session, situation))
    return None if when == NEVER else (when, why)


def access_end(session: Session, situation: Situation) -> tuple[float, EndReason]:
    """When and why the access itself ends as things stand, however long its subject may prove itself."""
    ends = [(NEVER, EndReason.GRANT_ENDED)]
    if situation.contract_until is not None:
        ends.append((situation.contract_until, EndReason.CONTRACT_ENDED))
    bound = session.relied_on | session.viewing_by
    others = prolonged(situation.grants, bound)
    for grant in situation.grants:
        if grant.id in bound and grant.id not in others:
            if grant.id in session.relied_on and not session.emergency and not _needs_no_window(grant):
                ends.append((_last_window_end(grant, situation.calendar.open), EndReason.WINDOW_CLOSED))
            ends.append((NEVER if grant.not_after is None else grant.not_after, EndReason.GRANT_ENDED))
    return min(ends)


def _last_window_end(grant: Grant, opened: Iterable[Interval]) -> float:
    return max((i.closes for i in opened if not grant.windows or i.id in grant.windows), default=NEVER)


def proof_end(subject: Subject, contract_until: float | None) -> tuple[float, EndReason]:
    """When the first of the facts that prove a subject runs out (epoch seconds), and what its end is called."""
    ends: list[tuple[float, EndReason]] = [(NEVER, EndReason.PEER_CLOSED)]
    for proof in subject.proofs:
        expired = EndReason.TOKEN_EXPIRED if proof.kind is ProofKind.TOKEN else EndReason.CERTIFICATE_EXPIRED
        ends.append((proof.not_after, expired))
        if proof.crl_next_update is not None:
            ends.append((proof.crl_next_update, EndReason.CRL_STALE))
    if contract_until is not None:
        ends.append((contract_until, EndReason.CONTRACT_ENDED))
    return min(ends)


def in_force(situation: Situation) -> frozenset[str]:
    """The grants that give something now which will end: with a window, at a time of their own, or when withdrawn."""
    calendar = situation.calendar
    open_now = frozenset() if calendar.frozen else frozenset(interval.id for interval in calendar.open)
    return frozenset(grant.id for grant in situation.grants if _gives_for_now(grant, open_now))


def _gives_for_now(grant: Grant, open_now: frozenset[str]) -> bool:
    if _needs_no_window(grant):
        return _will_end(grant)
    return bool(open_now.intersection(grant.windows) if grant.windows else open_now)


def _gives_views_meanwhile(grant: Grant) -> bool:
    """Whether a grant that needs a window for the rest gives views without one, until it ends or is withdrawn."""
    return not grant.windows and not _NEED_NO_WINDOW.isdisjoint(grant.actions) and _will_end(grant)


def _will_end(grant: Grant) -> bool:
    return grant.not_after is not None or grant.kind is not GrantKind.STANDING


def _needs_no_window(grant: Grant) -> bool:
    return not grant.windows and _NEED_NO_WINDOW.issuperset(grant.actions)


def prolonged(grants: Iterable[Grant], relied_on: frozenset[str]) -> frozenset[str]:
    """The grants in whose place another one goes on giving the same."""
    return frozenset(grant.extends for grant in grants if grant.extends and grant.id in relied_on)
