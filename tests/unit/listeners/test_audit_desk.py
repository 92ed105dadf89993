"""The audit logs in OT: told after the record, by the driver, of whatever changes something; never in the way."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from broker.engine.audit_outbox import AuditOutbox
from broker.engine.audit_reporting import Fared, Teller, reports
from broker.engine.exchange import exchange
from broker.engine.in_force import InForce
from broker.engine.sessions import Session
from broker.listeners.audit_desk import NO_LOG, STOPPED, AuditDesk
from broker.listeners.driver import Driver
from broker.model.decision import Decision, Obligation
from broker.model.leave import Debt, Errand
from broker.model.operation import Relayed, Request
from broker.model.place import BacnetAddress, BacnetNetwork, Confidential, Device, Inventory, OnLeave, Point, Protocol
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import BacnetIpWay, ModbusTcpWay
from broker.wire.bacnet.interpreter import interpret
from broker.wire.bacnet.meaning import compose_read, compose_write
from broker.wire.bacnet.services import decode_confirmed
from tests.unit.listeners.no_debts import NoDebts

NOW = 1_795_000_000.0
SETPOINT = Point("zone", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
VAV = Device("plant", "vav", "floor", Protocol.BACNET, BacnetIpWay("192.0.2.1", 47808, 1001), (SETPOINT,))
LOG = Device("plant", "log", "floor", Protocol.BACNET, BacnetIpWay("192.0.2.9", 47808, 9))
PLC = Device("plant", "plc", "floor", Protocol.MODBUS, ModbusTcpWay("192.0.2.3", 502))
ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme")
WRITE = compose_write(VAV, SETPOINT, 21.5, 8)
(READ,) = compose_read(VAV, (SETPOINT,))
MAC = bytes((192, 0, 2, 200, 0xBA, 0xC0))
TELLER = Teller("plant.example/ledger", MAC, (2026, 11, 28, 6, 21, 45, 7, 0))
DONE = Relayed(Result.DONE, bytes((0x20, 32)))


def session(device: Device = VAV) -> Session:
    return Session("ses-1", ANA, device, "tunnel", "", 0.0, relied_on=frozenset({"req-7"}))


def inventory(log: str = "log") -> InForce:
    networks = (BacnetNetwork("plant", 2001, audit_log=log),)
    return InForce(Inventory("i", ("plant",), (), (VAV, LOG, PLC), (), (), (), (), bacnet_networks=networks))


class Stage:
    """Clock, ledger and the way to the log: what was sent there, and how it answers."""

    def __init__(self) -> None:
        self.time, self.longest = 100.0, 1476
        self.in_force = inventory()
        self.records: list[dict[str, Any]] = []
        self.sent: list[Request] = []
        self.answers: list[Callable[[Relayed], None]] = []
        self.desk = AuditDesk(self, self, lambda: self.in_force, lambda key: self, "plant.example/ledger")  # type: ignore[arg-type,return-value]

    def now(self) -> float:
        return NOW + self.time

    def monotonic(self) -> float:
        return self.time

    def append(self, record: bytes, *, intent: bool = False) -> int:
        self.records.append(json.loads(record))
        return len(self.records) - 1

    def settle(self, durable: bool, settled: object) -> bool:
        return True

    def own_mac(self) -> bytes:
        return MAC

    def longest_apdu(self) -> int:
        return self.longest

    def relay(self, request: Request, relayed: Callable[[Relayed], None], still_allowed: object = None) -> None:
        self.sent.append(request)
        self.answers.append(relayed)

    def tell(self, *results: str) -> None:
        for result in results or (Result.DONE,):
            self.desk.tell(session(), WRITE, [Fared(0, 41, result, "", "dec-1")])


def play(test: Callable[[Stage], Any]) -> None:
    async def acts() -> None:
        await test(Stage())

    asyncio.run(acts())


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_what_is_told_in_one_turn_goes_in_one_message_and_the_next_when_that_was_taken() -> None:
    async def test(stage: Stage) -> None:
        stage.tell(*[Result.DONE] * 3)
        assert not stage.sent, "nobody waits for it"
        await turn()
        stage.tell()
        await turn()
        (request,) = stage.sent
        assert (request.operations, request.writes) == ((), False), "repeated under its invoke id, as a view is"
        assert len(decode_confirmed(request.payload[1], request.payload[2:]).items) == 3
        stage.answers.pop()(DONE)
        await turn()
        assert len(stage.sent) == 2

    play(test)


def test_a_log_that_says_it_takes_little_is_told_in_as_many_messages_as_that_takes() -> None:
    async def test(stage: Stage) -> None:
        stage.longest = 206
        stage.tell(*[Result.DONE] * 3)
        for _ in range(3):
            await turn()
            assert len(stage.sent.pop().payload) + 2 <= 206
            stage.answers.pop()(DONE)
        assert stage.desk.outboxes["plant"].told == 3

    play(test)


def test_nothing_is_sent_to_a_log_that_failed_before_its_pause_is_over_and_an_abort_is_tried_again() -> None:
    async def test(stage: Stage) -> None:
        stage.tell()
        await turn()
        stage.answers.pop()(Relayed(Result.DEVICE_REFUSED, code="abort-out-of-resources"))
        stage.tell()
        await turn()
        assert (len(stage.sent), stage.desk.outboxes["plant"].waiting) == (1, 2)

    play(test)


def test_a_timer_that_goes_off_early_is_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.engine.audit_outbox.FIRST_PAUSE_SECONDS", 0.01)

    async def test(stage: Stage) -> None:
        looked, original = asyncio.Event(), AuditOutbox.take

        def take(outbox: AuditOutbox, fitting: Any, now: float) -> tuple[bytes, ...]:
            taken = original(outbox, fitting, now)
            looked.set()
            return taken

        monkeypatch.setattr(AuditOutbox, "take", take)
        stage.tell()
        await turn()
        stage.answers.pop()(Relayed(Result.NO_REPLY, code="timeout"))
        looked.clear()
        await looked.wait()
        assert len(stage.sent) == 1, "it was too early by this clock"
        stage.time += 1
        while len(stage.sent) == 1:
            looked.clear()
            await looked.wait()
        assert stage.sent[1].payload == stage.sent[0].payload

    play(test)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Relayed(Result.DEVICE_REFUSED, code="reject-unrecognized-service"), "reject-unrecognized-service"),
        (Relayed(Result.NO_REPLY, code="timeout"), STOPPED),
    ],
)
def test_what_a_log_was_not_told_of_is_on_record_and_an_alarm_and_closes_nothing(answer: Relayed, why: str) -> None:
    async def test(stage: Stage) -> None:
        stage.tell(Result.DONE, Result.DENIED)
        await turn()
        stage.time += 5
        stage.answers.pop()(answer)
        await stage.desk.stop()
        (counted,) = stage.records
        assert (counted["kind"], counted["told"], counted["lost"], counted["why"]) == ("audit_log_missed", 0, 2, why)
        assert (counted["site"], counted["device"]) == ("plant", "plant/log")

    play(test)


def test_the_last_ones_are_told_before_the_broker_stops_and_what_comes_later_is_counted() -> None:
    async def test(stage: Stage) -> None:
        stage.tell()
        stopping = asyncio.create_task(stage.desk.stop())
        await turn()
        stage.answers.pop()(DONE)
        await stopping
        assert [(r["kind"], r["told"]) for r in stage.records] == [("audit_log_told", 1)]
        stage.tell(Result.UNKNOWN)
        assert (stage.records[-1]["lost"], stage.records[-1]["why"]) == (1, STOPPED)

    play(test)


def test_a_fault_here_costs_a_report_and_nothing_else() -> None:
    async def test(stage: Stage) -> None:
        stage.desk.tell(session(PLC), WRITE, [Fared(0, 41, Result.DONE)])
        await turn()
        assert stage.desk.outboxes["plant"].lost == 1
        stage.tell()
        await asyncio.sleep(0)
        stage.in_force = inventory("")
        await turn()
        assert (stage.desk.outboxes["plant"].lost, stage.sent) == (2, [])
        await stage.desk.stop()
        assert stage.records[-1]["why"] == NO_LOG

    play(test)


def test_only_what_changes_something_in_a_bacnet_device_of_a_site_with_a_log_is_told() -> None:
    async def test(stage: Stage) -> None:
        assert stage.desk.wants(session(), WRITE)
        assert not stage.desk.wants(session(), READ)
        elsewhere = session(replace(VAV, site="annex"))
        assert not stage.desk.wants(elsewhere, WRITE)

    play(test)


# What the driver tells


class Audits:
    """Keeps what it is told, and what was on record by then."""

    def __init__(self, ledger: "Ledger") -> None:
        self.ledger = ledger
        self.told: list[tuple[tuple[Fared, ...], object, list[str]]] = []

    def wants(self, session: Session, request: Request) -> bool:
        return request.writes

    def tell(self, session: Session, request: Request, fared: Iterable[Fared], before: object = ()) -> None:
        self.told.append((tuple(fared), before, [record["kind"] for record in self.ledger.records]))


class Ledger:
    """Brings things to the disk when it is let."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.settling: list[Callable[[object], None]] = []

    def append(self, record: bytes, *, intent: bool = False) -> int:
        self.records.append(json.loads(record))
        return len(self.records) - 1

    def settle(self, durable: bool, settled: Callable[[object], None]) -> bool:
        if durable:
            self.settling.append(settled)
        return not durable

    def now(self) -> float:
        return NOW


