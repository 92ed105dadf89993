"""Keeps a tunnel open for local programs: opens it, renews what proves us, tells why it ended, opens it again."""

import asyncio
import random
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import aiohttp

from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, ProblemError
from broker.cli.people.moments import epoch_of
from broker.cli.people.problem_words import entries
from broker.cli.people.renewal import keep_fresh
from broker.cli.people.tunnel_link import Ending, Tell, TunnelLink

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 30.0
LET_GO = frozenset({"idle", "frame_refused", "ended_by_administrator"})
"""Ends after which a tunnel is only opened again when a local program asks for one."""
_TEMPORARY = frozenset(
    {"too_many_calls", "unavailable", "ledger_paused", "device_down", "budget_exhausted", "not_sent"}
)
_REFUSED_PROOFS = frozenset({"credentials_refused", "certificate_refused"})
_UNREACHED = frozenset({"broker_silent", "broker_unreachable", "connection_failed"})
_START_AGAIN = {
    "locked": "when the lock is lifted or has ended",
    "site_isolated": "when the site is no longer isolated",
    "window_closed": "when a window is open",
    "freeze_active": "when the freeze has ended",
}
Link = TypeVar("Link", bound=TunnelLink)


class LocalSide(Protocol[Link]):
    """The local programs in front of a tunnel. `names` is what every `open` event says of it."""

    path: str
    subprotocol: str
    names: Document

    def linked(self, socket: aiohttp.ClientWebSocketResponse) -> Link:
        """A link on an open tunnel."""

    async def carry(self, link: Link) -> Ending:
        """Pass on what comes from here until nobody is here any more."""

    async def warn(self, link: Link) -> None:
        """Warn before what holds the tunnel ends."""

    def left(self) -> None:
        """A tunnel is over."""

    async def somebody(self) -> None:
        """Wait until a local program asks for something."""


class Reconnecting:
    """Opens one tunnel after another, with growing pauses."""

    def __init__(self, client: Client, tell: Tell) -> None:
        self._client = client
        self._tell = tell

    async def run(self, side: LocalSide[Link]) -> None:
        """Go on until a refusal for good. Raises ProblemError or CommandError."""
        pause = FIRST_PAUSE_SECONDS
        again = False
        while True:
            try:
                link, presented = await self._opened(side)
            except ProblemError as problem:
                raise _over(problem) if again else problem from None
            self._tell({"type": "open", **side.names, "again": again})
            again = True
            began = time.monotonic()
            ending = await self._serve(side, link, presented)
            self._tell({"type": "ended", "reason": ending.reason, "text": ending.text, **link.counts()})
            if ending.by_master:
                continue
            if ending.reason in LET_GO:
                await side.somebody()
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - began > STEADY_SECONDS else pause
            pause = await _rest(pause)

    async def _opened(self, side: LocalSide[Link]) -> tuple[Link, str]:
        """A tunnel, however long it takes. Raises ProblemError or CommandError if access is refused for good."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            presented = self._client.bearer().get("Authorization", "")
            shown = self._client.proofs_on_disk()
            try:
                socket = await self._client.open_tunnel(side.path, side.subprotocol)
                return side.linked(socket), presented[len("Bearer ") :]
            except (ProblemError, CommandError) as error:
                if not self._may_try_again(error, shown):
                    raise
                self._tell({"type": "waiting", "code": error.code, "text": error.public, "seconds": round(pause, 1)})
            pause = await _rest(pause)

    def _may_try_again(self, error: ProblemError | CommandError, shown: object) -> bool:
        if error.code in _REFUSED_PROOFS:
            return self._client.proofs_on_disk() != shown
        return error.code in _TEMPORARY | _UNREACHED

    async def _serve(self, side: LocalSide[Link], link: Link, presented: str) -> Ending:
        """Carry the traffic, beside the watches; why it ended."""
        watches = _tasks(keep_fresh(link, self._client.access, presented), side.warn(link))
        traffic, incoming = _tasks(side.carry(link), link.incoming())
        try:
            await asyncio.wait((traffic, incoming), return_when=asyncio.FIRST_COMPLETED)
            ended: Ending = (incoming if incoming.done() else traffic).result()
            return ended
        finally:
            await _stop(traffic, *watches)
            await _stop(incoming)
            await link.close()
            side.left()


def _over(problem: ProblemError) -> ProblemError:
    """A refusal after which nothing is tried any more, with what that means for whoever was connected."""
    codes = [str(reason.get("code")) for reason in entries(problem.document.get("reasons"))]
    when = next((_START_AGAIN[code] for code in codes if code in _START_AGAIN), "when you have access again")
    told = f"`otb connect` has ended for good and does not try again by itself: start it again {when}."
    what_to_do = f"{problem.document.get('what_to_do') or ''} {told}".strip()
    return ProblemError(problem.document | {"what_to_do": what_to_do})


async def open_windows(client: Client, device: str) -> list[tuple[str, float]]:
    """Windows that are open now, of a device (`SITE/DEVICE`) or of any at a site (`SITE/`), and when they close.

    Empty if that cannot be learned.
    """
    try:
        answer = await client.get("/v1/windows")
    except (ProblemError, CommandError):
        return []
    return [
        (str(window.get("id", "")), closes)
        for window in entries(answer.get("windows"))
        if window.get("state") == "open" and _concerns(window, device)
        if (closes := epoch_of(window.get("closes"))) is not None
    ]


def _concerns(window: Document, device: str) -> bool:
    devices = window.get("devices", [])
    if device.endswith("/"):
        return any(str(named).startswith(device) for named in devices)
    return device in devices


async def _rest(pause: float) -> float:
    """Wait so long, more or less; how long to wait the next time."""
    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnections, guards nothing
    return min(pause * 2, LONGEST_PAUSE_SECONDS)


def _tasks(*work: Coroutine[Any, Any, Any]) -> "list[asyncio.Task[Any]]":
    return [asyncio.create_task(each) for each in work]


async def _stop(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
