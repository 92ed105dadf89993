"""What a person is told of what a BACnet tool asked: what it was, and never what nobody is to know."""

from dataclasses import replace

from broker.engine.events import Answered, Further, Listed, Partly, Refused
from broker.listeners.bacnet_notices import LONGEST_TEXT, LONGEST_VALUE, Failed, denials, failures, text_of
from broker.model.decision import Decision
from broker.model.operation import BacnetProperty, Operation, Relayed, Request, Touch
from broker.model.place import BacnetAddress, Confidential, Point
from broker.model.vocabulary import Action, Reason, Result

POINT = Point("setpoint", BacnetAddress("analog-value", 1, "present-value", None, 10, 16), Action.ADJUST)
WRITE = Operation(
    "bacnet",
    Action.ADJUST,
    "write-property",
    BacnetProperty("analog-value", 1, "present-value"),
    (Touch(POINT, True, "99"),),
    priority=12,
)
READS = tuple(
    Operation("bacnet", Action.VIEW, "read-property-multiple", BacnetProperty("analog-input", number, "present-value"))
    for number in range(4)
)
ALLOWED, DENIED = Decision("a", 1, True), Decision("d", 2, False, (Reason.POINT_NOT_GRANTED,))
NO_REPLY = Answered(Relayed(Result.NO_REPLY, code="timeout"), ())


def asking(*operations: Operation) -> Request:
    return Request(operations, b"", "")


def read(*places: int) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"read-property-multiple analog-input,{places[0]} present-value{more}"


def test_a_write_is_told_with_its_value_and_priority() -> None:
    assert text_of([WRITE]) == "write-property analog-value,1 present-value = 99 @12"


def test_the_value_of_a_confidential_point_is_not_told_however_it_was_written() -> None:
    secret = replace(POINT, confidential=Confidential.SECRET)
    for written in (
        replace(WRITE, touches=(Touch(secret, True, "99"),)),
        replace(WRITE, touches=(Touch(secret, False),), raw_values=("99",), described=False),
    ):
        assert text_of([written]) == "write-property analog-value,1 present-value @12"


def test_what_no_point_describes_is_told_as_it_was_written_short_and_printable() -> None:
    written = replace(WRITE, touches=(), raw_values=("\x1b[2J" + "x" * 5000,), described=False)
    told = text_of([written])
    assert told.isprintable()
    assert len(told) <= LONGEST_TEXT + len(" @12")
    assert told.count("x") < LONGEST_VALUE


def test_of_a_view_that_was_denied_in_part_only_that_part_is_told_and_of_the_rest_that_it_failed() -> None:
    found = Partly(NO_REPLY, (1, 3), (ALLOWED, DENIED, ALLOWED, DENIED))
    ((refused, what),) = denials(asking(*READS), found)
    assert (refused.reasons, what) == ((Reason.POINT_NOT_GRANTED,), read(1, 3))
    assert list(failures(asking(*READS), found)) == [Failed(read(0, 2), Result.NO_REPLY, "timeout")]


def test_what_the_broker_answered_itself_was_neither_denied_nor_did_it_fail() -> None:
    refused = Refused((Reason.POINT_NOT_GRANTED,), (DENIED, DENIED))
    ((_, what),) = denials(asking(*READS[:2]), Listed((), (0,), refused))
    assert what == read(1)
    rest = Listed((), (0,), Partly(NO_REPLY, (1,), (DENIED, DENIED, ALLOWED)))
    assert [what for _, what in denials(asking(*READS[:3]), rest)] == [read(1)]
    assert [failed.what for failed in failures(asking(*READS[:3]), rest)] == [read(2)]


def test_what_was_asked_further_is_told_by_what_it_was() -> None:
    done = Answered(Relayed(Result.DONE), (ALLOWED,))
    found = Further(done, asking(READS[3]), Refused((Reason.POINT_NOT_GRANTED,), (DENIED,)))
    assert [what for _, what in denials(asking(READS[0]), found)] == [read(3)]
    assert list(failures(asking(READS[0]), found)) == []


def test_of_several_writes_those_are_told_whose_outcome_nobody_knows() -> None:
    later = replace(WRITE, address=BacnetProperty("analog-value", 2, "present-value"))
    relayed = Relayed(Result.UNKNOWN, b"P", "timeout", ((Result.DONE, ""), (Result.UNKNOWN, "timeout")))
    (failed,) = failures(asking(WRITE, later), Answered(relayed, (ALLOWED, ALLOWED)))
    assert failed.what == "write-property analog-value,2 present-value = 99 @12"


def test_a_write_that_is_done_and_not_recorded_is_unknown_and_what_the_device_refused_is_no_failure() -> None:
    (failed,) = failures(asking(WRITE), Answered(Relayed(Result.DONE), (ALLOWED,), recorded=False))
    assert failed.result is Result.UNKNOWN
    refused = Answered(Relayed(Result.DEVICE_REFUSED, code="property/write-access-denied"), (ALLOWED,))
    assert list(failures(asking(WRITE), refused)) == []
