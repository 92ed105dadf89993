"""Asks a ticket system whether a ticket is good, by a signed webhook. Anything but a clear answer in time is none."""

import asyncio
from collections.abc import Callable, Sequence

import aiohttp
import orjson

from broker.adapters.signed_post import SignedPost
from broker.errors import UnavailableError
from broker.identity.json_object import decode_json_object
from broker.ledger.notices import visible
from broker.ledger.record_forms import stamp
from broker.model.ticket import TicketAnswer

MOST_AT_ONCE = 8


class WebhookTicketCheck:
    """One ticket system. It is asked once: whoever asks for access can ask again."""

    def __init__(
        self, post: SignedPost, seconds: float, now: Callable[[], float], chance: Callable[[str], str]
    ) -> None:
        self._post = post
        self._seconds = seconds
        self._now = now
        self._chance = chance
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def check(self, ticket: str, subject: str, organisation: str, devices: Sequence[str]) -> TicketAnswer:
        """What the system says. Raises UnavailableError `ticket_unchecked` for no answer, a late or an odd one."""
        now = self._now()
        data = {"ticket": ticket, "subject": subject, "organisation": organisation, "devices": list(devices)}
        body = orjson.dumps({"type": "ticket.check", "timestamp": stamp(now), "data": data})
        try:
            async with asyncio.timeout(self._seconds), self._turns:
                status, answer = await self._post.post(self._chance("tck"), body, now)
        except TimeoutError:
            raise _unchecked("no answer in time") from None
        except (OSError, aiohttp.ClientError, ValueError) as error:
            raise _unchecked(f"{type(error).__name__}: {error}") from None
        if status != 200:
            raise _unchecked(f"it answered {status}")
        return decode_ticket_answer(answer)

    async def close(self) -> None:
        """Close connections."""
        await self._post.close()


def decode_ticket_answer(octets: bytes) -> TicketAnswer:
    """`{"valid": true or false, "reason": "…"}` and nothing else. Raises UnavailableError."""
    try:
        document = decode_json_object(octets)
    except ValueError as error:
        raise _unchecked(f"its answer is not JSON: {error}") from None
    valid, reason = document.get("valid"), document.get("reason", "")
    if not isinstance(valid, bool) or not isinstance(reason, str) or not document.keys() <= {"valid", "reason"}:
        raise _unchecked("its answer is not of the form that is agreed")
    return TicketAnswer(valid, visible(reason))


def _unchecked(detail: str) -> UnavailableError:
    return UnavailableError(
        "ticket_unchecked", "The ticket system gave no usable answer; nothing was asked for.", detail
    )
