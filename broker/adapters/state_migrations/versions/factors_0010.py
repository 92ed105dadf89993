"""Security keys that do not count are told from those that do: their counts, the broker's own, are negative."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
UNCOUNTED = -(2**62)
_FACTORS = sa.table("factors", sa.column("kind", sa.String), sa.column("counter", sa.BigInteger))


def upgrade() -> None:
    """Only those that were never used are known not to count; a key that says 0 after more is refused, so that a person
    whose key does is invited again.
    """
    uncounted = (_FACTORS.c.kind == "webauthn") & (_FACTORS.c.counter == 0)
    op.execute(_FACTORS.update().where(uncounted).values(counter=UNCOUNTED))


def downgrade() -> None:
    """All began at 0."""
    op.execute(_FACTORS.update().where(_FACTORS.c.counter < 0).values(counter=0))
