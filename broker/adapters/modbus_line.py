"""What all ways to Modbus devices share: judging a reply, and a line without transaction ids that must come to rest."""

from broker.adapters.alarm import Alarm
from broker.adapters.endpoint import Endpoint
from broker.adapters.lane import DEVICE_DOWN, Job, lost
from broker.errors import FrameError
from broker.model.operation import Relayed, Request
from broker.model.vocabulary import Result
from broker.wire.modbus.pdu import ExceptionReply, decode_reply, decode_request, encode_reply
from broker.wire.modbus.rtu import RtuReplyDecoder, encode_rtu

_READ_REGISTERS = (3, 4)
_WRITE_SINGLE = (5, 6)
_ACKNOWLEDGE = 5  # Application Protocol 7: accepted, being carried out
_TARGET_SILENT = 11  # Application Protocol 7: the gateway passed it on and heard nothing
_LONGEST_NOISE_SECONDS = 5.0


def judge_reply(request: Request, pdu: bytes) -> Relayed | None:
    """What a reply PDU of the right unit says about the request; None if it does not answer it (a device fault).

    `payload` is re-encoded from the decoded form; for the commonest replies the check itself fixes every octet, so the
    octets received are that form.
    """
    sent = request.payload
    function = sent[0]
    if pdu[0] == function:
        if function in _READ_REGISTERS:
            octets = 2 * (sent[3] << 8 | sent[4])
            if len(pdu) == octets + 2 and pdu[1] == octets:
                return Relayed(Result.DONE, pdu)
            return None
        if function in _WRITE_SINGLE:
            return Relayed(Result.DONE, pdu) if pdu == sent else None
    return _judge_decoded(request, pdu)


def _judge_decoded(request: Request, pdu: bytes) -> Relayed | None:
    try:
        reply = decode_reply(decode_request(request.payload), pdu)
    except FrameError:
        return None
    payload = encode_reply(reply)
    if not isinstance(reply, ExceptionReply):
        return Relayed(Result.DONE, payload)
    code = f"exception-{reply.code}"
    if reply.code in (_ACKNOWLEDGE, _TARGET_SILENT) and request.writes:
        return Relayed(Result.UNKNOWN, payload, code=code)
    return Relayed(Result.DEVICE_REFUSED, payload, code=code)


class RtuLink:
    """RTU frames on a stream of octets, with nothing but silence to tell a late reply from the next one.

    After anything odd the line is at rest only when it has been silent for `silence` seconds; a reply that may still
    come is waited for as long again as the device's time limit. Subclasses carry the octets.
    """

    def __init__(self, endpoint: Endpoint, silence: float, seconds_per_octet: float = 0.0) -> None:
        self.job: Job | None = None
        self.unsent = False
        self._endpoint = endpoint
        self._clock = endpoint.clock
        self._silence = silence
        self._seconds_per_octet = seconds_per_octet
        self._alarm = Alarm(endpoint.clock, self._rang)
        self._decoder: RtuReplyDecoder | None = None
        self._resting = False
        self._noise_until = 0.0
        self._gone = False

    def write(self, octets: bytes) -> None:
        """Hand the octets to the line."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Let go of the line; called once."""
        raise NotImplementedError

    def started(self) -> None:
        """The line is there and idle."""
        self._alarm.set(self._clock.monotonic() + self._endpoint.limit.idle_seconds)

    def send(self, job: Job) -> None:
        """Put the request on the line."""
        payload = job.request.payload
        frame = encode_rtu(job.lane.unit, payload)
        self.job = job
        self._decoder = RtuReplyDecoder(job.lane.unit, payload)
        transmission = (len(frame) + 256) * self._seconds_per_octet
        self._alarm.set(self._clock.monotonic() + transmission + job.lane.timeout)
        self.write(frame)

    def received(self, data: bytes) -> None:
        """Octets came in."""
        job = self.job
        if job is None:
            self._disturbed()
            return
        assert self._decoder is not None
        try:
            self._decoder.feed(data)
            pdu = self._decoder.next()
        except FrameError:
            self._odd(job)
            return
        if pdu is None:
            return
        relayed = judge_reply(job.request, pdu)
        if relayed is None:
            self._odd(job)
        else:
            self._end(job, relayed, False)

    def _odd(self, job: Job) -> None:
        self._endpoint.faults += 1
        self._end(job, lost(job.request, "reply_invalid", Result.BAD_REPLY), True)

    def _end(self, job: Job, relayed: Relayed, disturbed: bool, owed: float = 0.0) -> None:
        self.job = None
        if disturbed:
            self._rest(owed)
        else:
            self.started()
        self._endpoint.answered(self, job, relayed, not disturbed)

    def _rest(self, owed: float) -> None:
        now = self._clock.monotonic()
        self._resting = True
        self._noise_until = now + owed + _LONGEST_NOISE_SECONDS
        self._alarm.set(now + max(owed, self._silence))

    def _disturbed(self) -> None:
        """Octets that nobody asked for: a late reply, or noise."""
        now = self._clock.monotonic()
        if not self._resting:
            self._endpoint.faults += 1
            self._endpoint.unrest(self)
            self._rest(0.0)
        elif now > self._noise_until:
            self.lost_line("line_noisy")
        else:
            self._alarm.set(now + self._silence)

    def _rang(self) -> None:
        job = self.job
        if job is not None:
            self._endpoint.timeouts += 1
            self._end(job, lost(job.request, "timeout"), True, owed=job.lane.timeout)
        elif self._resting:
            self._resting = False
            self.started()
            self._endpoint.rested(self)
        else:
            self.lost_line("idle")

    def abort(self, code: str) -> None:
        """Disconnect at once; an outstanding request ends as lost with this code."""
        self.lost_line(code)

    def lost_line(self, code: str) -> None:
        """The line is gone, by whomever."""
        if self._gone:
            return
        self._gone = True
        self._alarm.stop()
        self.disconnect()
        job, self.job = self.job, None
        if job is None:
            self._endpoint.broken(self, None, None)
        else:
            self._endpoint.broken(self, job, DEVICE_DOWN if self.unsent else lost(job.request, code))
