"""One native BACnet client and the broker: what is decided, what goes to which device, and what the client is told."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from broker.engine.bacnet_conversation import BROADCAST, MOST_IN_SEGMENTS
from broker.engine.commands import Decide, LastLook, RecordIntents, RecordOutcomes, Relay
from broker.engine.events import Refused
from broker.engine.in_force import VirtualNetwork
from broker.engine.sessions import Session
from broker.listeners.bacnet_floor import BacnetFloor
from broker.listeners.bacnet_notices import Failed
from broker.listeners.bacnet_outside import Outside
from broker.listeners.bacnet_shares import DATAGRAMS_PER_SECOND
from broker.listeners.bacnet_stream import BacnetStream
from broker.listeners.bacnet_turns import MOST_AT_ONCE
from broker.listeners.interpreters import Interpreters
from broker.model.decision import Decision
from broker.model.operation import UNCONFIRMED, Relayed
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Action, EndReason, Reason, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.apdu import (
    Abort,
    AbortReason,
    Apdu,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Reject,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    bare,
    decode_apdu,
    dressed,
    encode_apdu,
)
from broker.wire.bacnet.npdu import Address, Npdu, decode_npdu, encode_npdu
from broker.wire.bacnet.services import service_asked
from tests.fuzz.corpus import SERVICES

ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme")
CLIENT = bytes.fromhex("7f000001c001")
SITE_NETWORK = 2001
SETPOINT = Point("setpoint", BacnetAddress("analog-value", 1, "present-value", None, 10, 16), Action.ADJUST)
READ_SETPOINT = bytes.fromhex("0c008000011955")
SETPOINT_20 = bytes.fromhex("0c00800001 1955 3e44 41a00000 3f 490c".replace(" ", ""))
VALUE_20 = bytes.fromhex("0c00800001 1955 3e44 41a00000 3f".replace(" ", ""))
READ, WRITE, WRITE_MULTIPLE = 12, 15, 16


def vav(number: int) -> Device:
    way = BacnetIpWay("127.0.0.1", 47808, 1000 + number)
    return Device("plant", f"vav-{number}", "hvac", Protocol.BACNET, way, points=(SETPOINT,))


ONE, TWO, HIDDEN = vav(1), vav(2), vav(3)


class Stage:
    """Everything around a stream: sessions and decisions as told, devices that answer, and what reaches the client."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Npdu]] = []
        self.asked: list[tuple[str, bytes]] = []
        self.refusals: list[str] = []
        self.services: list[str] = []
        self.secrets: list[bool] = []
        self.denied: list[Refused] = []
        self.denied_at: list[Device | None] = []
        self.what: list[str] = []
        self.failed: list[Failed] = []
        self.failed_at: list[Device | None] = []
        self.ended: list[tuple[str, EndReason]] = []
        self.closed: list[EndReason] = []
        self.sessions: dict[str, Session] = {}
        self.cuts: dict[str, Callable[[EndReason], None]] = {}
        self.opened = 0
        self.denial = Reason.NO_GRANT
        self.known = {ONE.key, TWO.key}
        self.subscriptions_ended: list[str] = []
        self.allow: Callable[[Decide], bool] = lambda decide: True
        self.reply: Callable[[Relay], Relayed] = lambda relay: Relayed(Result.DONE, b"\x30\x0c" + VALUE_20)
        self.refuse_session: Refused | None = None
        self.held_back: list[Callable[[], None]] = []
        self.hold = self.hold_reads = False
        self.network = VirtualNetwork(SITE_NETWORK, {device.bacnet_address: device for device in (ONE, TWO, HIDDEN)})
        self.outside = Outside(
            write=lambda mac, npdu: self.sent.append((mac, decode_npdu(npdu))),
            close=self.closed.append,
            denied=self.deny,
            failed=self.fail,
            ended=lambda device, reason: self.ended.append((device.key, reason)),
            warned=lambda device, when, why: None,
        )
        self.floor = BacnetFloor(
            driver=self,  # type: ignore[arg-type]
            register=self,  # type: ignore[arg-type]
            interpreters=Interpreters(),
            frame_refusals=self,  # type: ignore[arg-type]
            cov=self,  # type: ignore[arg-type]
            in_force=lambda: self,  # type: ignore[arg-type,return-value]
            has_grants=lambda subject, device: device is not HIDDEN,
            points_granted=lambda subject, device: None,
            may_know_of=lambda subject, device: device.key in self.known,
        )
        self.stream = self.another()

    def another(self, subject: Subject = ANA) -> BacnetStream:
        """One more stream on the same floor."""
        return BacnetStream(self.floor, subject, "plant", "tunnel", "127.0.0.1:1", self.outside)

    # What a stream calls

    def fail(self, device: Device | None, failed: Failed) -> None:
        self.failed.append(failed)
        self.failed_at.append(device)

    def deny(self, device: Device | None, refused: Refused, what: str) -> None:
        self.denied.append(refused)
        self.denied_at.append(device)
        self.what.append(what)

    def virtual_network(self, site: str) -> VirtualNetwork:
        assert site == "plant"
        return self.network

    def open(self, subject: Subject, device: Device, listener: str, peer: str, cut: Any, opened: Any) -> None:
        self.opened += 1
        if self.refuse_session is not None or device is HIDDEN:
            opened(self.refuse_session or Refused((Reason.NO_GRANT,)))
            return
        session = Session(f"ses-{self.opened}", subject, device, listener, peer, 0.0)
        self.sessions[device.key], self.cuts[device.key] = session, cut
        opened(session)

    def close(self, session: Session, reason: EndReason, detail: str = "") -> None:
        session.end(reason)

    def end_session(self, session: Session) -> None:
        self.subscriptions_ended.append(session.device_key)

    def pdu(
        self,
        session: Session | None,
        device: Device | None,
        code: str,
        octets: bytes,
        *,
        secret: bool = False,
        service: str = "",
    ) -> None:
        self.refusals.append(code)
        self.services.append(service)
        self.secrets.append(secret)

    def run(self, session: Session, steps: Any, done: Callable[[Any], None]) -> None:
        answer: Any = None
        try:
            while True:
                command = steps.send(answer)
                answer = self._answer(command)
        except StopIteration as stop:
            finish = partial(done, stop.value)
            if self.hold or (self.hold_reads and isinstance(stop.value, bool)):
                self.held_back.append(finish)
            else:
                finish()

    def _answer(self, command: Any) -> Any:
        if isinstance(command, Decide):
            return Decision("dec", 1, True) if self.allow(command) else Decision("dec", 1, False, (self.denial,))
        if isinstance(command, Relay):
            self.asked.append((command.session.device_key, command.request.payload))
            return self.reply(command)
        return {RecordIntents: 5, LastLook: "", RecordOutcomes: True}.get(type(command))

    # What a client does

    def ask(self, apdu: Apdu, device: Device | None = ONE, mac: bytes = CLIENT) -> None:
        to = None if device is None else Address(SITE_NETWORK, device.bacnet_address)
        self.stream.received(mac, encode_npdu(Npdu(encode_apdu(apdu), to)))

    def told(self) -> list[Apdu]:
        told = [decode_apdu(npdu.payload) for _, npdu in self.sent]
        self.sent.clear()
        return told

    def cut(self, device: Device, reason: EndReason) -> None:
        self.sessions[device.key].end(reason)
        self.cuts[device.key](reason)


