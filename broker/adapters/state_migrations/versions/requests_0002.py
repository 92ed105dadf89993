"""Access requests, their reviews, and the uses of grants for single use."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "requests",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("starts", sa.Double, nullable=False),
        sa.Column("ends", sa.Double, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("activated_at", sa.Double, nullable=True),
        sa.Column("ended_at", sa.Double, nullable=True),
        sa.Column("ended_by", sa.String(512), nullable=False),
        sa.Column("ended_why", sa.Text, nullable=False),
        sa.Column("report", sa.Text, nullable=False),
    )
    op.create_index("requests_by_state", "requests", ["state"])
    op.create_index("requests_by_subject", "requests", ["subject"])
    op.create_table(
        "request_reviews",
        sa.Column("request", sa.String(64), primary_key=True),
        sa.Column("reviewer", sa.String(512), primary_key=True),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "request_uses",
        sa.Column("chain", sa.String(64), primary_key=True),
        sa.Column("use", sa.String(512), primary_key=True),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("broker", sa.String(300), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("request_uses")
    op.drop_table("request_reviews")
    op.drop_index("requests_by_subject", "requests")
    op.drop_index("requests_by_state", "requests")
    op.drop_table("requests")
