"""`connect`: a local port for one ordinary Modbus master at a time, tunnelled to a device; reconnects with back-off."""

import argparse
import asyncio
import ipaddress
import random
import time
from contextlib import suppress
from typing import Any

from broker.cli.people.client import Client
from broker.cli.people.devices import device_key, path_of, unit_of, with_suggestion
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.moments import clock_time, epoch_of
from broker.cli.people.problem_words import entries, reason_lines, window_lines
from broker.cli.people.renewal import keep_fresh, known_ends, warn_before
from broker.cli.people.screen import Screen
from broker.cli.people.tunnel_link import Ending, TunnelLink

SECOND_MASTER_WAITS_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 30.0
LET_GO = frozenset({"idle", "frame_refused", "ended_by_administrator"})
"""Ends after which a tunnel is only opened again when a master asks for one."""
_TEMPORARY = frozenset(
    {"too_many_calls", "unavailable", "ledger_paused", "device_down", "budget_exhausted", "not_sent"}
)
_REFUSED_PROOFS = frozenset({"credentials_refused", "certificate_refused"})
_UNREACHED = frozenset({"broker_silent", "broker_unreachable", "connection_failed"})
Master = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Serve masters until Ctrl-C, or until access is refused for good."""
    host, port = listen_address(arguments.listen, arguments.allow_remote)
    device = await device_key(client, arguments.device)
    bridge = Bridge(client, screen, device)
    try:
        server = await asyncio.start_server(bridge.arrived, host, port, backlog=4)
    except OSError as error:
        public = f"{arguments.listen} cannot be listened on: {error.strerror or error}."
        raise CommandError("listen_failed", public, "Choose another port with --listen.") from None
    try:
        await bridge.run(_told(server.sockets[0].getsockname()))
    except ProblemError as problem:
        if problem.code == "tunnel_needs_modbus":
            public = f"`otb connect` is for Modbus devices, and {device} is none."
            hint = f"Use `otb read {device} POINT` and `otb write {device} POINT=VALUE`."
            raise CommandError(problem.code, public, hint) from None
        raise await with_suggestion(client, problem, device, []) from None
    finally:
        server.close()
        bridge.dismiss()
    return Exit.DONE


def listen_address(text: str, allow_remote: bool) -> tuple[str, int]:
    """Host and port to listen on. Raises CommandError for what is not loopback, unless that is allowed."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise CommandError("usage", f"{text} is not HOST:PORT.", status=Exit.USAGE)
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise CommandError("usage", f"{host} is not an IP address.", status=Exit.USAGE) from None
    if not loopback and not allow_remote:
        hint = "Whoever reaches the port acts in your name; add --allow-remote if that is what you want."
        raise CommandError("usage", f"{host} is not on this machine alone.", hint, Exit.USAGE)
    return ("127.0.0.1" if host == "localhost" else host), int(port)


