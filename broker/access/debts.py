"""What is owed when access ends: which writes leave a debt, how debts of one place become one, and when they are due.

Pure: keeping them across a crash is for an adapter, undoing them for the engine.
"""

import hashlib
import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, replace
from decimal import Decimal

from broker.model.decision import Decision, Obligation
from broker.model.leave import RELEASED, Debt, Place
from broker.model.operation import Operation, Relayed, Request, Touch, commandable
from broker.model.place import Device, Grant, OnLeave, Point
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, Reason, Result

MOST_DEBTS = 1000
MOST_OWN_VALUES = 16
OBLIGE = frozenset({Obligation.RESTORE, Obligation.RELEASE})
DID_NOTHING = frozenset({Result.NOT_SENT, Result.DEVICE_REFUSED, Result.UNATTEMPTED})
Values = tuple[tuple[str, str], ...]

MAY_RETURN = frozenset(
    {
        EndReason.PEER_CLOSED,
        EndReason.CONNECTION_CLOSED,
        EndReason.IDLE,
        EndReason.FRAME_REFUSED,
        EndReason.LIMIT_EXCEEDED,
        EndReason.INVENTORY_CHANGED,
        EndReason.STATE_STALE,
        EndReason.CLOCK_STEPPED,
        EndReason.LEDGER_CLOSED,
        EndReason.BROKER_STOPPED,
        EndReason.BROKER_FAULT,
        EndReason.BROKER_KILLED,
    }
)
"""Ends of a connection rather than of an access: who had one has a while to come back. All others are at once."""


def debts_of(
    subject: Subject,
    device: Device,
    session: str,
    grants: Iterable[Grant],
    request: Request,
    decisions: Sequence[Decision],
    before: Values,
    now: float,
) -> tuple[tuple[Debt, ...], ...] | None:
    """The debts that each operation of a request will leave if it is carried out; None if what its decisions oblige
    cannot be met.

    That is so for part of a point, for a confidential one, for one whose value before is not known, for a release of
    what has no priority, and for a write in which there is no point at all.
    """
    known, of_each = dict(before), []
    for operation, decision in zip(request.operations, decisions, strict=True):
        found: dict[Place, Debt] = {}
        for word in sorted(OBLIGE.intersection(decision.obligations)):
            concerned = _concerned(operation, OnLeave(word.value))
            if not concerned:
                return None
            for touch in concerned:
                priority = operation.acts_at(touch.point) if commandable(touch.point) else None
                # What was written at a priority is given back: its place holds no value that could be put there again.
                undo = OnLeave(word.value) if priority is None else OnLeave.RELEASE
                value_before = "" if undo is OnLeave.RELEASE else known.get(touch.point.id)
                if value_before is None or not _can_be_owed(touch, undo, priority):
                    return None
                debt = Debt(
                    Subject(subject.id, subject.kind, subject.organisation, subject.roles),
                    device.key,
                    touch.point.id,
                    undo,
                    priority,
                    value_before,
                    (),
                    (touch.value or "",),
                    _behind(grants, operation, touch),
                    session,
                    0,
                    now,
                    where=where_of(device, touch.point),
                )
                found[debt.place] = debt
        of_each.append(tuple(found.values()))
    return tuple(of_each)


def where_of(device: Device, point: Point) -> str:
    """A digest of where a point lies, and of what its octets mean; what else is said of it or the device may change."""
    address = {k: v for k, v in asdict(point.address).items() if k not in ("priority_lowest", "priority_highest")}
    told = (device.protocol, asdict(device.way), device.upstream_unit_id, address)
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(member: Decimal | bytes) -> str:
    return member.hex() if isinstance(member, bytes) else str(member.normalize())


def lost_because(debt: Debt, device: Device | None) -> str:
    """Why the place of a debt cannot be found any more, by the inventory of today; empty if it can."""
    if device is None:
        return Reason.DEVICE_UNKNOWN
    point = next((point for point in device.points if point.id == debt.point), None)
    if point is None:
        return Reason.POINT_UNKNOWN
    return "" if where_of(device, point) == debt.where else EndReason.INVENTORY_CHANGED


