"""Tickets: none without a good one, and when a ticket is over, so is what was asked for under it."""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from broker.adapters.signed_post import SignedPost
from broker.adapters.ticket_webhook import WebhookTicketCheck
from broker.engine.ports import Clock
from broker.errors import RequestRefusedError, UnavailableError
from broker.model.access_request import Terms
from broker.model.ticket import TICKET, TicketAnswer
from broker.settings.ticketing import TicketsSection

log = logging.getLogger(__name__)


class TicketCheck(Protocol):
    """Who says whether a ticket is good."""

    async def check(self, ticket: str, subject: str, organisation: str, devices: Sequence[str]) -> TicketAnswer:
        """What it says. Raises UnavailableError `ticket_unchecked` for anything but a clear answer in time."""

    async def close(self) -> None:
        """Let go of connections."""


class TicketDesk:
    """Without settings every ticket is good, and none is needed."""

    def __init__(self, settings: TicketsSection | None, check: TicketCheck | None) -> None:
        self._required = settings is not None
        self._pattern = re.compile(settings.required_pattern) if settings and settings.required_pattern else TICKET
        self._check = check

    async def require(self, terms: Terms) -> None:
        """Go on only under a ticket that is good now. Raises RequestRefusedError."""
        if not self._required:
            return
        if not terms.ticket:
            raise RequestRefusedError("ticket_missing")
        if not TICKET.fullmatch(terms.ticket) or not self._pattern.fullmatch(terms.ticket):
            raise RequestRefusedError("ticket_malformed")
        if self._check is not None:
            await self._ask(self._check, terms)

    async def close(self) -> None:
        """Let go of connections."""
        if self._check is not None:
            await self._check.close()

    @staticmethod
    async def _ask(check: TicketCheck, terms: Terms) -> None:
        try:
            answer = await check.check(terms.ticket, terms.subject, terms.organisation, terms.devices)
        except UnavailableError as error:
            log.warning("ticket %s could not be checked: %s", terms.ticket, error.detail)
            raise RequestRefusedError("ticket_unchecked") from None
        if not answer.valid:
            raise RequestRefusedError("ticket_refused", answer.reason)


def ticket_desk(settings: TicketsSection | None, clock: Clock, chance: Callable[[str], str]) -> TicketDesk:
    """As the settings say. Raises ConfigError for files that cannot be used."""
    if settings is None or settings.check is None:
        return TicketDesk(settings, None)
    told = settings.check
    post = SignedPost(told.url, Path(told.secret_file), told.ca_file)
    return TicketDesk(settings, WebhookTicketCheck(post, told.timeout_seconds, clock.now, chance))