def play(test: Callable[[Stage], Any]) -> None:
    async def acts() -> None:
        stage = Stage()
        result = test(stage)
        if result is not None:
            await result
        stage.stream.lost()

    asyncio.run(acts())


async def begun(stage: Stage) -> Refused | None:
    """What became of the stream's start."""
    started: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()
    stage.stream.start(started.set_result)
    return await asyncio.wait_for(started, 10)


def reading(invoke: int = 1) -> ConfirmedRequest:
    return ConfirmedRequest(invoke, READ, READ_SETPOINT)


def test_what_is_allowed_reaches_the_device_as_it_was_decided_and_its_reply_comes_back() -> None:
    def test(stage: Stage) -> None:
        stage.ask(reading(9))
        assert stage.asked == [("plant/vav-1", b"\x00\x0c" + READ_SETPOINT)]
        assert stage.told() == [ComplexAck(9, READ, VALUE_20)]

    play(test)


def test_each_device_has_a_session_of_its_own_opened_once() -> None:
    def test(stage: Stage) -> None:
        for device in (ONE, TWO, ONE, TWO):
            stage.ask(reading(), device)
        assert stage.opened == 2
        assert [key for key, _ in stage.asked] == ["plant/vav-1", "plant/vav-2"] * 2

    play(test)


