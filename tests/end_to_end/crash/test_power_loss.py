"""Power loss: with no more on disk than what was fsynced, no acknowledged write and no intent of a relayed one is
gone."""

import random
import time

import pytest

from tests.end_to_end.crash.evidence import Evidence
from tests.end_to_end.crash.power import Disk, tracing
from tests.end_to_end.crash.rig import START_SECONDS, Broker
from tests.end_to_end.development import until

CALLERS = 3
LONGEST_LOAD_SECONDS = 1.5
DURABLE_SECONDS = 0.5
"""Until then a view is on disk too, on the slowest machine; the promise is 0.05 s."""


def lose_power_again_and_again(broker: Broker, strace: str, rounds: int, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: list[str] = []
    certain: list[str] = []
    syncs = lost = 0
    kept: Evidence | None = None
    log = broker.folder / "trace"
    for _ in range(rounds):
        disk = Disk(broker.ledger)
        log.unlink(missing_ok=True)
        broker.start(tracing(strace, log))
        if kept is not None:
            kept.require_healed()
        callers = broker.load(CALLERS)
        if kept is None:  # a machine that is busy may bring nothing about in the time of the other rounds
            until(lambda: [caller for caller in callers if caller.done], START_SECONDS)  # noqa: B023 - called here
        time.sleep(chance.uniform(0.3, LONGEST_LOAD_SECONDS))
        killed = time.monotonic()
        broker.kill()
        for caller in callers:
            caller.join(10)
            acknowledged += caller.done
        syncs += disk.follow(log)
        lost += disk.lose_power(chance)
        kept = Evidence.of(broker.ledger)
        kept.require_intents_for(broker.device.writes)
        kept.require_done(acknowledged)
        certain += [digest for moment, digest in broker.device.moments if moment < killed - DURABLE_SECONDS]
        broker.device.moments.clear()
        kept.require_intents_for(certain)
    assert kept is not None
    broker.start()
    kept.require_healed()
    broker.stop()
    evidence = Evidence.of(broker.ledger)
    evidence.require_intents_for(broker.device.writes)
    evidence.require_done(acknowledged)
    assert acknowledged
    assert syncs, "no fsync of the journal was traced"
    print(
        f"{rounds} losses of power, {len(acknowledged)} writes acknowledged, {len(broker.device.writes)} seen by the "
        f"device, {syncs} fsyncs of the journal, {lost} octets and names lost, {len(evidence.raw)} records"
    )


@pytest.mark.timeout(180)
def test_after_3_losses_of_power_no_acknowledged_or_relayed_write_is_missing(broker: Broker, strace: str) -> None:
    lose_power_again_and_again(broker, strace, 3, random.SystemRandom().randrange(1 << 32))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_after_60_losses_of_power_no_acknowledged_or_relayed_write_is_missing(broker: Broker, strace: str) -> None:
    lose_power_again_and_again(broker, strace, 60, random.SystemRandom().randrange(1 << 32))


@pytest.mark.timeout(90)
def test_what_decisions_were_taken_with_is_archived_durably_before_anything_is_acknowledged(
    broker: Broker, strace: str
) -> None:
    disk, log = Disk(broker.ledger), broker.folder / "trace"
    broker.start(tracing(strace, log))
    caller = broker.connected()
    assert caller.turn(write=True) == 0
    broker.kill()
    caller.disconnect()
    archived = {path.name for path in (broker.ledger / "archive").iterdir()}
    assert len(archived) >= 2, "an inventory and a policy"
    disk.follow(log)
    disk.lose_power(random.Random(1))
    left = {path.name for path in (broker.ledger / "archive").iterdir()}
    assert left == archived
