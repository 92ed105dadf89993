"""Nothing opens while the clock is earlier than the last record."""

import shutil

import pytest

from tests.end_to_end.crash.evidence import records_on_disk
from tests.end_to_end.crash.rig import Broker

REFUSAL_SECONDS = 30.0


@pytest.mark.timeout(90)
def test_a_broker_whose_clock_is_behind_its_ledger_refuses_to_open(broker: Broker) -> None:
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("needs faketime")
    broker.start()
    caller = broker.connected()
    assert caller.turn(write=True) == 0
    caller.disconnect()
    broker.stop()
    before = records_on_disk(broker.ledger)
    broker.launch([faketime, "-m", "-f", "-300s"])
    assert broker.ended(REFUSAL_SECONDS) != 0
    assert "the clock is earlier than the last record" in broker.logged()
    assert "Traceback" not in broker.logged()
    assert records_on_disk(broker.ledger) == before
    broker.start()
    broker.stop()