def test_a_denied_read_is_denied_in_bacnets_words_and_nothing_is_sent() -> None:
    def test(stage: Stage) -> None:
        stage.allow = lambda decide: False
        stage.ask(reading(3))
        assert stage.asked == []
        assert stage.told() == [ErrorPdu(3, READ, bytes.fromhex("9102911b"))]
        assert [refused.reasons for refused in stage.denied] == [(Reason.NO_GRANT,)]
        assert stage.what == ["read-property analog-value,1 present-value"]

    play(test)


def test_a_denial_says_what_was_to_be_written_at_which_priority() -> None:
    def test(stage: Stage) -> None:
        stage.allow = lambda decide: False
        stage.ask(ConfirmedRequest(4, WRITE, SETPOINT_20))
        assert stage.what == ["write-property analog-value,1 present-value = 20 @12"]

    play(test)


def test_what_is_denied_for_the_device_as_a_whole_names_no_object() -> None:
    def test(stage: Stage) -> None:
        stage.known.add(HIDDEN.key)  # as a device for which one may ask for access
        stage.ask(reading(), HIDDEN)
        assert (stage.what, stage.denied[0].reasons, stage.denied_at) == ([""], (Reason.NO_GRANT,), [HIDDEN])

    play(test)


def test_a_device_that_is_hidden_and_one_that_is_not_there_are_the_same_to_a_client_and_to_its_person() -> None:
    def test(stage: Stage) -> None:
        stage.ask(reading(), HIDDEN)
        hidden = stage.told()
        stage.ask(reading(), replace(HIDDEN, way=BacnetIpWay("127.0.0.1", 1, 77)))
        assert stage.told() == hidden
        assert stage.denied == [Refused((Reason.DEVICE_UNKNOWN,))] * 2
        assert stage.denied_at == [None, None]
        assert stage.what == ["address 0x0003eb", "address 0x00004d"]

    play(test)


@pytest.mark.parametrize("octets", ["a47e0b1d07b40c000000", "a4ffffffffb4ffffffff"], ids=["", "malformed"])
def test_what_has_no_reply_tells_a_hidden_device_from_none_no_better(octets: str) -> None:
    def test(stage: Stage) -> None:
        request = UnconfirmedRequest(6, bytes.fromhex(octets))
        stage.ask(request, HIDDEN)
        stage.ask(request, replace(HIDDEN, way=BacnetIpWay("127.0.0.1", 1, 77)))
        assert stage.failed == [Failed("time-synchronization", Result.DENIED, "unconfirmed_not_relayed")] * 2
        assert (stage.failed_at, stage.denied, stage.sent) == ([None, None], [], [])

    play(test)


def test_who_asks_the_port_itself_is_told_that_it_is_a_router() -> None:
    def test(stage: Stage) -> None:
        stage.ask(reading(), None)
        assert stage.what == ["the port itself, which is a router"]

    play(test)


