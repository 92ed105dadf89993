"""Writes of two subjects to one place that are on their way together, in every order in which they can arrive and be
answered: no value is put back of which nobody can say that it was there.
"""

import asyncio
from itertools import permutations
from typing import Any

import pytest

from broker.engine.events import Refused
from broker.listeners.refusals import modbus_reply
from broker.model.operation import Relayed
from broker.model.vocabulary import EndReason, Reason, Result
from tests.unit.wiring.leave_stage import ANA, BO
from tests.unit.wiring.leave_stage import at_once as at_once
from tests.unit.wiring.leave_stage import play as play

ORDERS = [
    order
    for order in permutations(("hers arrives", "hers is answered", "his arrives", "his is answered"))
    if order.index("hers arrives") < order.index("hers is answered")
    and order.index("his arrives") < order.index("his is answered")
]


class Job:
    """One request on its way; `answer` without `arrive` is one that did nothing."""

    def __init__(self, stage, request, relayed, still_allowed):
        self._stage, self._pdu, self._relayed, self._still_allowed = stage, request.payload, relayed, still_allowed
        self._reply = None

    def arrive(self):
        assert self._still_allowed() == ""
        if self._pdu[0] == 6:
            self._stage.holds = int.from_bytes(self._pdu[3:], "big")
            self._stage.writes.append(self._stage.holds)
            self._reply = self._pdu
        else:
            self._reply = b"\x03\x02" + self._stage.holds.to_bytes(2, "big")

    def answer(self, result=Result.DONE):
        self._relayed(Relayed(result, self._reply if result == Result.DONE else b""))


class Ways:
    """Several connections to the device; requests of the functions in `held` go only as far on them as they are let."""

    def __init__(self, stage):
        self.held, self.jobs = {6}, []
        self._stage, self._really, stage.relay = stage, stage.relay, self._relay

    def _relay(self, request, relayed, still_allowed):
        if request.payload[0] in self.held:
            self.jobs.append(Job(self._stage, request, relayed, still_allowed))
        else:
            self._really(request, relayed, still_allowed)

    async def begun(self, session, value):
        """A write that is on its way: itself, and what its caller will be told."""
        found, known = asyncio.create_task(self._stage.writes_as(session, value)), len(self.jobs)
        async with asyncio.timeout(20):
            while len(self.jobs) == known:
                await asyncio.sleep(0.001)
        return self.jobs[-1], found

    async def whole(self, session, value):
        job, found = await self.begun(session, value)
        job.arrive()
        job.answer()
        assert (await found).relayed.result == Result.DONE


async def both_enter(stage):
    hers, his, ways = await stage.ana(), await stage.enters(BO), Ways(stage)
    return hers, his, ways


async def left(stage, ways, *sessions):
    """What became of the one point, by whose it was, when their access ended."""
    ways.held = set()
    for session in sessions:
        stage.register.end(session, EndReason.GRANT_ENDED)
    ends: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not any(record["subject"] == ANA.id for record in ends):
            await stage.after(1)
            ends = stage.told("leave_finished", "leave_unsettled")
    return {record["subject"]: (record["points"][0]["result"], record["points"][0]["detail"]) for record in ends}


@pytest.mark.parametrize("owing", [set(), {BO.id}], ids=["he owes nothing", "he owes too"])
@pytest.mark.parametrize("value", [25, 21], ids=["another value", "the same value"])
@pytest.mark.parametrize("again", [True, False], ids=["her second write", "her first"])
@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
def test_what_she_left_is_not_undone_if_it_crossed_his(play, order, again, value, owing):
    async def story(stage):
        hers, his, ways = await both_enter(stage)
        if again:
            await ways.whole(hers, 20)
        stage.owing |= owing
        she, she_is_told = await ways.begun(hers, 21)
        if owing:
            # He may not begin what he would have to undo while hers is on its way.
            assert (await stage.writes_as(his, value)).reasons == (Reason.ACCESS_CHANGED,)
            stage.owing -= owing
        he, he_is_told = await ways.begun(his, value)
        steps = {
            "hers arrives": she.arrive,
            "hers is answered": she.answer,
            "his arrives": he.arrive,
            "his is answered": he.answer,
        }
        for step in order:
            steps[step]()
            await asyncio.sleep(0)
        assert [(await told).relayed.result for told in (she_is_told, he_is_told)] == [Result.DONE] * 2
        there, written = stage.holds, list(stage.writes)
        result, detail = (await left(stage, ways, hers, his))[ANA.id]
        assert (stage.holds, stage.writes) == (there, written)
        assert result == ("kept" if there == 25 else "unknown")
        assert there == 25 or detail.startswith(f"crossed with a write of {BO.id} (record ")
        assert bool(stage.keeper.unsettled) is (there != 25)

    play(story)


@pytest.mark.parametrize("first", [True, False])
def test_whose_write_did_nothing_crossed_none(play, first):
    async def story(stage):
        hers, his, ways = await both_enter(stage)
        she, she_is_told = await ways.begun(hers, 21)
        he, he_is_told = await ways.begun(his, 25)
        she.arrive()
        for answer in (he.answer, she.answer) if first else (she.answer, he.answer):
            answer(*((Result.DEVICE_REFUSED,) if answer == he.answer else ()))
            await asyncio.sleep(0)
        await asyncio.gather(she_is_told, he_is_told)
        assert (await left(stage, ways, hers, his))[ANA.id] == ("undone", "")
        assert stage.holds == 18

    play(story)


def test_her_write_that_did_nothing_leaves_what_he_wrote(play):
    async def story(stage):
        hers, his, ways = await both_enter(stage)
        await ways.whole(hers, 20)
        she, she_is_told = await ways.begun(hers, 21)
        await ways.whole(his, 25)
        she.answer(Result.NOT_SENT)
        await she_is_told
        result, detail = (await left(stage, ways, hers, his))[ANA.id]
        assert (result, stage.holds) == ("kept", 25)
        assert detail.startswith(f"written since by {BO.id}")

    play(story)


def test_she_begins_nothing_that_she_would_have_to_undo_while_his_is_on_its_way(play):
    async def story(stage):
        hers, his, ways = await both_enter(stage)
        he, he_is_told = await ways.begun(his, 25)
        finding = await stage.writes_as(hers, 21)
        assert isinstance(finding, Refused)
        assert (finding.reasons, modbus_reply(6, finding)) == ((Reason.ACCESS_CHANGED,), b"\x86\x06")
        he.arrive()
        he.answer()
        await he_is_told
        await ways.whole(hers, 21)
        assert (await left(stage, ways, hers, his))[ANA.id] == ("undone", "")
        assert (stage.holds, stage.writes) == (25, [25, 21, 25])

    play(story)


def test_a_value_that_she_read_before_his_came_out_is_not_taken_for_the_one_before(play):
    async def story(stage):
        hers, his, ways = await both_enter(stage)
        ways.held = {3, 6}
        reading, she_is_told = await ways.begun(hers, 21)
        reading.arrive()
        await ways.whole(his, 25)
        reading.answer()
        assert (await she_is_told).reasons == (Reason.ACCESS_CHANGED,)
        ways.held = {6}
        await ways.whole(hers, 21)
        assert (await left(stage, ways, hers, his))[ANA.id] == ("undone", "")
        assert (stage.holds, stage.writes) == (25, [25, 21, 25])

    play(story)
