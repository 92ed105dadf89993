"""Certificates that the broker issued, as rows of the state: which factor stood before each, and which are revoked."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, func, select, update

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import CERTIFICATES, PEOPLE
from broker.model.enrolment import EnrolledCertificate


class CertificateRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def add(self, certificate: EnrolledCertificate, invitation: str = "") -> bool:
        """Store a certificate before it is handed out.

        One that rests on an invitation is not stored, and the answer is False, unless who enrolled by it is in force:
        the update holds his row, so that whoever revokes him, or lets him enrol anew, finds this certificate too.
        """
        row = asdict(certificate) | {"methods": " ".join(certificate.methods)}
        mine = (PEOPLE.c.subject == certificate.subject) & (PEOPLE.c.invitation == invitation)
        holding = update(PEOPLE).where(mine, PEOPLE.c.revoked_at.is_(None)).values(invitation=invitation)
        async with self._database.connection() as connection:
            if invitation and not (await connection.execute(holding)).rowcount:
                return False
            changed_at = await self._database.stamp(connection, CERTIFICATES.c.changed_at, certificate.changed_at)
            await self._database.insert(connection, CERTIFICATES, (row | {"changed_at": changed_at},))
            await self._database.commit(connection)
        return True

    async def certificate(self, fingerprint: str) -> EnrolledCertificate | None:
        """The one of that fingerprint."""
        query = select(CERTIFICATES).where(CERTIFICATES.c.fingerprint == fingerprint)
        async with self._database.connection() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _certificate(row)

    async def followers(self, certificate: EnrolledCertificate) -> int:
        """How many its subject was given after it."""
        later = (CERTIFICATES.c.subject == certificate.subject) & (CERTIFICATES.c.issued_at > certificate.issued_at)
        async with self._database.connection() as connection:
            count = await connection.execute(select(func.count()).select_from(CERTIFICATES).where(later))
        return int(count.scalar_one())

    async def changed(self, since: float, now: float, renewable_seconds: float) -> tuple[EnrolledCertificate, ...]:
        """Those not yet over that were issued or revoked since then, and revoked ones that could still be renewed."""
        ends = CERTIFICATES.c.not_after
        wanted = (ends > now) | (CERTIFICATES.c.revoked_at.is_not(None) & (ends > now - renewable_seconds))
        query = select(CERTIFICATES).where(CERTIFICATES.c.changed_at >= since, wanted)
        async with self._database.connection() as connection:
            return tuple(_certificate(row) for row in (await connection.execute(query)).all())


def _certificate(row: Row[Any]) -> EnrolledCertificate:
    fields = dict(row._mapping)
    return EnrolledCertificate(**fields | {"methods": tuple(fields["methods"].split())})