def test_of_the_list_of_objects_those_are_told_that_may_be_looked_at() -> None:
    def test(stage: Stage) -> None:
        def allow(decide: Decide) -> bool:
            return any(touch.point is SETPOINT for touch in decide.request.operations[decide.place].touches)

        stage.allow = allow
        stage.denial = Reason.POINT_NOT_DESCRIBED
        device = bytes.fromhex("020003e9")
        for index, values in ((b"", f"c4{device.hex()}c400800001"), (b"\x29\x00", "2102"), (b"\x29\x02", "c400800001")):
            stage.ask(ConfirmedRequest(5, READ, b"\x0c" + device + b"\x19\x4c" + index))
            (ack,) = stage.told()
            assert isinstance(ack, ComplexAck)
            assert ack.parameters[-1 - len(values) // 2 : -1].hex() == values
        assert (stage.asked, stage.denied) == ([], [])

    play(test)


def test_the_list_of_objects_is_the_devices_own_for_whoever_may_read_it() -> None:
    def test(stage: Stage) -> None:
        stage.ask(ConfirmedRequest(5, READ, bytes.fromhex("0c020003e9194c")))
        assert len(stage.asked) == 1

    play(test)


def test_without_any_point_that_may_be_looked_at_the_list_of_objects_is_denied() -> None:
    def test(stage: Stage) -> None:
        stage.allow = lambda decide: False
        stage.denial = Reason.POINT_NOT_DESCRIBED
        stage.ask(ConfirmedRequest(5, READ, bytes.fromhex("0c020003e9194c")))
        assert stage.told() == [ErrorPdu(5, READ, bytes.fromhex("9102911b"))]
        assert len(stage.denied) == 1

    play(test)


def test_no_session_is_opened_for_whoever_has_left() -> None:
    def test(stage: Stage) -> None:
        stage.stream.lost()
        found: list[object] = []
        stage.stream.admit(ONE, found.append)
        assert stage.opened == 0
        assert isinstance(found[0], Refused)

    play(test)


def test_a_refused_session_is_not_asked_for_again_at_once() -> None:
    def test(stage: Stage) -> None:
        stage.refuse_session = Refused((Reason.WINDOW_CLOSED,))
        for invoke in range(5):
            stage.ask(reading(invoke))
        assert stage.opened == 1
        assert len(stage.told()) == 5

    play(test)


def test_a_write_of_several_is_denied_whole_and_names_the_first_that_was_denied() -> None:
    def test(stage: Stage) -> None:
        one = bytes.fromhex("0c00800001 1e 0955 2e44 41a00000 2f 390c 1f".replace(" ", ""))
        two = bytes.fromhex("0c00800002 1e 0955 2e44 41a00000 2f 390c 1f".replace(" ", ""))
        stage.allow = lambda decide: decide.place == 0
        stage.ask(ConfirmedRequest(4, WRITE_MULTIPLE, one + two))
        assert stage.asked == []
        (error,) = stage.told()
        assert isinstance(error, ErrorPdu)
        assert error.parameters == bytes.fromhex("0e 9102 9128 0f 1e 0c00800002 1955 1f".replace(" ", ""))
        assert stage.what == ["write-property-multiple analog-value,2 present-value = 20 @12"]
        stage.allow = lambda decide: False
        stage.ask(ConfirmedRequest(5, WRITE_MULTIPLE, one + two))
        assert stage.what[1:] == ["write-property-multiple analog-value,1 present-value = 20 @12 and 1 more"]

    play(test)


@pytest.mark.parametrize(
    ("relayed", "expected"),
    [
        (Relayed(Result.UNKNOWN, code="timeout"), AbortReason.APPLICATION_EXCEEDED_REPLY_TIME),
        (Relayed(Result.NOT_SENT, code=Reason.DEVICE_DOWN), AbortReason.TSM_TIMEOUT),
        (Relayed(Result.NOT_SENT, code=Reason.BUDGET_EXHAUSTED), AbortReason.OUT_OF_RESOURCES),
        (Relayed(Result.NOT_SENT, code="request_too_long"), AbortReason.APDU_TOO_LONG),
        (Relayed(Result.BAD_REPLY, code="reply_invalid"), AbortReason.OTHER),
        (Relayed(Result.BAD_REPLY, code="reply_too_long"), AbortReason.BUFFER_OVERFLOW),
    ],
)
def test_what_was_not_answered_is_aborted_and_never_a_denial(relayed: Relayed, expected: AbortReason) -> None:
    def test(stage: Stage) -> None:
        stage.reply = lambda relay: relayed
        stage.ask(ConfirmedRequest(2, WRITE, SETPOINT_20))
        assert stage.told() == [Abort(2, expected, from_server=True)]
        what = "write-property analog-value,1 present-value = 20 @12"
        assert stage.failed == [Failed(what, relayed.result, relayed.code)]
        assert stage.denied == []

    play(test)


def test_a_service_that_is_not_known_is_rejected_and_recorded() -> None:
    def test(stage: Stage) -> None:
        stage.ask(ConfirmedRequest(2, 99, b""))
        assert stage.told() == [Reject(2, 9)]
        assert stage.refusals == ["unrecognized_service"]
        stage.ask(ConfirmedRequest(3, 21, b"\x91\x00"))
        assert isinstance(stage.told()[0], ErrorPdu)
        assert (stage.refusals[1:], stage.services) == (["service_not_allowed"], ["", "vt-open"])
        assert stage.asked == []

    play(test)


def test_what_cannot_even_be_decided_is_said_in_words_and_what_asks_for_nothing_is_not() -> None:
    def test(stage: Stage) -> None:
        stage.ask(ConfirmedRequest(2, 17, bytes.fromhex("1901")))  # DeviceCommunicationControl without a password
        stage.ask(ConfirmedRequest(3, 99, b""))
        stage.ask(NOON, None)
        assert stage.failed == [
            Failed("device-communication-control", Result.DENIED, "password_missing"),
            Failed("service 99", Result.DENIED, "unrecognized_service"),
            Failed("time-synchronization", Result.DENIED, "unconfirmed_not_relayed"),
        ]
        stage.ask(UnconfirmedRequest(0, bytes.fromhex("c4020003e922040091002100")), None)
        stage.ask(reading(4), Device("plant", "vav-9", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1009)))
        for octets in (b"\0", b"\0\x11", b"\1\x80\xff"):
            stage.stream.received(CLIENT, octets)
        assert len(stage.failed) == 3
        assert len(stage.refusals) == len(stage.services) == 8
        assert stage.services[4:] == ["read-property", "", "", ""]

    play(test)


