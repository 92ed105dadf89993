"""What a device says of itself reaches an explorer through the broker, and is asked for on record alone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.bacnet_field import NETWORK, explorer, found_by, rusty_devices
from tests.end_to_end.conftest import Start
from tests.end_to_end.devices import bacnet_device, write_inventory
from tests.integration.otb.conftest import Connected, stop


async def had(app: Any, name: str) -> str:
    """The object of that name, as the one device that has it says; "" if none says so within a moment."""
    from bacpypes3.apdu import WhoHasObject, WhoHasRequest
    from bacpypes3.pdu import GlobalBroadcast
    from bacpypes3.primitivedata import CharacterString

    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def i_have(apdu: Any) -> None:
        if not heard.done():
            heard.set_result(str(apdu.objectIdentifier))

    app.do_IHaveRequest = i_have
    request = WhoHasRequest(object=WhoHasObject(objectName=CharacterString(name)))
    request.pduDestination = GlobalBroadcast()
    await app.request(request)
    try:
        return await asyncio.wait_for(heard, 1)
    except TimeoutError:
        return ""


def test_a_device_is_announced_as_it_says_that_it_is_and_found_by_names_that_it_has_told(
    start_shared: Start, tmp_path: Path
) -> None:
    pytest.importorskip("bacpypes3", reason="needs bacpypes3")
    with rusty_devices(2002) as (port,):
        sites = [{"id": "plant", "bacnet": {"network": NETWORK, "ask_devices": True}}]
        folder = write_inventory(tmp_path / "inventory", [bacnet_device("vav-2002", port, 2002)], sites=sites)
        plant = start_shared("--inventory", str(folder))
        link = Connected(["plant", "--bacnet", "--dev", plant.folder, "--as", "vendor-ana"])

        async def story() -> None:
            async with explorer(link.port) as app:
                at = (await found_by(app, 2002))[2002]
                (told,) = await app.who_is(2002, 2002, timeout=1)
                device = f"device,{2002}"
                for word, said in (
                    ("max-apdu-length-accepted", told.maxAPDULengthAccepted),
                    ("segmentation-supported", told.segmentationSupported),
                    ("vendor-identifier", told.vendorID),
                ):
                    assert await app.read_property(at, device, word) == said
                assert await had(app, "temperature") == "analog-input,1"
                assert await had(app, "zone-temp") == "analog-input,1"
                assert await had(app, "nothing") == ""

        try:
            asyncio.run(story())
        finally:
            stop(link.process, 2)
        (opened,) = plant.records("session_opened", listener="tunnel", device="plant/vav-2002")
        intents = plant.records("intent", session=opened["session"])
        assert len(intents) == 3 + 3 + 2  # read once for the I-Am, then by the explorer; then two names
