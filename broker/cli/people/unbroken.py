"""Events without a gap: a supervisor whose token ends must not be gone for a moment, or what he supervises ends."""

import asyncio
from collections.abc import AsyncGenerator

from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, ProblemError

LOOK_SECONDS = 1.0
Event = tuple[str, Document]
_BROKEN = CommandError("connection_failed", "The broker's events broke off.", "Watch again.")


class _Stream:
    """One stream of events, with the token that was there when it began."""

    def __init__(self, client: Client, path: str, told: "Told") -> None:
        self.presented = client.bearer()
        self._task = asyncio.create_task(self._read(client, path, told))

    async def _read(self, client: Client, path: str, told: "Told") -> None:
        try:
            async for event in client.events(path):
                told.put_nowait((self, event))
            told.put_nowait((self, _BROKEN))
        except (ProblemError, CommandError) as error:
            told.put_nowait((self, error))

    async def close(self) -> None:
        """Let go of it."""
        self._task.cancel()
        await asyncio.wait({self._task})


async def unbroken(client: Client, path: str) -> AsyncGenerator[Event, None]:
    """The events of a path. When there is a fresh token a second stream begins, and the first is let go once the second
    has begun. Raises ProblemError or CommandError.
    """
    told: Told = asyncio.Queue()
    shown, over = _Stream(client, path, told), False
    coming: _Stream | None = None
    try:
        while True:
            if coming is None and client.bearer() != shown.presented:
                coming = _Stream(client, path, told)
            stream, event = await _next(told)
            if stream is coming and coming is not None:
                if isinstance(event, Exception) and not over:
                    shown.presented, coming = coming.presented, None
                    continue
                await shown.close()
                shown, coming, over = coming, None, False
            elif stream is not shown:
                continue
            elif _over(event) and (coming is not None or client.bearer() != shown.presented):
                over = True
                continue
            if isinstance(event, Exception):
                raise event
            if event is not None:
                yield event
    finally:
        await shown.close()
        if coming is not None:
            await coming.close()


async def _next(told: "Told") -> "tuple[_Stream | None, Event | Exception | None]":
    """What comes next; nothing if nothing came for a moment."""
    try:
        return await asyncio.wait_for(told.get(), LOOK_SECONDS)
    except TimeoutError:
        return None, None


def _over(event: Event | Exception | None) -> bool:
    """Whether it is the end of a stream, which is no end while another is coming."""
    if event is None or isinstance(event, Exception):
        return event is not None
    return event[0] == "ending" and event[1].get("reason") == "token_expired"


Told = asyncio.Queue[tuple[_Stream, Event | Exception]]
