"""What emergencies mean for sessions: which belong to one, what it gives them, and which isolation bars them."""

from broker.access.emergencies import EmergenciesInForce, as_grant
from broker.access.locks import LocksInForce
from broker.engine.ports import PolicyEngine
from broker.engine.sessions import Session
from broker.model.lock import Lock
from broker.model.place import Grant
from broker.model.subject import Subject


class EmergencySessions:
    """Asked by the decision desk. `policy` is the fixed one, as soon as there is one: before any emergency is."""

    def __init__(self, policy: PolicyEngine) -> None:
        self.in_force = EmergenciesInForce()
        self.policy = policy

    def enter(self, session: Session) -> None:
        """A session that is about to be opened belongs to the emergency of its subject at its site, if there is one."""
        held = self.in_force.of(session.subject, session.device.site, session.started)
        if held is not None:
            session.emergency, session.relied_on = held.id, frozenset((held.id,))

    def name_of(self, subject: Subject, site: str, now: float) -> str:
        """The id of the emergency to which a new session of that subject would belong, "" for none."""
        held = self.in_force.of(subject, site, now)
        return "" if held is None else held.id

    def gives(self, session: Session, locks: LocksInForce, now: float) -> tuple[Grant, ...]:
        """What the emergency of a session gives it; nothing once it is over, or locked as a grant can be."""
        held = self.in_force.holding(session.emergency, now)
        return () if held is None or held.id in locks.grants else (as_grant(held),)

    def isolation_of(self, session: Session, locks: LocksInForce) -> Lock | None:
        """An isolation that bars a session; an emergency passes those in spite of which it was opened, and no other."""
        standing = locks.isolations(session.device.site)
        return next((lock for lock in standing if not self.in_force.passes(session.emergency, lock.id)), None)
