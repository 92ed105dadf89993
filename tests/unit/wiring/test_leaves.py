"""When the broker undoes what somebody left: not too early, not in the way of anything, not twice, and not for ever."""

import asyncio
import json
from dataclasses import replace

import pytest

from broker.listeners.session_register import REQUESTS_UNREAD, STATE_STALE
from broker.model.decision import EntryPoint
from broker.model.lock import Lock, LockKind
from broker.model.operation import Relayed
from broker.model.place import GrantKind
from broker.model.vocabulary import EndReason, Result
from broker.wiring import leaves
from tests.unit.wiring.leave_stage import (
    ADJUST,
    ANA,
    DEVICE,
    GIVE_UP,
    GRACE,
    HOLIDAYS,
    LOOK,
    NOW,
    POINT,
    Stage,
    left,
)
from tests.unit.wiring.leave_stage import at_once as at_once
from tests.unit.wiring.leave_stage import play as play

ISOLATION = Lock("lck-1", LockKind.SITE, "plant", "why", "bo", NOW, "b/ledger", isolation=True)
ON_DEVICE = Lock("lck-2", LockKind.DEVICE, "plant/ahu-1", "why", "bo", NOW, "b/ledger")
ON_ANA = Lock("lck-3", LockKind.SUBJECT, ANA.id, "why", "bo", NOW, "b/ledger")
ASKED_FOR = replace(ADJUST, id="req-1", kind=GrantKind.REQUEST, organisations=("acme",), not_after=NOW + 10**5)
UNDONE = [("undone", "")]


def test_an_access_that_ended_is_undone_at_once(play):
    async def story(stage):
        await left(stage, EndReason.ENDED_BY_ADMINISTRATOR)
        assert await stage.leave() == UNDONE
        assert (stage.holds, len(stage.journal.debts)) == (18, 0)
        assert stage.told("leave_finished")[0]["why"] == "ended_by_administrator"

    play(story)


def test_who_lost_a_connection_has_a_grace_to_come_back_in(play):
    async def story(stage):
        await left(stage)
        await stage.after(GRACE - 1)
        assert stage.holds == 20
        session = await stage.ana()
        await stage.after(10 * GRACE)
        assert stage.holds == 20
        stage.register.end(session, EndReason.IDLE)
        await stage.after(GRACE - 1)
        assert stage.holds == 20
        await stage.after(2)
        assert await stage.leave() == UNDONE

    play(story)


def test_while_another_session_with_the_same_access_goes_on_nothing_is_undone(play):
    async def story(stage):
        other = await stage.ana()
        await left(stage, EndReason.ENDED_BY_ADMINISTRATOR)
        await stage.after(10 * GRACE)
        assert stage.holds == 20
        stage.register.end(other, EndReason.ENDED_BY_ADMINISTRATOR)
        assert await stage.leave() == UNDONE

    play(story)


def test_the_grace_ends_with_the_window_even_if_a_session_that_only_looks_goes_on(play):
    async def story(stage):
        await left(stage)
        await stage.after(GRACE / 2)
        assert stage.holds == 20
        stage.time = NOW + 1001
        looking = await stage.ana()
        assert not looking.relied_on
        assert await stage.leave() == UNDONE
        assert stage.told("leave_finished")[0]["why"] == "window_closed"
        assert looking.ended is None

    play(story)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda stage: stage.changed(grants=(LOOK,)), "grant_ended"),
        (lambda stage: stage.locked(ON_ANA), "locked"),
    ],
)
def test_the_grace_ends_when_there_is_no_access_to_come_back_to(play, change, why):
    async def story(stage):
        await left(stage)
        await stage.after(1)
        assert stage.holds == 20
        change(stage)
        assert await stage.leave() == UNDONE
        assert stage.told("leave_finished")[0]["why"] == why

    play(story)


def loses_the_state(stage):
    stage.register.shut_for.add(STATE_STALE)
    stage.register.grants_unread.add(REQUESTS_UNREAD)
    stage.register.end_all_but_emergencies(EndReason.STATE_STALE)
    stage.given(gone=EndReason.STATE_STALE)