class Desk:
    concealment = None
    quota = None

    def __init__(self, *obligations: Obligation, denies: bool = False) -> None:
        self.decision = Decision("dec-1", 7, not denies, (Reason.NO_GRANT,) if denies else (), obligations=obligations)

    def operation(self, session: Session, request: Request, place: int, decided: object) -> Decision:
        return self.decision if request.writes else Decision("dec-2", 8, True)

    def still_holds(self, decisions: object) -> bool:
        return True


def drive(desk: Desk, request: Request, *answers: Relayed) -> tuple[Ledger, Audits]:
    ledger, left = Ledger(), list(answers)

    class Upstream:
        def relay(self, request: Request, relayed: Callable[[Relayed], None], still_allowed: object) -> None:
            relaying.append(lambda: relayed(left.pop(0)))

    relaying: list[Callable[[], None]] = []
    driver = Driver(ledger, ledger, desk, lambda key: Upstream(), lambda *_: None, NoDebts())  # type: ignore[arg-type,return-value]
    driver.audits = audits = Audits(ledger)
    driver.run(session(), exchange(session(), request), lambda finding: None)
    while relaying or ledger.settling:
        if relaying:
            relaying.pop()()
        else:
            ledger.settling.pop()(None)
    return ledger, audits


def test_the_driver_tells_of_a_write_when_its_outcome_is_on_the_disk_with_what_was_there_before() -> None:
    was = Relayed(Result.DONE, bytes((0x30, 12)) + READ.payload[2:] + bytes.fromhex("3e4441a000003f"))
    ledger, audits = drive(Desk(Obligation.BEFORE_VALUE), WRITE, was, Relayed(Result.DONE, b"\x20\x0f"))
    ((fared, before, recorded),) = audits.told
    intent = next(i for i, record in enumerate(ledger.records) if record.get("service") == "write-property")
    assert fared == (Fared(0, intent, Result.DONE, "", "dec-1"),)
    assert before == (("zone", "20"),)
    assert recorded.count("outcome") == recorded.count("intent") == 2
    assert ledger.records[intent]["before"] == {"zone": "20"}


