"""The simulated building by its API, its tunnels and its ops port: what each persona may do, and what it is told."""

import re
import threading
from datetime import datetime

import pytest

from broker.cli.building import ANA, BMS
from tests.end_to_end.development import Development, until
from tests.end_to_end.modbus_caller import frame, read_registers, write_register
from tests.end_to_end.tunnel_caller import TunnelCaller

pytestmark = pytest.mark.usefixtures("unfinished_handshake")
AHU, CHILLER, METER, VAV = "plant/ahu-1", "plant/chiller-1", "plant/meter-1", "plant/vav-1"


def test_everybody_sees_who_they_are_and_only_their_devices(building: Development) -> None:
    answer = building.api().get("/v1/me")
    assert answer.headers["Server"] == "otbroker"
    me = answer.body
    assert (me["id"], me["organisation"]) == (ANA, "acme")
    assert {proof["kind"] for proof in me["proofs"]} == {"certificate", "token"}

    def devices(who: str) -> set[str]:
        return {device["id"] for device in building.api(who).get("/v1/devices").body["devices"]}

    assert devices("vendor-ana") == devices("bms-sync") == {AHU, CHILLER, METER, VAV}
    assert devices("secops-bo") == devices("auditor-cy") == set()
    assert building.api("secops-bo").read(AHU, "supply-temp").status == 404
    assert building.api().get("/v1/devices/plant/nothing/points").status == 404


def test_points_come_with_units_and_limits(building: Development) -> None:
    points = {point["id"]: point for point in building.api().get(f"/v1/devices/{AHU}/points").body["points"]}
    setpoint = points["supply-temp-setpoint"]
    assert (setpoint["unit"], setpoint["minimum"], setpoint["maximum"], setpoint["writable"]) == ("°C", 16, 22, True)


@pytest.mark.parametrize(
    ("device", "point", "least", "most"),
    [
        (AHU, "return-temp", 23.5, 23.5),
        (AHU, "energy", 123_456, 123_456),
        (AHU, "filter-pressure", 125.5, 125.5),
        (CHILLER, "chilled-water-setpoint", 5, 12),
        (VAV, "zone-temp", 5, 40),
    ],
)
def test_every_protocol_is_read_in_engineering_units(
    building: Development, device: str, point: str, least: float, most: float
) -> None:
    answer = building.api("bms-sync").read(device, point)
    assert answer.status == 200, answer
    assert least <= answer.body["points"][point]["value"] <= most


def test_a_mixed_read_says_for_each_point_what_became_of_it(building: Development) -> None:
    answer = building.api().read(AHU, "return-temp", "nothing")
    assert answer.status in (200, 404)
    if answer.status == 200:
        assert answer.body["points"]["return-temp"]["value"] == 23.5
        assert answer.body["points"]["nothing"]["error"]["code"] == "point_unknown"


def test_a_raw_read_gives_registers(building: Development) -> None:
    body = {"raw": [{"table": "holding-register", "address": 100, "count": 3}]}
    answer = building.api().call("POST", f"/v1/devices/{AHU}/read", body)
    assert answer.body["raw"][0]["values"] == [100, 101, 102]


def test_a_write_call_is_decided_whole_before_anything_is_relayed(building: Development) -> None:
    api = building.api()
    assert api.write(AHU, {"supply-temp-setpoint": 17.5}).body["points"]["supply-temp-setpoint"]["outcome"] == "done"
    refused = api.write(AHU, {"supply-temp-setpoint": 21, "fan-command": 0})
    assert refused.status == 403
    assert set(refused.reasons) & {"action_not_granted", "point_not_granted"}
    assert api.read(AHU, "supply-temp-setpoint").body["points"]["supply-temp-setpoint"]["value"] == 17.5
    decision = api.get(f"/v1/decisions/{refused.body['decision_id']}")
    assert decision.status == 200


@pytest.mark.parametrize(
    ("value", "reason"), [(15.9, "value_below_limit"), (22.1, "value_above_limit"), (17.5, ""), (22, "")]
)
def test_limits_are_engineering_values(building: Development, value: float, reason: str) -> None:
    answer = building.api().write(AHU, {"supply-temp-setpoint": value})
    assert (answer.status, answer.reasons) == ((403, [reason]) if reason else (200, []))


def test_a_service_that_may_only_view_writes_nothing(building: Development) -> None:
    answer = building.api("bms-sync").write(AHU, {"supply-temp-setpoint": 19})
    assert answer.status == 403
    assert "action_not_granted" in answer.reasons
    with building.modbus("bms-sync") as caller:
        assert caller.ask(write_register(10, 190)) == b"\x86\x01"