async def has_the_state_again(stage, *grants):
    """The locks are read first, and nobody knows yet what was asked for."""
    stage.register.shut_for.clear()
    await stage.after(1)
    stage.given(*grants)
    stage.register.grants_unread.clear()


def test_who_lost_his_grant_only_because_the_state_was_away_has_his_grace_once_it_is_back(play):
    async def story(stage):
        stage.given(ASKED_FOR)
        session = await stage.ana()
        await stage.writes_as(session, 20)
        loses_the_state(stage)
        await stage.after(2 * GRACE)
        ((_, told),) = stage.keeper.debts()
        assert (session.ended, told) == ("state_stale", f"{REQUESTS_UNREAD}, {STATE_STALE}")
        await has_the_state_again(stage, ASKED_FOR)
        await stage.after(GRACE - 1)
        assert (stage.holds, stage.told("leave_finished", "leave_unsettled")) == (20, [])
        await stage.after(2)
        assert await stage.leave() == UNDONE
        assert stage.told("leave_finished")[0]["why"] == "state_stale"

    play(story)


def test_a_grant_that_ended_while_the_state_was_away_has_no_grace_once_that_is_known(play):
    async def story(stage):
        stage.given(ASKED_FOR)
        await stage.writes_as(await stage.ana(), 20)
        loses_the_state(stage)
        await has_the_state_again(stage)
        assert await stage.leave() == UNDONE
        assert stage.told("leave_finished")[0]["why"] == "grant_ended"

    play(story)


def test_a_state_that_stays_away_for_too_long_is_given_up_listed_and_alarmed(play):
    async def story(stage):
        stage.given(ASKED_FOR)
        await stage.writes_as(await stage.ana(), 20)
        loses_the_state(stage)
        await stage.after(GIVE_UP - 1)
        assert not stage.keeper.unsettled
        await stage.after(2)
        assert await stage.leave() == [("given_up", f"{REQUESTS_UNREAD}, {STATE_STALE}")]
        assert len(stage.keeper.unsettled) == 1

    play(story)


@pytest.mark.parametrize(
    ("block", "unblock", "waits_for"),
    [
        (lambda s: s.changed(freezes=(HOLIDAYS,)), lambda s: s.changed(), "freeze_active (holidays)"),
        (lambda s: s.locked(ISOLATION), lambda s: s.locked(), "site_isolated (lck-1)"),
        (lambda s: s.locked(ON_DEVICE), lambda s: s.locked(), "locked (lck-2)"),
        (lambda s: s.register.shut_for.add("shut"), lambda s: s.register.shut_for.clear(), "shut"),
        (lambda s: setattr(s, "closed", True), lambda s: setattr(s, "closed", False), "ledger_closed"),
    ],
    ids=["freeze of others", "isolation", "lock", "shut", "ledger closed"],
)
def test_what_is_in_the_way_is_waited_for(play, block, unblock, waits_for):
    async def story(stage):
        await left(stage, EndReason.GRANT_ENDED)
        block(stage)
        await stage.after(GIVE_UP - 10)
        ((debt, told),) = stage.keeper.debts()
        assert (stage.holds, told, debt.before) == (20, waits_for, "18")
        assert not stage.told("leave_finished", "leave_unsettled")
        assert stage.writes == [20]
        unblock(stage)
        await stage.after(leaves.AGAIN_SECONDS + 1)
        assert await stage.leave() == UNDONE

    play(story)


def test_what_stays_in_the_way_for_too_long_is_given_up_listed_and_alarmed(play, caplog):
    async def story(stage):
        stage.locked(ON_DEVICE)
        stage.locked()
        await left(stage, EndReason.GRANT_ENDED)
        stage.locked(ON_DEVICE)
        await stage.after(1)
        await stage.after(GIVE_UP + 1)
        assert await stage.leave() == [("given_up", "locked (lck-2)")]
        (leave,) = stage.keeper.unsettled
        assert (stage.holds, len(stage.journal.debts)) == (20, 0)
        assert any(record.levelname == "ERROR" and leave.id in record.message for record in caplog.records)
        await stage.keeper.acknowledge(leave, "bo@plant.example", "set by hand")
        assert stage.keeper.unsettled == ()
        assert stage.told("leave_acknowledged")[0]["by"] == "bo@plant.example"

    play(story)


