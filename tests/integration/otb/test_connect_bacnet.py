"""`otb connect SITE --bacnet`: explorers that nobody here wrote, in front of a scripted broker."""

import asyncio
import json
import shutil
import socket
import subprocess
import threading

import pytest

from broker.engine.events import Refused
from broker.model.vocabulary import EndReason, Reason
from broker.wire.bacnet.bvlc import (
    Function,
    decode_bvlc,
    encode_bvlc,
    encode_register,
    encode_result,
    mac_of,
)
from tests.integration.api.stage import Pki, serving
from tests.integration.otb.conftest import ROOT
from tests.integration.otb.scripted_site import I_AM, NETWORK, SOURCE, ScriptedSite
from tests.unit.api.gate_double import VAV

MODULES = ROOT / "tests" / "peers" / "node_modules"
WHO_IS = bytes.fromhex("0120ffff00ff1008")
ANYWHERE = ("--listen", "127.0.0.1:0")
I_AM_NPDU = b"\x01\x08" + SOURCE + I_AM
NODE_CLIENT = """
const Bacnet = require(process.argv[1]).default || require(process.argv[1]);
const bbmd = {address: "127.0.0.1:" + process.argv[2]};
const client = new Bacnet({port: Number(process.argv[3]), interface: "127.0.0.1", broadcastAddress: "127.0.0.1",
                           apduTimeout: 8000});
const fail = (error) => { console.error(error); process.exit(1); };
client.on("error", fail);
client.on("listening", () => {
  client.registerForeignDevice(bbmd, 60).then(() => client.whoIsThroughBBMD(bbmd)).catch(fail);
});
client.on("iAm", async (message) => {
  const device = message.header.sender;
  try {
    const read = await client.readProperty(device, {type: 0, instance: 1}, 85);
    await client.writeProperty(device, {type: 2, instance: 1}, 85, [{type: 4, value: 20.5}], {priority: 10});
    console.log(JSON.stringify({device: message.payload.deviceId, net: device.net, value: read.values[0].value}));
    client.close();
    process.exit(0);
  } catch (error) { fail(error); }
});
"""


class Site:
    """A scripted broker on a loop of its own, and where it is."""

    def __init__(self, folder):
        self.pki = Pki(folder)
        self.token = folder / "ana.token"
        self.token.touch(0o600)
        self.token.write_text("token-ana")
        self.streams = []
        self.where = []
        self._loop = asyncio.new_event_loop()
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    async def _serve(self):
        async with serving(self.pki) as stage:
            stage.gate.bacnet = self._stream
            self.stage = stage
            self._ready.set()
            await self._over.wait()

    def _stream(self, subject, where, *_, **calls):
        self.where.append(where)
        self.streams.append(ScriptedSite(calls))
        return self.streams[-1]

    def call(self, function, *arguments):
        """Call something on the broker's loop."""

        async def called():
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(10)

    def stop(self):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    @property
    def options(self):
        mine = self.pki.ana
        proofs = ["--cert", mine.certificate, "--key", mine.key, "--token", self.token]
        return ["--bacnet", "--api", self.stage.url, "--ca", self.pki.authority.anchor, *proofs]


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.stop()


@pytest.fixture
def site(shared_site):
    shared_site.streams.clear()
    shared_site.where.clear()
    shared_site.stage.gate.admission = None
    return shared_site


@pytest.fixture
def link(site, connected):
    return connected("plant", *site.options)


class Explorer:
    """A UDP port of one's own."""

    def __init__(self, port):
        self.broker = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(10)
        self.mac = mac_of(*self._socket.getsockname())

    def send(self, datagram):
        self._socket.sendto(datagram, self.broker)

    def receive(self):
        datagram, source = self._socket.recvfrom(2048)
        assert source == self.broker
        return decode_bvlc(datagram)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()


def test_a_registered_explorer_has_its_broadcast_distributed_and_gets_what_is_for_all(site, link):
    port = link.port
    with Explorer(port) as explorer, Explorer(port) as other:
        explorer.send(encode_register(60))
        assert explorer.receive() == decode_bvlc(encode_result(0))
        other.send(encode_bvlc(Function.DISTRIBUTE_BROADCAST, WHO_IS))
        assert other.receive() == decode_bvlc(encode_result(0x0060))
        explorer.send(encode_bvlc(Function.DISTRIBUTE_BROADCAST, WHO_IS))
        assert explorer.receive() == (Function.FORWARDED_NPDU, I_AM_NPDU, mac_of("127.0.0.1", port))
        assert other.receive() == (Function.ORIGINAL_UNICAST, I_AM_NPDU, b"")
        assert site.streams[0].heard == [(explorer.mac, WHO_IS)]


