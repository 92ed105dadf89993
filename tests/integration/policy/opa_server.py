"""A real OPA server on a free port of the loopback, for tests."""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.policy.ports import free_port
from tests.policy_checks import find_opa

START_SECONDS = 20.0


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
    health = free_port()
    command = [
        opa_or_skip(),
        "run",
        "--server",
        "--addr",
        f"127.0.0.1:{port}",
        "--diagnostic-addr",
        f"127.0.0.1:{health}",
    ]
    process = subprocess.Popen(
        [*command, "--log-level", "error", "--disable-telemetry", *options], stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_healthy(process, f"http://127.0.0.1:{health}/health")
        yield RunningOpa(process, port, scheme)
    finally:
        process.kill()
        process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise AssertionError(f"opa did not start (exit code {process.poll()})")