def test_a_freeze_or_lock_in_the_middle_ends_the_brokers_own_session_and_the_write_is_not_sent(play):
    async def story(stage):
        def isolated_meanwhile(pdu):
            if pdu[0] == 3 and stage.told("session_opened")[-1]["listener"] == "leave" and not isolated:
                isolated.append(True)
                asyncio.get_running_loop().call_soon(stage.locked, ISOLATION)

        isolated: list[bool] = []
        stage.script = isolated_meanwhile
        await left(stage, EndReason.GRANT_ENDED)
        await stage.after(1)
        assert (isolated, stage.holds, stage.writes) == ([True], 20, [20])
        assert stage.told("session_closed")[-1]["reason"] == "site_isolated"
        stage.locked()
        await stage.after(leaves.AGAIN_SECONDS + 1)
        assert await stage.leave() == UNDONE

    play(story)


@pytest.mark.parametrize("silent", ["read", "write"])
def test_a_device_that_is_not_there_is_asked_so_often_and_no_more(play, silent):
    async def story(stage):
        down = Relayed(Result.NOT_SENT, code="device_down")
        await left(stage, EndReason.GRANT_ENDED)
        stage.script = lambda pdu: down if silent == "read" or pdu[0] == 6 else None
        for _ in range(leaves.ATTEMPTS):
            assert not stage.told("leave_unsettled")
            await stage.after(leaves.AGAIN_SECONDS + 1)
        assert await stage.leave() == [("failed", "device_down")]
        attempts = [record for record in stage.told("session_opened") if record["listener"] == "leave"]
        assert len(attempts) == leaves.ATTEMPTS

    play(story)


def test_a_write_whose_outcome_is_unknown_is_listed_and_never_repeated(play):
    async def story(stage):
        await left(stage, EndReason.GRANT_ENDED)
        stage.script = lambda pdu: Relayed(Result.UNKNOWN, code="timeout") if pdu[0] == 6 else None
        assert await stage.leave() == [("unknown", "timeout")]
        await stage.after(10 * GRACE)
        assert stage.writes == [20, 18]
        assert len(stage.keeper.unsettled) == 1

    play(story)


def test_a_policy_that_denies_has_the_last_word(play):
    async def story(stage):
        stage.denied = {EntryPoint.LEAVE}
        await left(stage, EndReason.GRANT_ENDED)
        for _ in range(leaves.ATTEMPTS):
            await stage.after(leaves.AGAIN_SECONDS + 1)
        assert await stage.leave() == [("failed", "role_missing")]
        assert stage.holds == 20

    play(story)


def test_a_device_that_is_gone_from_the_inventory_fails_without_a_session(play):
    async def story(stage):
        await left(stage, EndReason.GRANT_ENDED)
        stage.changed(devices=())
        assert await stage.leave() == [("failed", "device_unknown")]

    play(story)


MOVED = replace(DEVICE, points=(replace(POINT, address=replace(POINT.address, start=12)),))


@pytest.mark.parametrize("held_there", [5, 20], ids=["another value", "the vendor's by chance"])
def test_a_point_that_was_moved_is_not_undone_elsewhere_but_listed_and_alarmed(play, caplog, held_there):
    async def story(stage):
        elsewhere = Relayed(Result.DONE, bytes((3, 2, 0, held_there)))
        stage.script = lambda pdu: elsewhere if pdu[:3] == bytes((3, 0, 12)) else None
        session = await stage.ana()
        await stage.writes_as(session, 20)
        stage.changed(devices=(MOVED,))
        stage.register.examine_all(EndReason.INVENTORY_CHANGED)
        assert session.ended == "inventory_changed"
        assert await stage.leave() == [("failed", "inventory_changed")]
        (leave,) = stage.keeper.unsettled
        assert (stage.holds, stage.writes, len(stage.journal.debts)) == (20, [20], 0)
        assert any(record.levelname == "ERROR" and leave.id in record.message for record in caplog.records)

    play(story)


