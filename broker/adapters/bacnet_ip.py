"""BACnet/IP to one device (ASHRAE 135-2020, Annex J): unicast from a UDP port of our own, with deadlines of our own.

Nothing is ever sent twice, so the stack's transaction machine, which retransmits, is not used: only its encoding is.
"""

import asyncio
import secrets
from typing import cast

from broker.adapters.alarm import Alarm
from broker.adapters.bacnet_codec import NotEncodableError, Question, encode_question, judge_datagram
from broker.adapters.endpoint import Endpoint, OpenLink
from broker.adapters.lane import Job, Link, lost
from broker.errors import FrameError
from broker.model.operation import Relayed
from broker.model.vocabulary import Result
from broker.wire.bacnet.meaning import values_of

_STANDARD_PORT = 47808
_PORT_ATTEMPTS = 8


class BacnetIpLink(asyncio.DatagramProtocol):
    """One socket that hears this device only, with one confirmed request outstanding.

    A datagram that is not about the outstanding request (a late reply, an announcement) is passed over.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.job: Job | None = None
        self._endpoint = endpoint
        self._clock = endpoint.clock
        self._alarm = Alarm(endpoint.clock, self._rang)
        self._invoke = secrets.randbelow(256)
        self._question: Question | None = None
        self._gone = False
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._idle()

    def _idle(self) -> None:
        self._alarm.set(self._clock.monotonic() + self._endpoint.limit.idle_seconds)

    def send(self, job: Job) -> None:
        """Put the request on the wire."""
        self.job = job
        self._invoke = (self._invoke + 1) & 0xFF
        try:
            self._question = encode_question(job.request.payload, self._invoke)
        except NotEncodableError as error:
            asyncio.get_running_loop().call_soon(self._end, job, Relayed(Result.NOT_SENT, code=error.code))
            return
        self._alarm.set(self._clock.monotonic() + job.lane.timeout)
        assert self._transport is not None
        self._transport.sendto(self._question.datagram)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """A datagram came in from the device."""
        job, question = self.job, self._question
        if job is None or question is None:
            return
        try:
            relayed = judge_datagram(question, data)
        except FrameError:
            self._endpoint.faults += 1
            self._end(job, lost(job.request, "reply_invalid", Result.BAD_REPLY))
            return
        if relayed is not None:
            self._end(job, self._with_values(job, relayed))

    def _with_values(self, job: Job, relayed: Relayed) -> Relayed:
        if relayed.result != Result.DONE or job.request.writes:
            return relayed
        return Relayed(Result.DONE, relayed.payload, values_of(job.lane.device, job.request, relayed.payload))

    def _end(self, job: Job, relayed: Relayed) -> None:
        if self.job is not job:
            return
        self.job = self._question = None
        self._idle()
        self._endpoint.answered(self, job, relayed)

    def error_received(self, exc: Exception) -> None:
        """The network says that nobody listens there; a device may still have had the request."""
        self._endpoint.back_off()
        self._lose("device_down")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._lose("connection_lost")

    def _rang(self) -> None:
        job = self.job
        if job is None:
            self._lose("idle")
            return
        self._endpoint.timeouts += 1
        self._end(job, lost(job.request, "timeout"))

    def abort(self, code: str) -> None:
        """Disconnect at once; an outstanding request ends as lost with this code."""
        self._lose(code)

    def _lose(self, code: str) -> None:
        if self._gone:
            return
        self._gone = True
        self._alarm.stop()
        if self._transport is not None:
            self._transport.abort()
        job, self.job = self.job, None
        self._endpoint.broken(self, job, None if job is None else lost(job.request, code))


def bacnet_ip_opener(host: str, port: int, bind: str = "") -> OpenLink:
    """What opens sockets to this device, on the address `bind` or the one that routes there."""

    async def open_link(endpoint: Endpoint) -> Link:
        loop = asyncio.get_running_loop()
        local = (bind, 0) if bind else None
        for _ in range(_PORT_ATTEMPTS):
            transport, link = await loop.create_datagram_endpoint(
                lambda: BacnetIpLink(endpoint), local_addr=local, remote_addr=(host, port)
            )
            # Explorers and other stacks on this host expect the standard port for themselves.
            if transport.get_extra_info("sockname")[1] != _STANDARD_PORT:
                return link
            transport.abort()
        raise OSError("no port of our own")

    return open_link
