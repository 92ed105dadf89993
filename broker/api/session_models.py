"""The documents about live sessions, and what is asked of those who act on them."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from broker.api.models import Asked, Told

LONGEST_WHY = 200


class Act(Asked):
    """What an administrator does to a session; `why` goes into the ledger."""

    why: Annotated[str, StringConstraints(max_length=LONGEST_WHY)] = ""


class WatchQuery(Asked):
    """Which sessions to watch: those at a site, or all."""

    site: Annotated[str, StringConstraints(max_length=63)] = ""


class PauseFact(Told):
    """Who paused a session, since when, and why."""

    by: str
    since: str
    why: str


class SessionEntry(Told):
    """A session. `ends_at` is when `ends_because` will end it as things stand; a freeze or a change may come before.

    `grants` hold for its subject and device now; `supervised`: one of them asks for a supervisor, and `watched_by` are
    those who supervise. `operations_per_second` is over the last five to ten seconds.
    """

    id: str
    state: Literal["running", "paused", "ended"]
    subject: str
    kind: Literal["person", "service"]
    organisation: str
    device: str
    listener: str
    peer: str
    started: str
    grants: list[str]
    ends_at: str | None
    ends_because: str | None
    operations: int
    operations_per_second: Decimal = Field(json_schema_extra={"type": "number"})
    refusals: int
    paused: PauseFact | None
    supervised: bool
    watched_by: list[str]
    ended_because: str | None


class Sessions(Told):
    """Open sessions of this broker: all, if you may see all; else those of the sites that you may see, and your own."""

    scope: Literal["all", "sites", "own"]
    sessions: list[SessionEntry]
