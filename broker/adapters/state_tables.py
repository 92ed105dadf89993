"""The tables of the state; `state_migrations` makes them in databases."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, LargeBinary, MetaData, String, Table, Text

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
    Column("lift", Text, nullable=False),
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

INVITATIONS = Table(
    "invitations",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("organisation", String(64), nullable=False),
    Column("subject", String(400), nullable=False),
    Column("created_by", String(400), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("used_at", Double, nullable=True),
    Column("revoked_at", Double, nullable=True),
    Column("revoked_by", String(400), nullable=False),
    Column("inviter_kind", String(32), nullable=False),
    Column("inviter_organisation", String(64), nullable=False),
    Column("inviter_certificate", String(64), nullable=False),
    Column("inviter_roles", Text, nullable=False),
)

PEOPLE = Table(
    "people",
    METADATA,
    Column("subject", String(400), primary_key=True),
    Column("organisation", String(64), nullable=False),
    Column("invitation", String(32), nullable=False),
    Column("invited_by", String(400), nullable=False),
    Column("enrolled_at", Double, nullable=False),
    Column("revoked_at", Double, nullable=True),
    Column("revoked_by", String(400), nullable=False),
    Column("why", String(400), nullable=False),
)

FACTORS = Table(
    "factors",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("subject", String(400), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("added_at", Double, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", Double, nullable=False),
)

CERTIFICATES = Table(
    "certificates",
    METADATA,
    Column("fingerprint", String(64), primary_key=True),
    Column("serial", String(64), nullable=False),
    Column("subject", String(400), nullable=False),
    Column("organisation", String(64), nullable=False),
    Column("profile", String(32), nullable=False),
    Column("issued_at", Double, nullable=False),
    Column("not_after", Double, nullable=False),
    Column("factor_at", Double, nullable=True),
    Column("methods", String(64), nullable=False),
    Column("revoked_at", Double, nullable=True),
    Column("changed_at", Double, nullable=False),
    Column("seal", LargeBinary, nullable=False),
)

REQUESTS = Table(
    "requests",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("subject", String(512), nullable=False),
    Column("starts", Double, nullable=False),
    Column("ends", Double, nullable=False),
    Column("terms", Text, nullable=False),
    Column("state", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("activated_at", Double, nullable=True),
    Column("ended_at", Double, nullable=True),
    Column("ended_by", String(512), nullable=False),
    Column("ended_why", Text, nullable=False),
    Column("report", Text, nullable=False),
)

REQUEST_REVIEWS = Table(
    "request_reviews",
    METADATA,
    Column("request", String(64), primary_key=True),
    Column("reviewer", String(512), primary_key=True),
    Column("note", Text, nullable=False),
)

REQUEST_USES = Table(
    "request_uses",
    METADATA,
    Column("chain", String(64), primary_key=True),
    Column("use", String(512), primary_key=True),
    Column("request", String(64), nullable=False),
    Column("broker", String(300), nullable=False),
    Column("at", Double, nullable=False),
)

EMERGENCIES = Table(
    "emergencies",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("broker", String(300), nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("document", Text, nullable=False),
    Column("close_asked_by", String(400), nullable=False),
)

PROPOSALS = Table(
    "proposals",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("act", String(64), nullable=False),
    Column("parameters", Text, nullable=False),
    Column("proposed_by", String(400), nullable=False),
    Column("proposed_at", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("why", String(400), nullable=False),
    Column("ended_as", String(32), nullable=False),
    Column("ended_by", String(400), nullable=False),
    Column("ended_at", Double, nullable=True),
    Column("warrant", Text, nullable=False),
)

PROPOSAL_APPROVALS = Table(
    "proposal_approvals",
    METADATA,
    Column("proposal", String(64), primary_key=True),
    Column("approver", String(400), primary_key=True),
    Column("note", Text, nullable=False),
)

_YEAR_10000 = 253_402_300_800.0


def is_time(value: object) -> bool:
    """Whether a value is seconds since 1970 that can be written down as a date."""
    return isinstance(value, int | float) and 0 <= value < _YEAR_10000
