"""What the broker undoes while its ledger closes, and what becomes of leaves that it cannot record or keep."""

from collections.abc import Callable
from typing import Any

import pytest

from broker.model.operation import Relayed
from broker.model.vocabulary import EndReason, Result
from broker.wiring import leaves
from tests.unit.wiring.leave_stage import ANA, Stage, left
from tests.unit.wiring.leave_stage import at_once as at_once
from tests.unit.wiring.leave_stage import play as play


def of_the_leave(stage: Stage, kind: str, writes: bool) -> Callable[[dict[str, Any]], bool]:
    """Records of that kind of the look, or of the write, in the broker's own session."""
    service = "write-single-register" if writes else "read-holding-registers"

    def found(record: dict[str, Any]) -> bool:
        intent = stage.records[record["intent"]] if record["kind"] == "outcome" else record
        leaving = any(opened["listener"] == "leave" for opened in stage.told("session_opened"))
        return leaving and record["kind"] == kind and intent.get("service") == service

    return found


@pytest.mark.parametrize(
    ("how", "kind", "writes", "written", "detail"),
    [
        ("fails", "intent", True, [20], ""),
        ("sinks", "intent", True, [20], ""),
        ("fails", "intent", False, [20], ""),
        ("fails", "outcome", False, [20], ""),
        ("fails", "outcome", True, [20, 18], "was so already"),
        ("sinks", "outcome", True, [20, 18], "was so already"),
    ],
)
def test_a_ledger_that_closes_while_something_is_undone_lets_nothing_more_be_sent(
    play, how, kind, writes, written, detail
):
    async def story(stage):
        setattr(stage, how, of_the_leave(stage, kind, writes))
        await left(stage, EndReason.GRANT_ENDED)
        await stage.after(1)
        assert (stage.closed, stage.writes) == (True, written)
        await stage.after(leaves.AGAIN_SECONDS + 1)
        assert (stage.writes, len(stage.journal.debts)) == (written, 1)
        stage.fails = stage.sinks = lambda record: False
        stage.closed = False
        await stage.after(leaves.AGAIN_SECONDS + 1)
        assert await stage.leave() == [("undone", detail)]
        assert stage.writes == [20, 18]

    play(story)


def test_a_leave_that_cannot_be_recorded_is_told_once_and_tried_again_when_it_can(play, caplog):
    async def story(stage):
        await left(stage, EndReason.GRANT_ENDED)
        stage.closed = True
        stage.changed(devices=())
        for _ in range(3):
            await stage.after(leaves.AGAIN_SECONDS + 1)
        ((_, waits_for),) = stage.keeper.debts()
        assert waits_for == "ledger_closed"
        assert len([record for record in caplog.records if "not recorded" in record.message]) == 1
        stage.closed = False
        await stage.after(leaves.AGAIN_SECONDS - 1)
        assert not stage.told("leave_unsettled")
        await stage.after(2)
        assert await stage.leave() == [("failed", "device_unknown")]

    play(story)


def test_a_leave_for_which_the_list_has_no_room_is_dropped_with_a_record_and_an_alarm(play, caplog, monkeypatch):
    async def story(stage):
        monkeypatch.setattr(leaves, "MOST_UNSETTLED", 1)
        stage.script = lambda pdu: Relayed(Result.UNKNOWN, code="timeout") if pdu[0] == 6 else None
        for count in (1, 2):
            stage.holds = 18
            session = await stage.ana()
            stage.script = lambda pdu: None
            await stage.writes_as(session, 20)
            stage.script = lambda pdu: Relayed(Result.UNKNOWN, code="timeout") if pdu[0] == 6 else None
            stage.register.end(session, EndReason.GRANT_ENDED)
            await stage.after(1)
            assert len(stage.told("leave_unsettled")) == count
        first, second = (record["leave"] for record in stage.told("leave_unsettled"))
        assert [leave.id for leave in stage.keeper.unsettled] == [second]
        (dropped,) = stage.told("leave_dropped")
        assert (dropped["leave"], dropped["subject"], dropped["device"]) == (first, ANA.id, "plant/ahu-1")
        assert any(record.levelname == "ERROR" and "listed no more" in record.message for record in caplog.records)

    play(story)


def test_a_leave_whose_drop_cannot_be_recorded_stays_in_the_list(play, tmp_path, monkeypatch):
    monkeypatch.setattr(leaves, "MOST_UNSETTLED", 0)
    stage = Stage(tmp_path)
    stage.fails = lambda record: record["kind"] == "leave_dropped"

    async def story(stage):
        stage.script = lambda pdu: Relayed(Result.UNKNOWN, code="timeout") if pdu[0] == 6 and stage.writes else None
        await left(stage, EndReason.GRANT_ENDED)
        assert await stage.leave() == [("unknown", "timeout")]
        assert len(stage.keeper.unsettled) == 1

    play(story, stage)
