"""`kill -9` at any point: whatever reached the device or was acknowledged is in the ledger, which opens and holds."""

import random
import time

import pytest

from tests.end_to_end.crash.evidence import Evidence
from tests.end_to_end.crash.rig import Broker

CALLERS = 4
LONGEST_LOAD_SECONDS = 0.7
STARTS_KILLED_TOO = 4
LONGEST_START_SECONDS = 0.8


def kill_again_and_again(broker: Broker, kills: int, seed: int) -> None:
    """Every so many kills, a start is killed too, wherever it has got to."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: list[str] = []
    reads = left_open = 0
    broker.start()
    evidence = Evidence.of(broker.ledger)
    for number in range(kills):
        callers = broker.load(CALLERS)
        time.sleep(chance.uniform(0.02, LONGEST_LOAD_SECONDS))
        broker.kill()
        for caller in callers:
            caller.join(10)
            acknowledged += caller.done
            reads += caller.reads
        evidence.read_on()
        evidence.require_intents_for(broker.device.seen)
        evidence.require_done(acknowledged)
        left_open += len(evidence.orphans)
        if number % STARTS_KILLED_TOO == STARTS_KILLED_TOO - 1:
            broker.launch()
            time.sleep(chance.uniform(0.05, LONGEST_START_SECONDS))
            broker.kill()
            evidence.read_on()
        broker.start()
        evidence.require_healed()
    broker.stop()
    evidence.read_on()
    evidence.require_intents_for(broker.device.seen)
    evidence.require_done(acknowledged)
    assert not evidence.orphans
    assert not evidence.sessions
    assert acknowledged
    print(
        f"{kills} kills, {len(acknowledged)} writes acknowledged, {len(broker.device.writes)} seen by the device, "
        f"{reads} reads, {left_open} intents left open, {len(evidence.raw)} records"
    )


@pytest.mark.timeout(240)
def test_after_10_kills_under_load_nothing_is_missing(broker: Broker) -> None:
    kill_again_and_again(broker, 10, random.SystemRandom().randrange(1 << 32))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_after_200_kills_under_load_nothing_is_missing(broker: Broker) -> None:
    kill_again_and_again(broker, 200, random.SystemRandom().randrange(1 << 32))
