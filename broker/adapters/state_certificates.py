"""Certificates that the broker issued, as rows of the state: which factor stood before each, and which are revoked."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, func, select

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import CERTIFICATES
from broker.model.enrolment import EnrolledCertificate


class CertificateRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def add(self, certificate: EnrolledCertificate) -> None:
        """Store a certificate before it is handed out."""
        row = asdict(certificate) | {"methods": " ".join(certificate.methods)}
        async with self._database.connection() as connection:
            await self._database.insert(connection, CERTIFICATES, (row,))
            await self._database.commit(connection)

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

    async def changed(self, since: float, now: float) -> tuple[EnrolledCertificate, ...]:
        """Those not yet over that were issued or revoked since then."""
        query = select(CERTIFICATES).where(CERTIFICATES.c.changed_at >= since, CERTIFICATES.c.not_after > now)
        async with self._database.connection() as connection:
            return tuple(_certificate(row) for row in (await connection.execute(query)).all())


def _certificate(row: Row[Any]) -> EnrolledCertificate:
    fields = dict(row._mapping)
    return EnrolledCertificate(**fields | {"methods": tuple(fields["methods"].split())})
