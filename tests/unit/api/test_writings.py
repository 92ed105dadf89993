import asyncio
import json

import pytest

from broker.api.json_text import decode_json
from broker.api.models import WriteAnswer, WriteCall
from broker.api.problems import Problem
from broker.api.writings import Writing
from broker.engine.events import Answered, Refused
from broker.model.operation import Relayed
from broker.model.vocabulary import Reason, Result
from tests.unit.api.gate_double import AHU, ANA, VAV, GateDouble

SETPOINT = "supply-temp-setpoint"


def ask(gate, device=AHU, wait_seconds=0, **call):
    """What a call is told, and whether anything may have reached the device."""

    async def asked():
        writing = Writing(device, WriteCall.model_validate(decode_json(json.dumps(call).encode())))
        session = await gate.admit(ANA, device, "https", "peer", object())
        return await writing.carry_out(gate, session, wait_seconds)

    told, sent = asyncio.run(asked())
    if not isinstance(told, Problem):
        WriteAnswer.model_validate(told)
    return told, sent


def outcomes(told):
    points = told.members["points"] if isinstance(told, Problem) else told["points"]
    return {name: entry["outcome"] for name, entry in points.items()}


def test_points_are_written_in_the_order_given():
    gate = GateDouble()
    told, sent = ask(gate, points={"fan-speed": 3, SETPOINT: 19.5, "fan": False})
    assert list(outcomes(told).values()) == ["done"] * 3
    assert sent
    assert [r.operations[0].touches[0].point.id for r in gate.relayed] == ["fan-speed", SETPOINT, "fan"]
    assert gate.relayed[1].payload == b"\x06\x00\x0a\x00\xc3"


def test_one_denial_refuses_the_whole_call():
    gate = GateDouble()
    gate.denied["fan"] = (Reason.ACTION_NOT_GRANTED,)
    told, sent = ask(gate, points={SETPOINT: 19.5, "fan": False})
    assert (told.status, told.reasons, sent) == (403, (Reason.ACTION_NOT_GRANTED,), False)
    assert outcomes(told) == {SETPOINT: "allowed", "fan": "denied"}
    assert gate.relayed == []


@pytest.mark.parametrize(
    ("relayed", "outcome", "status", "sent"),
    [
        (Relayed(Result.DEVICE_REFUSED, b"\x86\x04", code="exception-4"), "device_refused", 502, True),
        (Relayed(Result.NOT_SENT, code="device_down"), "not_sent", 503, False),
        (Relayed(Result.UNKNOWN, code="timeout"), "unknown", 504, True),
        (Relayed(Result.BAD_REPLY), "unknown", 504, True),
    ],
)
def test_the_first_failure_leaves_the_rest_unattempted(relayed, outcome, status, sent):
    gate = GateDouble()
    gate.failing["fan-speed"] = relayed
    told, reached = ask(gate, points={"fan-speed": 3, SETPOINT: 19.5})
    assert told.status == status
    assert outcomes(told) == {"fan-speed": outcome, SETPOINT: "unattempted"}
    assert reached is sent
    assert (told.members.get("outcome") == "unknown") is (status == 504)
    assert len(gate.relayed) == 1


def test_a_success_that_could_not_be_recorded_is_unknown():
    gate = GateDouble()
    gate.failing[SETPOINT] = lambda decisions: Answered(Relayed(Result.DONE), decisions, recorded=False)
    told, sent = ask(gate, points={SETPOINT: 19.5})
    assert (told.status, sent, outcomes(told)) == (504, True, {SETPOINT: "unknown"})


@pytest.mark.parametrize("wait_seconds", [0, 60])
def test_what_was_written_before_an_arming_was_found_used_up_is_told_and_never_written_again(wait_seconds):
    gate = GateDouble()
    gate.failing[SETPOINT] = lambda decisions: Refused((Reason.APPROVAL_NEEDED,), decisions, "arm-2")
    told, sent = ask(gate, points={"fan-speed": 3, SETPOINT: 19.5}, wait_seconds=wait_seconds)
    assert (told.code, told.status, told.members["approvals"], sent) == ("partly_denied", 403, ["arm-2"], True)
    assert outcomes(told) == {"fan-speed": "done", SETPOINT: "not_sent"}
    assert [r.operations[0].touches[0].point.id for r in gate.relayed] == ["fan-speed", SETPOINT]