def test_an_explorer_that_never_registered_sees_devices_too_and_is_named(site, link):
    with Explorer(link.port) as explorer:
        explorer.send(encode_bvlc(Function.ORIGINAL_BROADCAST, WHO_IS))
        assert explorer.receive() == (Function.ORIGINAL_UNICAST, I_AM_NPDU, b"")
        host, port = explorer._socket.getsockname()
        assert f"{host}:{port}" in link.event("client")["text"]


def test_what_is_for_one_explorer_reaches_no_other(site, link):
    port = link.port
    read = b"\x01\x24" + NETWORK.to_bytes(2, "big") + b"\x03\x00\x03\xe9\xff" + bytes.fromhex("0245070c0c000000011955")
    with Explorer(port) as explorer, Explorer(port) as other:
        other.send(encode_register(60))
        other.receive()
        explorer.send(encode_bvlc(Function.ORIGINAL_UNICAST, read))
        assert explorer.receive().payload[-7:] == bytes.fromhex("3e4441ac00003f")
        other.send(encode_bvlc(Function.READ_FDT, b""))
        assert other.receive().function == Function.READ_FDT_ACK


def test_a_device_is_at_a_port_of_its_own(site, connected):
    link = connected("plant/vav-1", *site.options)
    port = link.port
    assert link.seen[0]["device"] == "plant/vav-1"
    with Explorer(port) as explorer:
        explorer.send(encode_bvlc(Function.ORIGINAL_UNICAST, b"\x01\x04" + bytes.fromhex("0245070c0c000000011955")))
        assert explorer.receive().payload[-7:] == bytes.fromhex("3e4441ac00003f")
    assert site.where == ["plant/vav-1"]


def test_denials_ends_of_single_devices_and_the_end_are_told(site, link):
    port = link.port
    with Explorer(port) as explorer:
        explorer.send(encode_bvlc(Function.ORIGINAL_UNICAST, WHO_IS))
        explorer.receive()
        (stream,) = site.streams
        for _ in range(3):
            site.call(stream.denied, VAV, Refused((Reason.NO_GRANT,)), "")
        denied = link.event("denied")
        assert (denied["device"], denied["reasons"][0]["code"]) == ("plant/vav-1", "no_grant")
        site.call(stream.ended, VAV, EndReason.GRANT_ENDED)
        assert link.event("ending")["device"] == "plant/vav-1"
        explorer.send(encode_bvlc(Function.ORIGINAL_UNICAST, WHO_IS))
        explorer.receive()
        site.call(stream.close, EndReason.GRANT_ENDED)
        assert "device" not in link.event("ending")
        ended = link.event("ended")
        assert (ended["reason"], ended["sent"], ended["received"], ended["denials"]) == ("grant_ended", 2, 2, 3)
        assert [event["type"] for event in link.seen].count("denied") == 1
        assert link.event("open")["again"] is True
        assert (site.streams[1].heard, site.streams[0].lost_for) == ([], EndReason.GRANT_ENDED)


def test_while_there_is_no_tunnel_what_comes_is_dropped_and_said_and_registrations_are_answered(site, link):
    port = link.port
    with Explorer(port) as explorer:
        site.call(setattr, site.stage.tunnels, "_max_tunnels", 0)
        try:
            site.call(site.streams[0].close, EndReason.IDLE)
            link.event("ended")
            explorer.send(encode_register(60))
            assert explorer.receive() == decode_bvlc(encode_result(0))
            explorer.send(encode_bvlc(Function.DISTRIBUTE_BROADCAST, WHO_IS))
            assert link.event("dropped")["code"] == "no_tunnel"
        finally:
            site.call(setattr, site.stage.tunnels, "_max_tunnels", 512)


def test_access_that_is_refused_for_good_ends_it_with_the_reason(site, otb):
    site.stage.gate.bacnet = lambda *_, **calls: Refusing(calls)
    try:
        said = otb("connect", "plant", "--listen", "127.0.0.1:0", *site.options)
    finally:
        site.stage.gate.bacnet = site._stream
    assert said.status == 3
    assert "no_grant" in said.err


