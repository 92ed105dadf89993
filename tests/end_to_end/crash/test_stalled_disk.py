"""A disk that stalls holds up writes, and no view of anybody else."""

import statistics
import time

import pytest

from tests.end_to_end.crash.injection import injected
from tests.end_to_end.crash.rig import Broker

STALL_SECONDS = 0.3
WATCHED_SECONDS = 2.5


@pytest.mark.timeout(90)
def test_views_go_on_while_a_write_waits_for_the_disk(broker: Broker, strace: str) -> None:
    broker.start()
    writer, viewer = broker.caller(write_every=1), broker.connected()
    assert viewer.turn(write=False) == 0
    with injected(strace, broker.pid, f"delay_enter={int(STALL_SECONDS * 1_000_000)}"):
        viewer.latencies.clear()
        writer.start()
        end = time.monotonic() + WATCHED_SECONDS
        while time.monotonic() < end:
            assert viewer.turn(write=False) == 0
        writer.stop()
    viewer.disconnect()
    assert writer.done, "writes still come through"
    assert min(writer.latencies) >= STALL_SECONDS, "the disk did not stall"
    median = statistics.median(viewer.latencies)
    print(f"{len(viewer.latencies)} views, median {median * 1000:.1f} ms; {len(writer.done)} writes")
    assert median < STALL_SECONDS / 3
    broker.stop()
