"""Whoever else writes where something has to be undone keeps what he wrote, also if it is the same value."""

import asyncio
import json

import pytest

from broker.model.operation import Relayed
from broker.model.vocabulary import EndReason, Result
from broker.wiring import leaves
from tests.unit.wiring.leave_stage import BO, GRACE, Stage, left
from tests.unit.wiring.leave_stage import at_once as at_once
from tests.unit.wiring.leave_stage import play as play


@pytest.mark.parametrize("owing", [set(), {BO.id}], ids=["owes nothing", "would have to undo it"])
@pytest.mark.parametrize("result", [None, Relayed(Result.UNKNOWN, code="timeout")], ids=["done", "unknown"])
def test_the_same_value_written_by_an_operator_is_kept_when_the_vendor_leaves(play, owing, result):
    async def story(stage):
        session = await stage.ana()
        await stage.writes_as(session, 20)
        stage.owing |= owing
        operator = await stage.enters(BO)
        stage.script = lambda pdu: result if pdu[0] == 6 else None
        await stage.writes_as(operator, 20)
        written = [i for i, record in enumerate(stage.records) if record["kind"] == "intent"][-1]
        stage.register.end(session, EndReason.GRANT_ENDED)
        stage.register.end(operator, EndReason.GRANT_ENDED)
        assert await stage.leave() == [("kept", f"written since by {BO.id} (record {written})")]
        assert (stage.holds, stage.writes) == (20, [20, 20])
        assert not [record for record in stage.told("session_opened") if record["listener"] == "leave"]
        assert len(stage.journal.debts) == 0

    play(story)


@pytest.mark.parametrize(
    ("alone", "told"),
    [
        (True, ("kept", "somebody has written since")),
        (False, ("unknown", "written since, and not through this broker")),
    ],
    ids=["the only broker", "one of several"],
)
def test_what_may_have_been_written_through_another_broker_is_not_told_as_settled(play, tmp_path, caplog, alone, told):
    """That one may still put back what is there of the vendor's own, as the value from before."""

    async def story(stage):
        await left(stage, EndReason.GRANT_ENDED)
        stage.holds = 21
        assert await stage.leave() == [told]
        assert (stage.holds, stage.writes, len(stage.journal.debts)) == (21, [20], 0)
        assert len(stage.keeper.unsettled) == (0 if alone else 1)
        assert any(record.levelname == "ERROR" for record in caplog.records) is not alone

    play(story, Stage(tmp_path, alone=alone))


def test_with_several_brokers_a_writer_who_is_known_here_is_kept(play, tmp_path):
    async def story(stage):
        await stage.writes_as(await stage.ana(), 20)
        await stage.writes_as(await stage.enters(BO), 25)
        stage.register.end_all(EndReason.GRANT_ENDED)
        assert [result for result, _ in await stage.leave()] == ["kept"]
        assert not stage.keeper.unsettled

    play(story, Stage(tmp_path, alone=False))


@pytest.mark.parametrize("value", [20, 25])
@pytest.mark.parametrize("answered", [True, False], ids=["has written", "has a write under way"])
def test_an_operator_who_writes_between_look_and_write_does_not_lose_it(play, value, answered):
    async def story(stage):
        def relay(request, relayed, still_allowed):
            if stage.told("session_opened")[-1]["listener"] == "leave" and not meanwhile and request.payload[0] == 3:
                # The device has answered the look, but before that is here the operator writes.
                really(request, looked.append, still_allowed)
                meanwhile.append(asyncio.create_task(stage.writes_as(operator, value)))
                delivered.append(relayed)
            elif meanwhile and not operators:
                operators.append(request)
                really(request, lambda reply: written(reply, relayed), still_allowed)
            else:
                really(request, relayed, still_allowed)

        def written(reply, relayed):
            if answered:
                relayed(reply)
                delivered[0](looked[0])
            else:
                delivered[0](looked[0])
                # Only when the turn of what the look led to has come.
                asyncio.get_running_loop().call_soon(relayed, reply)

        session, operator = await stage.ana(), await stage.enters(BO)
        await stage.writes_as(session, 20)
        meanwhile, looked, delivered, operators = [], [], [], []
        really, stage.relay = stage.relay, relay
        stage.register.end(session, EndReason.GRANT_ENDED)
        await stage.after(1)
        assert (await meanwhile[0]).relayed.result == Result.DONE
        await stage.after(leaves.AGAIN_SECONDS + 1)
        assert [result for result, _ in await stage.leave()] == ["kept"]
        assert (stage.holds, stage.writes) == (value, [20, value])
        assert [r["code"] for r in stage.told("outcome") if r["result"] == "not_sent"] == ["nothing_owed"]

    play(story)


def test_that_an_operator_has_written_since_outlives_a_broker_killed_once_he_knows_that_it_is_done(play, tmp_path):
    async def before() -> None:
        stage = Stage(tmp_path)
        await stage.start()
        await stage.writes_as(await stage.ana(), 20)
        await stage.writes_as(await stage.enters(BO), 20)
        assert json.loads((tmp_path / "owed.json").read_text())[0]["since"] == BO.id

    asyncio.run(before())
    again = Stage(tmp_path)
    again.holds = 20

    async def story(stage):
        await stage.after(GRACE + 1)
        assert [result for result, _ in await stage.leave()] == ["kept"]
        assert stage.writes == []

    play(story, again)
