"""`otb connect`: ordinary Modbus masters through a tunnel, and how it ends."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time

import pytest

from broker.adapters.development_tokens import create_token_issuer, mint_token
from tests.end_to_end.modbus_caller import frame
from tests.integration.otb.conftest import ROOT, ask, master, reply, start_plant, stop

READ_TEN = bytes.fromhex("03000a0001")
SETPOINT = bytes.fromhex("06000a")
MODULES = ROOT / "tests" / "peers" / "node_modules"
PIPELINED = """
const Modbus = require(process.argv[1]);
const client = new Modbus();
client.connectTCP("127.0.0.1", {port: Number(process.argv[2])}, async () => {
  client.setID(1);
  client.setTimeout(10000);
  const asked = [...Array(40).keys()].map((place) => client.readHoldingRegisters(50 + place, 1));
  const answers = await Promise.all(asked);
  console.log(JSON.stringify(answers.map((answer) => answer.data[0])));
  client.close(() => process.exit(0));
});
"""


def mbpoll(port, *values, count=1):
    command = ["mbpoll", "-0", "-1", "-m", "tcp", "-p", str(port), "-a", "1", "-t", "4", "-r", "10"]
    tail = ["127.0.0.1", *map(str, values)] if values else ["-c", str(count), "127.0.0.1"]
    ended = subprocess.run([*command, *tail], capture_output=True, text=True, timeout=30)
    return ended.stdout + ended.stderr


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed (Debian package mbpoll)")
def test_mbpoll_reads_writes_and_is_denied_with_the_reason_shown(plant, connected):
    link = connected("ahu-1", *plant.options())
    port = link.port
    assert "Written 1 references." in mbpoll(port, 205)
    link.event("ended")
    assert "[10]: \t205" in mbpoll(port)
    link.event("ended")
    assert "Illegal function" in mbpoll(port, 350)
    denied = link.event("denied")
    assert denied["reasons"][0]["code"] == "value_above_limit"
    assert denied["decision_id"].startswith("dec-")
    assert link.event("ended")["denials"] == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (MODULES / "modbus-serial").is_dir(), reason="npm modbus-serial is not in tests/peers")
def test_a_pipelining_client_gets_each_answer_in_its_place(plant, connected):
    link = connected("ahu-1", *plant.options())
    said = subprocess.run(
        ["node", "-e", PIPELINED, str(MODULES / "modbus-serial"), str(link.port)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    single = connected("ahu-1", *plant.options())
    with master(single.port) as stream:
        answer = ask(stream, 1, bytes.fromhex("0300320028"))
    expected = [int.from_bytes(answer[2 + 2 * place : 4 + 2 * place], "big") for place in range(40)]
    assert json.loads(said.stdout) == expected


def test_frames_cut_anywhere_arrive_whole(plant, connected):
    link = connected("ahu-1", *plant.options())
    with master(link.port) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        octets = frame(READ_TEN, 1) + frame(READ_TEN, 2)
        for place in range(len(octets)):
            stream.sendall(octets[place : place + 1])
        assert reply(stream, 1)[0] == 3
        assert reply(stream, 2)[0] == 3


def test_a_master_with_a_wrong_unit_is_told_which_the_device_has(plant, connected):
    link = connected("ahu-1", *plant.options())
    with master(link.port) as stream:
        octets = bytearray(frame(READ_TEN, 1))
        octets[6] = 42
        stream.sendall(octets)
        assert "asks for unit 42; plant/ahu-1 is unit 1." in link.event("warning")["text"]


def test_a_master_that_closes_its_side_still_gets_its_reply(plant, connected):
    link = connected("ahu-1", *plant.options())
    with master(link.port) as stream:
        stream.sendall(frame(READ_TEN, 7))
        stream.shutdown(socket.SHUT_WR)
        assert reply(stream, 7)[0] == 3
        assert stream.recv(1) == b""
    assert link.event("ended")["replies"] == 1


def test_a_second_master_is_sent_away_and_the_first_stays(plant, connected):
    link = connected("ahu-1", *plant.options())
    port = link.port
    with master(port) as first:
        assert ask(first, 1, READ_TEN)[0] == 3
        with master(port) as second:
            assert second.recv(1) == b""
        link.event("busy")
        assert ask(first, 2, READ_TEN)[0] == 3
    link.event("ended")
    with master(port) as third:
        assert ask(third, 3, READ_TEN)[0] == 3


def test_a_device_without_an_open_window_is_refused_with_the_next_one(otb, plant):
    said = otb("connect", "meter-1", "--listen", "127.0.0.1:0", *plant.options())
    assert said.status == 3
    assert "No window is open" in said.err
    assert "Next window: saturday" in said.err
    problem = otb("connect", "meter-1", "--listen", "127.0.0.1:0", "--format", "json", *plant.options()).document
    assert problem["code"] == "denied"


def test_a_bacnet_device_and_a_port_in_use_are_errors(otb, plant):
    assert otb("connect", "vav-1", "--listen", "127.0.0.1:0", *plant.options()).status == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = otb("connect", "ahu-1", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", *plant.options())
    assert said.status == 1
    assert "--listen" in said.err


def test_ctrl_c_ends_it_at_once_and_cleanly(plant, connected):
    link = connected("ahu-1", *plant.options())
    with master(link.port) as stream:
        assert ask(stream, 1, READ_TEN)[0] == 3
        link.process.send_signal(2)
        assert link.wait() == 0
        assert stream.recv(1) == b""
    assert link.process.stderr.read() == ""


def short_token(plant, path, seconds):
    issuer = create_token_issuer(plant.folder / "issuers" / "acme", "https://issuer.acme.example")
    fresh = path.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text(mint_token(issuer, "ana@acme.example", time.time(), lifetime_seconds=seconds))
    fresh.replace(path)


def test_a_fresh_token_in_the_file_keeps_the_session_beyond_the_old_ones_end(plant, connected, tmp_path):
    token = tmp_path / "ana.token"
    short_token(plant, token, 5)
    ends = time.time() + 5
    link = connected("ahu-1", "--token", token, *plant.options())
    with master(link.port) as stream:
        short_token(plant, token, 600)
        link.event("renewed")
        assert time.time() < ends
        while time.time() < ends + 1:
            assert ask(stream, 1, READ_TEN)[0] == 3
            time.sleep(0.2)
    assert "ending" not in {event.get("type") for event in link.seen}


def test_a_token_that_is_not_replaced_ends_it_with_the_reason(plant, connected, tmp_path):
    token = tmp_path / "ana.token"
    short_token(plant, token, 4)
    link = connected("ahu-1", "--token", token, *plant.options())
    with master(link.port) as stream:
        assert link.event("warning")["text"].startswith("Your token expires in")
        assert link.event("ending")["reason"] == "token_expired"
        assert stream.recv(1) == b""
    assert link.event("ended")["reason"] == "token_expired"
    assert link.wait() == 4
    assert token.read_text() not in link.process.stderr.read()


class Relay:
    """A TCP relay in front of the broker, so that a broker that was stopped comes back at the same address."""

    def __init__(self):
        self.target = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target), 5)
                except OSError:
                    near.close()
                    continue
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source, sink):
        with contextlib.suppress(OSError):
            while octets := source.recv(65_536):
                sink.sendall(octets)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def test_it_tells_why_it_was_cut_and_reconnects_when_the_broker_is_back(tmp_path, connected):
    relay = Relay()
    plant = start_plant(tmp_path / "dev")
    try:
        relay.target = int(plant.facts["api"].rpartition(":")[2])
        link = connected("ahu-1", *plant.options(), "--api", f"https://127.0.0.1:{relay.port}")
        port = link.port
        with master(port) as stream:
            assert ask(stream, 1, READ_TEN)[0] == 3
            stop(plant.process)
            assert link.event("ending")["reason"] == "broker_stopped"
            assert stream.recv(1) == b""
        link.event("waiting")
        plant = start_plant(tmp_path / "dev")
        relay.target = int(plant.facts["api"].rpartition(":")[2])
        assert link.event("open", seconds=45)["again"] is True
        with master(port) as stream:
            assert ask(stream, 1, READ_TEN)[0] == 3
    finally:
        stop(plant.process)
        relay.close()


@pytest.mark.soak
def test_when_the_window_has_closed_the_reason_is_told_and_views_go_on(tmp_path, connected):
    plant = start_plant(tmp_path / "dev", "--window-seconds", "8")
    try:
        link = connected("ahu-1", *plant.options())
        port = link.port
        with master(port) as stream, contextlib.suppress(ConnectionError):
            assert ask(stream, 1, SETPOINT + (200).to_bytes(2, "big"))[0] == 6
            while ask(stream, 2, SETPOINT + (201).to_bytes(2, "big"))[0] == 6:
                time.sleep(0.2)
        ended = link.event("ended")
        told = [event.get("reason") for event in link.seen if event.get("type") == "ending"]
        assert ended["denials"] == 1 or told == ["window_closed"]
        link.event("open")
        with master(port) as stream:
            assert ask(stream, 3, SETPOINT + (202).to_bytes(2, "big")) == bytes((0x86, 1))
            assert link.event("denied")["reasons"][0]["code"] == "window_closed"
            assert ask(stream, 4, READ_TEN)[0] == 3
    finally:
        stop(plant.process)