def _concerned(operation: Operation, undo: OnLeave) -> Sequence[Touch]:
    """The points that the inventory marks so; all of them if it marks none and the policy alone obliges."""
    marked = [touch for touch in operation.touches if touch.point.on_leave is undo]
    return marked or operation.touches


def _can_be_owed(touch: Touch, undo: OnLeave, priority: int | None) -> bool:
    whole = touch.whole and touch.value is not None and touch.point.confidential is None
    return whole and (priority is not None or undo is OnLeave.RESTORE)


def _behind(grants: Iterable[Grant], operation: Operation, touch: Touch) -> frozenset[str]:
    """The grants that cover this: while one of them is relied on, the access has not ended."""
    return frozenset(
        grant.id
        for grant in grants
        if operation.action in grant.actions and (not grant.points or touch.point.id in grant.points)
    )


class Debts:
    """All that is owed, by place; at most `MOST_DEBTS`. Of those of an earlier run no outcome will come any more."""

    def __init__(self, debts: Iterable[Debt] = ()) -> None:
        kept = (replace(debt, written=(*debt.written, *debt.under_way), under_way=()) for debt in debts)
        self._held = {debt.place: debt for debt in kept}

    def __len__(self) -> int:
        return len(self._held)

    def all(self) -> tuple[Debt, ...]:
        """Every debt."""
        return tuple(self._held.values())

    def held(self, debt: Debt) -> Debt | None:
        """The debt of that place as it stands now."""
        return self._held.get(debt.place)

    def note(self, fresh: Sequence[Debt]) -> bool:
        """Writes are about to be sent; False, and nothing is noted, if there is no room for so many debts."""
        merged: dict[Place, Debt] = {}
        for debt in fresh:
            merged[debt.place] = _merged(merged.get(debt.place, self._held.get(debt.place)), debt)
        room = MOST_DEBTS - sum(place not in self._held for place in merged)
        if len(self._held) > room or any(len(debt.own) > MOST_OWN_VALUES for debt in merged.values()):
            return False
        self._held |= merged
        return True

    def settle(self, fresh: Sequence[Debt], result: str, intent: int) -> None:
        """What became of writes that were noted. What was not done leaves nothing, what is unknown is owed as well."""
        for debt in fresh:
            known = self._held.get(debt.place)
            if known is not None:
                self._hold(_settled(known, debt.under_way[0], result, intent))

    def written(
        self,
        by: str,
        device: Device,
        request: Request,
        relayed: Relayed,
        first_intent: int,
        met: Container[Place] = (),
    ) -> bool:
        """Somebody has written, or may have: what others left there is his now, also if he owes nothing himself and
        wrote the very value that was there. Whether that changes anything.

        `met`: the debts of which a write came out while his was on its way; nobody can say which of the two came last.

        Called for each write once its own debts are settled, so it must cost nothing where nothing is owed.
        """
        if relayed.result in DID_NOTHING and not relayed.each:
            return False
        others = [debt for debt in self._held.values() if debt.device == device.key and debt.subject.id != by]
        found = False
        for place, operation in enumerate(request.operations if others else ()):
            if relayed.of(place)[0] in DID_NOTHING:
                continue
            for debt in others:
                if not debt.since and _writes_there(debt, device, operation):
                    self._take_over(debt, by, first_intent + place, debt.place in met)
                    found = True
        return found

    def _take_over(self, debt: Debt, by: str, intent: int, met: bool) -> None:
        """Who wrote over another's value owes, if he owes anything, the value from before both."""
        if met:
            debt = replace(debt, crossed=by, crossed_intent=intent)
        over = debt if met or debt.under_way else replace(debt, crossed="", crossed_intent=0)
        if debt.under_way or not met:
            over = replace(over, since=by, since_intent=intent)
        self._held[debt.place] = over
        his = self._held.get((by, *debt.place[1:]))
        if his is not None and his.undo is debt.undo is OnLeave.RESTORE and his.before in debt.own:
            self._hold(_from_before(debt, his))

    def owed_still(self, debt: Debt) -> bool:
        """Whether it is owed as it was, with nobody's write since; being about to be undone makes no difference."""
        known = self._held.get(debt.place)
        return known is not None and replace(known, undoing=debt.undoing) == debt and not known.since

    def _hold(self, debt: Debt) -> None:
        if debt.own <= {RELEASED if debt.undo is OnLeave.RELEASE else debt.before}:
            self._held.pop(debt.place, None)
        else:
            self._held[debt.place] = debt

    def mark(self, debt: Debt, undoing: bool) -> None:
        """It is about to be undone, or was not after all."""
        known = self._held.get(debt.place)
        if known is not None:
            self._held[debt.place] = replace(known, undoing=undoing)

    def prolong(self, debt: Debt, grants: frozenset[str]) -> None:
        """The access that it came from goes on by these grants as well."""
        known = self._held.get(debt.place)
        if known is not None:
            self._held[debt.place] = replace(known, grants=known.grants | grants)

    def close(self, debt: Debt) -> None:
        """Nothing is owed there any more, unless more was written meanwhile.

        Who wrote over another's value owes what that one owed: the value from before both.
        """
        known = self._held.get(debt.place)
        if known is None or replace(known, undoing=debt.undoing) != debt:
            return
        del self._held[debt.place]
        if debt.since:
            return
        for other in self.all():
            same = (other.device, other.point, other.where) == (debt.device, debt.point, debt.where)
            if same and other.undo is OnLeave.RESTORE and other.before in debt.own:
                self._hold(_from_before(debt, other))


