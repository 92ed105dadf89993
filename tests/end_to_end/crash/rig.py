"""A broker that may be killed, a device that remembers what reached it, and callers that remember what they were
told."""

import http.client
import itertools
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from broker.adapters.ledger_reader import verify_directory
from tests.end_to_end.development import until
from tests.end_to_end.modbus_caller import digest_of
from tests.preloaded import ForkedBroker, launcher

START_SECONDS = 60.0
STOP_SECONDS = 30.0
UNIT = 1
SNI = "ahu-1.plant"
COUNTER_REGISTER = 100
READ_REGISTERS = 8
EXCEPTION = 0x80
FAULT = 4

INVENTORY = """sites: [{{id: plant}}]
segments: [{{id: hvac, site: plant}}]
devices:
  - id: ahu-1
    site: plant
    segment: hvac
    protocol: modbus
    upstream: {{modbus_tcp: {{host: 127.0.0.1, port: {port}}}, unit_id: {unit}}}
    unit_id: {unit}
    budget: {{connections: 4, queue: 64, response_timeout_seconds: 10}}
    points:
      - {{id: counter, table: holding-register, address: {counter}, type: uint64, action: adjust}}
windows:
  - {{id: always, scope: {{sites: [plant]}}, starts: {yesterday}, zone: UTC, duration: PT72H}}
grants:
  - {{id: ana, subjects: [ana@acme.example], scope: {{sites: [plant]}}, actions: [view, adjust]}}
"""