class Bridge:
    """Joins masters, one at a time, with tunnels: a fresh tunnel for each, so that no reply reaches the wrong one."""

    def __init__(self, client: Client, screen: Screen, device: str) -> None:
        self._client = client
        self._screen = screen
        self._device = device
        self._waiting: asyncio.Queue[Master] = asyncio.Queue(1)
        self._free = asyncio.Event()
        self._free.set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def run(self, address: str) -> None:
        """Go on until a refusal for good. Raises ProblemError or CommandError."""
        pause = FIRST_PAUSE_SECONDS
        first = True
        while True:
            link, presented = await self._opened()
            self._tell({"type": "open", "device": self._device, "listen": address, "again": not first})
            first = False
            began = time.monotonic()
            ending = await self._serve(link, presented)
            summary = {"requests": link.requests.frames, "replies": link.replies.frames, "denials": link.denials}
            self._tell({"type": "ended", "reason": ending.reason, "text": ending.text, **summary})
            if ending.by_master:
                continue
            if ending.reason in LET_GO:
                await self._somebody()
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - began > STEADY_SECONDS else pause
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnections, guards nothing
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A master has connected: it is next, or told to go if another stays."""
        self._writers.add(writer)
        try:
            async with asyncio.timeout(SECOND_MASTER_WAITS_SECONDS):
                await self._free.wait()
            self._free.clear()
            self._waiting.put_nowait((reader, writer))
        except (TimeoutError, asyncio.QueueFull):
            self._tell({"type": "busy", "text": "Another Modbus master came and was sent away: one at a time."})
            self._dismiss(writer)

    def dismiss(self) -> None:
        """Let every master go."""
        for writer in tuple(self._writers):
            self._dismiss(writer)

    def _dismiss(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()

    async def _opened(self) -> tuple[TunnelLink, str]:
        """A tunnel, however long it takes. Raises ProblemError or CommandError if access is refused for good."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            presented = self._client.bearer().get("Authorization", "")
            shown = self._client.proofs_on_disk()
            try:
                socket = await self._client.open_tunnel(f"{path_of(self._device)}/tunnel")
                return TunnelLink(socket, self._tell, self._device), presented[len("Bearer ") :]
            except (ProblemError, CommandError) as error:
                if not self._may_try_again(error, shown):
                    raise
                self._tell({"type": "waiting", "code": error.code, "text": error.public, "seconds": round(pause, 1)})
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnections, guards nothing
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _may_try_again(self, error: ProblemError | CommandError, shown: object) -> bool:
        if error.code in _REFUSED_PROOFS:
            return self._client.proofs_on_disk() != shown
        return error.code in _TEMPORARY | _UNREACHED

    async def _serve(self, link: TunnelLink, presented: str) -> Ending:
        """Carry one master's traffic, beside the watches; why it ended."""
        watches = [
            asyncio.create_task(work) for work in (keep_fresh(link, self._client.access, presented), self._warn(link))
        ]
        traffic = asyncio.create_task(self._one_master(link))
        incoming = asyncio.create_task(link.incoming())
        try:
            await asyncio.wait((traffic, incoming), return_when=asyncio.FIRST_COMPLETED)
            if incoming.done():
                return incoming.result()
            traffic.result()
            return Ending("peer_closed", "The Modbus master has left.", by_master=True)
        finally:
            await _stop(traffic, *watches)
            await _stop(incoming)
            await link.close()
            self._next()

    async def _one_master(self, link: TunnelLink) -> None:
        reader, writer = await self._waiting.get()
        self._tell(
            {
                "type": "master",
                "text": f"A Modbus master has connected from {_told(writer.get_extra_info('peername'))}.",
            }
        )
        try:
            await link.outgoing(reader, writer)
        finally:
            self._dismiss(writer)

    async def _somebody(self) -> None:
        """Wait until a master is there."""
        master = await self._waiting.get()
        self._waiting.put_nowait(master)

    def _next(self) -> None:
        if self._waiting.empty():
            self._free.set()

    async def _warn(self, link: TunnelLink) -> None:
        link.expect_unit(await unit_of(self._client, self._device))
        await warn_before(link, known_ends(self._client.access, await self._open_windows()))

    async def _open_windows(self) -> list[tuple[str, float]]:
        """Windows of this device that are open now, and when they close; none if that cannot be learned."""
        try:
            answer = await self._client.get("/v1/windows")
        except (ProblemError, CommandError):
            return []
        return [
            (str(window.get("id", "")), closes)
            for window in entries(answer.get("windows"))
            if window.get("state") == "open" and self._device in window.get("devices", [])
            if (closes := epoch_of(window.get("closes"))) is not None
        ]

    def _tell(self, event: Document) -> None:
        self._screen.line({"time": round(time.time(), 3), **event})
        for text, style in event_lines(event):
            self._screen.say(f"{clock_time(time.time())} {text}", style)


_COUNTED = (("requests", "request"), ("replies", "reply"), ("denials", "denial"))


def event_lines(event: Document) -> list[tuple[str, str]]:
    """An event in words, each line with a style."""
    kind, text = event.get("type"), str(event.get("text", ""))
    if kind == "open":
        told = f"{event.get('device')} is at {event.get('listen')}"
        return [(f"{told} again." if event.get("again") else f"{told}; Ctrl-C ends it.", "green")]
    if kind == "denied":
        return _denied_lines(event)
    if kind == "ending":
        return [
            (f"The session ends: {text} ({event.get('reason', '')}) {event.get('what_to_do', '')}".rstrip(), "yellow")
        ]
    if kind == "ended":
        counts = ", ".join(f"{event.get(many, 0)} {one if event.get(many) == 1 else many}" for many, one in _COUNTED)
        return [(f"{text or event.get('reason')} {counts}.", "")]
    if kind == "waiting":
        return [(f"{text} Trying again in {event.get('seconds')} s.", "yellow")]
    if kind == "renew_refused":
        return [(f"The broker refused the fresh token: {text or event.get('code')}", "red")]
    if kind == "renewed":
        return [("The broker took the fresh token.", "")]
    return [(text or str(kind), "yellow" if kind in {"busy", "warning"} else "")]


def _denied_lines(event: Document) -> list[tuple[str, str]]:
    lines = [f"Denied: {line}" for line in reason_lines(event.get("reasons"))] or ["Denied."]
    hints = [str(event["what_to_do"])] if event.get("what_to_do") else []
    hints += window_lines(event.get("next_window"))
    hints += [f"Approval: {event['approval']}."] if event.get("approval") else []
    hints += [f"More with `otb why {event['decision_id']}`."] if event.get("decision_id") else []
    return [(line, "red") for line in lines] + [(f"  {hint}", "") for hint in hints]


async def _stop(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task


def _told(address: object) -> str:
    if not isinstance(address, tuple) or len(address) < 2:
        return "this machine"
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