@pytest.mark.parametrize("value", [19.55, "warm", True, 10**30, 4000])
def test_a_value_that_the_register_cannot_hold_is_422_and_names_the_point(value):
    gate = GateDouble()
    with pytest.raises(Problem) as caught:
        ask(gate, points={"fan-speed": 1, SETPOINT: value})
    assert (caught.value.code, caught.value.members["errors"][0]["at"]) == ("value_invalid", f"points.{SETPOINT}")
    assert not gate.begun.is_set()


def test_an_unknown_point_is_404_and_nothing_is_decided():
    gate = GateDouble()
    with pytest.raises(Problem) as caught:
        ask(gate, points={SETPOINT: 19.5, "nothing": 1})
    assert caught.value.code == "point_unknown"
    assert not gate.begun.is_set()


def test_only_bacnet_has_priorities_and_releases():
    for value in ({"value": 1, "priority": 12}, None):
        with pytest.raises(Problem) as caught:
            ask(GateDouble(), points={"fan-speed": value})
        assert caught.value.code == "value_invalid"


def test_bacnet_priority_and_release_reach_the_operation():
    gate = GateDouble()
    told, _ = ask(gate, VAV, points={"zone-setpoint": {"value": 21.0, "priority": 12}})
    assert outcomes(told) == {"zone-setpoint": "done"}
    assert gate.relayed[0].operations[0].priority == 12
    assert gate.relayed[0].operations[0].touches[0].value == "21"
    ask(gate, VAV, points={"zone-setpoint": {"value": None, "priority": 12}})
    assert gate.relayed[1].operations[0].touches[0].value == "null"


def test_ranges_are_written_raw():
    gate = GateDouble()
    told, _ = ask(gate, raw=[{"table": "holding-register", "address": 100, "values": [1, 2]}])
    assert told["raw"] == [{"table": "holding-register", "address": 100, "outcome": "done"}]
    assert gate.relayed[0].payload == b"\x10\x00\x64\x00\x02\x04\x00\x01\x00\x02"


@pytest.mark.parametrize(
    "asked",
    [
        {"table": "input-register", "address": 0, "values": [1]},
        {"table": "coil", "address": 0, "values": [2]},
        {"table": "holding-register", "address": 0, "values": [0] * 124},
    ],
)
def test_a_range_that_cannot_be_written_is_422(asked):
    with pytest.raises(Problem) as caught:
        ask(GateDouble(), raw=[asked])
    assert (caught.value.code, caught.value.members["errors"][0]["at"]) == ("value_invalid", "raw.0")


def test_a_priority_that_is_denied_is_answered_with_those_the_point_takes():
    gate = GateDouble()
    gate.denied["zone-setpoint"] = (Reason.ACTION_NOT_GRANTED, Reason.PRIORITY_NOT_ALLOWED)
    told, _ = ask(gate, VAV, points={"zone-setpoint": {"value": 21.0, "priority": 3}})
    assert told.document()["what_to_do"] == "Use a priority of 10 to 16 for zone-setpoint."


def test_a_priority_that_the_point_takes_and_the_site_denies_is_not_answered_with_the_points_bounds():
    gate = GateDouble()
    gate.denied["zone-setpoint"] = (Reason.PRIORITY_NOT_ALLOWED,)
    told, _ = ask(gate, VAV, points={"zone-setpoint": {"value": 21.0, "priority": 11}})
    assert "a rule of this site denies it" in told.document()["what_to_do"]
    assert "10" not in told.document()["what_to_do"]


def test_a_value_that_does_not_fit_names_its_point_once():
    with pytest.raises(Problem) as caught:
        ask(GateDouble(), points={SETPOINT: "18,5"})
    (error,) = caught.value.members["errors"]
    assert error["at"] == f"points.{SETPOINT}"
    assert SETPOINT not in error["problem"]
