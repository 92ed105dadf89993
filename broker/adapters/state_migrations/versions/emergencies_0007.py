"""Emergencies that brokers show one another."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0002"


def upgrade() -> None:
    """Make their table."""
    op.create_table(
        "emergencies",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("broker", sa.String(300), nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("close_asked_by", sa.String(400), nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("emergencies")
