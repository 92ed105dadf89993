"""Invitations as rows of the state. Knows nothing of their codes."""

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row, select, update

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import INVITATIONS
from broker.model.enrolment import MOST_TRIES, Invitation

MOST_LISTED = 500


class InvitationRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def add(self, invitation: Invitation) -> bool:
        """Store an invitation; False if there is one of that id."""
        async with self._database.connection() as connection:
            added = await self._database.insert(connection, INVITATIONS, (asdict(invitation),))
            await self._database.commit(connection)
        return bool(added)

    async def invitations(self, organisation: str) -> tuple[Invitation, ...]:
        """Those of an organisation, the newest first; no more than can be looked through."""
        query = select(INVITATIONS).where(INVITATIONS.c.organisation == organisation)
        query = query.order_by(INVITATIONS.c.created_at.desc(), INVITATIONS.c.id).limit(MOST_LISTED)
        async with self._database.connection() as connection:
            return tuple(_invitation(row) for row in (await connection.execute(query)).all())

    async def invitation(self, identifier: str) -> Invitation | None:
        """The one of that id."""
        async with self._database.connection() as connection:
            row = (await connection.execute(select(INVITATIONS).where(INVITATIONS.c.id == identifier))).first()
        return None if row is None else _invitation(row)

    async def try_code(self, identifier: str) -> Invitation | None:
        """Count a try of its code before anybody looks at the secret: the invitation as it was, None if there is none.

        Of many who try at once no more are looked at than there are tries left; for the others it is exhausted.
        """
        tries = INVITATIONS.c.tries
        counting = update(INVITATIONS).where(INVITATIONS.c.id == identifier, tries < MOST_TRIES)
        asked = select(INVITATIONS).where(INVITATIONS.c.id == identifier)
        async with self._database.connection() as connection:
            counted = (await connection.execute(counting.values(tries=tries + 1))).rowcount
            row = (await connection.execute(asked)).first()
            await self._database.commit(connection)
        found = None if row is None else _invitation(row)
        return replace(found, tries=found.tries - 1) if found is not None and counted else found

    async def revoke(self, identifier: str, by: str, now: float) -> bool:
        """Let its code be good for nothing; False if it is already."""
        revoking = update(INVITATIONS).where(
            INVITATIONS.c.id == identifier, INVITATIONS.c.used_at.is_(None), INVITATIONS.c.revoked_at.is_(None)
        )
        async with self._database.connection() as connection:
            revoked = await connection.execute(revoking.values(revoked_at=now, revoked_by=by))
            await self._database.commit(connection)
        return bool(revoked.rowcount)


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(**row._mapping)