def test_a_debtor_who_goes_on_at_the_new_place_leaves_nothing_behind_at_the_old_in_silence(play):
    async def story(stage):
        await stage.writes_as(await stage.ana(), 20)
        stage.locked(ISOLATION)
        stage.changed(devices=(MOVED,))
        stage.register.examine_all(EndReason.INVENTORY_CHANGED)
        stage.locked()
        again = await stage.enters(ANA, MOVED)
        await stage.writes_as(again, 30, MOVED)
        assert await stage.leave() == [("failed", "inventory_changed")]
        ((debt, told),) = stage.keeper.debts()
        assert (again.ended, debt.own, told) == (None, {"30"}, "the end of the access")

    play(story)


def test_what_was_owed_when_the_broker_died_is_undone_by_the_next_one_after_a_grace(play, tmp_path):
    async def killed() -> Stage:
        stage = Stage(tmp_path)
        await stage.start()
        await stage.writes_as(await stage.ana(), 20)
        return stage

    asyncio.run(killed())
    assert json.loads((tmp_path / "owed.json").read_text())[0]["before"] == "18"
    again = Stage(tmp_path)
    again.holds = 20

    async def story(stage):
        await stage.after(GRACE - 1)
        assert stage.holds == 20
        await stage.after(2)
        assert await stage.leave() == UNDONE

    play(story, again)


def test_a_debt_whose_undoing_was_begun_before_a_crash_is_not_written_again(play, tmp_path):
    async def killed() -> None:
        stage = Stage(tmp_path)
        await stage.start()
        await stage.writes_as(await stage.ana(), 20)
        (debt,) = stage.journal.debts.all()
        on_disk = asyncio.get_running_loop().create_future()
        stage.journal.mark(debt, True, on_disk.set_result)
        assert await on_disk

    asyncio.run(killed())
    again = Stage(tmp_path)
    again.holds = 20

    async def story(stage):
        await stage.after(GRACE + 1)
        assert [result for result, _ in await stage.leave()] == ["unknown"]
        assert stage.writes == []

    play(story, again)


def test_a_write_that_cannot_be_kept_on_disk_is_refused_and_nothing_is_owed(play, monkeypatch, caplog):
    async def story(stage):
        def full(*_):
            raise OSError("no space left")

        monkeypatch.setattr("broker.adapters.state_leaves.write_private", full)
        refused = await stage.writes_as(await stage.ana(), 20)
        assert refused.reasons == ("obligation_unmet",)
        assert (stage.holds, stage.writes, len(stage.journal.debts)) == (18, [], 0)
        assert "no space left" in stage.journal.trouble
        await stage.after(1)
        assert len([record for record in caplog.records if "no space left" in record.message]) == 1
        monkeypatch.undo()
        monkeypatch.setattr(leaves, "LOOK_SECONDS", 0.002)
        await stage.after(1)
        assert stage.journal.trouble == ""
        assert (await stage.writes_as(await stage.ana(), 20)).relayed.result == Result.DONE

    play(story)


def test_an_access_that_is_prolonged_by_another_grant_goes_on(play):
    async def story(stage):
        longer = replace(ADJUST, id="longer", extends="adjust")
        stage.changed(grants=(LOOK, ADJUST, longer))
        await left(stage)
        session = await stage.ana()
        stage.changed(grants=(LOOK, longer))
        stage.register.examine_all(EndReason.INVENTORY_CHANGED)
        await stage.after(10 * GRACE)
        assert (session.ended, stage.holds) == (None, 20)
        stage.register.end(session, EndReason.GRANT_ENDED)
        assert await stage.leave() == UNDONE

    play(story)