def test_the_driver_tells_of_a_denied_write_and_not_of_a_view() -> None:
    _, audits = drive(Desk(denies=True), WRITE)
    ((fared, _, _),) = audits.told
    assert fared == (Fared(0, 0, Result.DENIED, "no_grant", "dec-1"),)
    _, audits = drive(Desk(), READ, Relayed(Result.NO_REPLY, code="timeout"))
    assert audits.told == []


# What a report says


def report(fared: Fared, request: Request = WRITE, before: tuple[tuple[str, str], ...] = (), **at: Any) -> Any:
    told = session()
    for name, member in at.items():
        setattr(told, name, member)
    (found,) = reports(told, request, (fared,), before, TELLER)
    return found


def test_a_report_names_the_person_the_record_the_decision_and_the_grant() -> None:
    told = report(Fared(0, 4711, Result.DONE, "", "dec-9"), before=(("zone", "20"),))
    assert told.comment == (
        "ana@acme.example (acme); ledger plant.example/ledger record 4711, decision dec-9; grant req-7"
    )
    assert (told.device, told.source, told.before, told.error) == (1001, MAC, bytes.fromhex("4441a00000"), "")
    assert (told.target.operation, told.target.item[:4], told.target.item.priority) == (
        *("write", ("analog-value", 1, "present-value", None), 8),
    )


@pytest.mark.parametrize(
    ("result", "code", "error"),
    [
        (Result.DENIED, "no_grant", "security/access-denied"),
        (Result.NOT_SENT, "session_ended", "services/service-request-denied"),
        (Result.UNATTEMPTED, "", "services/service-request-denied"),
        (Result.DEVICE_REFUSED, "property/value-out-of-range", "property/value-out-of-range"),
        (Result.UNKNOWN, "timeout", "communication/timeout"),
        (Result.UNKNOWN, "abort-other", "communication/abort-other"),
    ],
)
def test_what_was_not_done_says_so_in_words_and_as_an_error_of_bacnet(result: str, code: str, error: str) -> None:
    told = report(Fared(0, 1, result, code))
    assert told.error == error
    assert f"; {result} {code}".rstrip() + ";" in told.comment


def test_what_the_broker_undoes_is_told_as_its_own_for_whom_it_is() -> None:
    debt = Debt(ANA, "plant/vav", "zone", OnLeave.RELEASE, 8, "", (), (), frozenset(), "ses-0", 1, NOW)
    itself = Subject("broker.plant", SubjectKind.SERVICE, "broker.itself")
    told = report(Fared(0, 1, Result.DONE), subject=itself, errand=Errand("lve-1", ANA, "window_closed", debt))
    assert told.comment.startswith("broker, undoing for ana@acme.example (acme); ")


def test_no_value_of_something_confidential_is_told_neither_written_nor_before() -> None:
    secret = replace(SETPOINT, confidential=Confidential.SECRET)
    device = replace(VAV, points=(secret,))
    told = report(Fared(0, 1, Result.DONE), compose_write(device, secret, 21.5, 8), (("zone", "20"),))
    assert (told.target.item.value, told.before) == (None, b"")


def test_each_write_of_several_is_told_of_by_itself() -> None:
    several = bytes.fromhex("0010 0c00800001 1e 0955 2e 4441ac0000 2f 3908 0955 2e 00 2f 390a 1f".replace(" ", ""))
    request = interpret(VAV, several)
    fared = (Fared(0, 1, Result.DONE), Fared(1, 2, Result.DEVICE_REFUSED, "property/write-access-denied"))
    first, second = reports(session(), request, fared, (("zone", "20"),), TELLER)
    assert (first.target.item.priority, second.target.item.priority) == (8, 10)
    assert (first.error, second.error) == ("", "property/write-access-denied")
