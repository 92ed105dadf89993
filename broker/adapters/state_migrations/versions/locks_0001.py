"""Locks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table of locks."""
    op.create_table(
        "locks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("target", sa.String(400), nullable=False),
        sa.Column("message", sa.String(400), nullable=False),
        sa.Column("set_by", sa.String(400), nullable=False),
        sa.Column("set_at", sa.Double, nullable=False),
        sa.Column("broker", sa.String(300), nullable=False),
        sa.Column("until", sa.Double, nullable=True),
        sa.Column("isolation", sa.Boolean, nullable=False),
        sa.Column("lifted_by", sa.String(400), nullable=False),
        sa.Column("lifted_at", sa.Double, nullable=True),
    )
    op.create_index("locks_not_lifted", "locks", ["lifted_at", "until"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("locks_not_lifted", "locks")
    op.drop_table("locks")
