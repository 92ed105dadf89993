"""People who enrol: invitations, people, second factors, certificates."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("created_by", sa.String(400), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("used_at", sa.Double, nullable=True),
        sa.Column("revoked_at", sa.Double, nullable=True),
        sa.Column("revoked_by", sa.String(400), nullable=False),
    )
    _make_people()
    op.create_table(
        "certificates",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("profile", sa.String(32), nullable=False),
        sa.Column("issued_at", sa.Double, nullable=False),
        sa.Column("not_after", sa.Double, nullable=False),
        sa.Column("factor_at", sa.Double, nullable=True),
        sa.Column("methods", sa.String(64), nullable=False),
        sa.Column("revoked_at", sa.Double, nullable=True),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
    )
    op.create_index("certificates_changed", "certificates", ["changed_at"])
    op.create_index("certificates_subject", "certificates", ["subject"])


def _make_people() -> None:
    op.create_table(
        "people",
        sa.Column("subject", sa.String(400), primary_key=True),
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("invitation", sa.String(32), nullable=False),
        sa.Column("invited_by", sa.String(400), nullable=False),
        sa.Column("enrolled_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double, nullable=True),
        sa.Column("revoked_by", sa.String(400), nullable=False),
        sa.Column("why", sa.String(400), nullable=False),
    )
    op.create_table(
        "factors",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(400), nullable=False, unique=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("blocked_until", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("certificates_subject", "certificates")
    op.drop_index("certificates_changed", "certificates")
    for table in ("certificates", "factors", "people", "invitations"):
        op.drop_table(table)
