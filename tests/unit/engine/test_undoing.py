"""The way of a debt, with every failure at every step: at most one write, and never over somebody else's value."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.engine.commands import LastLook, MarkUndoing, Owe, RecordIntents, RecordOutcomes, Relay, SettleDebts
from broker.engine.events import Answered, Refused
from broker.engine.exchange import exchange
from broker.engine.sessions import Session
from broker.engine.undoing import undo
from broker.model.decision import Obligation
from broker.model.leave import Debt, Errand, Undone
from broker.model.operation import Relayed
from broker.model.place import BacnetAddress, Device, ModbusAddress, OnLeave, Point, Protocol, Table, ValueType
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import BacnetIpWay, ModbusTcpWay
from tests.bacnet_replies import read_reply
from tests.unit.engine.playbook import DONE, READ, SUBJECT, Playbook, allow, deny, request, session

REGISTER = ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16, scale=Decimal("0.1"))
SETPOINT = Point("setpoint", REGISTER, Action.ADJUST, on_leave=OnLeave.RESTORE)
ZONE = Point(
    "zone",
    BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16),
    Action.ADJUST,
    on_leave=OnLeave.RELEASE,
)
AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502), (SETPOINT,))
VAV = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1), (ZONE,))
RESTORE = Debt(
    SUBJECT, "plant/ahu-1", "setpoint", OnLeave.RESTORE, None, "18", ("20",), (), frozenset(), "ses-1", 3, 5.0
)
RELEASE = Debt(SUBJECT, "plant/vav-1", "zone", OnLeave.RELEASE, 9, "", ("20.5",), (), frozenset(), "ses-1", 3, 5.0)


def its_own(device: Device = AHU) -> Session:
    return Session("ses-9", SUBJECT, device, "leave", "", 0.0, errand=Errand("lve-1", SUBJECT, "window_closed"))


def holding(raw: int, write: Relayed = DONE):
    read = Relayed(Result.DONE, bytes((3, 2)) + raw.to_bytes(2, "big"))
    return {"Relay": lambda c: write if c.request.writes else read}


def in_priority(value: str | None, write: Relayed = DONE):
    def relayed(command: Relay) -> Relayed:
        return write if command.request.writes else Relayed(Result.DONE, read_reply(command.request, value or "null"))

    return {"Relay": relayed}


def relayed_writes(book: Playbook) -> list[Relay]:
    return [command for command in book.trace if isinstance(command, Relay) and command.request.writes]


def test_the_value_before_is_put_back_over_the_debtors_own():
    book = Playbook(**holding(200))
    assert book.play(undo(its_own(), RESTORE)) == (Undone.UNDONE, "")
    assert book.names() == [
        *["MarkUndoing", "Decide", "RecordIntents"],
        *["Decide", "RecordIntents", "LastLook", "Relay", "RecordOutcomes"],
        *["LastLook", "Relay", "RecordOutcomes"],
    ]
    (write,) = relayed_writes(book)
    assert write.request.operations[0].touches[0].value == "18"
    assert write.session.errand.debt is RESTORE


def test_the_priority_is_released_and_no_other():
    book = Playbook(**in_priority("20.5"))
    assert book.play(undo(its_own(VAV), RELEASE)) == (Undone.UNDONE, "")
    (write,) = relayed_writes(book)
    assert (write.request.operations[0].priority, write.request.operations[0].touches[0].value) == (9, "null")


@pytest.mark.parametrize(
    ("device", "debt", "answers", "expected"),
    [
        (AHU, RESTORE, holding(210), Undone.KEPT),
        (AHU, RESTORE, holding(180), Undone.UNDONE),
        (VAV, RELEASE, in_priority("19"), Undone.KEPT),
        (VAV, RELEASE, in_priority("null"), Undone.UNDONE),
    ],
    ids=["overridden", "put back already", "priority overridden", "released already"],
)
def test_nothing_is_written_over_what_is_not_the_debtors_own(device, debt, answers, expected):
    book = Playbook(**answers)
    result, detail = book.play(undo(its_own(device), debt))
    assert result is expected and detail
    assert not relayed_writes(book)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (Relayed(Result.UNKNOWN, code="timeout"), (Undone.UNKNOWN, "timeout")),
        (Relayed(Result.DEVICE_REFUSED, b"\x86\x02", code="exception-2"), (Undone.FAILED, "exception-2")),
        (Relayed(Result.BAD_REPLY), (Undone.UNKNOWN, "bad_reply")),
    ],
)
def test_a_write_that_may_have_been_sent_is_final_whatever_came_of_it(write, expected):
    assert Playbook(**holding(200, write)).play(undo(its_own(), RESTORE)) == expected


@pytest.mark.parametrize(
    "failing",
    [
        {"Decide": lambda c: deny(Reason.FREEZE_ACTIVE)},
        {"Decide": lambda c: deny(Reason.FREEZE_ACTIVE) if c.request.writes else allow()},
        {"RecordIntents": lambda c: Reason.LEDGER_CLOSED},
        {"LastLook": lambda c: Reason.SESSION_ENDED},
        {"Relay": lambda c: Relayed(Result.NO_REPLY, code="timeout")},
        {"Relay": lambda c: Relayed(Result.NOT_SENT, code="device_down")},
        {"Relay": holding(200, Relayed(Result.NOT_SENT, code="device_down"))["Relay"]},
        {"MarkUndoing": lambda c: False},
    ],
)
def test_what_sent_nothing_may_be_tried_again_and_is_not_marked(failing):
    book = Playbook(**{**holding(200), **failing})
    result, detail = book.play(undo(its_own(), RESTORE))
    assert result is None and detail
    marks = [command.undoing for command in book.trace if isinstance(command, MarkUndoing)]
    assert marks == [True, False]
    assert len(outcomes_of(book)) == len(recorded_intents(book, failing))


def recorded_intents(book: Playbook, failing: dict[str, object]) -> list[RecordIntents]:
    """None, if the ledger took none."""
    return [] if "RecordIntents" in failing else [c for c in book.trace if isinstance(c, RecordIntents)]


def outcomes_of(book: Playbook) -> list[RecordOutcomes]:
    return [command for command in book.trace if isinstance(command, RecordOutcomes)]


@pytest.mark.parametrize("raw", [180, 210])
def test_a_write_that_the_look_shows_to_be_needless_is_recorded_as_not_sent_and_unmarked(raw):
    book = Playbook(**holding(raw))
    book.play(undo(its_own(), RESTORE))
    write = outcomes_of(book)[-1]
    assert (write.request.writes, write.relayed.result, write.relayed.code) == (True, Result.NOT_SENT, "nothing_owed")
    assert [command.undoing for command in book.trace if isinstance(command, MarkUndoing)] == [True, False]


def test_somebody_who_wrote_there_after_the_look_keeps_what_he_wrote():
    looked: list[Relay] = []
    read = holding(200)["Relay"]
    book = Playbook(
        Relay=lambda c: looked.append(c) or read(c), LastLook=lambda c: Reason.NOTHING_OWED if looked else ""
    )
    assert book.play(undo(its_own(), RESTORE)) == (None, Reason.NOTHING_OWED)
    assert not relayed_writes(book)
    assert outcomes_of(book)[-1].relayed.result == Result.NOT_SENT


def test_what_somebody_is_known_to_have_written_since_is_kept_without_a_word_to_the_device():
    book = Playbook()
    debt = replace(RESTORE, since="bo@plant.example", since_intent=41)
    assert book.play(undo(its_own(), debt)) == (Undone.KEPT, "written since by bo@plant.example (record 41)")
    assert book.trace == []


@pytest.mark.parametrize("obligation", [Obligation.RESTORE, Obligation.SECOND_PERSON, Obligation.BEFORE_VALUE])
def test_the_broker_itself_meets_no_obligation(obligation):
    book = Playbook(**holding(200), Decide=lambda c: allow(obligation) if c.request.writes else allow())
    assert book.play(undo(its_own(), RESTORE)) == (None, Reason.OBLIGATION_UNMET)
    assert not relayed_writes(book)


def test_what_may_have_been_undone_before_a_crash_is_looked_at_and_not_written_again():
    book = Playbook(**holding(200))
    assert book.play(undo(its_own(), replace(RESTORE, undoing=True)))[0] is Undone.UNKNOWN
    assert not relayed_writes(book)
    assert Playbook(**holding(180)).play(undo(its_own(), replace(RESTORE, undoing=True)))[0] is Undone.UNDONE


def test_a_point_that_is_gone_or_cannot_hold_the_value_fails_without_a_word_to_the_device():
    book = Playbook()
    assert book.play(undo(its_own(), replace(RESTORE, point="gone"))) == (Undone.FAILED, Reason.POINT_UNKNOWN)
    assert book.play(undo(its_own(), replace(RESTORE, before="18.05"))) == (Undone.FAILED, "illegal_value")
    assert book.trace == []


@given(data=st.data())
def test_whatever_fails_at_most_one_write_is_relayed_and_only_after_it_is_marked(data):
    results = st.sampled_from([Relayed(result) for result in Result if result is not Result.DONE] + [DONE])
    read = Relayed(Result.DONE, bytes((3, 2)) + data.draw(st.integers(170, 210)).to_bytes(2, "big"))
    book = Playbook(
        Decide=lambda c: data.draw(st.sampled_from([allow(), deny()])),
        RecordIntents=lambda c: data.draw(st.sampled_from([10, Reason.LEDGER_CLOSED])),
        LastLook=lambda c: data.draw(st.sampled_from(["", Reason.LOCKED])),
        MarkUndoing=lambda c: data.draw(st.booleans()),
        RecordOutcomes=lambda c: data.draw(st.booleans()),
        Relay=lambda c: (
            data.draw(results) if c.request.writes else data.draw(st.sampled_from([read, Relayed(Result.NO_REPLY)]))
        ),
    )
    result, _ = book.play(undo(its_own(), RESTORE))
    writes = relayed_writes(book)
    assert len(writes) <= 1
    if writes:
        marked = next(c for c in book.trace if isinstance(c, MarkUndoing))
        assert marked.undoing and book.trace.index(marked) < book.trace.index(writes[0])
        assert read.payload[2:] == (200).to_bytes(2, "big")
        assert isinstance(book.trace[book.trace.index(writes[0]) - 1], LastLook)
    if result is Undone.UNDONE and not writes:
        assert read.payload[2:] == (180).to_bytes(2, "big")


def obliged(**answers):
    first = {"Decide": lambda c: allow(Obligation.RESTORE) if c.request.writes else allow()}
    relay = {"Relay": lambda c: DONE if c.request.writes else READ}
    return Playbook(**{**first, **relay, "Owe": lambda c: ((RESTORE,),), **answers})


def test_a_write_that_has_to_be_undone_is_owed_before_its_intent_and_settled_by_its_outcome():
    book = obliged()
    assert isinstance(book.play(exchange(session(), request(Action.ADJUST, before=True))), Answered)
    assert book.names()[6:] == ["Owe", "RecordIntents", "LastLook", "Relay", "SettleDebts", "RecordOutcomes"]
    settled = book.trace[-2]
    assert isinstance(settled, SettleDebts)
    assert (settled.debts, settled.relayed, settled.first_intent) == (((RESTORE,),), DONE, book.trace[-1].first_intent)


@pytest.mark.parametrize(
    "failing",
    [{"Owe": lambda c: None}, {"Relay": lambda c: Relayed(Result.NO_REPLY)}],
    ids=["cannot be owed", "no value before"],
)
def test_a_write_that_could_not_be_undone_is_refused(failing):
    book = obliged(**failing)
    finding = book.play(exchange(session(), request(Action.ADJUST, before=True)))
    assert isinstance(finding, Refused) and finding.reasons == (Reason.OBLIGATION_UNMET,)
    assert not relayed_writes(book)


@pytest.mark.parametrize(
    "failing",
    [
        {"RecordIntents": lambda c: Reason.LEDGER_CLOSED if c.request.writes else 1},
        {"LastLook": lambda c: Reason.ACCESS_CHANGED if c.session.operations else ""},
    ],
)
def test_a_debt_whose_write_is_not_sent_is_settled_as_not_sent(failing):
    book = obliged(**failing)
    asker = session()
    book.answers["Owe"] = lambda c: setattr(asker, "operations", 1) or ((RESTORE,),)
    book.play(exchange(asker, request(Action.ADJUST, before=True)))
    (settled,) = (command for command in book.trace if isinstance(command, SettleDebts))
    assert settled.relayed.result == Result.NOT_SENT
    assert not relayed_writes(book)
    assert any(isinstance(command, Owe) for command in book.trace)
