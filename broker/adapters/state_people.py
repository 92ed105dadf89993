"""People as rows of the state: what enrolling and revoking change, each in one transaction."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Update, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import CERTIFICATES, FACTORS, INVITATIONS, PEOPLE
from broker.model.enrolment import Factor, Person

MOST_LISTED = 5000


class PersonRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def people(self, organisation: str) -> tuple[Person, ...]:
        """Who enrolled of an organisation, revoked or not."""
        query = select(PEOPLE).where(PEOPLE.c.organisation == organisation).order_by(PEOPLE.c.subject)
        async with self._database.connection() as connection:
            return tuple(_person(row) for row in (await connection.execute(query.limit(MOST_LISTED))).all())

    async def person(self, subject: str) -> Person | None:
        """Somebody who enrolled."""
        async with self._database.connection() as connection:
            row = (await connection.execute(select(PEOPLE).where(PEOPLE.c.subject == subject))).first()
        return None if row is None else _person(row)

    async def revoked_among(self, subjects: Collection[str]) -> frozenset[str]:
        """Who of these had enrolled, and was revoked."""
        if not subjects:
            return frozenset()
        query = select(PEOPLE.c.subject).where(PEOPLE.c.subject.in_(subjects), PEOPLE.c.revoked_at.is_not(None))
        async with self._database.connection() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def enrol(self, person: Person, factor: Factor, recorded: Callable[[], Awaitable[object]]) -> bool:
        """Use the person's invitation up and put him in force with this factor; False if it is not good any more.
        It is recorded before it is committed: if that fails, nothing has changed.

        What he had before (a lost phone, an old key) goes: his factor, and the certificates that he was given.
        """
        async with self._database.connection() as connection:
            used = await connection.execute(_use(person.invitation, person.enrolled_at))
            if not used.rowcount:
                return False
            # The person first: certificates are stored by who holds that row, and none must be missed.
            await connection.execute(delete(PEOPLE).where(PEOPLE.c.subject == person.subject))
            await connection.execute(delete(FACTORS).where(FACTORS.c.subject == person.subject))
            await self._database.insert(connection, PEOPLE, (asdict(person),))
            await self._database.insert(connection, FACTORS, (asdict(factor) | {"kind": factor.kind.value},))
            await recorded()
            await self._revoke_certificates(connection, person.subject, person.enrolled_at)
            await self._database.commit(connection)
        return True

    async def revoke(self, subject: str, by: str, why: str, now: float) -> bool:
        """Take away factor, certificates, and open invitations for him and by him; False if nobody of that name is in
        force.
        """
        revoking = update(PEOPLE).where(PEOPLE.c.subject == subject, PEOPLE.c.revoked_at.is_(None))
        async with self._database.connection() as connection:
            revoked = await connection.execute(revoking.values(revoked_at=now, revoked_by=by, why=why))
            if not revoked.rowcount:
                return False
            await connection.execute(delete(FACTORS).where(FACTORS.c.subject == subject))
            await connection.execute(_revoke_invitations(subject, by, now))
            await self._revoke_certificates(connection, subject, now)
            await self._database.commit(connection)
        return True

    async def _revoke_certificates(self, connection: AsyncConnection, subject: str, now: float) -> None:
        mine = (CERTIFICATES.c.subject == subject) & CERTIFICATES.c.revoked_at.is_(None)
        changed_at = await self._database.stamp(connection, CERTIFICATES.c.changed_at, now)
        await connection.execute(update(CERTIFICATES).where(mine).values(revoked_at=now, changed_at=changed_at))


def _use(invitation: str, now: float) -> Update:
    """One of many who try at once finds it unused."""
    unused = INVITATIONS.c.used_at.is_(None) & INVITATIONS.c.revoked_at.is_(None) & (INVITATIONS.c.expires_at > now)
    return update(INVITATIONS).where(INVITATIONS.c.id == invitation, unused).values(used_at=now)


def _revoke_invitations(subject: str, by: str, now: float) -> Update:
    unused = INVITATIONS.c.used_at.is_(None) & INVITATIONS.c.revoked_at.is_(None)
    his = (INVITATIONS.c.subject == subject) | (INVITATIONS.c.created_by == subject)
    return update(INVITATIONS).where(his, unused).values(revoked_at=now, revoked_by=by)


def _person(row: Row[Any]) -> Person:
    return Person(**row._mapping)