def test_of_what_may_hold_a_password_not_even_a_digest_is_kept() -> None:
    def test(stage: Stage) -> None:
        control = ConfirmedRequest(2, 17, bytes.fromhex("19012d07006f74746572") + b"\xff")
        stage.ask(control)
        stage.ask(control, device=None)
        stage.stream.received(CLIENT, b"\x01\x08" + control.parameters)
        stage.ask(ConfirmedRequest(2, 99, b""))
        assert stage.secrets == [True] * (len(stage.refusals) - 1) + [False]
        assert len(stage.refusals) >= 2

    play(test)


def test_priority_6_is_never_written() -> None:
    def test(stage: Stage) -> None:
        seen: list[int | None] = []
        stage.denial = Reason.PRIORITY_NOT_ALLOWED

        def allow(decide: Decide) -> bool:
            seen.append(decide.request.operations[decide.place].priority)
            return False

        stage.allow = allow
        stage.ask(ConfirmedRequest(2, WRITE, SETPOINT_20[:-1] + b"\x06"))
        assert stage.told() == [ErrorPdu(2, WRITE, bytes.fromhex("91029128"))]
        assert (seen, stage.asked, stage.refusals) == ([6], [], [])
        assert [refused.reasons for refused in stage.denied] == [(Reason.PRIORITY_NOT_ALLOWED,)]

    play(test)


def test_who_is_is_answered_for_the_devices_that_may_be_seen_to_whoever_asked_alone() -> None:
    def test(stage: Stage) -> None:
        stage.ask(UnconfirmedRequest(8, b""), None)
        assert {mac for mac, _ in stage.sent} == {CLIENT}
        assert sorted(npdu.source.mac for _, npdu in stage.sent if npdu.source) == [
            ONE.bacnet_address,
            TWO.bacnet_address,
        ]
        assert stage.asked == []

    play(test)


