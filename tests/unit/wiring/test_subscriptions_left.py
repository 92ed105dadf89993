"""What the broker subscribed for somebody is cancelled at the device when the access ends, and never in its way."""

import asyncio
from dataclasses import replace

import pytest

from broker.engine.in_force import ITSELF
from broker.engine.sessions import Session
from broker.listeners.bacnet_subscriptions import CovDesk
from broker.listeners.interpreters import Interpreters
from broker.model.decision import EntryPoint
from broker.model.lock import Lock, LockKind
from broker.model.operation import BacnetProperty, Relayed
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.vocabulary import EndReason, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.cov import encode_cov_subscription
from broker.wire.bacnet.services import decode_confirmed
from tests.unit.wiring.leave_stage import ANA, HOLIDAYS, NOW, Stage
from tests.unit.wiring.leave_stage import at_once as at_once
from tests.unit.wiring.leave_stage import play as play

VAV = Device(
    "plant",
    "vav-1",
    "hvac",
    Protocol.BACNET,
    BacnetIpWay("127.0.0.1", 47808, 1001),
    points=(Point("zone", BacnetAddress("analog-value", 1)),),
)
ON_DEVICE = Lock("lck-2", LockKind.DEVICE, VAV.key, "why", "bo", NOW, "b/ledger")
SILENT = Relayed(Result.NO_REPLY, code="no_reply")


class Field(Stage):
    """A BACnet device and its subscriptions; `lost` answers nothing."""

    def __init__(self, folder):
        super().__init__(folder)
        self.changed(devices=(VAV,))
        self.heard = []
        self.silent = False
        self.desk_of_cov = CovDesk(self, self, self.driver, Interpreters(), lambda key: self, lambda: 700, self.keeper)

    def notifications(self, told):
        self.told_to = told

    def _turn(self, payload, relayed, still_allowed):
        held_back = still_allowed()
        if held_back:
            relayed(Relayed(Result.NOT_SENT, code=held_back))
            return
        self.heard.append(dict(decode_confirmed(payload[1], payload[2:]).facts))
        relayed(SILENT if self.silent else Relayed(Result.DONE, bytes((0x20, payload[1]))))

    async def subscribed(self) -> Session:
        session = await self.enters(ANA, VAV)
        bare = encode_cov_subscription(7, BacnetProperty("analog-value", 1, None), lifetime_seconds=3600)
        done = asyncio.get_running_loop().create_future()
        self.desk_of_cov.take(session, self, Interpreters().bacnet(VAV).interpret(bare), done.set_result)
        assert (await done).done
        return session

    async def settled(self):
        for _ in range(200):
            await asyncio.sleep(0)

    @property
    def cancelled(self):
        return [asked for asked in self.heard if "cancels" in asked]


@pytest.fixture
def field(tmp_path):
    return Field(tmp_path)


def kinds(records):
    return [record["kind"] for record in records]


def test_it_is_cancelled_in_a_session_of_the_brokers_own_with_intent_and_outcome(play, field):
    async def story(stage):
        session = await stage.subscribed()
        before = len(stage.records)
        stage.register.end(session, EndReason.GRANT_ENDED)
        assert session.ended and not stage.cancelled
        await stage.settled()
        assert stage.cancelled == [{"process-identifier": "700", "cancels": "true"}]
        told = stage.records[before:]
        assert kinds(told)[:1] == ["session_closed"]
        assert kinds(told)[1:] == ["decision", "session_opened", "decision", "intent", "outcome", "session_closed"]
        assert told[2]["subject"]["organisation"] == ITSELF.id
        asked = told[3]["input"]
        assert (asked["leave"]["subject"], asked["leave"]["why"], asked["leave"]["debt"]) == (
            ANA.id,
            "grant_ended",
            None,
        )
        assert (told[4]["service"], told[5]["result"], told[6]["reason"]) == ("subscribe-cov", "done", "leave_over")

    play(story, field)


def test_a_dead_device_is_told_once_and_what_came_of_it_is_on_record(play, field):
    async def story(stage):
        session = await stage.subscribed()
        stage.silent = True
        stage.register.end(session, EndReason.LOCKED)
        await stage.settled()
        assert len(stage.cancelled) == 1
        assert stage.told("outcome")[-1]["result"] == "no_reply"
        assert not stage.register.sessions()

    play(story, field)


def frozen(stage):
    stage.changed(devices=(VAV,), freezes=(replace(HOLIDAYS, scope=replace(HOLIDAYS.scope, organisations=())),))
    stage.denied.add(EntryPoint.LEAVE)


def stopping(stage):
    stage.register.shut_for.add("stopping")


def moved(stage):
    stage.changed(devices=(replace(VAV, way=BacnetIpWay("127.0.0.2", 47808, 1002)),))


def gone(stage):
    stage.changed(devices=())


def closed(stage):
    stage.closed = True


@pytest.mark.parametrize("happens", [frozen, stopping, moved, gone, closed])
def test_where_the_broker_may_not_have_a_session_nothing_is_sent_and_nothing_waits(play, field, happens):
    async def story(stage):
        session = await stage.subscribed()
        happens(stage)
        stage.register.end(session, EndReason.GRANT_ENDED)
        assert session.ended
        await stage.settled()
        assert not stage.cancelled and not stage.register.sessions()
        stage.closed = False

    play(story, field)


def test_a_lock_on_the_device_ends_the_session_and_the_broker_does_not_go_there_either(play, field):
    async def story(stage):
        session = await stage.subscribed()
        stage.locked(ON_DEVICE)
        assert session.ended is EndReason.LOCKED
        await stage.settled()
        assert not stage.cancelled
        assert stage.told("decision")[-1]["allow"] is False

    play(story, field)


@pytest.mark.parametrize("kind", ["intent", "outcome"])
def test_a_ledger_that_closes_meanwhile_lets_nothing_be_sent_that_was_not_intended(play, field, kind):
    async def story(stage):
        session = await stage.subscribed()
        stage.fails = lambda record: record["kind"] == kind
        stage.register.end(session, EndReason.GRANT_ENDED)
        await stage.settled()
        assert len(stage.cancelled) == (kind == "outcome")
        stage.fails, stage.closed = (lambda record: False), False

    play(story, field)


def test_who_subscribes_again_meanwhile_keeps_it(play, field):
    async def story(stage):
        session = await stage.subscribed()
        stage.register.end(session, EndReason.PEER_CLOSED)
        await stage.subscribed()
        await stage.settled()
        (cancelled,) = stage.cancelled
        again = [asked["process-identifier"] for asked in stage.heard if "lifetime" in asked]
        assert cancelled["process-identifier"] == again[0] != again[1]

    play(story, field)
