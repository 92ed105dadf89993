"""BACnet/IP to one place (ASHRAE 135-2020, Annex J): a slot on the port of our own, with deadlines of our own.

No request is ever sent twice.
"""

import asyncio
import socket

from broker.adapters.alarm import Alarm
from broker.adapters.bacnet_port import BacnetIpPort, Peer, Place, Whereabouts
from broker.adapters.endpoint import Endpoint, OpenLink
from broker.adapters.lane import DEVICE_DOWN, Job, Link, lost
from broker.errors import FrameError
from broker.model.operation import Relayed
from broker.model.place import BacnetIpWay
from broker.model.vocabulary import Reason, Result
from broker.wire.bacnet.apdu import Abort, Apdu, SegmentAck, bare, dressed, encode_apdu
from broker.wire.bacnet.judging import judge
from broker.wire.bacnet.npdu import Address

_RESERVED_PRIORITY = 6  # 19.2.3: minimum on/off time, never writable
_NOT_ALLOWED = Relayed(Result.NOT_SENT, code=Reason.PRIORITY_NOT_ALLOWED)
_NO_INVOKE_ID = Relayed(Result.NOT_SENT, code=Reason.BUDGET_EXHAUSTED)


class BacnetIpLink:
    """One confirmed request outstanding to one of the devices at a place; implements `Link` and `Hearer`."""

    def __init__(self, endpoint: Endpoint, port: BacnetIpPort, place: Place) -> None:
        self.job: Job | None = None
        self._endpoint = endpoint
        self._port = port
        self._place = place
        self._clock = endpoint.clock
        self._alarm = Alarm(endpoint.clock, self._rang)
        self._peer: Peer | None = None
        self._invoke = 0
        self._gone = False
        port.open()
        self._idle()

    def _idle(self) -> None:
        self._alarm.set(self._clock.monotonic() + self._endpoint.limit.idle_seconds)

    def send(self, job: Job) -> None:
        """Put the request on the wire."""
        self.job = job
        refused = self._send(job)
        if refused is not None:
            asyncio.get_running_loop().call_soon(self._end, job, refused)

    def _send(self, job: Job) -> Relayed | None:
        if any(operation.priority == _RESERVED_PRIORITY for operation in job.request.operations):
            return _NOT_ALLOWED
        peer = self._port.peer(_whereabouts(self._place, job))
        now = self._clock.monotonic()
        invoke = peer.take(self, now)
        if invoke is None:
            return _NO_INVOKE_ID
        octets = encode_apdu(dressed(job.request.payload, invoke))
        if not self._port.send(peer, octets, expecting_reply=True):
            peer.give_back(invoke, now, answered=True)
            return DEVICE_DOWN
        self._peer, self._invoke = peer, invoke
        self._alarm.set(now + job.lane.timeout)
        return None

    def heard(self, apdu: Apdu) -> None:
        """The device says this about the request."""
        job = self.job
        if job is None or (isinstance(apdu, Abort | SegmentAck) and not apdu.from_server):
            return
        try:
            relayed = judge(job.lane.device, job.request, bare(apdu))
        except FrameError:
            self.misheard()
            return
        self._end(job, relayed)

    def misheard(self) -> None:
        """The device says something about the request that cannot be."""
        job = self.job
        if job is not None:
            self._endpoint.faults += 1
            self._end(job, lost(job.request, "reply_invalid", Result.BAD_REPLY))

    def unreachable(self, proven: bool) -> None:
        """The network says that the device cannot be reached; a device may still have had the request."""
        job = self.job
        if job is not None and proven:
            self._end(job, DEVICE_DOWN)
            return
        self._endpoint.back_off()
        self._lose("device_down")

    def _end(self, job: Job, relayed: Relayed, *, answered: bool = True) -> None:
        if self.job is not job:
            return
        self.job = None
        self._let_go(answered=answered)
        self._idle()
        self._endpoint.answered(self, job, relayed)

    def _let_go(self, *, answered: bool) -> None:
        """The invoke id may be used again: at once, or when no late reply can come any more."""
        if self._peer is not None:
            self._peer.give_back(self._invoke, self._clock.monotonic(), answered=answered)
            self._peer = None

    def _rang(self) -> None:
        job = self.job
        if job is None:
            self._lose("idle")
            return
        self._endpoint.timeouts += 1
        self._end(job, lost(job.request, "timeout"), answered=False)

    def abort(self, code: str) -> None:
        """Give the slot up at once; an outstanding request ends as lost with this code."""
        self._lose(code)

    def _lose(self, code: str) -> None:
        if self._gone:
            return
        self._gone = True
        self._alarm.stop()
        self._let_go(answered=False)
        self._port.leave()
        job, self.job = self.job, None
        self._endpoint.broken(self, job, None if job is None else lost(job.request, code))


def _whereabouts(place: Place, job: Job) -> Whereabouts:
    way = job.lane.device.way
    assert isinstance(way, BacnetIpWay)
    return Whereabouts(place, None if way.network is None else Address(way.network, way.address))


def bacnet_ip_opener(host: str, port: int, own: BacnetIpPort) -> OpenLink:
    """What opens slots on our own port for the devices at this place."""

    async def open_link(endpoint: Endpoint) -> Link:
        loop = asyncio.get_running_loop()
        # J.1: BACnet/IP is of IPv4
        found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        place = found[0][4]
        return BacnetIpLink(endpoint, own, (str(place[0]), int(place[1])))

    return open_link
