"""Locks are lifted by what a broker signed.

Nobody signed the lifts of earlier versions, and what is not signed counts for nothing from here on. So those locks are
forgotten with their lifts: who did not hear of one while it was there still holds the lock, and writes it again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
_LOCKS = sa.table("locks", sa.column("lifted_at", sa.Double))


def upgrade() -> None:
    """Forget what was lifted, and make room for the notes."""
    op.execute(_LOCKS.delete().where(_LOCKS.c.lifted_at.is_not(None)))
    with op.batch_alter_table("locks") as table:
        table.add_column(sa.Column("lift", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Go without the notes; what was lifted stays lifted."""
    with op.batch_alter_table("locks") as table:
        table.drop_column("lift")
