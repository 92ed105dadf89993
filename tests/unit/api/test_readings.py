import asyncio
import time
from decimal import Decimal

import pytest

from broker.api.json_text import json_octets
from broker.api.models import ReadAnswer, ReadCall
from broker.api.problems import Problem
from broker.api.readings import read
from broker.engine.events import Answered
from broker.model.operation import Relayed
from broker.model.vocabulary import Reason, Result
from tests.unit.api.gate_double import AHU, ANA, VAV, GateDouble

ALL_TEMPERATURES = ("supply-temp", "return-temp", "outside-temp")


def ask(gate, device=AHU, *, deadline=None, **call):
    async def asked():
        session = await gate.admit(ANA, device, "https", "peer", object())
        until = time.monotonic() + 30 if deadline is None else deadline
        document = await read(gate, session, ReadCall.model_validate(call), until)
        ReadAnswer.model_validate(document)
        return document

    return asyncio.run(asked())


def problem_of(gate, device=AHU, **call):
    with pytest.raises(Problem) as caught:
        ask(gate, device, **call)
    return caught.value


def test_neighbouring_points_are_read_with_one_request():
    gate = GateDouble()
    answer = ask(gate, points=ALL_TEMPERATURES)
    assert answer["device"] == "plant/ahu-1"
    assert answer["points"]["supply-temp"] == {"value": Decimal("18.5"), "unit": "°C", "quality": "good"}
    assert answer["points"]["outside-temp"]["value"] == Decimal("-10")
    assert len(gate.relayed) == 1


def test_a_value_has_the_decimals_of_its_point():
    read_points = ask(GateDouble(), points=(*ALL_TEMPERATURES, "energy", "fan-speed"))["points"]
    values = {name: json_octets(reading["value"]) for name, reading in read_points.items()}
    assert (values["return-temp"], values["outside-temp"], values["fan-speed"]) == (b"19.0", b"-10.0", b"7")
    assert values["energy"] == b"18446744073709551615"
    zone = ask(GateDouble(), VAV, points=("zone-temp", "zone-setpoint"))["points"]
    assert [json_octets(reading["value"]) for reading in zone.values()] == [b"21.5", b"20"]


def test_values_are_exact_and_of_their_type():
    answer = ask(GateDouble(), points=("energy", "fan", "label"))["points"]
    assert answer["energy"]["value"] == Decimal(18446744073709551615)
    assert answer["fan"]["value"] is True
    assert answer["label"]["value"] == "hi"


def test_a_denied_joint_read_is_asked_again_point_by_point():
    gate = GateDouble()
    gate.denied["return-temp"] = (Reason.POINT_NOT_GRANTED,)
    points = ask(gate, points=ALL_TEMPERATURES)["points"]
    assert points["supply-temp"]["value"] == Decimal("18.5")
    assert points["outside-temp"]["quality"] == "good"
    assert points["return-temp"]["error"]["code"] == "denied"
    assert points["return-temp"]["error"]["reasons"][0]["code"] == "point_not_granted"
    assert points["return-temp"]["error"]["decision_id"] == "dec-denied"
    assert len(gate.relayed) == 2


def test_a_read_of_which_all_is_denied_is_403():
    gate = GateDouble()
    gate.denied = dict.fromkeys(ALL_TEMPERATURES, (Reason.WINDOW_CLOSED,))
    problem = problem_of(gate, points=ALL_TEMPERATURES)
    assert (problem.status, problem.reasons) == (403, (Reason.WINDOW_CLOSED,))
    assert problem.document()["next_window"]["id"] == "saturday"
    assert set(problem.members["points"]) == set(ALL_TEMPERATURES)
    assert gate.relayed == []


def test_unknown_points_are_named_beside_the_known():
    points = ask(GateDouble(), points=("supply-temp", "supply-tmep"))["points"]
    assert points["supply-tmep"]["error"]["code"] == "point_unknown"
    assert problem_of(GateDouble(), points=("nothing",)).status == 404