class Refusing(ScriptedSite):
    """Opens no session."""

    def start(self, opened):
        opened(Refused((Reason.NO_GRANT,)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plnt", *ANYWHERE], "Did you mean plant?"),
        (["plant/vav-9", *ANYWHERE], "Did you mean plant/vav-1"),
        (["plant/ahu-1", *ANYWHERE], "no BACnet device"),
        ([""], "not a site"),
        (["plant", "--listen", "0.0.0.0:0", "--allow-remote"], "one IPv4 address"),
        (["plant", "--listen", "[::1]:0"], "one IPv4 address"),
        (["plant", "--listen", "192.0.2.1:0"], "--allow-remote"),
    ],
)
def test_what_cannot_be_is_said_with_what_was_perhaps_meant(arguments, said, site, otb):
    told = otb("connect", *arguments, *site.options)
    assert told.status in (1, 2)
    assert said in told.err


def test_a_port_in_use_is_an_error(site, otb):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        told = otb("connect", "plant", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", *site.options)
    assert told.status == 1
    assert "--listen" in told.err


def test_ctrl_c_ends_it_at_once_and_cleanly(site, link):
    link.event("open")
    link.process.send_signal(2)
    assert link.wait() == 0
    assert link.process.stderr.read() == ""


# Explorers that nobody here wrote


def test_bacpypes3_as_a_foreign_device_discovers_reads_and_writes(site, link):
    from bacpypes3.app import Application
    from bacpypes3.argparse import SimpleArgumentParser
    from bacpypes3.pdu import Address

    port = link.port

    async def story():
        own = ["--name", "explorer", "--instance", "999", "--address", f"127.0.0.1:{free_port()}"]
        foreign = ["--foreign", f"127.0.0.1:{port}", "--ttl", "30"]
        app = Application.from_args(SimpleArgumentParser().parse_args([*own, *foreign]))
        try:
            async with asyncio.timeout(20):
                i_am = await discovered(app)
                assert i_am.iAmDeviceIdentifier[1] == 1001
                assert str(i_am.pduSource) == str(Address(f"{NETWORK}:0x0003e9"))
                assert await app.read_property(i_am.pduSource, "analog-input,1", "present-value") == 21.5
                await app.write_property(i_am.pduSource, "analog-value,1", "present-value", 20.5, priority=10)
        finally:
            app.close()

    asyncio.run(story())
    assert site.streams[0].written


async def discovered(app):
    """The first I-Am; a registration may still be under way when the first Who-Is goes."""
    while True:
        found = await app.who_is(1001, 1001, timeout=1)
        if found:
            return found[0]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (MODULES / "@bacnet-js").is_dir(), reason="npm @bacnet-js/client is not in tests/peers")
def test_a_node_client_as_a_foreign_device_discovers_reads_and_writes(site, link):
    said = subprocess.run(
        ["node", "-e", NODE_CLIENT, str(MODULES / "@bacnet-js" / "client"), str(link.port), str(free_port())],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout) == {"device": 1001, "net": NETWORK, "value": 21.5}
    assert site.streams[0].written


def test_rusty_bacnet_as_a_foreign_device_discovers_reads_and_writes(site, link):
    bacnet = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    port = link.port

    async def story():
        foreign = bacnet.ForeignDevice(f"127.0.0.1:{port}", ttl=30)
        client = bacnet.BACnetClient("127.0.0.1", free_port(), "127.0.0.1", foreign_device=foreign)
        async with asyncio.timeout(30), client:
            while not any(found.object_identifier.instance == 1001 for found in await client.discover(500)):
                continue
            present = bacnet.PropertyIdentifier.PRESENT_VALUE
            read = await client.read_property_from_device(
                1001, bacnet.ObjectIdentifier(bacnet.ObjectType.ANALOG_INPUT, 1), present
            )
            assert read.value == 21.5
            await client.write_property_to_device(
                1001,
                bacnet.ObjectIdentifier(bacnet.ObjectType.ANALOG_VALUE, 1),
                present,
                bacnet.PropertyValue.real(20.5),
                priority=10,
            )
            (entry,) = await client.read_fdt(f"127.0.0.1:{port}")
            assert entry["ttl"] == 30
            assert await client.read_bdt(f"127.0.0.1:{port}") == [(f"127.0.0.1:{port}", "255.255.255.255")]

    asyncio.run(story())
    assert site.streams[0].written


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
