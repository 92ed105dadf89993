"""A clock that steps ends sessions and is recorded; a clock behind the record opens nothing."""

from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, until
from tests.end_to_end.modbus_caller import read_registers

pytestmark = pytest.mark.alone

# libfaketime 0.9.10 fails in clock_nanosleep, with which Python sleeps, once it has moved the clock.
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select((), (), (), seconds)\n"
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def ready(development: Development) -> None:
    """With libfaketime everything takes long: a broker that could not read its state for five seconds has shut."""
    until(lambda: development.ops("/readyz")[0] == 200, 30)


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime (Debian package faketime)")
def test_a_step_is_recorded_and_ends_sessions_and_a_clock_behind_opens_nothing(start: Start, tmp_path: Path) -> None:
    moved = tmp_path / "clock"
    moved.write_text("+0\n")
    (tmp_path / "sitecustomize.py").write_text(SLEEP)
    development = start(
        environment={
            "PYTHONPATH": str(tmp_path),
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(moved),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    )
    ready(development)
    with development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(0))[0] == 3
        session = development.eventually("session_opened", listener="modbus_tls")["session"]
        moved.write_text("+90\n")
        assert caller.closed_within(3) < 1.0
    step = development.eventually("clock_stepped")
    assert 89 < float(step["step_seconds"]) < 91
    assert development.eventually("session_closed", session=session)["reason"] == "clock_stepped"
    ready(development)
    with development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(0))[0] == 3
        moved.write_text("+30\n")
        assert caller.closed_within(3) < 1.0
    with development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(0)) == b"\x83\x01"
        status, said = development.ops("/readyz")
        assert status == 503
        assert "clock" in said
        moved.write_text("+100\n")
        ready(development)
    with development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(0))[0] == 3