def test_a_device_that_may_not_be_discovered_says_nothing() -> None:
    def test(stage: Stage) -> None:
        stage.allow = lambda decide: decide.session.device is TWO
        stage.ask(UnconfirmedRequest(8, b""), None)
        assert [npdu.source.mac for _, npdu in stage.sent if npdu.source] == [TWO.bacnet_address]

    play(test)


def test_a_flood_of_questions_is_answered_only_so_often() -> None:
    def test(stage: Stage) -> None:
        for _ in range(2000):
            stage.ask(UnconfirmedRequest(8, b""), None)
        assert 2 <= len(stage.sent) <= 2 * 30

    play(test)


def test_questions_for_one_device_each_are_answered_often_and_beside_a_flood_of_those_for_all() -> None:
    def test(stage: Stage) -> None:
        for _ in range(100):
            stage.ask(UnconfirmedRequest(8, b""), None)
        before = len(stage.sent)
        for _ in range(100):
            stage.ask(UnconfirmedRequest(8, bytes.fromhex("0a03e91a03e9")), None)
        assert len(stage.sent) - before == 100
        for _ in range(2000):
            stage.ask(UnconfirmedRequest(8, bytes.fromhex("0a03e91a03e9")), None)
        assert len(stage.sent) - before <= 220

    play(test)


ANSWERED_HERE = {"who-is", "who-has", "subscribe-cov", "subscribe-cov-property", "subscribe-cov-property-multiple"}
ONLY_TOLD = {"i-am", "i-have", "unconfirmed-cov-notification", "unconfirmed-cov-notification-multiple"}
ONE_OF_EACH = {service_asked(octets): octets for octets in SERVICES if octets != b"\0\x11\x19\0"}


@pytest.mark.parametrize("service", sorted(ONE_OF_EACH.keys() - ANSWERED_HERE - ONLY_TOLD))
def test_every_service_that_a_device_can_be_asked_for_reaches_it_when_that_is_allowed(service: str) -> None:
    def test(stage: Stage) -> None:
        octets = ONE_OF_EACH[service]
        unconfirmed = UnconfirmedRequest(octets[1], octets[2:])
        stage.reply = lambda command: Relayed(Result.DEVICE_REFUSED, b"\x60\x09", code="reject-unrecognized-service")
        stage.ask(unconfirmed if octets[0] else dressed(octets, 1), ONE)
        assert [(device, asked[:2]) for device, asked in stage.asked] == [(ONE.key, octets[:2])]
        assert stage.refusals == []

    play(test)


NOON = UnconfirmedRequest(6, bytes.fromhex("a47e0b1d07b40c000000"))
PIPE = UnconfirmedRequest(5, bytes.fromhex("0c020003e729003d050070697065"))
"""TimeSynchronization, and UnconfirmedTextMessage of device 999."""


def test_what_has_no_reply_is_decided_and_sent_to_the_device_that_it_is_for() -> None:
    def test(stage: Stage) -> None:
        stage.reply = lambda command: Relayed(Result.UNKNOWN, code=UNCONFIRMED)
        for request in (NOON, PIPE):
            stage.ask(request, ONE)
        assert stage.asked == [(ONE.key, bare(NOON)), (ONE.key, bare(PIPE))]
        assert (stage.sent, stage.refusals, stage.denied, stage.failed) == ([], [], [], [])

    play(test)


def test_what_has_no_reply_and_is_denied_or_not_sent_is_said_in_words_alone() -> None:
    def test(stage: Stage) -> None:
        stage.allow = lambda command: False
        stage.ask(NOON, ONE)
        assert (stage.what, stage.asked) == (["time-synchronization device,1001"], [])
        stage.known.add(HIDDEN.key)
        stage.ask(NOON, HIDDEN)
        assert stage.what[1:] == [""]
        stage.allow = lambda command: True
        stage.reply = lambda command: Relayed(Result.NOT_SENT, code=Reason.DEVICE_DOWN)
        stage.ask(NOON, ONE)
        assert [(each.result, each.code) for each in stage.failed] == [(Result.NOT_SENT, "device_down")]
        assert (stage.sent, stage.refusals) == ([], [])

    play(test)


