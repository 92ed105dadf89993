"""Which certificates this broker, or one that shares its state, issued itself.

It answers in memory: whoever proves himself by such a certificate is as recently and as strongly authenticated as the
factor that stood before it, and a certificate that was revoked counts no longer, on every broker, before any list says
so. The certificate itself is never asked about either.
"""

import logging
from collections.abc import Callable

from broker.adapters.sealing_key import SealingKey
from broker.adapters.state_certificates import CertificateRows
from broker.adapters.state_database import StateDatabase
from broker.engine.ports import Clock
from broker.errors import StateUnavailableError
from broker.model.enrolment import EnrolledCertificate
from broker.wiring.state_follower import StateFollower

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 0.5
OVERLAP_SECONDS = 60.0
"""How far what was being stored while the newest was read may be behind it, with a statement that takes its time."""
_FORGET_SECONDS = 600.0


class KnownCertificates:
    """One per broker. `changed` is called when certificates were revoked."""

    def __init__(
        self,
        clock: Clock,
        database: StateDatabase,
        sealing_key: SealingKey,
        changed: Callable[[], None],
        renewable_seconds: float,
    ) -> None:
        self._clock = clock
        self._shared = database.shared
        self._rows = CertificateRows(database)
        self._sealing_key = sealing_key
        self._changed = changed
        self._renewable_seconds = renewable_seconds
        self._known: dict[str, EnrolledCertificate] = {}
        self._latest = 0.0
        self._forgotten_at = clock.now()
        self._read = False
        complaint = "what was issued could not be looked at"
        self._follower = StateFollower(database, HEARTBEAT_SECONDS, self._follow, complaint)

    def __call__(self, fingerprint: str) -> EnrolledCertificate | None:
        """What is known of a certificate."""
        return self._known.get(fingerprint)

    @property
    def revoked(self) -> tuple[EnrolledCertificate, ...]:
        """Those that count no longer and are not yet over, or could still be renewed."""
        return tuple(known for known in self._known.values() if known.revoked_at is not None)

    def of(self, subject: str) -> tuple[EnrolledCertificate, ...]:
        """The certificates of a subject that are good now."""
        now = self._clock.now()
        mine = (known for known in self._known.values() if known.subject == subject and now < known.not_after)
        return tuple(known for known in mine if known.revoked_at is None)

    async def start(self) -> None:
        """Read what is there; without the state, as soon as it is."""
        await self.look()
        self._follower.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._follower.stop()

    async def add(self, certificate: EnrolledCertificate, invitation: str) -> bool:
        """Know a new certificate, here at once and elsewhere from the state; False if who enrolled by that invitation
        ("": a service) is in force no longer. Raises StateUnavailableError.
        """
        if not await self._rows.add(certificate, invitation):
            return False
        # Somebody may have been revoked, and that been learnt, since it was stored.
        self._known.setdefault(certificate.fingerprint, certificate)
        return True

    async def stored(self, fingerprint: str) -> EnrolledCertificate | None:
        """A certificate, over or not, if its seal holds. Raises StateUnavailableError."""
        found = await self._rows.certificate(fingerprint)
        return found if found is not None and self._sealed(found) else None

    async def followers(self, certificate: EnrolledCertificate) -> int:
        """How many its subject was given after it. Raises StateUnavailableError."""
        return await self._rows.followers(certificate)

    def sealed(self, certificate: EnrolledCertificate) -> bytes:
        """The seal that such a certificate bears."""
        return self._sealing_key.mark("certificate", *certificate.terms)

    async def look(self) -> None:
        """Learn what has changed."""
        now = self._clock.now()
        try:
            # A row from the future, of whoever's clock or hand, must not hide what changes before then.
            since = min(self._latest, now) - OVERLAP_SECONDS if self._read else 0.0
            found = await self._rows.changed(since, now, self._renewable_seconds)
        except StateUnavailableError as error:
            if self._read:
                log.debug("the certificates issued cannot be read: %s", error)
            return
        self._read = True
        revoked = [certificate for certificate in found if self._take(certificate)]
        if now - self._forgotten_at > _FORGET_SECONDS:
            self._forgotten_at = now
            self._known = {key: known for key, known in self._known.items() if self._matters(known, now)}
        if revoked:
            self._changed()

    def _take(self, certificate: EnrolledCertificate) -> bool:
        """Know it as it is now; whether it was revoked since."""
        known = self._known.get(certificate.fingerprint)
        if certificate == known:
            return False
        if not self._sealed(certificate):
            log.error("certificate %s in the state was not written by a broker; it is passed over", certificate.serial)
            return False
        if known is not None and known.revoked_at is not None and certificate.revoked_at is None:
            log.error("certificate %s was revoked, and the state says that it was not; it stays so", known.serial)
            return False
        self._latest = max(self._latest, certificate.changed_at)
        self._known[certificate.fingerprint] = certificate
        return certificate.revoked_at is not None

    def _matters(self, certificate: EnrolledCertificate, now: float) -> bool:
        lasts = 0.0 if certificate.revoked_at is None else self._renewable_seconds
        return now < certificate.not_after + lasts

    def _sealed(self, certificate: EnrolledCertificate) -> bool:
        return self._sealing_key.bears(certificate.seal, "certificate", *certificate.terms)

    async def _follow(self) -> None:
        """Changes are announced where several brokers share the state; where none does, nobody else makes any."""
        if self._shared or not self._read:
            await self.look()
