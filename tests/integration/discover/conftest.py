"""Runs `otbroker discover` in this process, on ports of the loopback."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from broker.adapters.host_journal import HostCommand, HostJournal
from broker.cli import otbroker
from tests.integration.discover.field_devices import free_udp_port


class Ran(NamedTuple):
    """How the command came out, and what it told the broker."""

    status: int
    out: str
    err: str
    commands: tuple[HostCommand, ...]

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def discover(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs it with a state folder as journal, quick and on a port of its own."""
    state = tmp_path / "state"

    def run(*arguments: str, interface: bool = True, journal: Sequence[str] = ("--journal", str(state))) -> Ran:
        given = ["discover", "--site", "plant", *journal, "--rate", "1000", "--wait", "1", *arguments]
        if interface:
            given += ["--interface", f"127.0.0.1/32:{free_udp_port()}", "--listen", "1"]
        capfd.readouterr()
        status = otbroker.main(given)
        out, err = capfd.readouterr()
        taken = HostJournal(state).take()
        HostJournal(state).drop()
        return Ran(status, out, err, taken.commands if taken else ())

    return run