@pytest.mark.parametrize(
    ("request_", "device", "code", "service"),
    [
        (NOON, None, "unconfirmed_not_relayed", "time-synchronization"),
        (UnconfirmedRequest(0, bytes.fromhex("c4020003e922040091002100")), ONE, "unconfirmed_not_relayed", "i-am"),
        (UnconfirmedRequest(10, b""), ONE, "unconfirmed_not_relayed", "write-group"),
        (UnconfirmedRequest(99, b""), ONE, "unconfirmed_not_relayed", ""),
        (UnconfirmedRequest(6, bytes.fromhex("a4ffffffffb4ffffffff")), ONE, "malformed", "time-synchronization"),
    ],
    ids=["for all", "i-am", "write-group", "no service", "no moment"],
)
def test_other_unconfirmed_requests_are_recorded_and_go_nowhere(
    request_: UnconfirmedRequest, device: Device | None, code: str, service: str
) -> None:
    def test(stage: Stage) -> None:
        stage.ask(request_, device)
        assert (stage.asked, stage.sent) == ([], [])
        assert stage.refusals == [code]
        assert stage.services == [service]

    play(test)


def test_of_what_has_no_reply_only_so_much_is_sent() -> None:
    def test(stage: Stage) -> None:
        stage.reply = lambda command: Relayed(Result.UNKNOWN, code=UNCONFIRMED)
        for _ in range(150):
            stage.ask(NOON, ONE)
        assert 100 <= len(stage.asked) < 110
        assert len(stage.asked) + len(stage.refusals) == 150

    play(test)


def test_the_end_of_one_session_leaves_the_others_and_is_told() -> None:
    async def test(stage: Stage) -> None:
        stage.ask(reading(), ONE)
        stage.ask(reading(), TWO)
        stage.cut(ONE, EndReason.WINDOW_CLOSED)
        await asyncio.sleep(0)
        assert (stage.ended, stage.closed) == ([("plant/vav-1", EndReason.WINDOW_CLOSED)], [])

    play(test)


def test_what_was_under_way_at_a_device_is_not_told_after_the_end_of_its_session() -> None:
    async def test(stage: Stage) -> None:
        stage.ask(reading(1), TWO)
        stage.told()
        stage.hold = True
        stage.ask(reading(2), ONE)
        stage.cut(ONE, EndReason.LOCKED)
        await asyncio.sleep(0)
        assert stage.told() == [Abort(2, AbortReason.OTHER, from_server=True)]
        for finish in stage.held_back:
            finish()
        assert stage.told() == []

    play(test)


def test_without_any_session_left_the_way_in_is_closed_with_the_last_reason() -> None:
    async def test(stage: Stage) -> None:
        started: list[Refused | None] = []
        stage.stream.start(started.append)
        assert started == [None]
        stage.ask(reading(), TWO)
        for device in (ONE, TWO):
            stage.cut(device, EndReason.LOCKED)
        await asyncio.sleep(0)
        assert stage.closed[:1] == [EndReason.LOCKED]

    play(test)


def test_a_stream_that_no_device_gives_a_session_does_not_start() -> None:
    async def test(stage: Stage) -> None:
        stage.refuse_session = Refused((Reason.WINDOW_CLOSED,))
        started = [await begun(stage)]
        assert started == [stage.refuse_session]

    play(test)


def test_at_a_site_of_very_many_devices_that_all_refuse_the_stream_is_refused() -> None:
    async def test(stage: Stage) -> None:
        stage.network = VirtualNetwork(SITE_NETWORK, {d.bacnet_address: d for d in map(vav, range(10, 2000))})
        stage.refuse_session = Refused((Reason.LOCKED,))
        started = [await begun(stage)]
        assert started == [stage.refuse_session]

    play(test)


def test_what_is_refused_whatever_the_device_is_asked_once() -> None:
    async def test(stage: Stage) -> None:
        stage.refuse_session = Refused((Reason.BUDGET_EXHAUSTED,))
        started = [await begun(stage)]
        assert (stage.opened, started) == (1, [stage.refuse_session])

    play(test)


