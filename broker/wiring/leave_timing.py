"""When an access has ended, so that what was left has to be undone: at once, or after a grace to come back in."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from broker.access.debts import MAY_RETURN, due_after, lost_because, relies
from broker.adapters.state_leaves import DebtJournal
from broker.engine.in_force import InForce
from broker.engine.ports import Clock
from broker.engine.sessions import Session, in_force, prolonged
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.session_register import SessionRegister
from broker.model.leave import Debt, Place
from broker.model.vocabulary import EndReason

UNDER_WAY_SECONDS = 30.0
Who = tuple[str, str]


@dataclass(slots=True)
class End:
    """The end of the access that a debt came from: why, when (`at` monotonic, `ended` epoch seconds), when the grace
    began, since when the debt is due, and what was tried and is waited for since.
    """

    why: EndReason
    at: float
    ended: float
    grace_from: float
    due_at: float | None = None
    attempts: int = 0
    again_at: float = 0.0
    waits_for: str = ""


class Endings:
    """Follows the sessions of debtors. After a restart nobody has a session, and everybody may come back."""

    def __init__(
        self, clock: Clock, desk: DecisionDesk, register: SessionRegister, journal: DebtJournal, grace_seconds: float
    ) -> None:
        self._clock = clock
        self._desk = desk
        self._register = register
        self._journal = journal
        self._grace_seconds = grace_seconds
        self._ends: dict[Place, End] = {}
        self._lost: dict[Place, tuple[InForce, str]] = {}
        register.followers.append(self._session_changed)

    def of(self, debt: Debt) -> End:
        """The end of the access that a debt came from."""
        end = self._ends.get(debt.place)
        if end is None:
            end = self._ends[debt.place] = self._new(EndReason.BROKER_KILLED)
        return end

    @property
    def shut_because(self) -> str:
        """Why nobody is let in now, or nobody knows what grants there are; empty if neither is so."""
        return ", ".join(sorted(self._register.shut_for | self._register.grants_unread))

    def lost_because(self, debt: Debt) -> str:
        """Why the place of a debt cannot be found any more; looked up once for each inventory."""
        in_force = self._desk.in_force
        known = self._lost.get(debt.place)
        if known is None or known[0] is not in_force:
            known = self._lost[debt.place] = in_force, lost_because(debt, in_force.device(debt.device))
        return known[1]

    def waits_for(self, debt: Debt) -> str:
        """What a debt waits for, in words."""
        if debt.since:
            return f"nothing: {debt.kept_because}"
        end = self._ends.get(debt.place)
        if end is None:
            return "the end of the access"
        if end.due_at is None:
            return self.shut_because or "the debtor, who may come back"
        return end.waits_for or "its turn"

    def due(self, busy: Collection[str]) -> dict[Who, list[Debt]]:
        """Debts for which something is to be done now, by subject and device, but for devices that are busy."""
        debts = self._journal.debts.all()
        places = {debt.place for debt in debts}
        self._ends = {place: end for place, end in self._ends.items() if place in places}
        self._lost = {place: known for place, known in self._lost.items() if place in places}
        found: defaultdict[Who, list[Debt]] = defaultdict(list)
        live = self._live() if debts else {}
        for debt in debts:
            who = debt.subject.id, debt.device
            goes_on = any(self._goes_on(debt, session) for session in live.get(who, ()))
            if goes_on and not self.lost_because(debt):
                self._ends.pop(debt.place, None)
            elif debt.device not in busy and self._is_due(debt):
                found[who].append(debt)
        return found

    def _live(self) -> dict[Who, list[Session]]:
        live: defaultdict[Who, list[Session]] = defaultdict(list)
        for session in self._register.sessions():
            live[session.subject.id, session.device_key].append(session)
        return live

    def _session_changed(self, session: Session) -> None:
        """The register's word. Why the last session of an access ended decides how long a debt waits."""
        if session.ended is None or session.errand is not None:
            return
        for debt in self._journal.debts.all():
            who = debt.subject.id, debt.device
            if who == (session.subject.id, session.device_key) and relies(debt, session.relied_on):
                self._ends[debt.place] = self._new(session.ended)

    def _new(self, why: EndReason) -> End:
        at = self._clock.monotonic()
        return End(why, at, self._clock.now(), at)

    def _goes_on(self, debt: Debt, session: Session) -> bool:
        """Whether the access that a debt came from goes on in this session, by a grant that prolongs another too."""
        if relies(debt, session.relied_on):
            return True
        situation = self._desk.situation(session.subject, session.device, self._clock.now())
        if not relies(debt, prolonged(situation.grants, session.relied_on)):
            return False
        self._journal.prolong(debt, session.relied_on)
        return True

    def _is_due(self, debt: Debt) -> bool:
        """Whether something is to be done about a debt whose debtor has no session any more.

        While nobody can come back, nor is it known to what, that is in the way like anything else; then he has his
        grace.
        """
        end, now = self.of(debt), self._clock.monotonic()
        if debt.under_way and now < end.at + UNDER_WAY_SECONDS:
            return False
        if end.due_at is None and end.why in MAY_RETURN and self.shut_because:
            end.grace_from = now
            return not debt.since
        if end.due_at is None:
            gone = self._gone(debt)
            if gone is None and now < end.grace_from + due_after(end.why, self._grace_seconds):
                return False
            end.due_at, end.waits_for = now, ""
            if end.why in MAY_RETURN and gone is not None:
                end.why = gone
        return now >= end.again_at

    def _gone(self, debt: Debt) -> EndReason | None:
        """Why somebody who is away has no access to come back to."""
        device = self._desk.in_force.device(debt.device)
        if device is None or self.lost_because(debt):
            return EndReason.INVENTORY_CHANGED
        if self._desk.locks.on_session(debt.subject, device, "") is not None:
            return EndReason.LOCKED
        if self._desk.locks.isolations(device.site):
            return EndReason.SITE_ISOLATED
        situation = self._desk.situation(debt.subject, device, self._clock.now())
        here = in_force(situation)
        if relies(debt, here | prolonged(situation.grants, here)):
            return None
        if situation.calendar.frozen:
            return EndReason.FREEZE_STARTED
        known = {grant.id for grant in situation.grants}
        return EndReason.GRANT_ENDED if debt.grants.isdisjoint(known) else EndReason.WINDOW_CLOSED
