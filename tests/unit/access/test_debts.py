"""What is owed: which writes leave a debt, how debts of one place become one, and what takes them away."""

from dataclasses import replace

import pytest

from broker.access import debts as under_test
from broker.access.debts import Debts, debts_of, relies
from broker.model.decision import Decision, Obligation
from broker.model.leave import Debt
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Request, Touch
from broker.model.place import BacnetAddress, Confidential, Grant, ModbusAddress, OnLeave, Point, Table, ValueType
from broker.model.schedule import Scope
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Action, EndReason, Result

ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme", ("fitter",))
BO = replace(ANA, id="bo@plant.example")
REGISTER = ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16)
SETPOINT = Point("setpoint", REGISTER, Action.ADJUST, on_leave=OnLeave.RESTORE)
ZONE = Point("zone", BacnetAddress("analog-value", 1, "present-value", None, 8, 16), on_leave=OnLeave.RELEASE)
GRANTS = (
    Grant("adjust", Scope(), (Action.ADJUST,), points=("setpoint",)),
    Grant("look", Scope(), (Action.VIEW,)),
    Grant("fans", Scope(), (Action.ADJUST,), points=("fan",)),
)


def written(*touches: Touch, obliged: tuple[Obligation, ...] = (Obligation.RESTORE,), priority: int | None = None):
    if priority is None:
        where = ModbusRange(Table.HOLDING_REGISTER, 10, 1)
        operation = Operation("modbus", Action.ADJUST, "write-single-register", where, touches)
    else:
        place = BacnetProperty("analog-value", 1, "present-value")
        operation = Operation("bacnet", Action.ADJUST, "write-property", place, touches, priority=priority)
    return Request((operation,), b"", "digest"), (Decision("dec-1", 1, True, obligations=obliged),)


def owed(request, decisions, before=(("setpoint", "18"),)):
    return debts_of(ANA, "plant/ahu-1", "ses-1", GRANTS, request, decisions, before, 5.0)


def debt(value: str = "20", before: str = "18", subject: Subject = ANA, **changes: object) -> Debt:
    grants = frozenset({"adjust"})
    place = (subject, "plant/ahu-1", "setpoint", OnLeave.RESTORE, None)
    return replace(Debt(*place, before, (), (value,), grants, "ses-1", 0, 5.0), **changes)


def test_an_obliged_write_is_owed_with_the_value_before_and_the_grants_behind_it():
    (found,) = owed(*written(Touch(SETPOINT, True, "20")))
    assert found == debt()
    assert found.own == {"20"}


def test_a_write_at_a_priority_is_owed_without_a_value_before():
    request = written(Touch(ZONE, True, "20.5"), obliged=(Obligation.RELEASE,), priority=9)
    (found,) = owed(*request, before=())
    assert (found.undo, found.priority, found.before, found.place[-1]) == (OnLeave.RELEASE, 9, "", 9)


def test_of_several_points_those_that_the_inventory_marks_are_owed_else_all():
    kept = replace(SETPOINT, id="fan", on_leave=OnLeave.KEEP)
    both = (("setpoint", "18"), ("fan", "1"))
    marked = owed(*written(Touch(SETPOINT, True, "20"), Touch(kept, True, "2")), before=both)
    assert [each.point for each in marked] == ["setpoint"]
    by_policy = owed(*written(Touch(kept, True, "2")), before=both)
    assert [each.point for each in by_policy] == ["fan"]


@pytest.mark.parametrize(
    ("touch", "obliged", "before"),
    [
        (Touch(SETPOINT, False), Obligation.RESTORE, (("setpoint", "18"),)),
        (Touch(SETPOINT, True, "20"), Obligation.RESTORE, ()),
        (
            Touch(replace(SETPOINT, confidential=Confidential.SECRET), True, "20"),
            Obligation.RESTORE,
            (("setpoint", "18"),),
        ),
        (Touch(SETPOINT, True, "20"), Obligation.RELEASE, (("setpoint", "18"),)),
    ],
    ids=["part of a point", "no value before", "confidential", "no priority"],
)
def test_what_could_not_be_undone_cannot_be_owed(touch, obliged, before):
    assert owed(*written(touch, obliged=(obliged,)), before=before) is None


