"""Access to a site's BACnet network ends when it ends: one device alone, or the whole tunnel, within a second."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from broker.wire.bacnet.tunnelled import decode_datagrams, encode_datagram
from tests.end_to_end.bacnet_field import NETWORK, rusty_devices, write_site
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import VENDOR, Development, token_of
from tests.end_to_end.test_break_glass import OPENER, opened, seal
from tests.end_to_end.test_live_control import run
from tests.end_to_end.test_locks import lift_all, set_lock

pytestmark = pytest.mark.prompt

MAC = bytes.fromhex("7f000001bac1")
CUT_SECONDS = 1.0
ANA = "ana@acme.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inventory")


@pytest.fixture(scope="module")
def plant(start_shared: Start, folder: Path) -> Iterator[Development]:
    with rusty_devices(2002, 2003) as ports:
        write_site(folder, ports, 2002, 2003)
        settings = folder.with_name("break-glass.yaml")
        settings.write_text("break_glass: {sites: [plant]}\n")
        yield start_shared("--inventory", str(folder), "--settings", str(settings))


@pytest.fixture(autouse=True)
def nothing_locked_after(plant: Development) -> Iterator[None]:
    yield
    lift_all(plant)


class Tunnel:
    """An open tunnel, and what was said in words on it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []

    async def read(self, instance: int) -> bytes:
        """Read analog-input 1's present value of a device; the APDU that answers, without invoke id and service."""
        destination = NETWORK.to_bytes(2, "big") + b"\x03" + instance.to_bytes(3, "big") + b"\xff"
        read = b"\x01\x24" + destination + bytes.fromhex("0245070c0c000000011955")
        await self.socket.send_bytes(encode_datagram(MAC, read))
        while True:
            message = await asyncio.wait_for(self.socket.receive(), 5)
            if message.type is aiohttp.WSMsgType.BINARY:
                ((mac, npdu),) = decode_datagrams(message.data)
                assert mac == MAC
                return npdu
            assert message.type is aiohttp.WSMsgType.TEXT, message
            self.told.append(json.loads(message.data))

    async def write_setpoint(self, instance: int) -> bytes:
        """Write 21.5 to analog-value 1 at priority 12; what answers, as above."""
        destination = NETWORK.to_bytes(2, "big") + b"\x03" + instance.to_bytes(3, "big") + b"\xff"
        write = bytes.fromhex("0245090f 0c00800001 1955 3e4441ac00003f 490c".replace(" ", ""))
        await self.socket.send_bytes(encode_datagram(MAC, b"\x01\x24" + destination + write))
        message = await asyncio.wait_for(self.socket.receive(), 5)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        ((_, npdu),) = decode_datagrams(message.data)
        return npdu

    async def tells(self, kind: str) -> dict[str, Any]:
        """The next message of that kind."""
        while True:
            message = await asyncio.wait_for(self.socket.receive(), 5)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            self.told.append(json.loads(message.data))
            if self.told[-1]["type"] == kind:
                return self.told[-1]


@asynccontextmanager
async def tunnel(plant: Development, who: str = "vendor-ana", token: str | None = "") -> AsyncIterator[Tunnel]:
    headers = {} if token is None else {"Authorization": f"Bearer {token or plant.token(who)}"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=plant.tls(who))) as client,
        client.ws_connect(
            f"{plant.facts['api']}/v1/sites/plant/bacnet", headers=headers, protocols=["otb.bacnet.v1"]
        ) as socket,
    ):
        yield Tunnel(socket)


def good(answer: bytes) -> bool:
    return b"\x30\x07\x0c" in answer


def test_a_locked_device_goes_away_alone(plant: Development) -> None:
    async def story() -> None:
        async with tunnel(plant) as way:
            assert good(await way.read(2002))
            assert good(await way.read(2003))
            began = time.monotonic()
            await asyncio.to_thread(set_lock, plant, "device", "plant/vav-2002")
            ending = await way.tells("ending")
            assert time.monotonic() - began < CUT_SECONDS
            assert (ending["device"], ending["reason"]) == ("plant/vav-2002", "locked")
            assert not good(await way.read(2002))
            assert good(await way.read(2003))

    asyncio.run(story())
    assert plant.eventually("session_closed", reason="locked")


