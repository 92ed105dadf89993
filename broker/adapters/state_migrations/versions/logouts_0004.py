"""Logouts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of logouts."""
    op.create_table(
        "logouts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("issuer", sa.String(300), nullable=False),
        sa.Column("account", sa.String(300), nullable=False),
        sa.Column("login", sa.String(300), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
    )
    op.create_index("logouts_stored", "logouts", ["stored_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("logouts_stored", "logouts")
    op.drop_table("logouts")
