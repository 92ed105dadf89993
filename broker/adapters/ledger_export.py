"""Checkpoints sent off the host: to a file, a syslog receiver or an HTTP endpoint.

A checkpoint binds everything before it, so only the latest matters: each destination has its own task and one place for
the next checkpoint, and a destination that fails is tried again, later and later, without ever holding up the ledger.
"""

import asyncio
import base64
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from broker.errors import ConfigError
from broker.ledger.checkpoint import decode_checkpoint

FIRST_RETRY_SECONDS = 1.0
# The latest checkpoint binds all before it: more than one a second proves nothing more.
PAUSE_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0
# Facility 13 (log audit), severity 5 (notice): RFC 5424, 6.2.1.
PRIORITY = 13 * 8 + 5
# The enterprise number of examples (RFC 5612), used for a structured data element that belongs to nobody else.
ELEMENT = "otbroker@32473"
LARGEST_RESPONSE = 4096


class Destination(Protocol):
    """Where checkpoints go."""

    name: str

    async def send(self, note: str) -> None:
        """Deliver one checkpoint. Raises OSError, TimeoutError or aiohttp.ClientError."""

    async def close(self) -> None:
        """Let go of connections."""


class FileDestination:
    """Appends to a file, on another host's file system to be of use; each checkpoint is followed by an empty line."""

    def __init__(self, path: Path) -> None:
        self.name = f"file {path}"
        self._path = path

    async def send(self, note: str) -> None:
        """Append and fsync, outside the event loop."""
        await asyncio.get_running_loop().run_in_executor(None, self._append, note)

    def _append(self, note: str) -> None:
        with open(self._path, "ab", buffering=0) as file:
            file.write(f"{note}\n".encode())
            os.fsync(file.fileno())

    async def close(self) -> None:
        """Nothing is kept open."""


class SyslogDestination:
    """RFC 5424 messages over UDP (RFC 5426), TCP with octet counting (RFC 6587), or TLS (RFC 5425)."""

    def __init__(
        self,
        host: str,
        port: int,
        transport: str = "tls",
        *,
        context: ssl.SSLContext | None = None,
        now: Callable[[], str],
    ) -> None:
        """`transport` is udp, tcp or tls (needs `context`); `now` gives the time as RFC 3339."""
        if transport not in ("udp", "tcp", "tls") or (transport == "tls") is not (context is not None):
            raise ConfigError("syslog_settings", "syslog transport is udp, tcp or tls, and tls needs certificates")
        self.name = f"syslog {transport} {host}:{port}"
        self._host, self._port = host, port
        self._udp = transport == "udp"
        self._context = context
        self._now = now
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, note: str) -> None:
        """Send one message; a connection is kept and made anew after a failure."""
        message = self.message(note)
        if self._udp:
            await self._send_datagram(message)
            return
        if self._writer is None or self._writer.is_closing():
            _, self._writer = await asyncio.open_connection(self._host, self._port, ssl=self._context)
        try:
            self._writer.write(b"%d %s" % (len(message), message))  # RFC 5425, 4.3.1: octet counting
            await self._writer.drain()
        except OSError:
            await self.close()
            raise

    def message(self, note: str) -> bytes:
        """One message: the checkpoint's parts and the whole note in base64, as structured data (RFC 5424, 6.3)."""
        head = decode_checkpoint(note[: note.rfind("\n\n") + 1])
        fields = {"origin": head.origin, "size": str(head.size), "note": base64.b64encode(note.encode()).decode()}
        data = " ".join(f'{name}="{_escaped(value)}"' for name, value in fields.items())
        host = socket.gethostname()[:255] or "-"
        prefix = f"<{PRIORITY}>1 {self._now()} {host} otbroker {os.getpid()} checkpoint"
        return f"{prefix} [{ELEMENT} {data}] checkpoint {head.size}".encode()

    async def _send_datagram(self, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(self._host, self._port)
        )
        transport.sendto(message)
        transport.close()

    async def close(self) -> None:
        """Close the connection."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), TIMEOUT_SECONDS)


class HttpDestination:
    """POSTs the note as `text/plain` to an https URL (http on loopback only); redirects are not followed."""

    def __init__(self, url: str, *, context: ssl.SSLContext | None = None, token_file: Path | None = None) -> None:
        """`token_file` holds a bearer token, read at every push so that it can be rotated."""
        parts = urlsplit(url)
        loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ConfigError("export_url", "checkpoints are pushed to https URLs (http on loopback only)")
        self.name = f"http {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._url = url
        self._context = context
        self._token_file = token_file
        self._session: aiohttp.ClientSession | None = None

    async def send(self, note: str) -> None:
        """Any answer but 2xx is a failure."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS), trust_env=False)
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='ascii').strip()}"
        secure = self._context if self._context is not None else True
        async with self._session.post(
            self._url, data=note.encode(), headers=headers, ssl=secure, allow_redirects=False
        ) as response:
            await response.content.read(LARGEST_RESPONSE)
            if not 200 <= response.status < 300:
                raise OSError(f"answered {response.status}")

    async def close(self) -> None:
        """Close connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


@dataclass(slots=True)
class ExportState:
    """How it goes with one destination; `failing` says since how many attempts, `error` why."""

    name: str
    sent: int = 0
    failing: int = 0
    error: str = ""


class CheckpointExport:
    """Pushes the latest checkpoint to every destination; `offer` never waits and never fails."""

    def __init__(
        self,
        destinations: list[Destination],
        *,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
        on_failure: Callable[[ExportState], None] | None = None,
    ) -> None:
        """`on_failure` is called after every failed attempt."""
        self._destinations = destinations
        self._first_retry_seconds = first_retry_seconds
        self._pause_seconds = pause_seconds
        self._on_failure = on_failure
        self._latest = ""
        self._number = 0
        self._changed = [asyncio.Event() for _ in destinations]
        self._tasks: list[asyncio.Task[None]] = []
        self.states = [ExportState(destination.name) for destination in destinations]

    def start(self) -> None:
        """Begin, on the running event loop."""
        for destination, state, changed in zip(self._destinations, self.states, self._changed, strict=True):
            self._tasks.append(asyncio.create_task(self._push(destination, state, changed)))

    def offer(self, note: str) -> None:
        """A new checkpoint; one that has not been sent yet gives way to it."""
        self._latest = note
        self._number += 1
        for changed in self._changed:
            changed.set()

    async def close(self) -> None:
        """Try once more to send what is unsent, then end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for destination, state, changed in zip(self._destinations, self.states, self._changed, strict=True):
            if changed.is_set():
                await self._attempt(destination, state)
            await destination.close()
        self._tasks.clear()

    async def _push(self, destination: Destination, state: ExportState, changed: asyncio.Event) -> None:
        delay = self._first_retry_seconds
        while True:
            await changed.wait()
            number = self._number
            if await self._attempt(destination, state):
                delay = self._first_retry_seconds
                if number == self._number:
                    changed.clear()
                await asyncio.sleep(self._pause_seconds)
            else:
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_SECONDS)

    async def _attempt(self, destination: Destination, state: ExportState) -> bool:
        try:
            # Not `wait_for`: Python 3.11's forgets that it was cancelled if the sending ends in the same turn.
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await destination.send(self._latest)
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            state.failing += 1
            state.error = f"{type(error).__name__}: {error}"
            if self._on_failure is not None:
                self._on_failure(state)
            return False
        state.sent += 1
        state.failing, state.error = 0, ""
        return True


def _escaped(value: str) -> str:
    """RFC 5424, 6.3.3: backslash, quote and closing bracket are escaped."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
