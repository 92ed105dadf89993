"""A real OPA server on a free port of the loopback, for tests."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.policy_checks import find_opa
from tests.ports import free_port

START_SECONDS = 20.0
LESS_COLLECTING = {"GOGC": "400"}
"""It compiles the library again and again; a third of that is the collector of its memory."""


class RunningOpa:
    """The server's process and where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, scheme: str) -> None:
        self.process = process
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}"


def opa_or_skip() -> str:
    opa = find_opa()
    if opa is None:
        pytest.skip("no `opa` found (OTB_OPA, .tools/bin/opa, PATH)")
    return opa


@contextmanager
def running_opa(*options: str, port: int | None = None, scheme: str = "http") -> Iterator[RunningOpa]:
    """Start it, wait until its port answers, and end it by its id."""
    port = port or free_port()
    command = [opa_or_skip(), "run", "--server", "--addr", f"127.0.0.1:{port}", "--log-level", "error", *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | LESS_COLLECTING)
    try:
        _wait_until_open(process, port)
        yield RunningOpa(process, port, scheme)
    finally:
        process.kill()
        process.wait()


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"opa did not start (exit code {process.poll()})")
