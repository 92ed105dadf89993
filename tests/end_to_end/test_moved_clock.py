"""A clock that steps ends sessions and is recorded; a clock behind the record opens nothing."""

from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import until
from tests.end_to_end.modbus_caller import read_registers

pytestmark = pytest.mark.prompt

# Not libfaketime: with it threads of SQLite hang for seconds, so that the broker shuts for its state's sake.
MOVED_CLOCK = """import time
now = time.time
def moved():
    with open({path!r}) as file:
        return now() + float(file.read())
time.time = moved
"""


def test_a_step_is_recorded_and_ends_sessions_and_a_clock_behind_opens_nothing(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "clock"

    def move(seconds: float) -> None:
        (tmp_path / "next").write_text(str(seconds))
        (tmp_path / "next").replace(path)

    move(0)
    (tmp_path / "sitecustomize.py").write_text(MOVED_CLOCK.format(path=str(path)))
    development = start(environment={"PYTHONPATH": str(tmp_path)})
    with development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(0))[0] == 3
        session = development.eventually("session_opened", listener="modbus_tls")["session"]
        move(90)
        assert caller.closed_within(3) < 1.0
    step = development.eventually("clock_stepped")
    assert 89 < float(step["step_seconds"]) < 91
    assert development.eventually("session_closed", session=session)["reason"] == "clock_stepped"
    until(lambda: development.ops("/readyz")[0] == 200, 20)
    with development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(0))[0] == 3
        move(30)
        assert caller.closed_within(3) < 1.0
    with development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(0)) == b"\x83\x01"
        status, said = development.ops("/readyz")
        assert status == 503
        assert "clock" in said
        move(100)
        until(lambda: development.ops("/readyz")[0] == 200, 20)
    with development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(0))[0] == 3
