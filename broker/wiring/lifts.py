"""Lifts of locks: signed by the broker that takes one, and proven by every broker that holds the lock."""

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.engine.ports import Clock, Ledger
from broker.errors import IntegrityError
from broker.ledger import records
from broker.ledger.lifts import lock_digest, sign_lift, verify_lift
from broker.ledger.notes import Verifier
from broker.model.lock import Lift, Lock
from broker.wiring.doubts import Doubts
from broker.wiring.recording import record_durably

MOST_PROVEN = 4096


class LiftProofs:
    """One per broker; `verifiers` are the keys of all brokers whose lifts count here."""

    def __init__(
        self, clock: Clock, ledger: Ledger, origin: str, key: Ed25519PrivateKey, verifiers: Iterable[Verifier]
    ) -> None:
        self.origin = origin
        self._clock = clock
        self._ledger = ledger
        self._key = key
        self._verifiers = tuple(verifiers)
        self._known: dict[Lock, Lift | None] = {}
        self._doubts = Doubts(ledger, "the broker at which it was lifted")

    async def sign(self, lock: Lock, by: str, at: float) -> str:
        """The note by which a lock ends, once it is recorded that somebody wants it. Raises LedgerUnavailableError."""
        digest = lock_digest(lock)
        index = await record_durably(self._ledger, records.lift_signed(at, lock=lock.id, digest=digest, by=by))
        return sign_lift(Lift(lock.id, digest, by, at, self.origin, index), self._key)

    def proven(self, lock: Lock) -> Lift | None:
        """The lift that the state has of a lock; None if it has none, or one that cannot be believed, which is said."""
        if not lock.lift and lock.lifted_at is None:
            return None
        if lock not in self._known:
            if len(self._known) >= MOST_PROVEN:
                self._known.clear()
            self._known[lock] = self._verified(lock)
        return self._known[lock]

    def _verified(self, lock: Lock) -> Lift | None:
        try:
            return verify_lift(lock.lift, lock, self._verifiers)
        except IntegrityError as error:
            self._distrust(lock, error)
            return None

    def _distrust(self, lock: Lock, error: IntegrityError) -> None:
        """Say once that a lock holds although the state says that it was lifted."""
        told = {"lock": lock.id, "by": lock.lifted_by, "code": error.code, "detail": error.detail}
        self._doubts.say(
            lock.id,
            error.code,
            f"lock {lock.id} still holds: that it was lifted cannot be believed: {error}",
            lambda: records.lift_distrusted(self._clock.now(), **told),
        )