def _merged(known: Debt | None, fresh: Debt) -> Debt:
    """The first value before counts, unless somebody else has written since: then that one's value does.

    As long as a write of the debtor's own is on its way, nobody can say whether it did; and a doubt stays while
    what was found before is the debtor's own.
    """
    if known is None or (known.since and not known.under_way):
        return fresh
    under_way = (*known.under_way, *fresh.under_way)
    if not known.since and fresh.undo is OnLeave.RESTORE and fresh.before not in known.own:
        return replace(fresh, under_way=under_way)
    told = replace(known, subject=fresh.subject, session=fresh.session, intent=0, at=fresh.at, undoing=False)
    return replace(told, under_way=under_way, grants=known.grants | fresh.grants)


def _from_before(debt: Debt, his: Debt) -> Debt:
    """His debt with the value from before both; where nobody can say what that was, it is as doubtful as the other."""
    doubt = debt if debt.crossed else his
    return replace(his, before=debt.before, crossed=doubt.crossed, crossed_intent=doubt.crossed_intent)


def writes_there(debt: Debt, device: Device, operations: Iterable[Operation]) -> bool:
    """Whether operations on the debt's device, as the inventory had that, write in the place of the debt."""
    return any(_writes_there(debt, device, operation) for operation in operations)


def _writes_there(debt: Debt, device: Device, operation: Operation) -> bool:
    """Also if only part of the point is written, or its register for the sake of another point."""
    named = [touch.point for touch in operation.touches if touch.point.id == debt.point]
    places = (point for point in named if where_of(device, point) == debt.where)
    return operation.writes and any(debt.priority in (None, operation.acts_at(point)) for point in places)


def _settled(debt: Debt, value: str, result: str, intent: int) -> Debt:
    """`since` is there only if another's write came out while this one was on its way: which was last, who can say?"""
    under_way = list(debt.under_way)
    if value in under_way:
        under_way.remove(value)
    debt = replace(debt, under_way=tuple(under_way), intent=intent)
    if result in DID_NOTHING:
        return debt
    if debt.since:
        debt = replace(debt, crossed=debt.since, crossed_intent=debt.since_intent, since="", since_intent=0)
    elif result == Result.DONE and debt.undo is OnLeave.RELEASE:
        debt = replace(debt, crossed="", crossed_intent=0)
    return replace(debt, written=(value,) if result == Result.DONE else tuple(dict.fromkeys((*debt.written, value))))


def relies(debt: Debt, relied_on: frozenset[str]) -> bool:
    """Whether a session of the debtor that relies on these grants has the access with which it was written."""
    return not debt.grants or not debt.grants.isdisjoint(relied_on)


def due_after(why: EndReason, grace_seconds: float) -> float:
    """How long after the end of the last session (seconds) a debt is due, while its grants are still in force."""
    return grace_seconds if why in MAY_RETURN else 0.0
