"""Invitations as rows of the state. Knows nothing of their codes."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, select, update

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import INVITATIONS
from broker.model.backer import Backer
from broker.model.enrolment import Invitation

MOST_LISTED = 500


class InvitationRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def add(self, invitation: Invitation) -> bool:
        """Store an invitation; False if there is one of that id."""
        async with self._database.connection() as connection:
            added = await self._database.insert(connection, INVITATIONS, (_row(invitation),))
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

    async def open_about(self, subject: str, now: float) -> tuple[Invitation, ...]:
        """Those for somebody or by him that can still be used."""
        unused = INVITATIONS.c.used_at.is_(None) & INVITATIONS.c.revoked_at.is_(None) & (INVITATIONS.c.expires_at > now)
        his = (INVITATIONS.c.subject == subject) | (INVITATIONS.c.created_by == subject)
        query = select(INVITATIONS).where(his, unused)
        async with self._database.connection() as connection:
            return tuple(_invitation(row) for row in (await connection.execute(query)).all())

    async def revoke(self, identifier: str, by: str, now: float) -> bool:
        """Let its code be good for nothing; False if it is already."""
        revoking = update(INVITATIONS).where(
            INVITATIONS.c.id == identifier, INVITATIONS.c.used_at.is_(None), INVITATIONS.c.revoked_at.is_(None)
        )
        async with self._database.connection() as connection:
            revoked = await connection.execute(revoking.values(revoked_at=now, revoked_by=by))
            await self._database.commit(connection)
        return bool(revoked.rowcount)


def _row(invitation: Invitation) -> dict[str, Any]:
    fields = asdict(invitation)
    by = fields.pop("inviter")
    told = {f"inviter_{name}": by[name] for name in ("kind", "organisation", "certificate")}
    return fields | told | {"created_by": by["id"], "inviter_roles": json.dumps(by["roles"])}


def _invitation(row: Row[Any]) -> Invitation:
    fields = dict(row._mapping)
    names = ("created_by", "inviter_kind", "inviter_organisation", "inviter_roles", "inviter_certificate")
    identifier, kind, organisation, roles, certificate = (fields.pop(name) for name in names)
    inviter = Backer(identifier, kind, organisation, tuple(json.loads(roles)), certificate)
    return Invitation(**fields, inviter=inviter)