class Requests:
    """Writes that all differ and reads, both numbered over the life of one ledger; for many threads."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def write(self) -> bytes:
        return struct.pack(">BHHBQ", 16, COUNTER_REGISTER, 4, 8, next(self._numbers))

    def read(self) -> bytes:
        return struct.pack(">BHH", 3, next(self._numbers) % READ_REGISTERS, 1)


class RecordingDevice:
    """A Modbus/TCP device that notes the digest of every request before it answers.

    While `answering` is cleared, writes wait for their answer.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.writes: list[str] = []
        self.moments: list[tuple[float, str]] = []
        """When what was seen."""
        self.answering = threading.Event()
        self.answering.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def drained(self) -> bool:
        """Whether everything that was sent to it has been noted: no connection is open."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return not self._threads

    def close(self) -> None:
        self.answering.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as octets, suppress(OSError):
            while len(header := octets.read(7)) == 7:
                length = int.from_bytes(header[4:6], "big") - 1
                pdu = octets.read(length)
                if len(pdu) < length:
                    return
                connection.sendall(self._reply(header, pdu))

    def _reply(self, header: bytes, pdu: bytes) -> bytes:
        digest = digest_of(pdu)
        self.seen.append(digest)
        self.moments.append((time.monotonic(), digest))
        if pdu[0] == 3:
            answer = bytes((3, 2 * pdu[4])) + bytes(2 * pdu[4])
        else:
            self.writes.append(digest)
            self.answering.wait(30)
            answer = pdu[:5]
        return header[:4] + (len(answer) + 1).to_bytes(2, "big") + header[6:7] + answer


class Caller(threading.Thread):
    """One connection that asks without a pause until it is stopped or cut; every `write_every`th request is a write."""

    def __init__(self, broker: "Broker", requests: Requests, write_every: int = 2) -> None:
        super().__init__(daemon=True)
        self._broker = broker
        self.requests = requests
        self._write_every = write_every
        self._socket: ssl.SSLSocket | None = None
        self._transaction = 0
        self._stopping = False
        self.done: list[str] = []
        """Digests of writes that were answered with success."""
        self.refused: list[tuple[str, int]] = []
        """Digests and exception codes of those that were not."""
        self.reads = 0
        self.latencies: list[float] = []

    def run(self) -> None:
        with suppress(OSError):
            self.connect()
            for number in itertools.count():
                if self._stopping:
                    break
                self.turn(write=number % self._write_every == 0)
        self.disconnect()

    def stop(self) -> None:
        self._stopping = True
        self.join(30)
        assert not self.is_alive()

    def connect(self) -> None:
        context = self._broker.tls()
        raw = socket.create_connection(("127.0.0.1", self._broker.modbus_port), 30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(raw, server_hostname=SNI)

    def disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def turn(self, *, write: bool) -> int:
        """One request and its reply; the exception code, 0 for success. Raises OSError if the connection is gone."""
        pdu = self.requests.write() if write else self.requests.read()
        began = time.monotonic()
        reply = self.ask(pdu)
        self.latencies.append(time.monotonic() - began)
        code = reply[1] if reply[0] & EXCEPTION else 0
        if code:
            self.refused.append((digest_of(pdu), code))
        elif write:
            self.done.append(digest_of(pdu))
        else:
            self.reads += 1
        return code

    def ask(self, pdu: bytes) -> bytes:
        assert self._socket is not None
        self._transaction = (self._transaction + 1) & 0xFFFF
        self._socket.sendall(struct.pack(">HHHB", self._transaction, 0, len(pdu) + 1, UNIT) + pdu)
        header = self._exactly(7)
        return self._exactly(int.from_bytes(header[4:6], "big") - 1)

    def _exactly(self, count: int) -> bytes:
        assert self._socket is not None
        octets = b""
        while len(octets) < count:
            more = self._socket.recv(count - len(octets))
            if not more:
                raise ConnectionError("closed")
            octets += more
        return octets


class Broker:
    """`otbroker dev` on one folder, started and ended as often as a test wants; `prefix` runs it under another
    program."""

    def __init__(self, folder: Path, device: RecordingDevice) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.ledger = self.state / "ledger"
        self.inventory = folder / "inventory"
        self.inventory.mkdir()
        (self.inventory / "plant.yaml").write_text(
            INVENTORY.format(port=device.port, unit=UNIT, counter=COUNTER_REGISTER, yesterday=_yesterday())
        )
        self.device = device
        self.requests = Requests()
        self.facts: dict[str, Any] = {}
        self._log = folder / "broker.log"
        self._process: subprocess.Popen[bytes] | ForkedBroker | None = None
        self._log_began = 0

    @property
    def pid(self) -> int:
        pid: int = self.facts["pid"]
        return pid

    @property
    def modbus_port(self) -> int:
        return int(self.facts["modbus_tls"].rpartition(":")[2])

    @property
    def vkey(self) -> str:
        return (self.state / "ledger.pub").read_text().strip()

    def logged(self) -> str:
        """What this run of the broker said."""
        return self._log.read_bytes()[self._log_began :].decode(errors="replace") if self._log.exists() else ""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "broker.cli.otbroker", *self.arguments()]

    def arguments(self) -> list[str]:
        return ["dev", "--dir", str(self.state), "--inventory", str(self.inventory)]

    def launch(self, prefix: Sequence[str] = ()) -> None:
        """Start it and do not wait."""
        (self.state / "dev.json").unlink(missing_ok=True)
        self.facts = {}
        self._log_began = self._log.stat().st_size if self._log.exists() else 0
        if not prefix:
            self._process = launcher().start(self.arguments(), self._log)
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*prefix, *self.command()], stdout=log, stderr=log)

    def start(self, prefix: Sequence[str] = ()) -> None:
        """Start it and wait until it serves."""
        self.launch(prefix)
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while not self._read_facts():
            assert self._process.poll() is None, f"the broker did not start:\n{self.logged()}"
            assert time.monotonic() < end, f"the broker did not start in time:\n{self.logged()}"
            time.sleep(0.01)

    def _read_facts(self) -> bool:
        with suppress(FileNotFoundError, json.JSONDecodeError):
            self.facts = json.loads((self.state / "dev.json").read_text())
        return bool(self.facts)

    def ended(self, seconds: float) -> int:
        """Its exit status; AssertionError if it does not end by itself."""
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, and nothing that it started lives on. Without facts, the process that was launched is killed."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        pid = self.facts["pid"] if self.facts else process.pid
        family = descendants(pid)
        os.kill(pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
        until(lambda: not any(alive(*member) for member in family), 5.0, f"children of {pid} end: {family}")
        until(self.device.drained, 5.0, "the device has read what was sent to it")

    def stop(self) -> None:
        """SIGTERM, an exit in order, and a ledger in which everything holds."""
        self.end_by_sigterm()
        self.verify()

    def end_by_sigterm(self) -> None:
        """An exit in order, nothing left behind."""
        assert self._process is not None
        family = descendants(self.pid)
        os.kill(self.pid, signal.SIGTERM)
        status = self._process.wait(STOP_SECONDS)
        assert status == 0, self.logged()
        assert "Traceback" not in self.logged(), self.logged()
        until(lambda: not any(alive(*member) for member in family), 5.0, f"children of {self.pid} end: {family}")

    def verify(self) -> None:
        report = verify_directory(self.ledger, self.vkey)
        assert report.ok, f"{report}\n{self.logged()}"
        assert report.open_intents == 0, report

    def tls(self) -> ssl.SSLContext:
        persona = self.facts["personas"]["vendor-ana"]
        context = ssl.create_default_context(cafile=str(self.state / self.facts["ca"]))
        context.load_cert_chain(self.state / persona["certificate"], self.state / persona["key"])
        return context

    def caller(self, write_every: int = 2) -> Caller:
        """A caller that is not connected yet."""
        return Caller(self, self.requests, write_every)

    def connected(self) -> Caller:
        """A caller for a test that asks by itself."""
        caller = self.caller()
        caller.connect()
        return caller

    def load(self, callers: int) -> list[Caller]:
        """Callers at work."""
        working = [self.caller() for _ in range(callers)]
        for caller in working:
            caller.start()
        return working

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and parts of /readyz."""
        connection = http.client.HTTPConnection(self.facts["ops"].removeprefix("http://"), timeout=10)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            return response.status, json.loads(response.read())["parts"]
        finally:
            connection.close()


def _yesterday() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")


def descendants(pid: int) -> list[tuple[int, int]]:
    """Processes below that one, each with its start time, which tells it from a later one of the same number."""
    parents: dict[int, list[tuple[int, int]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _status(int(entry.name))) is not None:
            parents.setdefault(int(fields[1]), []).append((int(entry.name), int(fields[19])))
    found: list[tuple[int, int]] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += [child for child, _ in children]
    return found


def alive(pid: int, started: int) -> bool:
    fields = _status(pid)
    return fields is not None and fields[0] not in "ZX" and int(fields[19]) == started


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _status(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
