"""What a request that failed midway leaves behind: owed is what was written of it, and nothing else."""

from dataclasses import replace

import pytest

from broker.access.debts import Debts
from broker.engine.commands import Relay
from broker.engine.events import Answered, Refused
from broker.engine.exchange import exchange
from broker.listeners.driver import Driver
from broker.listeners.writes_under_way import WritesUnderWay
from broker.model.decision import Obligation
from broker.model.operation import ModbusRange, Operation, Relayed, Request, Touch
from broker.model.place import Device, ModbusAddress, OnLeave, Point, Protocol, Table, ValueType
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import ModbusTcpWay
from broker.wire.modbus.meaning import compose_read
from tests.unit.engine.playbook import SUBJECT, allow, session
from tests.unit.listeners.test_driver import Clock, Plain, Unhurried
from tests.unit.listeners.test_driver import Device as AnyDevice

POINTS = tuple(
    Point(name, ModbusAddress(Table.HOLDING_REGISTER, at, 1, ValueType.INT16), Action.ADJUST, on_leave=OnLeave.RESTORE)
    for at, name in enumerate("abc")
)
AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502), POINTS)
BEFORE = Relayed(Result.DONE, bytes.fromhex("0306000100020003"))
REFUSED, UNTRIED, DID, WHO_KNOWS = (
    (result, "") for result in (Result.DEVICE_REFUSED, Result.UNATTEMPTED, Result.DONE, Result.UNKNOWN)
)


def writing():
    operations = tuple(
        Operation(
            "modbus", Action.ADJUST, "write-single-register", ModbusRange(Table.HOLDING_REGISTER, at, 1), (touch,)
        )
        for at, touch in enumerate(Touch(point, True, "20") for point in POINTS)
    )
    return Request(operations, b"\x06", "write", before=compose_read(AHU, POINTS)[0])


class Book:
    """Debts in memory, on disk when they are let."""

    def __init__(self):
        self.debts, self.waiting = Debts(), []
        self.settle, self.owed_still = self.debts.settle, self.debts.owed_still

    def note(self, debts, noted):
        assert self.debts.note(debts)
        self.waiting.append(lambda: noted(True))
        return True

    def written(self, by, device, request, relayed, first_intent, met, kept):
        return self.debts.written(by, device, request, relayed, first_intent, met)


class Obliging(Plain):
    """Everything that is written has to be undone."""

    def operation(self, session, request, place, decided):
        return allow(Obligation.RESTORE) if request.writes else allow()

    def situation(self, subject, device, now):
        class Situation:
            grants = ()

        return Situation


def carried_out(*relayed):
    """The write with these replies to what is read before it and to itself: what is owed, the finding, the records."""
    findings = []
    ledger, device, book = Unhurried(), AnyDevice(), Book()
    asked = replace(session(), device=AHU)
    driver = Driver(Clock(), ledger, Obliging(), lambda key: device, lambda session, reason: None, book)
    driver.run(asked, exchange(asked, writing()), findings.append)
    for reply in relayed:
        device.asked.pop()(reply)
        while book.waiting:
            book.waiting.pop()()
    return book.debts.all(), findings[0], ledger.records


@pytest.mark.parametrize(
    ("each", "owed"),
    [
        ((DID, REFUSED, UNTRIED), {"a": {"20"}}),
        ((REFUSED, UNTRIED, UNTRIED), {}),
        ((DID, DID, REFUSED), {"a": {"20"}, "b": {"20"}}),
        ((WHO_KNOWS, WHO_KNOWS, UNTRIED), {"a": {"20"}, "b": {"20"}}),
        ((), {}),
    ],
)
def test_owed_is_what_was_written_or_may_have_been(each, owed):
    debts, finding, records = carried_out(BEFORE, Relayed(Result.DEVICE_REFUSED, each=each))
    assert {debt.point: set(debt.own) for debt in debts} == owed
    intents = [index for index, record in enumerate(records) if record.get("service") == "write-single-register"]
    assert {debt.point: debt.intent for debt in debts} == {
        name: index for index, name in zip(intents, "abc", strict=True) if name in owed
    }
    assert isinstance(finding, Answered) and not finding.done


def test_where_the_value_before_of_one_is_not_known_nothing_is_sent_and_nothing_owed():
    debts, finding, _ = carried_out(Relayed(Result.DONE, BEFORE.payload, each=(DID, REFUSED, DID)))
    assert debts == ()
    assert isinstance(finding, Refused) and finding.reasons == (Reason.OBLIGATION_UNMET,)


def test_who_read_before_it_knows_what_was_there_where_it_wrote_nothing():
    """Another's read before his own write counts only if nobody has written there since."""
    asked = replace(session(), device=AHU, subject=replace(SUBJECT, id="bo@plant.example"))
    writes = WritesUnderWay()
    writes.begins("his", Relay(asked, writing(), ()))
    debts, _, _ = carried_out(BEFORE, Relayed(Result.DONE))
    known = [writes.before_is_known((debt,), 5) for debt in debts]
    assert known == [False, False, False], "it is on its way"
    writes.came_out("his", Relayed(Result.DEVICE_REFUSED, each=(DID, REFUSED, UNTRIED)), 9)
    assert [writes.before_is_known((debt,), 5) for debt in debts] == [False, True, True]
    assert [writes.before_is_known((debt,), 10) for debt in debts] == [True, True, True]
