"""What watchers are told: decoded, bounded, without confidential values, and harmless at a terminal."""

import json

from hypothesis import given
from hypothesis import strategies as st

from broker.api.session_events import LARGEST_EVENT, MOST_OPERATIONS, MOST_POINTS, ending, frames
from broker.engine.events import Seen
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Request, Touch
from broker.model.place import BacnetAddress, Confidential, ModbusAddress, Point, Table, ValueType
from broker.model.vocabulary import Action, EndReason, Reason, Result
from tests.unit.engine.playbook import session

SETPOINT = Point("setpoint", ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16), Action.ADJUST, "°C")
CODE = Point(
    "code",
    ModbusAddress(Table.HOLDING_REGISTER, 11, 1, ValueType.INT16),
    Action.ADJUST,
    confidential=Confidential.SECRET,
)


def writing(*touches: Touch, raw: tuple[str, ...] = ("195",)) -> Operation:
    place = ModbusRange(Table.HOLDING_REGISTER, 10, 1)
    return Operation("modbus", Action.ADJUST, "write-single-register", place, touches, raw)


def told(*operations: Operation, **more) -> list[dict]:
    octets = frames(Seen(1_795_000_000.5, session(), Request(operations, b"", "d"), **({"result": "done"} | more)))
    events = octets.decode("ascii").split("\n\n")
    assert events.pop() == ""
    found = []
    for event in events:
        assert len(event) <= LARGEST_EVENT
        kind, data = event.split("\n")
        assert kind == "event: operation"
        found.append(json.loads(data.removeprefix("data: ")))
    return found


def test_a_write_tells_who_what_where_and_the_engineering_value():
    assert told(writing(Touch(SETPOINT, True, "19.5"))) == [
        {
            "at": "2026-11-18T11:06:40.500Z",
            "session": "ses-1",
            "subject": "ana@acme.example",
            "device": "plant/ahu-1",
            "listener": "modbus_tls",
            "action": "adjust",
            "service": "write-single-register",
            "address": {"table": "holding-register", "start": 10, "count": 1},
            "points": [{"name": "setpoint", "value": "19.5", "unit": "°C"}],
            "raw_values": ["195"],
            "result": "done",
        }
    ]


def test_a_denial_tells_why_and_a_failure_the_code():
    (denied,) = told(writing(Touch(SETPOINT, True, "99")), result=Result.DENIED, reasons=(Reason.SESSION_PAUSED,))
    assert (denied["result"], denied["reasons"]) == ("denied", ["session_paused"])
    (refused,) = told(writing(), result=Result.DEVICE_REFUSED, code="exception-2")
    assert refused["code"] == "exception-2"


def test_a_request_that_touches_a_confidential_point_shows_no_value_at_all():
    for event in told(writing(Touch(SETPOINT, True, "19.5")), writing(Touch(CODE, True, "4711"), raw=("4711",))):
        assert event["concealed"] is True
        assert "4711" not in str(event)
        assert "19.5" not in str(event)
        assert [set(point) for point in event["points"]] == [{"name"}]


def test_what_a_bacnet_request_says_beside_values_is_told_unless_it_conceals():
    facts = (("enable-disable", "disable"), ("password", "present"))
    place = BacnetProperty("device", 1001, None)
    control = Operation("bacnet", Action.CONFIG, "device-communication-control", place, facts=facts)
    (event,) = told(control)
    assert event["facts"] == {"enable-disable": "disable", "password": "present"}
    assert event["address"] == {"object_type": "device", "instance": 1001, "property": None, "index": None}
    (hidden,) = told(Operation("bacnet", Action.CONFIG, "x", place, (Touch(CODE, False),), facts=(("list", "4711"),)))
    assert "4711" not in str(hidden)
    (many,) = told(Operation("bacnet", Action.CONFIG, "x", place, facts=tuple((f"f-{n}", "x" * 99) for n in range(20))))
    assert (len(many["facts"]), many["more_facts"], max(map(len, many["facts"].values()))) == (8, 12, 64)


def test_an_event_is_bounded_whatever_is_in_it():
    point = Point("p" * 63, BacnetAddress("analog-value", 1), Action.ADJUST, "\U0001f321" * 500)
    touches = (Touch(point, True, "\U0001f321" * 1024),) * (MOST_POINTS + 5)
    place = BacnetProperty("\U0001f321" * 500, 1, "\U0001f321" * 500)
    huge = Operation(
        "bacnet", Action.ADJUST, "write-property-multiple", place, touches, ("\U0001f321" * 99,) * 200, priority=8
    )
    events = told(*[huge] * (MOST_OPERATIONS + 3), code="\U0001f321" * 999)
    assert len(events) == MOST_OPERATIONS
    assert events[-1]["more_operations"] == 3
    assert events[0]["more_points"] == 5
    assert events[0]["more_raw_values"] > 100


@given(st.text(max_size=80))
def test_nothing_told_can_do_anything_at_a_terminal_or_break_an_event(text):
    point = Point("p", BacnetAddress("analog-value", 1), Action.ADJUST, text)
    (event,) = told(writing(Touch(point, True, text)))
    assert event["points"][0]["value"].isprintable()
    assert event["points"][0]["unit"].isprintable()


def test_a_change_tells_by_whom_and_an_end_why():
    live = session()
    live.end(EndReason.ENDED_BY_ADMINISTRATOR)
    assert b'"change": "closed", "reason": "ended_by_administrator"' in frames(Seen(0.0, live, change="closed"))
    assert b'"change": "paused", "by": "bo"' in frames(Seen(0.0, session(), change="paused", by="bo"))


def test_the_sentence_of_an_end_is_for_whom_it_concerns():
    assert b"Your token has expired." in ending(EndReason.TOKEN_EXPIRED, own_access=True)
    assert b"Your" not in ending(EndReason.TOKEN_EXPIRED, own_access=False)


def test_of_a_request_that_failed_midway_each_operation_tells_its_own_result():
    each = ((Result.DONE, ""), (Result.DEVICE_REFUSED, "property/write-access-denied"), (Result.UNATTEMPTED, ""))
    events = told(*[writing(Touch(SETPOINT, True, "19.5"))] * 3, result=Result.DEVICE_REFUSED, code="x", each=each)
    assert [(event["result"], event.get("code", "")) for event in events] == list(each)