def held(debts: Debts) -> Debt:
    (found,) = debts.all()
    return found


def write(debts: Debts, value: str, result: Result = Result.DONE, before: str = "18", subject: Subject = ANA) -> None:
    fresh = (debt(value, before, subject),)
    assert debts.note(fresh)
    debts.settle(fresh, result, 7)


def test_the_first_value_before_and_the_last_value_written_count():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", before="20")
    assert (held(debts).before, held(debts).own, held(debts).intent) == ("18", {"21"}, 7)


def test_what_somebody_else_wrote_in_between_is_what_is_put_back():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", before="25")
    assert (held(debts).before, held(debts).own) == ("25", {"21"})


@pytest.mark.parametrize("result", [Result.NOT_SENT, Result.DEVICE_REFUSED])
def test_a_write_that_did_nothing_leaves_what_was_owed_before(result):
    debts = Debts()
    write(debts, "20", result)
    assert not len(debts)
    write(debts, "20")
    write(debts, "21", result, before="20")
    assert held(debts).own == {"20"}


def test_a_write_whose_outcome_is_unknown_is_owed_beside_the_one_before():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", Result.UNKNOWN, before="20")
    assert held(debts).own == {"20", "21"}


def test_a_write_under_way_when_the_broker_dies_counts_as_the_debtors_own():
    debts = Debts()
    assert debts.note((debt(),))
    again = held(Debts(debts.all()))
    assert (again.own, again.under_way) == ({"20"}, ())


def test_who_puts_the_value_back_himself_owes_nothing():
    debts = Debts()
    write(debts, "20")
    write(debts, "18", before="20")
    assert not len(debts)


def test_who_releases_the_priority_himself_owes_nothing():
    debts = Debts()
    for value in ("20", "null"):
        fresh = (debt(value, "", undo=OnLeave.RELEASE, priority=9),)
        assert debts.note(fresh)
        debts.settle(fresh, Result.DONE, 7)
    assert not len(debts)


def test_who_wrote_over_anothers_value_owes_the_value_from_before_both():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", before="20", subject=BO)
    debts.close(next(each for each in debts.all() if each.subject == ANA))
    assert (held(debts).subject, held(debts).before, held(debts).own) == (BO, "18", {"21"})


def test_what_was_written_while_it_was_undone_stays_owed():
    debts = Debts()
    write(debts, "20")
    undone = held(debts)
    debts.mark(undone, True)
    write(debts, "21", before="18")
    debts.close(undone)
    assert held(debts).own == {"21"}


def test_there_is_room_for_so_many_debts_and_no_more(monkeypatch):
    monkeypatch.setattr(under_test, "MOST_DEBTS", 2)
    debts = Debts()
    assert debts.note((debt(), debt(point="other")))
    assert debts.note((debt("21"),))
    assert not debts.note((debt(point="third"),))
    assert len(debts) == 2


def test_unknown_outcomes_without_end_are_refused():
    debts = Debts()
    for value in range(under_test.MOST_OWN_VALUES):
        write(debts, str(100 + value), Result.UNKNOWN, before="100" if value else "18")
    assert not debts.note((debt("300", "100"),))


def test_an_access_goes_on_while_one_of_the_grants_behind_it_is_relied_on():
    assert relies(debt(), frozenset({"adjust", "other"}))
    assert not relies(debt(), frozenset({"look"}))
    assert relies(debt(grants=frozenset()), frozenset())


@pytest.mark.parametrize("why", list(EndReason))
def test_a_lost_connection_may_come_back_and_an_ended_access_may_not(why):
    lost = why.value.startswith(
        ("peer", "connection", "idle", "frame", "limit", "inventory", "state", "clock", "ledger")
    )
    assert (under_test.due_after(why, 60.0) > 0) is (
        lost or why.value in ("broker_stopped", "broker_fault", "broker_killed")
    )
