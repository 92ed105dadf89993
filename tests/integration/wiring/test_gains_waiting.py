"""Gains that wait for somebody's approval can be seen: in the log, in the readiness, in the metrics."""

import asyncio
import logging
import re
from pathlib import Path

import pytest

from broker.adapters.ledger_files import State
from broker.cli.applied import approve
from broker.listeners.ops import INFORMATIONAL
from broker.wiring.broker import Broker
from broker.wiring.readiness import ledger_words
from tests.integration.wiring.reviewing import GAIN, INVENTORY, built


def seen(broker: Broker) -> tuple[bool, str, float]:
    """Readiness and detail of the part `files`, and the metric."""
    return (*broker.readiness()["files"], broker.figures()["gains_waiting"][()])


def test_gains_that_wait_are_told_once_and_shown_until_they_are_approved(
    reviewed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        broker = built(reviewed)
        await broker.start()
        try:
            assert seen(broker) == (True, "valid", 0.0)
            (reviewed / "inventory" / "all.yaml").write_text(INVENTORY + GAIN)
            await broker.reload.look()
            revision = broker.reload.waiting_revision
            assert seen(broker) == (
                True,
                f"valid; gains of inventory revision {revision} wait for `otbroker config apply`",
                1.0,
            )
            await broker.reload.look()
            told = [record for record in caplog.records if "without its gains" in record.getMessage()]
            assert [(record.levelno, revision in record.getMessage()) for record in told] == [(logging.WARNING, True)]
            approve(str(reviewed / "dev"), revision)
            await broker.reload.look()
            assert seen(broker) == (True, "valid", 0.0)
            assert broker.desk.in_force.inventory.revision == revision
        finally:
            await broker.stop()

    caplog.set_level(logging.INFO)
    asyncio.run(scenario())
    assert "ledger open" in caplog.messages
    assert "ledger closed in order" in caplog.messages


def test_gains_that_wait_are_still_shown_after_a_restart(reviewed: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> tuple[bool, str, float]:
        broker = built(reviewed)
        try:
            await broker.start()
            return seen(broker)
        finally:
            await broker.stop()

    caplog.set_level(logging.INFO)
    assert asyncio.run(scenario())[1] == "valid"
    (reviewed / "inventory" / "all.yaml").write_text(INVENTORY + GAIN)
    good, detail, figure = asyncio.run(scenario())
    assert (good, "wait for `otbroker config apply`" in detail, figure) == (True, True, 1.0)
    assert [r.levelno for r in caplog.records if "without its gains" in r.getMessage()] == [logging.WARNING]


def test_a_policy_that_is_refused_as_a_whole_is_told_by_its_folder(
    reviewed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> str:
        broker = built(reviewed)
        await broker.start()
        try:
            (reviewed / "dev" / "policies" / "data.json").write_text('{"a": ')
            await broker.reload.look_at_policy()
            return broker.readiness()["files"][1]
        finally:
            await broker.stop()

    assert asyncio.run(scenario()) == "invalid: policy"
    assert f"{reviewed}/dev/policies/data.json:1:7: this is not JSON" in caplog.text
    assert ":0:0:" not in caplog.text


def test_the_page_about_monitoring_lists_every_part_and_which_are_only_shown(reviewed: Path) -> None:
    broker = built(reviewed)
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "monitor.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", page, re.MULTILINE))
    parts = broker.readiness()
    assert rows == {name: "ready: shown only" if name in INFORMATIONAL else "not ready" for name in parts}


@pytest.mark.parametrize(
    ("state", "detail", "words"),
    [
        (State.OPEN, "", "open"),
        (State.CLOSED, "closed in order", "closed in order"),
        (State.CLOSED, "the disk failed", "closed: the disk failed"),
    ],
)
def test_the_ledgers_state_is_told_in_one_piece(state: State, detail: str, words: str) -> None:
    assert ledger_words(state, detail) == words
