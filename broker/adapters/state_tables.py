"""The tables of the state; `state_migrations` makes them in databases."""

from sqlalchemy import Boolean, Column, Double, MetaData, String, Table

METADATA = MetaData()

LOCKS = Table(
    "locks",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("target", String(400), nullable=False),
    Column("message", String(400), nullable=False),
    Column("set_by", String(400), nullable=False),
    Column("set_at", Double, nullable=False),
    Column("broker", String(300), nullable=False),
    Column("until", Double, nullable=True),
    Column("isolation", Boolean, nullable=False),
    Column("lifted_by", String(400), nullable=False),
    Column("lifted_at", Double, nullable=True),
)

LOGOUTS = Table(
    "logouts",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("issuer", String(300), nullable=False),
    Column("account", String(300), nullable=False),
    Column("login", String(300), nullable=False),
    Column("at", Double, nullable=False),
    Column("stored_at", Double, nullable=False),
)
