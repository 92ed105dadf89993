"""Which locks hold for whom, and how two views of the locks become one: the most restrictive."""

from collections.abc import Iterable
from dataclasses import replace

from broker.model.lock import Lock, LockKind
from broker.model.place import Device
from broker.model.subject import Subject


def merged(held: Iterable[Lock], stored: Iterable[Lock]) -> dict[str, Lock]:
    """What this broker holds and what the shared state has, as one, by id.

    A lock that either knows is a lock: one that the shared state lost, changed or never got goes on as it was set.
    Only a lift ends one early, and only the shared state has those, so no broker that was cut off can take another's
    lock away by knowing less. Each is of the lock as it is known here, which it must be proven to be of.
    """
    found = {lock.id: lock for lock in held}
    for lock in stored:
        known = found.get(lock.id, lock)
        found[lock.id] = replace(known, lifted_by=lock.lifted_by, lifted_at=lock.lifted_at, lift=lock.lift)
    return found


class LocksInForce:
    """An index over the locks that hold; a changed set of locks has a new one, so asking it costs look-ups."""

    def __init__(self, locks: Iterable[Lock] = ()) -> None:
        self._locks: dict[tuple[LockKind, str], Lock] = {}
        self._isolations: dict[str, tuple[Lock, ...]] = {}
        for lock in locks:
            if lock.isolation:
                self._isolations[lock.target] = (*self.isolations(lock.target), lock)
            else:
                self._locks[lock.kind, lock.target] = lock
        self.grants = frozenset(target for kind, target in self._locks if kind is LockKind.GRANT)

    def on_subject(self, subject: Subject) -> Lock | None:
        """The lock on the subject, its organisation or one of its certificates."""
        if not self._locks:
            return None
        places = [(LockKind.SUBJECT, subject.id), (LockKind.ORGANISATION, subject.organisation)]
        places += [(LockKind.CERTIFICATE, proof.fingerprint) for proof in subject.proofs]
        return self._first(places)

    def on_session(self, subject: Subject, device: Device, session: str) -> Lock | None:
        """The lock on the subject, the device, its site or the session itself; isolations are apart."""
        if not self._locks:
            return None
        places = [(LockKind.DEVICE, device.key), (LockKind.SITE, device.site), (LockKind.SESSION, session)]
        return self.on_subject(subject) or self._first(places)

    def on_request(self, subject: str, organisation: str, devices: Iterable[Device]) -> Lock | None:
        """The lock on whoever asks for access, or on all that is asked for."""
        lock = self._first([(LockKind.SUBJECT, subject), (LockKind.ORGANISATION, organisation)])
        if lock is not None or not self._locks:
            return lock
        found = [self._first([(LockKind.DEVICE, d.key), (LockKind.SITE, d.site)]) for d in devices]
        return found[0] if found and None not in found else None

    def on_site(self, site: str) -> Lock | None:
        """The lock on a site as a whole; its isolation is apart."""
        return self._locks.get((LockKind.SITE, site))

    def isolations(self, site: str) -> tuple[Lock, ...]:
        """The isolations of a site: several people may have pressed the switch, or brokers that were apart."""
        return self._isolations.get(site, ())

    def _first(self, places: Iterable[tuple[LockKind, str]]) -> Lock | None:
        return next((lock for place in places if (lock := self._locks.get(place)) is not None), None)
