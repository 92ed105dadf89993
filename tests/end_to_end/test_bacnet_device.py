"""A BACnet device that nobody here wrote, behind the broker."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development
from tests.end_to_end.devices import bacnet_device, write_inventory

VAV = "plant/vav-2"


@pytest.fixture(scope="module")
def rusty_port() -> Iterator[int]:
    rusty_bacnet = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = rusty_bacnet.BACnetServer(2002, "foreign", interface="127.0.0.1", port=port)
    server.add_analog_value(1, "setpoint")
    server.add_analog_input(1, "temperature", present_value=22.5)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(_started(server), loop).result(10)
    yield port
    asyncio.run_coroutine_threadsafe(_stopped(server), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


async def _started(server: object) -> None:
    await server.start()  # type: ignore[attr-defined]


async def _stopped(server: object) -> None:
    await server.stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory, rusty_port: int) -> Development:
    inventory = write_inventory(tmp_path_factory.mktemp("inventory"), [bacnet_device("vav-2", rusty_port, 2002)])
    return start_shared("--inventory", str(inventory))


def test_it_is_read_written_and_released_with_its_priority(plant: Development) -> None:
    api = plant.api()
    assert api.read(VAV, "zone-temp").body["points"]["zone-temp"] == {"value": 22.5, "unit": "°C", "quality": "good"}
    before = api.read(VAV, "zone-setpoint").body["points"]["zone-setpoint"]["value"]
    written = api.write(VAV, {"zone-setpoint": {"value": 20.5, "priority": 10}})
    assert written.status == 200, written
    assert api.read(VAV, "zone-setpoint").body["points"]["zone-setpoint"]["value"] == 20.5
    assert api.write(VAV, {"zone-setpoint": {"value": None, "priority": 10}}).status == 200
    assert api.read(VAV, "zone-setpoint").body["points"]["zone-setpoint"]["value"] == before
    assert len(plant.records("outcome", result="done")) >= 5


def test_what_is_denied_leaves_it_as_it_was(plant: Development) -> None:
    refused = plant.api().write(VAV, {"zone-setpoint": {"value": 26.5, "priority": 10}})
    assert (refused.status, refused.reasons) == (403, ["value_above_limit"])
    assert plant.api("bms-sync").write(VAV, {"zone-setpoint": {"value": 20, "priority": 10}}).status == 403