@pytest.mark.parametrize(
    ("relayed", "code", "status"),
    [
        (Relayed(Result.DEVICE_REFUSED, b"\x83\x02", code="exception-2"), "device_refused", 502),
        (Relayed(Result.BAD_REPLY), "bad_reply", 502),
        (Relayed(Result.NO_REPLY, code="timeout"), "no_reply", 504),
        (Relayed(Result.NOT_SENT, code="device_down"), "device_down", 503),
        (Relayed(Result.NOT_SENT, code="budget_exhausted"), "budget_exhausted", 503),
        (Relayed(Result.NOT_SENT, code="queue"), "not_sent", 503),
    ],
)
def test_a_device_that_gives_nothing_is_a_problem_of_its_kind(relayed, code, status):
    gate = GateDouble()
    gate.failing["supply-temp"] = relayed
    problem = problem_of(gate, points=("supply-temp",))
    assert (problem.code, problem.status) == (code, status)


def test_a_point_that_the_device_refuses_does_not_hide_its_neighbours():
    gate = GateDouble()
    gate.failing["return-temp"] = Relayed(Result.DEVICE_REFUSED, b"\x83\x02", code="exception-2")
    points = ask(gate, points=ALL_TEMPERATURES)["points"]
    assert points["supply-temp"]["quality"] == "good"
    assert points["return-temp"]["error"]["device_code"] == "exception-2"


def test_a_device_that_is_down_is_not_asked_point_by_point():
    gate = GateDouble()
    gate.failing["return-temp"] = Relayed(Result.NO_REPLY, code="timeout")
    problem_of(gate, points=ALL_TEMPERATURES)
    assert len(gate.relayed) == 1


def test_a_value_that_could_not_be_recorded_is_not_shown():
    gate = GateDouble()
    done = Relayed(Result.DONE, b"\x03\x02\x00\xb9")
    gate.failing["supply-temp"] = lambda decisions: Answered(done, decisions, recorded=False)
    problem = problem_of(gate, points=("supply-temp",))
    assert problem.status == 503
    assert "value" not in problem.members["points"]["supply-temp"]


def test_nothing_is_asked_after_the_deadline():
    gate = GateDouble()
    with pytest.raises(Problem) as caught:
        ask(gate, points=("supply-temp",), deadline=time.monotonic() - 1)
    assert caught.value.code == "deadline_passed"
    assert gate.relayed == []


def test_ranges_of_raw_addresses_give_registers_and_bits():
    answer = ask(
        GateDouble(),
        raw=[
            {"table": "holding-register", "address": 0, "count": 2},
            {"table": "coil", "address": 4, "count": 3},
        ],
    )
    assert answer["raw"][0] == {"table": "holding-register", "address": 0, "quality": "good", "values": [185, 190]}
    assert answer["raw"][1]["values"] == [0, 1, 0]


@pytest.mark.parametrize(
    "asked",
    [{"table": "holding-register", "address": 0, "count": 126}, {"table": "coil", "address": 65535, "count": 2}],
)
def test_a_range_that_the_standard_does_not_have_is_422_and_nothing_is_asked(asked):
    gate = GateDouble()
    problem = problem_of(gate, raw=[{"table": "coil", "address": 0, "count": 1}, asked])
    assert (problem.status, problem.members["errors"][0]["at"]) == (422, "raw.1")
    assert gate.relayed == []


def test_bacnet_points_are_read_by_name_and_have_no_raw_addresses():
    answer = ask(GateDouble(), VAV, points=("zone-temp", "zone-setpoint"))["points"]
    assert answer["zone-temp"] == {"value": Decimal("21.5"), "unit": "°C", "quality": "good"}
    assert answer["zone-setpoint"]["value"] == 20
    assert problem_of(GateDouble(), VAV, raw=[{"table": "coil", "address": 0, "count": 1}]).code == "value_invalid"


def test_a_refusal_of_the_device_names_its_exception():
    gate = GateDouble()
    gate.failing["supply-temp"] = Relayed(Result.DEVICE_REFUSED, b"\x83\x02", code="exception-2")
    problem = problem_of(gate, points=("supply-temp",)).document()
    assert problem["detail"] == "The device refused it: exception 02 illegal data address."
    assert problem["points"]["supply-temp"]["error"]["text"] == problem["detail"]
