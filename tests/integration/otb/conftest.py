"""A development broker in a process of its own, `otb` in this one, and `otb connect` in another."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.cli.otb import main
from tests.end_to_end.modbus_caller import frame
from tests.preloaded import ForkedBroker, launcher

START_SECONDS = 60
ROOT = Path(__file__).parents[3]


@dataclass
class Plant:
    """The folder of a running development broker."""

    folder: Path
    process: ForkedBroker

    @property
    def facts(self):
        return json.loads((self.folder / "dev.json").read_text())

    def file(self, persona, what):
        return self.folder / self.facts["personas"][persona][what]

    def options(self, persona="vendor-ana"):
        return ["--dev", str(self.folder), "--as", persona]


def start_plant(folder, *options):
    log = folder.parent / f"{folder.name}.log"
    process = launcher().start(["dev", "--dir", str(folder), *options], log)
    deadline = time.monotonic() + START_SECONDS
    awaited = (folder / "dev.json", folder / "ledger" / "checkpoint")
    while not all(path.exists() for path in awaited):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            raise AssertionError(f"the broker did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)
    return Plant(folder, process)


def stop(process, number=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def plant(tmp_path_factory):
    started = start_plant(tmp_path_factory.mktemp("otb") / "dev")
    yield started
    stop(started.process)


@dataclass
class Said:
    status: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture
def otb(capsys, monkeypatch, tmp_path):
    """Runs `otb` with these arguments, in this process, without a profile of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OTB_PROFILE", raising=False)

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return run


def _heed_ctrl_c():
    """A test run in the background ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Connected:
    """`otb connect --format json` in a process of its own; its events as they come."""

    def __init__(self, arguments):
        command = [sys.executable, "-m", "broker.cli.otb", "connect", "--listen", "127.0.0.1:0", "--format", "json"]
        environment = {name: value for name, value in os.environ.items() if name != "OTB_PROFILE"}
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_ctrl_c,
        )
        self.seen = []
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def event(self, kind, seconds=20):
        """The next event of a kind."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind} among {self.seen}") from None
            if not line:
                raise AssertionError(f"ended without {kind}: {self.seen} {self.process.stderr.read()}")
            event = json.loads(line) if line.startswith("{") and line.rstrip().endswith("}") else {}
            self.seen.append(event)
            if event.get("type") == kind:
                return event

    @property
    def port(self):
        return int(self.event("open")["listen"].rpartition(":")[2])

    def wait(self, seconds=20):
        return self.process.wait(seconds)


@pytest.fixture
def connected():
    """Starts `otb connect`; ended by its id."""
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            started = Connected(arguments)
            stack.callback(started.process.stderr.close)
            stack.callback(started.process.stdout.close)
            stack.callback(stop, started.process, signal.SIGINT)
            return started

        yield start


def ask(stream, transaction, pdu, unit=1):
    """One Modbus/TCP request and its reply's PDU."""
    stream.sendall(frame(pdu, transaction, unit))
    return reply(stream, transaction)


def reply(stream, transaction):
    head = exactly(stream, 7)
    assert int.from_bytes(head[:2], "big") == transaction
    return exactly(stream, int.from_bytes(head[4:6], "big") - 1)


def exactly(stream, length):
    octets = b""
    while len(octets) < length:
        chunk = stream.recv(length - len(octets))
        if not chunk:
            raise ConnectionError("the other side has closed")
        octets += chunk
    return octets


def master(port):
    stream = socket.create_connection(("127.0.0.1", port), 10)
    stream.settimeout(15)
    return stream
