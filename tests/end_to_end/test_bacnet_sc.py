"""A BACnet/SC node that nobody here wrote, at the broker's hub: it sees and does what its subject may, while it may."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from broker.cli.building import ANA
from broker.wire.bacnet.sc_message import Function
from tests.contract.sc_field import field_pki, foreign_device, foreign_hub
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, until
from tests.end_to_end.devices import bacnet_device, write_inventory
from tests.integration.bacnet_sc.hub_stage import Node

pytestmark = pytest.mark.prompt
VMAC, UUID = bytes.fromhex("0200000000a1"), b"a" * 16
INSTANCE = 1001


def node(building: Development, who: str) -> Any:
    rusty = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    files = building.folder / "personas"
    return rusty.BACnetClient(
        transport="sc",
        sc_hub=building.facts["bacnet_sc"][0].replace("127.0.0.1", "localhost"),
        sc_vmac=VMAC,
        sc_ca_cert=str(building.folder / "ca.pem"),
        sc_client_cert=str(files / f"{who}.pem"),
        sc_client_key=str(files / f"{who}.key"),
        sc_device_uuid=UUID,
    )


async def found(client: Any) -> list[int]:
    await client.who_is()
    async with asyncio.timeout(20):
        while not (devices := await client.discovered_devices()):
            await asyncio.sleep(0.05)
    return [device.object_identifier.instance for device in devices]


def test_a_foreign_node_finds_reads_and_writes_what_its_subject_may(building: Development) -> None:
    rusty = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    temperature = rusty.ObjectIdentifier(rusty.ObjectType.ANALOG_INPUT, 1)
    setpoint = rusty.ObjectIdentifier(rusty.ObjectType.ANALOG_VALUE, 1)
    present = rusty.PropertyIdentifier.PRESENT_VALUE

    async def story() -> None:
        async with node(building, "vendor-ana") as client:
            assert await found(client) == [INSTANCE]
            assert (await client.read_property_from_device(INSTANCE, temperature, present)).value == 21
            allowed, above = rusty.PropertyValue.real(20.5), rusty.PropertyValue.real(99)
            await client.write_property_to_device(INSTANCE, setpoint, present, allowed, priority=10)
            assert (await client.read_property_from_device(INSTANCE, setpoint, present)).value == 20.5
            with pytest.raises(rusty.BacnetProtocolError) as refused:
                await client.write_property_to_device(INSTANCE, setpoint, present, above, priority=10)
            assert (refused.value.error_class, refused.value.error_code) == (2, 40)
            await client.write_property_to_device(INSTANCE, setpoint, present, rusty.PropertyValue.null(), priority=10)

    asyncio.run(story())
    session = building.eventually("session_opened", listener="bacnet_sc")
    closed = building.eventually("session_closed", session=session["session"])
    assert (closed["reason"], session["device"]) == ("peer_closed", "plant/vav-1")


def test_who_may_nothing_is_not_let_in(building: Development) -> None:
    async def story() -> None:
        with pytest.raises(Exception, match=r"(?i)nak|reject|refus|connect"):
            async with node(building, "auditor-cy"):
                pass

    asyncio.run(story())


def test_a_lock_disconnects_the_node_with_the_reason_and_keeps_it_out(building: Development) -> None:
    class Stage:
        port = int(building.facts["bacnet_sc"][0].rpartition(":")[2])

    async def story() -> None:
        context = building.tls("vendor-ana")
        node = await Node.upgraded(Stage, context)
        assert (await node.connect(VMAC, UUID)).function == Function.CONNECT_ACCEPT
        body = {"kind": "subject", "target": ANA, "message": "a test"}
        lock = await asyncio.to_thread(building.api("secops-bo").call, "POST", "/v1/locks", body)
        try:
            assert lock.status == 200, lock
            while (await node.message()).function != Function.DISCONNECT_REQUEST:
                pass
            assert (await node.closed())[1] == "locked"
            again = await Node.upgraded(Stage, context)
            assert (await again.connect(VMAC, UUID)).function == Function.RESULT
        finally:
            path = f"/v1/locks/{lock.body.get('id')}/lift"
            await asyncio.to_thread(building.api("secops-bo").call, "POST", path, {})

    asyncio.run(story())
    assert until(lambda: building.records("session_closed", reason="locked"))


@pytest.fixture(scope="module")
def field_hub() -> Iterator[str]:
    """A hub of the field with a device, both in Rust, in a loop of their own."""
    pki, over = field_pki(), asyncio.Event()
    urls: Queue[str] = Queue()

    async def field() -> None:
        async with foreign_hub(pki) as hub, foreign_device(pki, await hub.url(), 2003):
            urls.put(await hub.url())
            await over.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(field(),), daemon=True)
    thread.start()
    yield urls.get(timeout=20)
    loop.call_soon_threadsafe(over.set)
    thread.join(20)
    loop.close()


def test_a_device_behind_a_hub_of_the_field_is_read_and_written(
    start_shared: Start, tmp_path: Path, field_hub: str
) -> None:
    pki = field_pki()
    pki.client.key.chmod(0o600)
    own = {"certificate_file": str(pki.client.certificate), "key_file": str(pki.client.key)}
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"bacnet_sc_node": {**own, "ca_file": str(pki.root_file)}}))
    vav = bacnet_device("vav-3", 47808, 2003) | {"upstream": {"bacnet_sc": {"hub": field_hub, "instance": 2003}}}
    inventory = write_inventory(tmp_path / "inventory", [vav])
    plant = start_shared("--inventory", str(inventory), "--settings", str(settings))
    api = plant.api()
    assert api.read("plant/vav-3", "zone-temp").body["points"]["zone-temp"]["value"] == 21
    assert api.write("plant/vav-3", {"zone-setpoint": {"value": 20.5, "priority": 10}}).status == 200
    assert api.read("plant/vav-3", "zone-setpoint").body["points"]["zone-setpoint"]["value"] == 20.5
