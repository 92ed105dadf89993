"""Proposals and their approvals."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "proposals",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("act", sa.String(64), nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("proposed_by", sa.String(400), nullable=False),
        sa.Column("proposed_at", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("why", sa.String(400), nullable=False),
        sa.Column("ended_as", sa.String(32), nullable=False),
        sa.Column("ended_by", sa.String(400), nullable=False),
        sa.Column("ended_at", sa.Double, nullable=True),
        sa.Column("warrant", sa.Text, nullable=False),
    )
    op.create_index("proposals_by_time", "proposals", ["proposed_at"])
    op.create_table(
        "proposal_approvals",
        sa.Column("proposal", sa.String(64), primary_key=True),
        sa.Column("approver", sa.String(400), primary_key=True),
        sa.Column("note", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("proposal_approvals")
    op.drop_index("proposals_by_time", "proposals")
    op.drop_table("proposals")
