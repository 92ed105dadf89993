"""A changed inventory is recorded and logged with who gained and who lost: what took effect, and what still waits."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.cli.applied import approve
from broker.cli.file_sources import IN_FORCE
from broker.cli.people.record_words import record_sentence
from broker.listeners.session_register import FILES_INVALID
from broker.wiring import inventory_changes, reload
from broker.wiring.broker import Broker
from broker.wiring.reload import KEPT
from tests.integration.wiring.reviewing import GAIN, INVENTORY, built, recorded

ANA = "  - {id: ana, subjects: [ana@acme.example], scope: {sites: [plant]}, actions: [view]}\n"
INSTEAD = INVENTORY.replace(ANA, GAIN)
ANA_LOSES = "- ana@acme.example loses view on plant/ahu-1"
BO_GAINS = "+ bo@plant.example gains view on plant/ahu-1"

Play = Callable[[Broker], Awaitable[None]]


def write(folder: Path, inventory: str) -> None:
    (folder / "inventory" / "all.yaml").write_text(inventory)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """What the broker keeps in its state folder cannot be replaced: a folder stands where its new file would go."""
    blocked = folder / IN_FORCE
    kept = blocked.read_bytes()
    blocked.unlink()
    blocked.mkdir()
    try:
        yield
    finally:
        blocked.rmdir()
        blocked.write_bytes(kept)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def played(folder: Path, play: Play, stopped: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """The records of changed inventories after a broker has run and stopped; `stopped` is called then."""

    async def scenario() -> list[dict[str, Any]]:
        broker = built(folder)
        await broker.start()
        try:
            await play(broker)
        finally:
            await broker.stop()
            stopped()
        return await recorded(broker, "access_changed")

    return asyncio.run(scenario())


def test_losses_that_took_effect_and_gains_that_wait_are_told_apart(
    reviewed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = ""
    in_force: list[dict[str, Any]] = []

    async def play(broker: Broker) -> None:
        nonlocal wanted
        write(reviewed, INSTEAD)
        await broker.reload.look()
        wanted = broker.reload.waiting_revision
        await broker.reload.told()
        approve(str(reviewed / "dev"), wanted)
        await broker.reload.look()
        in_force.extend(await recorded(broker, "inventory_changed"))

    caplog.set_level(logging.INFO)
    lost, gained = played(reviewed, play)
    now = {name: lost["detail"][name] for name in ("lost", "gained", "changes")}
    assert now == {"lost": 1, "gained": 0, "changes": [ANA_LOSES]}
    assert (lost["detail"]["gains_waiting"], lost["detail"]["waiting"]) == (1, [BO_GAINS])
    assert [record["detail"]["gains_waiting_for"] for record in in_force] == [wanted, ""]
    assert [record["revision"] for record in in_force] == [lost["revision"], gained["revision"]]
    assert (gained["revision"], gained["previous"]) == (wanted, lost["revision"])
    assert f"in force: {ANA_LOSES}" in caplog.messages
    assert f"waits for `otbroker config apply`: {BO_GAINS}" in caplog.messages
    assert f"inventory_changed: revision {lost['revision']} in force" in caplog.messages
    assert f"access_changed: revision {lost['revision']}: 1 losses, 0 gains" in caplog.messages


def test_an_approved_gain_is_recorded_as_gained_and_nothing_waits_any_more(reviewed: Path) -> None:
    async def play(broker: Broker) -> None:
        write(reviewed, INVENTORY + GAIN)
        await broker.reload.look()
        await broker.reload.told()
        assert not await recorded(broker, "inventory_changed")
        approve(str(reviewed / "dev"), broker.reload.waiting_revision)
        await broker.reload.look()
        await broker.reload.told()

    (record,) = played(reviewed, play)
    detail = record["detail"]
    assert (detail["gained"], detail["lost"], detail["changes"]) == (1, 0, [BO_GAINS])
    assert (detail["gains_waiting"], detail["waiting"]) == (0, [])
    assert record_sentence(record).endswith(f": 0 losses, 1 gains ({BO_GAINS})")


def test_gains_that_only_wait_are_logged_once_and_not_recorded(
    reviewed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(broker: Broker) -> None:
        for inventory in (INVENTORY + GAIN, INVENTORY + GAIN + "# the same\n"):
            write(reviewed, inventory)
            await broker.reload.look()
            await broker.reload.told()

    caplog.set_level(logging.INFO)
    assert played(reviewed, play) == []
    assert [message for message in caplog.messages if BO_GAINS in message] == [
        f"waits for `otbroker config apply`: {BO_GAINS}"
    ]


def test_what_changed_while_the_broker_was_down_is_recorded_at_its_start(reviewed: Path) -> None:
    async def nothing(broker: Broker) -> None:
        await broker.reload.told()

    assert played(reviewed, nothing) == []
    write(reviewed, INSTEAD)
    (record,) = played(reviewed, nothing)
    assert (record["detail"]["changes"], record["detail"]["waiting"]) == ([ANA_LOSES], [BO_GAINS])
    assert played(reviewed, nothing) == [record]


def test_where_gains_apply_at_once_both_are_recorded_as_in_force(reviewed: Path) -> None:
    path = reviewed / "dev" / "broker.yaml"
    path.write_text(path.read_text().replace('"gains": "review"', '"gains": "apply"'))

    async def play(broker: Broker) -> None:
        write(reviewed, INSTEAD)
        await broker.reload.look()
        await broker.reload.told()

    (record,) = played(reviewed, play)
    assert sorted(record["detail"]["changes"]) == [BO_GAINS, ANA_LOSES]
    assert record["detail"]["gains_waiting"] == 0


def test_no_loss_and_no_record_of_it_waits_until_it_is_told_what_it_means(
    reviewed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()

    def slow(*args: object) -> tuple[()]:
        told.wait()
        return ()

    monkeypatch.setattr(inventory_changes, "access_changes", slow)

    async def play(broker: Broker) -> None:
        write(reviewed, INSTEAD)
        await broker.reload.look()
        assert not broker.desk.in_force.inventory.grants
        write(reviewed, INSTEAD + "freezes: [{id: f, starts: 2030-01-01T00:00:00, zone: UTC, duration: PT1H}]\n")
        await broker.reload.look()
        assert broker.desk.in_force.inventory.freezes
        first, second = await recorded(broker, "inventory_changed")
        assert second["previous"] == first["revision"]

    assert played(reviewed, play, told.set) == []


def test_a_loss_takes_effect_though_the_state_folder_cannot_be_written_which_is_tried_again(reviewed: Path) -> None:
    async def play(broker: Broker) -> None:
        with full_disk(reviewed / "dev"):
            write(reviewed, INSTEAD)
            await broker.reload.look()
            assert not broker.desk.in_force.inventory.grants
            assert broker.reload.invalid == (KEPT,)
        await broker.reload.look()
        assert broker.reload.invalid == ()
        await broker.reload.told()

    told = played(reviewed, play)
    assert len(told) == 1
    assert played(reviewed, lambda broker: broker.reload.told()) == told, "nothing is told twice"


def test_words_that_fail_are_logged_and_the_change_is_recorded_all_the_same(
    reviewed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*args: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(inventory_changes, "access_changes", failing)

    async def play(broker: Broker) -> None:
        write(reviewed, INSTEAD)
        await broker.reload.look()
        await broker.reload.told()

        assert len(await recorded(broker, "inventory_changed")) == 1

    assert played(reviewed, play) == []
    assert "it cannot be told who gains and who loses" in caplog.messages


def test_files_that_hang_are_told_and_shut_the_broker_as_invalid_ones_do(
    reviewed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "LATE_SECONDS", 0.1)
    hangs = threading.Event()

    async def play(broker: Broker) -> None:
        files, marks = broker.reload, broker.reload._inventory_marks
        files._invalid_stop_seconds = 0.2
        monkeypatch.setattr(files, "_inventory_marks", hangs.wait)
        polling = asyncio.create_task(files.run(0.02))
        await until(lambda: FILES_INVALID in broker.register.shut_for)
        assert "files" in files.invalid
        # From here on nothing that is only slow is late.
        monkeypatch.setattr(reload, "LATE_SECONDS", 600.0)
        monkeypatch.setattr(files, "_inventory_marks", marks)
        hangs.set()
        await until(lambda: FILES_INVALID not in broker.register.shut_for and not files.invalid)
        polling.cancel()

    try:
        played(reviewed, play)
    finally:
        hangs.set()
