"""Invitations know who made them, with what he was then, and no longer how often they were tried.

Those that are open are worth nothing from then on: what they would have to say was never sealed.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
_INVITATIONS = sa.table(
    "invitations",
    sa.column("used_at", sa.Double),
    sa.column("revoked_at", sa.Double),
    sa.column("revoked_by", sa.String),
)
_ADDED = {
    "inviter_kind": sa.String(32),
    "inviter_organisation": sa.String(64),
    "inviter_certificate": sa.String(64),
    "inviter_roles": sa.Text(),
}


def upgrade() -> None:
    """Change the table."""
    with op.batch_alter_table("invitations") as table:
        table.drop_column("tries")
        for name, kind in _ADDED.items():
            empty = "[]" if name == "inviter_roles" else ""
            table.add_column(sa.Column(name, kind, nullable=False, server_default=empty))
    _revoke_open()


def downgrade() -> None:
    """Change it back."""
    with op.batch_alter_table("invitations") as table:
        for name in reversed(_ADDED):
            table.drop_column(name)
        table.add_column(sa.Column("tries", sa.Integer, nullable=False, server_default="0"))
    _revoke_open()


def _revoke_open() -> None:
    still_open = _INVITATIONS.c.used_at.is_(None) & _INVITATIONS.c.revoked_at.is_(None)
    revoked = _INVITATIONS.update().where(still_open).values(revoked_at=time.time(), revoked_by="another version")
    op.execute(revoked)