def test_who_has_no_grant_at_all_is_denied_on_record() -> None:
    async def test(stage: Stage) -> None:
        stage.network = VirtualNetwork(SITE_NETWORK, {HIDDEN.bacnet_address: HIDDEN})
        started = [await begun(stage)]
        assert (stage.opened, [refused.reasons for refused in started if refused]) == (1, [(Reason.NO_GRANT,)])

    play(test)


def test_whoever_has_left_is_told_nothing_and_its_sessions_end() -> None:
    def test(stage: Stage) -> None:
        stage.hold = True
        stage.ask(reading())
        stage.stream.lost(EndReason.PEER_CLOSED)
        for finish in stage.held_back:
            finish()
        assert stage.sent == []
        assert stage.sessions["plant/vav-1"].ended is EndReason.PEER_CLOSED

    play(test)


def test_the_router_is_heard_by_all_of_the_client_side() -> None:
    def test(stage: Stage) -> None:
        stage.stream.received(CLIENT, bytes.fromhex("018000"))
        ((mac, _),) = stage.sent
        assert mac == BROADCAST

    play(test)


def test_a_simple_acknowledgement_is_one() -> None:
    def test(stage: Stage) -> None:
        stage.reply = lambda relay: Relayed(Result.DONE, b"\x20\x0f")
        stage.ask(ConfirmedRequest(2, WRITE, SETPOINT_20))
        assert stage.told() == [SimpleAck(2, WRITE)]

    play(test)


def begin_in_segments(stage: Stage, stream: BacnetStream, count: int) -> list[Apdu]:
    """First segments of so many requests; what they are answered with."""
    to = Address(SITE_NETWORK, ONE.bacnet_address)
    for invoke in range(count):
        first = reading(invoke)._replace(segmented=True, more=True, window=4)
        stream.received(CLIENT, encode_npdu(Npdu(encode_apdu(first), to)))
    return stage.told()


def test_what_a_subject_sends_by_halves_is_bounded_over_all_of_its_streams() -> None:
    def test(stage: Stage) -> None:
        streams = [stage.stream, stage.another(), stage.another()]
        for stream in streams:
            stream.start(lambda refused: None)
        for stream in streams[:2]:
            assert all(isinstance(told, SegmentAck) for told in begin_in_segments(stage, stream, MOST_IN_SEGMENTS))
        refused = Abort(0, AbortReason.OUT_OF_RESOURCES, from_server=True)
        assert begin_in_segments(stage, streams[2], 1) == [refused]

        other = stage.another(replace(ANA, id="bo@acme.example"))
        other.start(lambda refused: None)
        assert isinstance(begin_in_segments(stage, other, 1)[0], SegmentAck)

        streams[1].lost()
        assert isinstance(begin_in_segments(stage, streams[2], 1)[0], SegmentAck)
        other.lost()
        streams[2].lost()

    play(test)


def test_a_stream_that_floods_leaves_another_its_rate_and_a_subject_no_more_than_twice_that() -> None:
    def test(stage: Stage) -> None:
        one, two, three = stage.stream, stage.another(), stage.another()
        assert one.rate.admits(0.0, DATAGRAMS_PER_SECOND)
        assert not one.rate.admits(0.0)
        assert two.rate.admits(0.0, DATAGRAMS_PER_SECOND)
        assert not three.rate.admits(0.0)
        assert stage.another(replace(ANA, id="bo@acme.example")).rate.admits(0.0)

    play(test)


def test_a_program_that_asks_for_everything_at_once_gets_an_answer_to_everything() -> None:
    async def test(stage: Stage) -> None:
        stage.hold = True
        for invoke in range(256):
            stage.ask(reading(invoke))
        assert len(stage.asked) == MOST_AT_ONCE
        while stage.held_back:
            held, stage.held_back = stage.held_back, []
            for finish in held:
                finish()
            await asyncio.sleep(0)
        answered = stage.told()
        assert {apdu.invoke for apdu in answered} == {*range(256)}
        assert all(isinstance(apdu, ComplexAck) for apdu in answered)

    play(test)
