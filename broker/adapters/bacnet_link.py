"""BACnet to one place: a slot for one request on the way that all devices share, with deadlines of our own.

No write is ever sent twice; see `Transaction` for what may be.
"""

import asyncio

from broker.adapters.alarm import Alarm
from broker.adapters.bacnet_peers import Peer, Place, Port, Whereabouts
from broker.adapters.endpoint import Endpoint
from broker.adapters.lane import DEVICE_DOWN, Job, lost
from broker.errors import FrameError
from broker.model.operation import UNCONFIRMED, Relayed
from broker.model.vocabulary import Reason, Result
from broker.model.way import BacnetIpWay, BacnetScWay, BacnetWay
from broker.wire.bacnet.action_classes import never_written
from broker.wire.bacnet.apdu import Apdu, Kind
from broker.wire.bacnet.judging import judge
from broker.wire.bacnet.npdu import Address
from broker.wire.bacnet.transaction import VIEW_REPEATS, Transaction

_NOT_ALLOWED = Relayed(Result.NOT_SENT, code=Reason.PRIORITY_NOT_ALLOWED)
_TOO_LONG = Relayed(Result.NOT_SENT, code="request_too_long")
_NO_REPLY_TO_IT = Relayed(Result.UNKNOWN, code=UNCONFIRMED)
_NO_INVOKE_ID = Relayed(Result.NOT_SENT, code=Reason.BUDGET_EXHAUSTED)


