"""A disk that fills pauses relays and resumes by itself; outcomes find their room, and nothing acknowledged goes."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.crash.evidence import Evidence
from tests.end_to_end.crash.rig import FAULT, Broker, Caller
from tests.end_to_end.development import until

TMPFS_OCTETS = 4 * 1024 * 1024
EXT4_OCTETS = 16 * 1024 * 1024
PAUSE_SECONDS = 30.0
RESUME_SECONDS = 15.0
LONG_RUN_OCTETS = 512 * 1024 * 1024
LEFT_TO_WRITE_OCTETS = 512 * 1024
CHUNK_OCTETS = 64 * 1024


def mounted(folder: Path, *mount: str) -> Iterator[None]:
    folder.mkdir(parents=True)
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    done = subprocess.run(["mount", *mount, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def on_tmpfs(broker: Broker) -> Iterator[Broker]:
    """The ledger alone is on a small disk in memory."""
    for _ in mounted(broker.ledger, "-t", "tmpfs", "-o", f"size={TMPFS_OCTETS}", "tmpfs"):
        yield broker
        broker.kill()


@pytest.fixture
def on_ext4(broker: Broker, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """The ledger alone is on a small ext4."""
    image = broker.folder / "disk"
    with image.open("wb") as file:
        file.truncate(getattr(request, "param", EXT4_OCTETS))
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    for _ in mounted(broker.ledger, "-o", "loop", str(image)):
        yield broker
        broker.kill()


def fill(ballast: Path) -> None:
    """Take every block that is left."""
    with ballast.open("ab", buffering=0) as file:
        free = os.fstatvfs(file.fileno())
        most = free.f_bavail * free.f_frsize - LEFT_TO_WRITE_OCTETS
        if most > 0:
            os.posix_fallocate(file.fileno(), 0, file.tell() + most)
            file.seek(0, os.SEEK_END)
        for chunk in (CHUNK_OCTETS, 512, 1):
            try:
                while file.write(bytes(chunk)):
                    pass
            except OSError:
                continue


def test_a_full_memory_disk_pauses_and_resumes(on_tmpfs: Broker) -> None:
    pause_and_resume(on_tmpfs)


def test_a_full_ext4_pauses_and_resumes(on_ext4: Broker) -> None:
    pause_and_resume(on_ext4)


def pause_and_resume(broker: Broker) -> None:
    broker.start()
    caller, waiting = broker.connected(), broker.caller(write_every=1)
    assert caller.turn(write=True) == 0
    in_flight = hold_a_write(broker, waiting)
    ballast = broker.ledger / "ballast"
    fill(ballast)
    relayed_until_paused = ask_until_paused(broker, caller, ballast)
    seen = len(broker.device.seen)
    assert caller.turn(write=True) == FAULT
    assert caller.turn(write=False) == FAULT
    assert len(broker.device.seen) == seen
    broker.device.answering.set()
    until(lambda: waiting.done or waiting.refused, 10, "the write in flight is answered")
    assert waiting.done == [in_flight], "the outcome of an operation in flight found no room"
    assert caller.turn(write=False) == FAULT, "still full"
    ballast.unlink()
    until(lambda: caller.turn(write=True) == 0, RESUME_SECONDS, "relays resume without a new start")
    assert caller.turn(write=False) == 0
    assert broker.readiness()[0] == 200
    caller.disconnect()
    waiting.stop()
    broker.stop()
    evidence = Evidence.of(broker.ledger)
    evidence.require_intents_for(broker.device.seen)
    evidence.require_done([*caller.done, *waiting.done])
    print(f"{relayed_until_paused} views until paused, {len(evidence.raw)} records")


def hold_a_write(broker: Broker, waiting: Caller) -> str:
    """A write that the device has and does not answer yet; its digest."""
    known = len(broker.device.writes)
    broker.device.answering.clear()
    waiting.start()
    until(lambda: len(broker.device.writes) > known, 10, "the write reaches the device")
    return broker.device.writes[-1]


def ask_until_paused(broker: Broker, caller: Caller, ballast: Path) -> int:
    """Views until one is refused because nothing can be recorded any more; what is freed meanwhile is filled too."""
    end = time.monotonic() + PAUSE_SECONDS
    views = 0
    while (code := caller.turn(write=False)) == 0:
        views += 1
        if views % 50 == 0:
            fill(ballast)
        assert time.monotonic() < end, "the ledger was never paused"
    assert code == FAULT
    until(lambda: broker.readiness()[0] == 503, 5, "readiness says so")
    assert broker.readiness()[1]["ledger"]["detail"].startswith("paused")
    return views


def test_a_stop_while_the_disk_is_full_leaves_a_ledger_that_opens_and_holds(on_tmpfs: Broker) -> None:
    broker = on_tmpfs
    acknowledged = work_until_full(broker)
    broker.end_by_sigterm()
    require_whole_once_there_is_room(broker, acknowledged)


def test_a_kill_while_the_disk_is_full_leaves_a_ledger_that_opens_and_holds(on_tmpfs: Broker) -> None:
    broker = on_tmpfs
    acknowledged = work_until_full(broker)
    broker.kill()
    require_whole_once_there_is_room(broker, acknowledged)


def work_until_full(broker: Broker) -> list[str]:
    """Several write at once until the disk is full and nobody gets anything done; what was answered with success."""
    broker.start()
    callers = broker.load(3)
    until(lambda: all(caller.done for caller in callers), 10, "writes come through")
    fill(broker.ledger / "ballast")
    until(lambda: all(caller.refused for caller in callers), PAUSE_SECONDS, "the ledger is paused")
    fill(broker.ledger / "ballast")
    for caller in callers:
        caller.stop()
    assert {code for caller in callers for _, code in caller.refused} == {FAULT}
    return [digest for caller in callers for digest in caller.done]


def require_whole_once_there_is_room(broker: Broker, acknowledged: list[str]) -> None:
    before = Evidence.of(broker.ledger)
    before.require_intents_for(broker.device.seen)
    before.require_done(acknowledged)
    (broker.ledger / "ballast").unlink()
    broker.start()
    before.require_healed()
    caller = broker.connected()
    assert caller.turn(write=True) == 0
    caller.disconnect()
    broker.stop()
    Evidence.of(broker.ledger).require_done([*acknowledged, *caller.done])


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("on_ext4", [LONG_RUN_OCTETS], indirect=True, ids=["512 MiB"])
def test_a_disk_that_fills_again_and_again_under_load_loses_nothing(on_ext4: Broker) -> None:
    broker, chance = on_ext4, random.Random(20)
    ballast = broker.ledger / "ballast"
    broker.start()
    callers = broker.load(4)
    for _ in range(20):
        time.sleep(chance.uniform(0.2, 2.0))
        counts = [len(caller.refused) for caller in callers]
        fill(ballast)
        until(lambda counts=counts: refused_since(callers, counts), PAUSE_SECONDS, "the ledger is paused")
        time.sleep(chance.uniform(0.0, 1.0))
        ballast.unlink()
        counts = [len(caller.done) for caller in callers]
        until(lambda counts=counts: done_since(callers, counts), RESUME_SECONDS, "relays resume")
    for caller in callers:
        caller.stop()
    broker.stop()
    evidence = Evidence.of(broker.ledger)
    evidence.require_intents_for(broker.device.seen)
    evidence.require_done(digest for caller in callers for digest in caller.done)
    print(f"{sum(len(caller.done) for caller in callers)} writes acknowledged, {len(evidence.raw)} records")


def refused_since(callers: list[Caller], counts: list[int]) -> bool:
    return all(len(caller.refused) > count for caller, count in zip(callers, counts, strict=True))


def done_since(callers: list[Caller], counts: list[int]) -> bool:
    return all(len(caller.done) > count for caller, count in zip(callers, counts, strict=True))
