"""Modbus/TCP to a device or gateway (Messaging on TCP/IP Implementation Guide v1.0b)."""

import asyncio
import secrets
import select
from struct import Struct
from typing import cast

from broker.adapters.alarm import Alarm
from broker.adapters.endpoint import Endpoint, OpenLink
from broker.adapters.lane import Job, Link, lost
from broker.adapters.modbus_line import judge_reply
from broker.errors import FrameError
from broker.model.operation import Relayed
from broker.model.vocabulary import Result
from broker.wire.modbus.mbap import MbapDecoder, encode_mbap

_HEADER = Struct(">HHHB")
_BUFFER_OCTETS = 4096
_STALE_SECONDS = 0.05
_buffer = memoryview(bytearray(_BUFFER_OCTETS))
"""One receive buffer for all connections: the event loop fills it and `buffer_updated` empties it in one turn."""


class ModbusTcpLink(asyncio.BufferedProtocol):
    """One connection with transaction ids of its own, from a random start; anything odd from the device ends it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.job: Job | None = None
        self._endpoint = endpoint
        self._monotonic = endpoint.clock.monotonic
        self._alarm = Alarm(endpoint.clock, self._rang)
        self._decoder = MbapDecoder()
        self._transaction = secrets.randbelow(0x10000)
        self._partial = False
        self._gone = False
        self._stale_at = 0.0
        self._poll = select.poll()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)
        self._idle()

    def _idle(self) -> None:
        now = self._monotonic()
        self._stale_at = now + _STALE_SECONDS
        self._alarm.set(now + self._endpoint.limit.idle_seconds)

    def _return(self, job: Job) -> None:
        """Closed, or spoken on, by the device while it was idle and the event loop has not told us yet."""
        self._let_go()
        self._endpoint.returned(self, job)

    def send(self, job: Job) -> None:
        """Put the request on the wire."""
        now = self._monotonic()
        if now > self._stale_at and self._poll.poll(0):
            self._return(job)
            return
        self.job = job
        self._transaction = transaction = (self._transaction + 1) & 0xFFFF
        lane = job.lane
        self._alarm.set(now + lane.timeout)
        assert self._transport is not None
        self._transport.write(encode_mbap(transaction, lane.unit, job.request.payload))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the event loop may put octets."""
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Octets came in: in nearly every case exactly one whole reply."""
        job = self.job
        if job is None:
            self._faulty("reply_unasked")
            return
        if nbytes > 7 and not self._partial:
            transaction, protocol, length, unit = _HEADER.unpack_from(_buffer)
            if transaction == self._transaction and length == nbytes - 6 and unit == job.lane.unit and not protocol:
                self._judge(job, bytes(_buffer[7:nbytes]))
                return
        self._gather(job, bytes(_buffer[:nbytes]))

    def _gather(self, job: Job, data: bytes) -> None:
        """The uncommon way: part of a reply, several frames, or a frame of something else."""
        self._decoder.feed(data)
        try:
            frame = self._decoder.next_frame()
        except FrameError:
            self._faulty("reply_invalid")
            return
        if frame is None:
            self._partial = True
        elif frame.transaction != self._transaction or frame.unit != job.lane.unit:
            self._faulty("reply_mismatch")
        else:
            self._partial = False
            self._judge(job, frame.pdu)

    def _judge(self, job: Job, pdu: bytes) -> None:
        relayed = judge_reply(job.request, pdu)
        if relayed is None:
            self._faulty("reply_invalid")
            return
        if self._decoder.pending:
            self._surplus(relayed)
            return
        self.job = None
        self._idle()
        self._endpoint.answered(self, job, relayed)

    def _surplus(self, relayed: Relayed) -> None:
        """The reply is good; what came behind it nobody asked for, so the connection is no longer in step."""
        self._endpoint.faults += 1
        self._disconnect(relayed)

    def _faulty(self, code: str) -> None:
        self._endpoint.faults += 1
        self._lose(code, Result.BAD_REPLY)

    def _rang(self) -> None:
        if self.job is not None:
            self._endpoint.timeouts += 1
        self._lose("timeout")

    def eof_received(self) -> bool:
        """The device closes; a reply can no longer come whole."""
        self._closed_by_device()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whomever."""
        self._closed_by_device()

    def _closed_by_device(self) -> None:
        self._lose("connection_lost", Result.BAD_REPLY if self._partial else Result.NO_REPLY)

    def abort(self, code: str) -> None:
        """Disconnect at once; an outstanding request ends as lost with this code."""
        self._lose(code)

    def _lose(self, code: str, view: Result = Result.NO_REPLY) -> None:
        self._disconnect(None if self.job is None else lost(self.job.request, code, view))

    def _disconnect(self, relayed: Relayed | None) -> None:
        if self._gone:
            return
        self._let_go()
        job, self.job = self.job, None
        self._endpoint.broken(self, job, relayed)

    def _let_go(self) -> None:
        self._gone = True
        self._alarm.stop()
        if self._transport is not None:
            self._transport.abort()


def modbus_tcp_opener(host: str, port: int) -> OpenLink:
    """What opens connections to this place."""

    async def open_link(endpoint: Endpoint) -> Link:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(lambda: ModbusTcpLink(endpoint), host, port)
        return link

    return open_link
