"""Unmodified BACnet explorers through `otb connect --bacnet`: what they find, read, write, and are refused."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.wire.bacnet.services import decode_confirmed
from broker.wire.bacnet.values import text_of_value
from tests.end_to_end.bacnet_field import (
    NETWORK,
    explorer,
    found_by,
    free_port,
    noted_device,
    rusty_devices,
    write_site,
)
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development
from tests.end_to_end.devices import GRANTS
from tests.end_to_end.next_door import NextDoor, next_door
from tests.integration.otb.conftest import Connected, stop

ELI = "eli@plant.example"
SETPOINT, TEMPERATURE, PRESENT = "analog-value,1", "analog-input,1", "present-value"
PEERS = Path(__file__).parents[1] / "peers"
NODE_MODULE = PEERS / "node_modules" / "@bacnet-js" / "client"
NODE_BACNET = PEERS / "node_modules" / "node-bacnet"
NODE = """
const Bacnet = require(process.argv[1]).default;
const bbmd = {address: "127.0.0.1:" + process.argv[2]};
const client = new Bacnet({port: Number(process.argv[3]), interface: "127.0.0.1", broadcastAddress: "127.0.0.1",
                           apduTimeout: 10000});
const fail = (error) => { console.error(error); process.exit(1); };
const said = {notified: {}};
client.on("error", fail);
client.on("listening", () => {
  client.registerForeignDevice(bbmd, 60).then(() => client.whoIsThroughBBMD(bbmd)).catch(fail);
});
client.on("covNotifyUnconfirmed", (message) => {
  said.notified[message.payload.subscriberProcessId] = message.payload.monitoredObjectId;
  if (Object.keys(said.notified).length < 2) return;
  console.log(JSON.stringify(said));
  process.exit(0);
});
client.on("iAm", async ({header, payload}) => {
  if (payload.deviceId !== 2003) return;
  try {
    const device = header.sender;
    said.objects = (await client.readProperty(device, {type: 8, instance: 2003}, 76)).values.length;
    const all = [{objectId: {type: 0, instance: 1}, properties: [{id: 8}]}];
    said.properties = (await client.readPropertyMultiple(device, all)).values[0].values.length;
    await client.writeProperty(device, {type: 2, instance: 1}, 85, [{type: 4, value: 21.5}], {priority: 10});
    said.denied = await client.deviceCommunicationControl(device, 1, 1, {}).catch((error) => String(error));
    await client.subscribeCov(device, {type: 0, instance: 1}, 7, false, false, 60);
    await client.subscribeProperty(device, {type: 2, instance: 1}, {id: 85, index: 4294967295}, 8, false, false);
  } catch (error) { fail(error); }
});
"""


@contextmanager
def node_device() -> Iterator[int]:
    """A device of node-bacnet, if it is installed; its port in any case."""
    port = free_port()
    if shutil.which("node") is None or not NODE_BACNET.is_dir():
        yield port
        return
    command = ["node", str(PEERS / "bacnet_device.mjs"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as device:
        assert device.stdout is not None
        assert device.stdout.readline() == "ready\n"
        yield port
        device.terminate()


@pytest.fixture(scope="module")
def plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    with rusty_devices(2002, 2003) as ports, noted_device(2004) as noted, node_device() as node:
        points = {"id": "eli-points", "subjects": [ELI], "points": ["zone-temp"], "actions": ["view", "discover"]}
        grants = [*GRANTS, {**points, "scope": {"devices": ["plant/vav-2003"]}}]
        folder = write_site(
            tmp_path_factory.mktemp("inventory"), [*ports, noted, node], 2002, 2003, 2004, 2005, grants=grants
        )
        yield start_shared("--inventory", str(folder))


class Door:
    """`otb connect plant --bacnet` of a persona, or of one device."""

    def __init__(self, plant: Development, who: str, where: str) -> None:
        self.link = Connected([where, "--bacnet", "--dev", plant.folder, "--as", who])
        self.port = self.link.port


@pytest.fixture
def doors(plant: Development) -> Iterator[object]:
    with ExitStack() as stack:

        def door(who: str = "vendor-ana", where: str = "plant") -> Door:
            opened = Door(plant, who, where)
            stack.callback(stop, opened.link.process, 2)
            return opened

        yield door


def test_an_explorer_finds_reads_and_writes_and_each_is_recorded(plant: Development, doors: object) -> None:
    from bacpypes3.primitivedata import Null

    door = doors()  # type: ignore[operator]

    async def story() -> None:
        async with explorer(door.port) as app:
            found = await found_by(app, 2002, 2003)
            assert [str(found[instance]) for instance in (2002, 2003)] == [f"{NETWORK}:0x0007d2", f"{NETWORK}:0x0007d3"]
            assert await app.read_property(found[2002], TEMPERATURE, PRESENT) == 22.5
            await app.write_property(found[2002], SETPOINT, PRESENT, 20.5, priority=10)
            assert await app.read_property(found[2002], SETPOINT, PRESENT) == 20.5
            assert await app.read_property(found[2003], SETPOINT, PRESENT) != 20.5
            await app.write_property(found[2002], SETPOINT, PRESENT, Null(()), priority=10)

    asyncio.run(story())
    opened = plant.records("session_opened", listener="tunnel", device="plant/vav-2002")
    assert len(opened) == 1
    assert len(plant.records("intent", session=opened[0]["session"])) == 4
    assert plant.api().read("plant/vav-2002", "zone-setpoint").status == 200


def test_what_is_denied_is_denied_in_bacnet_and_said_in_words(plant: Development, doors: object) -> None:
    from bacpypes3.apdu import ErrorRejectAbortNack

    door = doors()  # type: ignore[operator]

    async def refused(work: object) -> str:
        try:
            answer = await work  # type: ignore[misc]
        except ErrorRejectAbortNack as error:
            return str(error)
        return str(answer)

    async def story() -> None:
        async with explorer(door.port) as app:
            device = (await found_by(app, 2002))[2002]
            said = await refused(app.write_property(device, SETPOINT, PRESENT, 26.5, priority=10))
            assert "write-access-denied" in said
            said = await refused(app.write_property(device, SETPOINT, PRESENT, 20.0, priority=6))
            assert "write-access-denied" in said
            assert await app.read_property(device, TEMPERATURE, PRESENT) == 22.5

    asyncio.run(story())
    denied = door.link.event("denied")
    assert (denied["device"], denied["reasons"][0]["code"]) == ("plant/vav-2002", "value_above_limit")
    denied = door.link.event("denied")
    assert (denied["device"], denied["reasons"][0]["code"]) == ("plant/vav-2002", "priority_not_allowed")
    (decision,) = (each for each in plant.records("decision") if each["reasons"] == ["priority_not_allowed"])
    operation = decision["input"]["operation"]
    assert (decision["input"]["subject"]["id"], operation["priority"]) == ("ana@acme.example", 6)
    assert operation["values"] == {"zone-setpoint": "20"}
    assert not plant.records("frame_refused", code="priority_not_allowed")


def test_a_write_without_priority_is_decided_on_as_one_at_16(plant: Development, doors: object) -> None:
    from bacpypes3.primitivedata import Null

    door = doors()  # type: ignore[operator]

    async def story() -> None:
        async with explorer(door.port) as app:
            device = (await found_by(app, 2003))[2003]
            await app.write_property(device, SETPOINT, PRESENT, 19.5)
            assert await app.read_property(device, SETPOINT, PRESENT) == 19.5
            await app.write_property(device, SETPOINT, PRESENT, Null(()), priority=16)

    asyncio.run(story())
    session = plant.records("session_opened", device="plant/vav-2003")[-1]["session"]
    asked = [
        each["input"]["operation"]
        for each in plant.records("decision", session=session)
        if "operation" in each["input"]
    ]
    assert [each["priority"] for each in asked if each["writes"]] == [16, 16]


def test_many_properties_at_once_and_two_explorers_at_once(doors: object) -> None:
    door = doors()  # type: ignore[operator]

    async def reads(app: object) -> list[object]:
        device = (await found_by(app, 2003))[2003]
        several = await app.read_property_multiple(  # type: ignore[attr-defined]
            device, [TEMPERATURE, ["object-name", PRESENT], SETPOINT, [PRESENT]]
        )
        assert len(several) == 3
        return await asyncio.gather(*(app.read_property(device, TEMPERATURE, PRESENT) for _ in range(20)))  # type: ignore[attr-defined]

    async def story() -> None:
        async with explorer(door.port) as one, explorer(door.port) as other:
            assert await asyncio.gather(reads(one), reads(other)) == [[22.5] * 20] * 2

    asyncio.run(story())


def test_a_service_that_may_only_look_finds_and_reads_and_writes_nothing(plant: Development, doors: object) -> None:
    from bacpypes3.apdu import ErrorRejectAbortNack

    door = doors("bms-sync")  # type: ignore[operator]

    async def story() -> None:
        async with explorer(door.port) as app:
            device = (await found_by(app, 2002, 2003))[2003]
            assert await app.read_property(device, TEMPERATURE, PRESENT) == 22.5
            with pytest.raises(ErrorRejectAbortNack):
                await app.write_property(device, SETPOINT, PRESENT, 20.0, priority=10)

    asyncio.run(story())
    assert door.link.event("denied")["device"] == "plant/vav-2003"


def test_all_of_an_object_brings_what_its_maker_added_and_each_is_decided(plant: Development, doors: object) -> None:
    from bacpypes3.apdu import PropertyReference, ReadAccessSpecification, ReadPropertyMultipleRequest
    from bacpypes3.primitivedata import CharacterString

    door = doors()  # type: ignore[operator]

    async def story() -> dict[int, Any]:
        async with explorer(door.port) as app:
            wanted = ReadAccessSpecification(
                objectIdentifier=TEMPERATURE, listOfPropertyReferences=[PropertyReference(propertyIdentifier="all")]
            )
            request = ReadPropertyMultipleRequest(listOfReadAccessSpecs=[wanted])
            request.pduDestination = (await found_by(app, 2004))[2004]
            results = (await app.request(request)).listOfReadAccessResults[0].listOfResults
            return {int(each.propertyIdentifier): each.readResult.propertyValue for each in results}

    told = asyncio.run(story())
    assert told[5120].cast_out(CharacterString) == "calibrated"
    assert told[85] is not None
    assert 371 not in told
    session = plant.records("session_opened", device="plant/vav-2004")[-1]["session"]
    decisions = plant.records("decision", session=session, entry_point="operation.decision")
    decided = {decision["input"]["operation"]["address"]["property"] for decision in decisions}
    assert {"5120", "property-list", PRESENT} <= decided
    assert len(plant.records("intent", session=session)) >= len(told)


def test_who_may_look_at_some_points_is_shown_their_objects_among_other_properties(doors: object) -> None:
    door = doors("operator-eli")  # type: ignore[operator]

    async def story() -> dict[str, object]:
        async with explorer(door.port) as app:
            device = (await found_by(app, 2003))[2003]
            names = ["object-list", "object-name", "vendor-name"]
            told = await app.read_property_multiple(device, ["device,2003", names])
            return {str(name): value for _, name, _, value in told}

    told = asyncio.run(story())
    assert [str(each) for each in told["object-list"]] == ["device,2003", "analog-input,1"]  # type: ignore[attr-defined]
    assert told["object-name"] == "device 2003"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not NODE_MODULE.is_dir(), reason="npm @bacnet-js/client is not in tests/peers")
def test_an_explorer_in_node_reads_everything_and_is_told_of_changes(plant: Development, doors: object) -> None:
    door = doors()  # type: ignore[operator]
    ended = subprocess.run(
        ["node", "-e", NODE, str(NODE_MODULE), str(door.port), str(free_port())],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["objects"] >= 3
    assert said["properties"] >= 5
    assert "Class:4 - Code:26" in said["denied"]
    assert said["notified"] == {"7": {"type": 0, "instance": 1}, "8": {"type": 2, "instance": 1}}
    written = plant.api().read("plant/vav-2003", "zone-setpoint").body["points"]["zone-setpoint"]["value"]
    assert written == 21.5
    stop(door.link.process, 2)
    itself = plant.eventually("session_closed", reason="leave_over")["session"]
    cancelling = plant.records("intent", session=itself)
    assert sorted(each["service"] for each in cancelling) == ["subscribe-cov", "subscribe-cov-property"]
    for each in cancelling:
        assert plant.eventually("outcome", intent=each["index"])["result"] == "done"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not NODE_BACNET.is_dir(), reason="npm node-bacnet is not in tests/peers")
def test_a_client_that_knows_no_bbmd_reads_and_writes_behind_the_router(doors: object) -> None:
    door = doors()  # type: ignore[operator]
    ended = subprocess.run(
        ["node", str(PEERS / "bacnet_explorer.mjs"), str(door.port), str(NETWORK), str(free_port())],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["own"], said["setpoint"]) == (19.25, 22.25)
    assert {75, 77, 85} <= set(said["all"])
    assert said["written"] == said["released"] == "done"
    assert "WRITE_ACCESS_DENIED" in said["denied"]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not NODE_BACNET.is_dir(), reason="npm node-bacnet is not in tests/peers")
def test_a_client_that_knows_no_router_has_one_device_at_a_port_of_its_own(plant: Development, doors: object) -> None:
    door = doors(where="plant/vav-2002")  # type: ignore[operator]
    ended = subprocess.run(
        ["node", str(PEERS / "bacnet_unrouted.mjs"), str(door.port), str(free_port())],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["device"], said["network"], said["setpoint"]) == (2002, None, 22.25)
    assert said["objects"] > 1
    assert said["written"] == said["released"] == "done"
    assert "WRITE_ACCESS_DENIED" in said["denied"]
    opened = plant.records("session_opened")[-1]
    assert opened["device"] == "plant/vav-2002"


def test_an_explorer_that_watches_is_told_and_cancels_at_the_device_when_it_stops(
    plant: Development, doors: object
) -> None:
    from bacpypes3.primitivedata import Null, ObjectIdentifier

    door = doors()  # type: ignore[operator]

    async def story() -> None:
        async with explorer(door.port) as app:
            device = (await found_by(app, 2003))[2003]
            async with app.change_of_value(device, ObjectIdentifier(SETPOINT), 7, True, 60) as watched:
                await app.write_property(device, SETPOINT, PRESENT, 18.5, priority=10)
                while (await watched.get_value())[1] != 18.5:
                    pass
            await app.write_property(device, SETPOINT, PRESENT, Null(()), priority=10)

    asyncio.run(story())
    session = plant.records("session_opened", listener="tunnel", device="plant/vav-2003")[-1]["session"]
    asked = plant.records("intent", session=session, service="subscribe-cov")
    outcomes = [plant.eventually("outcome", intent=each["index"])["result"] for each in asked]
    assert outcomes == ["done", "done"]


def test_a_client_in_rust_subscribes_to_several_properties_at_once(plant: Development, doors: object) -> None:
    """What it asks and is answered is its own; notifications, which it does not know, are looked at on their way."""
    rusty = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    objects = [rusty.ObjectIdentifier(getattr(rusty.ObjectType, each), 1) for each in ("ANALOG_VALUE", "ANALOG_INPUT")]
    missing, present = rusty.ObjectIdentifier(rusty.ObjectType.ANALOG_VALUE, 9), rusty.PropertyIdentifier.PRESENT_VALUE
    both = [(each, [(present, None, 0.5, False)]) for each in objects]
    door = doors()  # type: ignore[operator]

    async def value(at: NextDoor) -> tuple[str, str, str]:
        told = await at.told.get()
        decoded = decode_confirmed(told[1], told[2:])
        (item,) = decoded.items
        text = text_of_value(item.object_type, item.property or "", None, item.value or ())
        return decoded.service, item.object_type, text

    async def story() -> None:
        async with (
            asyncio.timeout(40),
            next_door(door.port, NETWORK, bytes.fromhex("0007d2")) as at,
            rusty.BACnetClient("127.0.0.1", 0) as client,
        ):

            async def refused(specified: object) -> tuple[int, int]:
                with pytest.raises(rusty.BacnetProtocolError) as error:
                    await client.subscribe_cov_property_multiple(at.address, 20, specified, True, 5, 60)
                return error.value.error_class, error.value.error_code

            service = "confirmed-cov-notification-multiple"
            await client.subscribe_cov_property_multiple(at.address, 19, both, True, 5, 60)
            assert (service, "analog-input", "22.5") in [await value(at), await value(at)]
            await client.write_property(at.address, objects[0], present, rusty.PropertyValue.real(19.5), 10)
            while await value(at) != (service, "analog-value", "19.5"):
                pass
            assert await refused([*both, (missing, [(present, None, None, False)])]) == (1, 31)
            assert await refused([(objects[0], [(present, None, 0.5, True)])]) == (5, 45)
            await client.subscribe_cov_property_multiple(at.address, 19, [], True)

    asyncio.run(story())
    asked = plant.records("intent", service="subscribe-cov-property")
    parts = [each for each in asked if "part_of" in each]
    assert len({each["part_of"] for each in parts}) == 2
    assert len(parts) == 5


def test_who_has_no_access_to_the_site_has_no_way_in(plant: Development) -> None:
    link = Connected(["plant", "--bacnet", "--dev", plant.folder, "--as", "secops-bo"])
    assert link.wait() == 1
