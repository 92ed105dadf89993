"""A BACnet device that nobody here wrote, behind the broker."""

import asyncio
import socket
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256

import pytest

from broker.wire.bacnet.apdu import ConfirmedRequest, bare, decode_apdu
from broker.wire.bacnet.bvlc import decode_bvlc
from broker.wire.bacnet.npdu import decode_npdu
from broker.wire.bacnet.services import CONFIRMED_NAMES
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


class Capture:
    """Stands in front of a device on 127.0.0.1, passes everything on, and keeps what was sent to it."""

    def __init__(self, behind: int) -> None:
        self.sent: list[bytes] = []
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.connect(("127.0.0.1", behind))
        self._back.settimeout(5)
        self.port: int = self._front.getsockname()[1]
        self._thread = threading.Thread(target=self._pass_on, daemon=True)

    def __enter__(self) -> "Capture":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._front.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._front.close()
        self._back.close()

    def _pass_on(self) -> None:
        while True:
            datagram, caller = self._front.recvfrom(2000)
            if not datagram:
                return
            self.sent.append(datagram)
            self._back.send(datagram)
            self._front.sendto(self._back.recv(2000), caller)


def digest_of(bare_request: bytes) -> str:
    return urlsafe_b64encode(sha256(bare_request).digest()).rstrip(b"=").decode()


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


def test_what_a_capture_shows_is_what_the_ledger_says_message_by_message(
    start_shared: Start, tmp_path_factory: pytest.TempPathFactory, rusty_port: int
) -> None:
    with Capture(rusty_port) as capture:
        inventory = write_inventory(tmp_path_factory.mktemp("captured"), [bacnet_device("vav-2", capture.port, 2002)])
        plant = start_shared("--inventory", str(inventory))
        api = plant.api()
        assert api.read(VAV, "zone-temp").status == 200
        assert api.read(VAV, "zone-temp", "zone-setpoint").status == 200
        assert api.write(VAV, {"zone-setpoint": {"value": 20.5, "priority": 10}}).status == 200
        assert api.write(VAV, {"zone-setpoint": {"value": 26.5, "priority": 10}}).status == 403
        assert api.write(VAV, {"zone-setpoint": {"value": None, "priority": 10}}).status == 200
        denied = {record["intent"] for record in plant.records("outcome", result="denied")}
        intents = [record for record in plant.records("intent") if record["index"] not in denied]
        intended = {(record["digest"], record["service"]) for record in intents}
        sent = [decode_apdu(decode_npdu(decode_bvlc(datagram).payload).payload) for datagram in capture.sent]
        assert all(isinstance(each, ConfirmedRequest) for each in sent)
        digests = {(digest_of(bare(each)), CONFIRMED_NAMES[each.service]) for each in sent}  # type: ignore[union-attr]
        assert digests == intended
        assert len(denied) == 1
        assert len(intents) >= len(sent) == 4
