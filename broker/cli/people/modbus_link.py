"""One tunnel to a Modbus device and the master in front of it: octets both ways, counted frame by frame."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from broker.cli.people.exits import Document
from broker.cli.people.tunnel_link import TunnelLink

SUBPROTOCOL = "otb.modbus.v1"
READ_OCTETS = 16_384
MASTER_STALLED_SECONDS = 30.0
LAST_REPLIES_SECONDS = 5.0
MBAP_LENGTH_END = 6
ANY_UNIT = frozenset({0, 255})
"""Units that mean the device of the connection (Messaging on TCP/IP V1.0b, 4.4.2.1)."""


@dataclass(slots=True)
class FrameCount:
    """Counts the Modbus/TCP frames in a stream by their length fields, and notes the units that they name."""

    frames: int = 0
    units: set[int] = field(default_factory=set)
    _rest: bytes = b""
    _missing: int = 0

    def take(self, octets: bytes) -> None:
        """Count what is complete."""
        if self._missing >= len(octets):
            self._missing -= len(octets)
            self.frames += self._missing == 0
            return
        octets, place = self._rest + octets, self._missing
        self.frames += self._missing > 0
        self._missing, self._rest = 0, b""
        while place < len(octets):
            length = int.from_bytes(octets[place + 4 : place + MBAP_LENGTH_END], "big")
            if len(octets) - place < MBAP_LENGTH_END + min(length, 1):
                self._rest = octets[place:]
                return
            self.units.update(octets[place + MBAP_LENGTH_END : place + MBAP_LENGTH_END + min(length, 1)])
            place += MBAP_LENGTH_END + length
            self.frames += place <= len(octets)
        self._missing = place - len(octets)


@dataclass(slots=True)
class ModbusLink(TunnelLink):
    """An open tunnel to one Modbus device."""

    device: str = ""
    requests: FrameCount = field(default_factory=FrameCount)
    replies: FrameCount = field(default_factory=FrameCount)
    _master: asyncio.StreamWriter | None = None
    _unit: int | None = None
    _told_units: set[int] = field(default_factory=set)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def outgoing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the master sends until it is gone; then wait a little for the replies that it is owed."""
        self._master = writer
        with suppress(ConnectionError):
            while octets := await reader.read(READ_OCTETS):
                self.requests.take(octets)
                self._warn_of_other_units()
                await self.socket.send_bytes(octets)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_REPLIES_SECONDS):
                await self._all_answered()

    async def take(self, octets: bytes) -> None:
        """Pass part of the stream on to the master."""
        self.replies.take(octets)
        master = self._master
        if master is None or master.is_closing():
            return
        master.write(octets)
        try:
            async with asyncio.timeout(MASTER_STALLED_SECONDS):
                await master.drain()
        except (ConnectionError, TimeoutError):
            master.transport.abort()
        self._answered.set()

    def counts(self) -> Document:
        """Frames both ways, and denials."""
        return {"requests": self.requests.frames, "replies": self.replies.frames, "denials": self.denials}

    def expect_unit(self, unit: int | None) -> None:
        """Learn which unit the device has; None if that is not known."""
        self._unit = unit
        self._warn_of_other_units()

    def _warn_of_other_units(self) -> None:
        """Say once which unit the device has if the master asks for another, which leads nowhere."""
        if self._unit is None:
            return
        other = self.requests.units - ANY_UNIT - {self._unit} - self._told_units
        if not other:
            return
        self._told_units |= other
        asked = ", ".join(map(str, sorted(other)))
        self.tell({"type": "warning", "text": f"The master asks for unit {asked}; {self.device} is unit {self._unit}."})

    async def _all_answered(self) -> None:
        while self.replies.frames < self.requests.frames and self._master and not self._master.is_closing():
            self._answered.clear()
            await self._answered.wait()