@pytest.mark.parametrize("who", ["secops-bo", "auditor-cy"])
def test_who_touches_no_device_gets_exception_01_on_every_request(building: Development, who: str) -> None:
    with building.modbus(who) as caller:
        for _ in range(3):
            assert caller.ask(read_registers(0)) == b"\x83\x01"
    refused = building.records("decision", allow=False)[-1]
    assert refused["entry_point"] == "session.decision"
    assert "no_grant" in refused["reasons"]


def test_what_a_device_says_it_is_may_be_asked(building: Development) -> None:
    with building.modbus() as caller:
        assert caller.ask(bytes.fromhex("2b0e0100"))[:1] in (b"\x2b", b"\xab")
        assert caller.ask(bytes.fromhex("0800005678")) == bytes.fromhex("0800005678")


def test_the_meter_is_refused_until_saturday_and_says_when(building: Development) -> None:
    refused = building.api().write(METER, {"pulse-weight": 10})
    assert refused.status == 403
    assert "window_closed" in refused.reasons
    window = refused.body["next_window"]
    assert window["id"] == "saturday"
    opens = datetime.fromisoformat(window["opens"].replace("Z", "+00:00"))
    assert opens.weekday() == 5
    assert refused.body["what_to_do"]
    with building.modbus(sni="meter-1.plant") as caller:
        assert caller.ask(write_register(10, 10), unit=3) == b"\x86\x01"


def test_a_bacnet_setpoint_is_written_with_a_priority_and_released(building: Development) -> None:
    api = building.api()

    def setpoint() -> float:
        return float(api.read(VAV, "zone-setpoint").body["points"]["zone-setpoint"]["value"])

    before = setpoint()
    assert api.write(VAV, {"zone-setpoint": {"value": before + 1, "priority": 12}}).status == 200
    assert setpoint() == before + 1
    assert api.write(VAV, {"zone-setpoint": {"value": None, "priority": 12}}).status == 200
    assert setpoint() == before
    for priority in (1, 6, 8, 9):
        refused = api.write(VAV, {"zone-setpoint": {"value": before + 2, "priority": priority}})
        assert refused.status == 403, priority
    assert api.write(VAV, {"zone-setpoint": {"value": 40, "priority": 12}}).reasons == ["value_above_limit"]
    assert setpoint() == before


def test_an_idempotency_key_writes_once(building: Development) -> None:
    api, headers = building.api(), {"Idempotency-Key": "key-1"}
    first = api.write(AHU, {"supply-temp-setpoint": 18.5}, headers=headers)
    assert api.write(AHU, {"supply-temp-setpoint": 18}).status == 200
    again = api.write(AHU, {"supply-temp-setpoint": 18.5}, headers=headers)
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert api.read(AHU, "supply-temp-setpoint").body["points"]["supply-temp-setpoint"]["value"] == 18
    assert api.write(AHU, {"supply-temp-setpoint": 19}, headers=headers).status == 422


def test_a_tunnel_carries_modbus_and_says_in_words_what_was_denied(building: Development) -> None:
    with TunnelCaller(building, "vendor-ana", AHU) as tunnel:
        assert tunnel.ask(read_registers(1)) == b"\x03\x02\x00\xeb"
        assert tunnel.ask(write_register(10, 188)) == write_register(10, 188)
        assert tunnel.ask(write_register(20, 0)) == b"\x86\x01"
        denied = tunnel.tells("denied")
        assert denied["decision_id"]
        assert denied["reasons"]
        tunnel.send(frame(read_registers(0), protocol=9))
        tunnel.ended()
        assert tunnel.tells("ending")["reason"] == "frame_refused"


def test_sessions_and_ledger_are_for_those_who_may_see_them(building: Development) -> None:
    with building.modbus("bms-sync") as caller:
        caller.ask(read_registers(0))
        assert BMS in {
            session["subject"] for session in building.api("auditor-cy").get("/v1/sessions").body["sessions"]
        }
        own = building.api().get("/v1/sessions").body
        assert own["scope"] == "own"
        assert BMS not in {session["subject"] for session in own["sessions"]}
    assert building.api().get("/v1/ledger/records").status == 403
    index = building.records("session_opened")[-1]["index"]
    # Proofs are of the newest checkpoint, which is at most a second old.
    until(lambda: building.api("auditor-cy").get(f"/v1/ledger/proof/{index}").status == 200)
    assert building.records("evidence_viewed")


def test_ops_tell_health_readiness_and_figures(building: Development) -> None:
    assert building.ops("/healthz")[0] == 200
    status, said = building.ops("/readyz")
    assert status == 200, said
    metrics = building.ops("/metrics")[1]
    assert re.search(r"^otbroker_\w+", metrics, re.MULTILINE)
    assert building.ops("/v1/me")[0] == 404


def test_many_calls_at_once_are_all_answered(building: Development) -> None:
    answers: list[int] = []

    def call() -> None:
        answers.append(building.api().read(AHU, "return-temp").status)

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [200] * 20