class BacnetLink:
    """One request outstanding to one of the devices at a place; implements `Link` and `Hearer`."""

    def __init__(self, endpoint: Endpoint, port: Port, place: Place) -> None:
        self.job: Job | None = None
        self._endpoint = endpoint
        self._port = port
        self._place = place
        self._clock = endpoint.clock
        self._alarm = Alarm(endpoint.clock, self._rang)
        self._under_way: tuple[Peer, int, Transaction] | None = None
        self._gone = False
        port.open()
        self._idle()

    def _idle(self) -> None:
        self._alarm.set(self._clock.monotonic() + self._endpoint.limit.idle_seconds)

    def send(self, job: Job) -> None:
        """Put the request on the wire."""
        self.job = job
        relayed = self._send(job)
        if relayed is not None:
            ended = self._refuse if relayed.result == Result.NOT_SENT else self._end
            asyncio.get_running_loop().call_soon(ended, job, relayed)

    def _send(self, job: Job) -> Relayed | None:
        if any(map(never_written, job.request.operations)):  # 19.2.3: denied before, and not to be relied on
            return _NOT_ALLOWED
        way, notices, now = job.lane.device.way, job.lane.notices, self._clock.monotonic()
        assert isinstance(way, BacnetIpWay | BacnetScWay)
        peer = self._port.peer(_whereabouts(self._place, way))
        if notices is not None:
            peer.listen(notices.hear)
            way = notices.said.completed(now)
        if job.request.payload[0] == Kind.UNCONFIRMED_REQUEST:
            return self._send_unconfirmed(peer, job.request.payload, way.longest_apdu)
        invoke = peer.take(self, now)
        if invoke is None:
            return _NO_INVOKE_ID
        transaction = Transaction(job.lane.timeout, 0 if job.request.writes else VIEW_REPEATS)
        datagrams = transaction.start(job.request.payload, invoke, way, now)
        if transaction.failed or not self._port.send(peer, datagrams[0], expecting_reply=True):
            peer.give_back(invoke, now, answered=True)
            return Relayed(Result.NOT_SENT, code=transaction.failed) if transaction.failed else DEVICE_DOWN
        self._under_way = peer, invoke, transaction
        self._alarm.set(transaction.wake_at)
        return None

    def _send_unconfirmed(self, peer: Peer, request: bytes, longest: int) -> Relayed:
        """What has neither an invoke id nor segments nor a reply (5.3)."""
        if len(request) > longest:
            return _TOO_LONG
        return _NO_REPLY_TO_IT if self._port.send(peer, request, expecting_reply=False) else DEVICE_DOWN

    def _refuse(self, job: Job, refused: Relayed) -> None:
        """Nothing was sent. Where the device is not any more nothing will be: another link looks for it anew."""
        way = job.lane.device.way
        assert isinstance(way, BacnetIpWay | BacnetScWay)
        if self._port.peer(_whereabouts(self._place, way)).believed:
            self._end(job, refused)
        elif self.job is job:
            self.job, self._gone = None, True
            self._alarm.stop()
            self._port.leave()
            self._endpoint.returned(self, job)

    def heard(self, apdu: Apdu) -> None:
        """The device says this about the request."""
        job, under_way = self.job, self._under_way
        if job is None or under_way is None:
            return
        peer, _, transaction = under_way
        self._tell(peer, transaction.heard(apdu, self._clock.monotonic()))
        if transaction.reply is not None:
            self._judge(job, transaction.reply)
        elif transaction.failed:
            self._fail(job, transaction)
        else:
            self._alarm.set(transaction.wake_at)

    def _judge(self, job: Job, reply: bytes) -> None:
        try:
            relayed = judge(job.request, reply)
        except FrameError:
            self._endpoint.faults += 1
            self._end(job, lost(job.request, "reply_invalid", Result.BAD_REPLY), answered=False)
        else:
            if job.lane.notices is not None:
                job.lane.notices.said.learn(job.request, relayed.payload, self._clock.monotonic())
            self._end(job, relayed)

    def misheard(self) -> None:
        """The device says something about the request that cannot be."""
        if self.job is not None and self._under_way is not None:
            peer, _, transaction = self._under_way
            self._tell(peer, transaction.give_up("reply_invalid"))
            self._fail(self.job, transaction)

    def _fail(self, job: Job, transaction: Transaction) -> None:
        """No reply will come that can be used."""
        late = transaction.failed == "timeout"
        if late:
            self._endpoint.timeouts += 1
        else:
            self._endpoint.faults += 1
        view = Result.NO_REPLY if late else Result.BAD_REPLY
        self._end(job, _ended(job, transaction, transaction.failed, view), answered=False)

    def unreachable(self, proven: bool) -> None:
        """The network says that the device cannot be reached; a device may still have had the request."""
        job, under_way = self.job, self._under_way
        if job is not None and under_way is not None and proven and not under_way[2].answering:
            self._end(job, DEVICE_DOWN)
            return
        self._endpoint.back_off()
        self._lose("device_down")

    def _tell(self, peer: Peer, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self._port.send(peer, datagram, expecting_reply=datagram[0] & 0xF0 == Kind.CONFIRMED_REQUEST)

    def _end(self, job: Job, relayed: Relayed, *, answered: bool = True) -> None:
        if self.job is not job:
            return
        self.job = None
        self._let_go(answered=answered)
        self._idle()
        self._endpoint.answered(self, job, relayed)

    def _let_go(self, *, answered: bool) -> None:
        """The invoke id may be used again: at once, or when no late reply can come any more.

        Only a whole reply that can be one is an answer: after any other the true one may still come.
        """
        if self._under_way is not None:
            peer, invoke, _ = self._under_way
            peer.give_back(invoke, self._clock.monotonic(), answered=answered)
            self._under_way = None

    def _rang(self) -> None:
        job, under_way = self.job, self._under_way
        if job is None:
            self._lose("idle")
        elif under_way is not None:
            peer, _, transaction = under_way
            self._tell(peer, transaction.wake(self._clock.monotonic()))
            if transaction.failed:
                self._fail(job, transaction)
            else:
                self._alarm.set(transaction.wake_at)

    def abort(self, code: str) -> None:
        """Give the slot up at once; an outstanding request ends as lost with this code."""
        self._lose(code)

    def _lose(self, code: str) -> None:
        if self._gone:
            return
        self._gone = True
        self._alarm.stop()
        job, self.job = self.job, None
        relayed = None if job is None else lost(job.request, code)
        if job is not None and self._under_way is not None:
            peer, _, transaction = self._under_way
            relayed = _ended(job, transaction, code, Result.NO_REPLY)
            self._tell(peer, transaction.give_up(code))
        self._let_go(answered=False)
        self._port.leave()
        self._endpoint.broken(self, job, relayed)


def _ended(job: Job, transaction: Transaction, code: str, view: Result) -> Relayed:
    """What became of a request without a reply; what a device cannot have whole it has not carried out."""
    if job.request.writes and not transaction.all_sent:
        return Relayed(Result.NOT_SENT, code=code)
    return lost(job.request, code, view)


def _whereabouts(place: Place, way: BacnetWay) -> Whereabouts:
    return Whereabouts(place, None if way.network is None else Address(way.network, way.address))
