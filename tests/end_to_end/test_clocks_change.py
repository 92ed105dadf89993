"""The night in which clocks change, a few seconds from now: zones whose change comes then, in a tzdata of their own."""

import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import until
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import write_register

pytestmark = pytest.mark.prompt

HOUR, DAY = 3600, 86_400
SOON_SECONDS = 1.0
CLOCKS_SECONDS = 0.02
LEAD_SECONDS = 10
WRITE = write_register(10, 190)
FORWARD, BACK = "Europe/Berlin", "Europe/Athens"


def zone_file(moment: int, before: int, after: int) -> bytes:
    """A zone (TZif version 2, RFC 9636) whose offset from UTC changes once, from `before` to `after` seconds."""

    def block(width: str) -> bytes:
        times = struct.pack(f">{width}", moment)
        types = b"".join(
            struct.pack(">iBB", offset, summer, 4 * summer) for offset, summer in ((before, 0), (after, 1))
        )
        head = b"TZif2" + bytes(15) + struct.pack(">6I", 0, 0, 0, 1, 2, 8)
        return head + times + b"\x01" + types + b"ONE\0TWO\0"

    return block("i") + block("q") + b"\n\n"


def write_tzdata(folder: Path, zones: dict[str, bytes]) -> None:
    """A package `tzdata` with these zones and UTC."""
    zones = {"UTC": zone_file(0, 0, 0), **zones}
    for name, octets in zones.items():
        path = folder / "tzdata" / "zoneinfo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)
    (folder / "tzdata" / "__init__.py").write_text("")
    (folder / "tzdata" / "zones").write_text("".join(f"{name}\n" for name in zones))


def offset_at(moment: int, hour: int) -> int:
    """The offset from UTC with which that moment is `hour` o'clock on the wall, between -12 and 12 hours."""
    return (hour * HOUR - moment + DAY // 2) % DAY - DAY // 2


def wall_clock(moment: int, offset: int) -> str:
    return (datetime.fromtimestamp(moment, UTC) + timedelta(seconds=offset)).replace(tzinfo=None).isoformat()


def test_windows_open_and_close_by_the_clocks_on_the_wall(start: Start, tmp_path: Path) -> None:
    """At one moment it becomes two o'clock again in one zone, and three instead of two in another: the hour from two
    is over in the first, though its clocks show it once more, and the hour from three begins in the second.
    """
    device, inventory = ScriptedDevice(), tmp_path / "inventory"
    devices = [modbus_device("ahu-1", device.port, 1), modbus_device("ahu-2", device.port, 2)]
    write_inventory(inventory, devices)
    write_tzdata(tmp_path / "data", {BACK: b"", FORWARD: b""})
    development = start("--inventory", str(inventory), environment={"PYTHONPATH": str(tmp_path / "data")})
    moment = int(time.time()) + LEAD_SECONDS
    third, second = offset_at(moment, 3), offset_at(moment, 2)
    zones = {BACK: zone_file(moment, third, third - HOUR), FORWARD: zone_file(moment, second, second + HOUR)}
    write_tzdata(tmp_path / "data", zones)
    two, three = wall_clock(moment, third - HOUR), wall_clock(moment, second + HOUR)
    windows: list[dict[str, Any]] = [
        {"id": "two", "zone": BACK, "starts": two, "scope": {"devices": ["plant/ahu-1"]}},
        {"id": "three", "zone": FORWARD, "starts": three, "scope": {"devices": ["plant/ahu-2"]}},
    ]
    write_inventory(inventory, devices, windows=[window | {"duration": "PT1H"} for window in windows])
    development.eventually("inventory_changed", seconds=20)
    ended = moment - time.time() + time.monotonic()
    with development.modbus() as caller, development.api().kept() as api:
        assert caller.ask(WRITE) == WRITE
        refused = api.write("plant/ahu-2", {"supply-temp-setpoint": 19})
        assert (refused.status, refused.reasons) == (403, ["window_closed"])
        assert time.monotonic() < ended, "it took too long to begin"
        caller.closed_within(LEAD_SECONDS + 5)
        assert -CLOCKS_SECONDS < time.monotonic() - ended < SOON_SECONDS
    session = development.records("session_opened", listener="modbus_tls")[0]["session"]
    assert development.eventually("session_closed", session=session)["reason"] == "window_closed"
    with development.api().kept() as api:
        until(lambda: api.write("plant/ahu-2", {"supply-temp-setpoint": 19}).status == 200)
        assert time.monotonic() - ended < SOON_SECONDS
        again = api.write("plant/ahu-1", {"supply-temp-setpoint": 19})
        assert (again.status, again.reasons) == (403, ["window_closed"])