@pytest.mark.parametrize(("kind", "target"), [("subject", ANA), ("site", "plant"), ("organisation", VENDOR)])
def test_a_lock_on_whoever_has_the_tunnel_cuts_it_whole_and_bars_the_next(
    plant: Development, kind: str, target: str
) -> None:
    async def story() -> None:
        async with tunnel(plant) as way:
            assert good(await way.read(2002))
            assert good(await way.read(2003))
            began = time.monotonic()
            await asyncio.to_thread(set_lock, plant, kind, target)
            while "device" in (ending := await way.tells("ending")):
                continue
            assert ending["reason"] == "locked"
            assert (await asyncio.wait_for(way.socket.receive(), 5)).type is aiohttp.WSMsgType.CLOSE
            assert time.monotonic() - began < CUT_SECONDS
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with tunnel(plant):
                pass
        assert caught.value.status == 403

    asyncio.run(story())


def test_an_expired_token_cuts_it_and_a_fresh_one_keeps_every_session(plant: Development) -> None:
    async def story() -> None:
        short = token_of(plant, ANA, VENDOR, 4, "vendor-ana")
        async with tunnel(plant, token=short) as kept, tunnel(plant, token=short) as cut:
            ends = time.monotonic() + 4
            for way in (kept, cut):
                assert good(await way.read(2002))
                assert good(await way.read(2003))
            await kept.socket.send_json({"type": "renew", "token": plant.token("vendor-ana")})
            await kept.tells("renewed")
            while "device" in (ending := await cut.tells("ending")):
                continue
            assert ending["reason"] == "token_expired"
            assert -1 < time.monotonic() - ends < CUT_SECONDS
            assert good(await kept.read(2002))
            assert good(await kept.read(2003))

    asyncio.run(story())


def test_an_emergency_gives_a_tunnel_by_the_certificate_alone_which_ends_with_it(
    plant: Development, tmp_path: Path
) -> None:
    envelopes = seal(plant, tmp_path / "envelopes", 2)
    emergency = opened(plant, *envelopes)

    async def story() -> None:
        async with tunnel(plant, OPENER, None) as way:
            assert good(await way.read(2002))
            assert good(await way.read(2003))
            closing = asyncio.create_task(
                asyncio.to_thread(run, plant, "break-glass", "close", emergency["id"], who="secops-bo")
            )
            while "device" in (ending := await way.tells("ending")):
                continue
            assert ending["reason"] == "grant_ended"
            assert (await closing).returncode == 0
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with tunnel(plant, OPENER, None):
                pass
        assert caught.value.status == 401

    asyncio.run(story())
    sessions = plant.records("session_opened", listener="tunnel", emergency=emergency["id"])
    assert {session["device"] for session in sessions} == {"plant/vav-2002", "plant/vav-2003"}


def test_what_an_explorer_wrote_is_released_when_its_access_ends(plant: Development) -> None:
    def holds() -> object:
        return plant.api("bms-sync").read("plant/vav-2003", "zone-setpoint").body["points"]["zone-setpoint"]["value"]

    before = holds()

    async def story() -> None:
        async with tunnel(plant) as way:
            assert (await way.write_setpoint(2003))[-3:] == bytes.fromhex("20090f")
            assert await asyncio.to_thread(holds) == 21.5
            await asyncio.to_thread(set_lock, plant, "subject", ANA)
            while "device" in await way.tells("ending"):
                continue

    asyncio.run(story())
    leave = plant.eventually("leave_finished", "leave_unsettled", seconds=30.0, subject=ANA)
    assert leave["kind"] == "leave_finished", leave
    assert holds() == before
