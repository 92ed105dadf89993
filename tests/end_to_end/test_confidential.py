"""A point marked confidential, through a real broker: the value reaches policy and device and no file of evidence."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from broker.adapters.ledger_disclosures import FOLDER
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import digest_of, digest_of_frame, read_registers, write_registers

AHU = "plant/ahu-1"
CODE, MODBUS_CODE, DENIED_CODE = 3_155_674_191, 3_155_674_192, 4_294_000_017
ADDRESS = 60
DOOR = {
    "id": "door-code",
    "table": "holding-register",
    "address": ADDRESS,
    "type": "uint32",
    "maximum": 4_294_000_000,
    "action": "adjust",
    "confidential": "secret",
}


@pytest.fixture
def plant(start: Start, tmp_path: Path) -> Development:
    device = ScriptedDevice()
    inventory = write_inventory(tmp_path / "inventory", [modbus_device("ahu-1", device.port, 1, points=[DOOR])])
    return start("--inventory", str(inventory))


def words(code: int) -> tuple[int, int]:
    return code >> 16, code & 0xFFFF


def traces(code: int) -> list[bytes]:
    """Every form in which the value could be written down, or be guessed from."""
    pdu = write_registers(ADDRESS, *words(code))
    values = json.dumps([str(word) for word in words(code)], separators=(",", ":"))
    return [text.encode() for text in (str(code), values, digest_of(pdu), digest_of_frame(pdu))]


def holding(development: Development, code: int) -> set[Path]:
    """Files of the broker, its log included, in which the value or what tells it can be found."""
    files = [path for path in development.folder.rglob("*") if path.is_file()]
    return {path for path in (*files, development.log) if any(trace in path.read_bytes() for trace in traces(code))}


def ledger(development: Development, command: str, *arguments: str) -> tuple[int, Any, str]:
    program = [sys.executable, "-m", "broker.cli.otbroker", "ledger", command, str(development.folder / "ledger")]
    ended = subprocess.run([*program, *arguments, "--format", "json"], capture_output=True, text=True, timeout=60)
    return ended.returncode, json.loads(ended.stdout or "null"), ended.stderr


def commitments(development: Development) -> list[str]:
    return [record["concealed"] for record in development.records() if "concealed" in record]


def test_a_confidential_value_can_be_disclosed_and_erased_and_is_nowhere_else(plant: Development) -> None:
    assert plant.api().write(AHU, {"door-code": CODE}).status == 200
    with plant.modbus() as caller:
        assert caller.ask(write_registers(ADDRESS, *words(MODBUS_CODE)))[0] == 16
        assert caller.ask(read_registers(ADDRESS, 2))[0] == 3
        assert caller.ask(write_registers(ADDRESS, *words(DENIED_CODE))) == b"\x90\x01"
    assert plant.api().write(AHU, {"door-code": DENIED_CODE}).reasons == ["value_above_limit"]

    found = commitments(plant)
    disclosures = plant.folder / "ledger" / FOLDER
    for code in (CODE, MODBUS_CODE, DENIED_CODE):
        assert {path.parent for path in holding(plant, code)} == {disclosures}
    status, told, _ = ledger(plant, "disclose", *found)
    assert (status, told["missing"]) == (0, [])
    values = " ".join(entry["value"] for entry in told["disclosures"])
    assert all(trace in values.encode() for trace in traces(CODE)[:3])
    assert f'"values":{{"door-code":"{MODBUS_CODE}"}}' in values

    status, told, _ = ledger(plant, "erase", *found)
    assert (status, told) == (0, {"erased": found, "missing": []})
    for command in ("disclose", "erase"):
        told_of = plant.eventually("host_command", command=f"ledger {command}", outcome="done")
        assert told_of["about"] == {"count": str(len(found))} | {f"commitment_{n}": c for n, c in enumerate(found, 1)}
        assert told_of["claimed_by"]["uid"] == str(os.getuid())
    assert not any(holding(plant, code) for code in (CODE, MODBUS_CODE, DENIED_CODE))
    status, told, errors = ledger(plant, "disclose", found[0])
    assert (status, told["disclosures"]) == (1, [])
    assert f"{found[0]}: not kept here" in errors

    assert plant.api().write(AHU, {"door-code": CODE}).status == 200
    later = [commitment for commitment in commitments(plant) if commitment not in found]
    assert ledger(plant, "disclose", *later)[0] == 0
    plant.stop()
    assert {path.parent for path in holding(plant, CODE)} == {disclosures}


def test_a_frame_that_cannot_be_read_tells_nothing_of_a_value_meant_for_the_point(plant: Development) -> None:
    cut = write_registers(ADDRESS, *words(CODE))[:-1]
    with plant.modbus() as caller:
        assert caller.ask(cut) == b"\x90\x03"
    refused = plant.eventually("frame_refused")
    assert (refused["digest"], refused["size"]) == ("", len(cut))


def test_while_disclosures_cannot_be_written_only_confidential_points_are_refused(plant: Development) -> None:
    (plant.folder / "ledger" / FOLDER).write_text("in the way")
    refused = plant.api().write(AHU, {"door-code": CODE})
    assert (refused.status, refused.reasons) == (503, ["ledger_closed"])
    assert plant.api().read(AHU, "door-code").status == 200
    assert '"disclosures"' in plant.ops("/readyz")[1]
    assert plant.ops("/readyz")[0] == 200
    (plant.folder / "ledger" / FOLDER).unlink()
    assert plant.api().write(AHU, {"door-code": CODE}).status == 200


def test_wrong_usage_is_explained(plant: Development, tmp_path: Path) -> None:
    status, _, errors = ledger(plant, "erase", "sha256-short")
    assert (status, "is no commitment" in errors) == (2, True)
    program = [sys.executable, "-m", "broker.cli.otbroker", "ledger", "disclose", str(tmp_path), "sha256-" + "A" * 43]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "not the folder of a broker's ledger" in ended.stderr) == (1, True)
