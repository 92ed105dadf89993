"""What a ticket system says of a ticket, and what it tells of one."""

import re
from dataclasses import dataclass
from enum import StrEnum

TICKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""The form of every ticket: it stands in paths of the API."""


@dataclass(frozen=True, slots=True)
class TicketAnswer:
    """Whether work may be asked for under a ticket; `reason` is for people, in one visible line."""

    valid: bool
    reason: str = ""


class TicketState(StrEnum):
    """How a ticket came out; whatever it says, work under it is over."""

    CLOSED = "closed"
    CANCELLED = "cancelled"
