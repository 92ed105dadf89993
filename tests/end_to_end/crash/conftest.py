"""One broker, its device, and the tools that make trouble."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.crash.rig import Broker, RecordingDevice


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Not started yet; killed at the end if it still runs."""
    device = RecordingDevice()
    broker = Broker(tmp_path, device)
    try:
        yield broker
    finally:
        device.close()
        broker.kill()


@pytest.fixture(scope="session")
def strace() -> str:
    """The program, where tracing is allowed."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("needs strace")
    tried = subprocess.run([program, "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, timeout=30)
    if tried.returncode:
        pytest.skip(f"strace is not permitted here: {tried.stderr.strip()}")
    return program
