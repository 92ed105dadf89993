"""Live control with the real desk, driver and register: what a pause refuses, and that every act is recorded first."""

import asyncio
import json
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest

from broker.engine.events import Refused
from broker.engine.exchange import exchange
from broker.engine.in_force import InForce
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError
from broker.listeners.concealment import Concealment
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.driver import Driver
from broker.listeners.refusals import modbus_reply
from broker.listeners.session_register import SessionRegister
from broker.listeners.supervision import MARK_SECONDS, Supervision
from broker.listeners.watchers import MAX_WAITING_EVENTS
from broker.model.decision import EntryPoint
from broker.model.operation import Relayed
from broker.model.place import Device, Grant, Inventory, ModbusAddress, Organisation, Point, Protocol, Table, ValueType
from broker.model.schedule import Scope
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action, EndReason, Reason, Result
from broker.model.way import ModbusTcpWay
from broker.wire.modbus.meaning import interpret
from tests.unit.listeners.no_debts import NoDebts

NOW = 1_800_000_000.0
PROOF = Proof(ProofKind.CERTIFICATE, "CN=root", "ana@acme.example", "a" * 43, NOW, NOW + 3600)
ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme", proofs=(PROOF,))
BO = Subject("bo@plant.example", SubjectKind.PERSON, "plant-owner")
POINT = Point("setpoint", ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16), Action.ADJUST)
DEVICE = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502), points=(POINT,))
GRANT = Grant("look", Scope(), (Action.VIEW,), subjects=(ANA.id,))
ALLOW = json.dumps(
    {"allow": True, "reasons": [], "obligations": [], "rule": "r", "valid_until": int(NOW) + 50}
).encode()
READ = interpret(DEVICE, bytes.fromhex("03000a0001"))
BUSY = bytes((0x83, 6))


class Stage:
    """Policy, device and ledger answer when they are let; a session of ana is open."""

    def __init__(self):
        self.time, self.revision, self.closed = NOW, "r1", False
        self.records, self.sent, self.findings, self.cuts = [], [], [], []
        self.later = deque()
        inventory = Inventory("i", (), (), (DEVICE,), (Organisation("acme", (), ()),), (), (), (GRANT,))
        self.desk = DecisionDesk(self, self, self, InForce(inventory), self._id, Concealment(SimpleNamespace()))
        self.register = SessionRegister(self, self, self.desk, self._id, lambda subject, now: subject)
        self.driver = Driver(self, self, self.desk, lambda key: self, self.register.end, NoDebts())
        self.supervision = Supervision(self, self, self.desk, self.register, lambda subject, now: subject)
        self.session = self.open()

    def open(self):
        opened = []
        self.register.open(ANA, DEVICE, "modbus_tls", "127.0.0.1:1", self.cuts.append, opened.append)
        self.settle_all()
        assert isinstance(opened[0], Session)
        return opened[0]

    def _id(self, prefix):
        return f"{prefix}-{len(self.records)}"

    def now(self):
        return self.time

    def append(self, record, *, intent=False):
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "")
        self.records.append(json.loads(record))
        return len(self.records) - 1

    def settle(self, durable, settled):
        return True

    def decide(self, entry_point, question, answered):
        self.later.append(lambda: answered(ALLOW))

    def relay(self, request, relayed, still_allowed=None):
        def turn():
            held_back = still_allowed()
            if held_back:
                relayed(Relayed(Result.NOT_SENT, code=held_back))
            else:
                self.sent.append(request)
                relayed(Relayed(Result.DONE, bytes.fromhex("030200c8")))

        self.later.append(turn)

    def settle_all(self):
        while self.later:
            self.later.popleft()()

    def ask(self):
        self.driver.run(self.session, exchange(self.session, READ), self.findings.append)

    def asked(self):
        self.ask()
        self.settle_all()
        return self.findings[-1]

    def kinds(self):
        return [record["kind"] for record in self.records]


@pytest.fixture
def stage():
    return Stage()


def test_a_paused_session_is_refused_without_being_cut_and_each_refusal_is_recorded(stage):
    stage.asked()
    stage.supervision.pause(stage.session, BO, "valve stuck")
    before = len(stage.records)
    for _ in range(3):
        finding = stage.asked()
        assert finding.reasons == (Reason.SESSION_PAUSED,)
        assert modbus_reply(3, finding) == BUSY
    assert stage.kinds()[before:] == ["decision", *["intent", "outcome"] * 3]
    assert stage.records[before]["reasons"] == ["session_paused"]
    assert {r["result"] for r in stage.records[before:] if r["kind"] == "outcome"} == {"denied"}
    assert (len(stage.sent), stage.session.ended, stage.session.refusals) == (1, None, 3)
    stage.supervision.resume(stage.session, BO, "")
    assert stage.asked().relayed.result == Result.DONE
    acts = [r for r in stage.records if r["kind"] in ("session_paused", "session_resumed")]
    assert [(act["kind"], act["by"], act.get("why")) for act in acts] == [
        ("session_paused", BO.id, "valve stuck"),
        ("session_resumed", BO.id, None),
    ]


def test_what_waits_for_the_policy_when_the_pause_comes_is_not_sent_and_leaves_no_lease(stage):
    stage.ask()
    stage.supervision.pause(stage.session, BO, "")
    stage.settle_all()
    assert isinstance(stage.findings[-1], Refused)
    assert stage.findings[-1].reasons == (Reason.SESSION_PAUSED,)
    assert (stage.sent, stage.session.leases) == ([], {})
    assert stage.kinds()[-2:] == ["intent", "outcome"]
    assert (stage.records[-1]["result"], stage.records[-1]["code"]) == ("not_sent", "session_paused")


def test_what_waits_for_its_turn_at_the_device_when_the_pause_comes_is_not_sent(stage):
    stage.asked()
    stage.ask()
    stage.supervision.pause(stage.session, BO, "")
    stage.settle_all()
    finding = stage.findings[-1]
    assert (finding.relayed.result, finding.relayed.code) == (Result.NOT_SENT, Reason.SESSION_PAUSED)
    assert modbus_reply(3, finding) == BUSY
    assert len(stage.sent) == 1
    assert stage.records[-1]["code"] == "session_paused"


def test_another_session_keeps_its_leases(stage):
    stage.asked()
    first = stage.session
    stage.session = stage.open()
    stage.asked()
    stage.supervision.pause(first, BO, "")
    taken = stage.desk.taken
    assert stage.asked().relayed.result == Result.DONE
    assert stage.desk.taken == taken


def test_what_is_so_already_is_not_recorded_again(stage):
    stage.supervision.resume(stage.session, BO, "")
    stage.supervision.pause(stage.session, BO, "")
    stage.supervision.pause(stage.session, ANA, "")
    assert stage.kinds().count("session_paused") == 1
    assert "session_resumed" not in stage.kinds()
    assert stage.supervision.outlook(stage.session).paused.by == BO.id


def test_an_end_is_recorded_with_who_made_it_before_the_path_is_cut(stage):
    stage.supervision.end(stage.session, BO, "enough")
    assert stage.kinds()[-2:] == ["session_cut", "session_closed"]
    assert stage.records[-1]["reason"] == "ended_by_administrator"
    assert stage.cuts == [EndReason.ENDED_BY_ADMINISTRATOR]
    stage.supervision.end(stage.session, BO, "again")
    assert stage.kinds().count("session_cut") == 1
    assert stage.supervision.session(stage.session.id) is None


@pytest.mark.parametrize("act", ["pause", "end"])
def test_an_act_that_cannot_be_recorded_does_not_happen(stage, act):
    stage.closed = True
    with pytest.raises(LedgerUnavailableError):
        getattr(stage.supervision, act)(stage.session, BO, "")
    assert (stage.session.ended, stage.session.barred, stage.cuts) == (None, "", [])


def test_watching_a_session_tells_its_operations_and_stops_with_the_last_watcher(stage):
    watcher = stage.supervision.watch(BO, stage.session)
    stage.asked()
    stage.supervision.pause(stage.session, BO, "")
    stage.asked()
    seen = list(watcher._waiting)
    assert [(s.change or s.result) for s in seen] == ["done", "paused", "denied"]
    assert seen[-1].reasons == ("session_paused",)
    stage.supervision.leave(watcher)
    assert stage.session.observer is None


def test_a_session_opened_later_is_seen_by_who_watches_all(stage):
    watcher = stage.supervision.watch(BO, None)
    stage.session = stage.open()
    stage.asked()
    stage.register.close(stage.session, EndReason.PEER_CLOSED)
    assert [(s.change or s.result) for s in watcher._waiting] == ["opened", "done", "closed"]
    assert watcher.ended is None


def test_the_outlook_names_grants_the_end_and_the_pace(stage):
    stage.time += 4
    for _ in range(8):
        stage.asked()
    outlook = stage.supervision.outlook(stage.session)
    assert (outlook.grants, outlook.ends) == (("look",), (NOW + 3600, EndReason.CERTIFICATE_EXPIRED))
    assert outlook.per_second == 2.0
    assert outlook.paused is None


def test_the_pace_forgets_what_lies_two_marks_back(stage, monkeypatch):
    monkeypatch.setattr(stage.supervision, "start", lambda: None)
    for _ in range(10):
        stage.asked()
    for _ in range(2):
        stage.time += MARK_SECONDS
        stage.supervision._mark()
    stage.time += 1
    stage.asked()
    assert stage.supervision.outlook(stage.session).per_second == pytest.approx(1 / 6)


def test_a_watcher_stands_while_its_proofs_and_contract_do(stage):
    assert stage.supervision.standing(ANA) == ANA
    stage.time = PROOF.not_after
    assert stage.supervision.standing(ANA) is EndReason.CERTIFICATE_EXPIRED
    assert stage.supervision.standing(BO) is EndReason.CONTRACT_ENDED


SUPERVISED = replace(GRANT, supervised=True)


class Supervised(Stage):
    """The same under a grant that asks for supervision; the policy refuses while it is told of no supervisor."""

    def __init__(self, grant=SUPERVISED):
        self.grant, self.told = grant, []
        super().__init__()
        inventory = replace(self.desk.in_force.inventory, grants=(grant,))
        self.desk.in_force = InForce(inventory)

    def decide(self, entry_point, question, answered):
        asked = json.loads(question)
        watched_by = asked["session"]["watched_by"]
        self.told.append(watched_by)
        missing = {"allow": False, "reasons": ["supervisor_missing"], "obligations": [], "rule": "denied"}
        refused = json.dumps(missing | {"valid_until": int(NOW) + 50}).encode()
        operation = entry_point is EntryPoint.OPERATION
        self.later.append(lambda: answered(refused if operation and not watched_by else ALLOW))

    def supervisor(self, subject=BO, session=None):
        watcher = self.supervision.watch(subject, session)
        self.supervision.supervise(watcher, True)
        return watcher


def test_a_supervised_session_opens_and_does_nothing_until_somebody_supervises():
    stage = Supervised()
    assert stage.asked().reasons == (Reason.SUPERVISOR_MISSING,)
    plain = stage.supervision.watch(BO, None)
    assert stage.asked().reasons == (Reason.SUPERVISOR_MISSING,)
    stage.supervision.supervise(plain, True)
    assert stage.asked().relayed.result == Result.DONE
    assert stage.session.watched_by == (BO.id,)
    assert stage.supervision.outlook(stage.session).supervised


def test_it_ends_for_that_reason_when_the_last_supervisor_leaves():
    stage = Supervised()
    first, second = stage.supervisor(), stage.supervisor(replace(BO, id="cy@plant.example"), stage.session)
    assert stage.asked().relayed.result == Result.DONE
    stage.supervision.leave(first, "watch all sessions", EndReason.TOKEN_EXPIRED)
    assert stage.session.ended is None
    assert stage.session.leases == {}
    assert stage.asked().relayed.result == Result.DONE
    assert stage.told[-1] == ["cy@plant.example"]
    stage.supervision.supervise(second, False)
    assert stage.session.ended is EndReason.SUPERVISOR_LEFT
    assert stage.cuts == [EndReason.SUPERVISOR_LEFT]
    ended = [(r["kind"], r["reason"]) for r in stage.records if r["kind"] in ("watching_ended", "session_closed")]
    assert ended == [("watching_ended", "token_expired"), ("session_closed", "supervisor_left")]
    stage.session = stage.open()
    assert stage.asked().reasons == (Reason.SUPERVISOR_MISSING,)


def test_nobody_supervises_a_session_of_its_own():
    stage = Supervised()
    stage.supervisor(ANA)
    assert stage.session.watched_by == ()
    assert stage.asked().reasons == (Reason.SUPERVISOR_MISSING,)


def test_a_session_that_no_grant_wants_supervised_goes_on_without():
    stage = Supervised(GRANT)
    watcher = stage.supervisor()
    stage.asked()
    stage.supervision.leave(watcher)
    assert stage.session.ended is None


def test_what_waits_for_the_policy_when_the_last_supervisor_leaves_is_not_sent():
    stage = Supervised()
    watcher = stage.supervisor()
    stage.ask()
    stage.supervision.leave(watcher)
    stage.settle_all()
    assert isinstance(stage.findings[-1], Refused)
    assert stage.sent == []


def test_what_was_decided_under_another_supervisor_becomes_no_lease():
    stage = Supervised()
    watcher = stage.supervisor()
    stage.ask()
    stage.supervisor(replace(BO, id="cy@plant.example"))
    stage.supervision.leave(watcher)
    stage.settle_all()
    assert stage.findings[-1].relayed.result == Result.DONE
    assert stage.session.leases == {}


def test_a_session_opened_later_is_supervised_by_who_watches_all():
    stage = Supervised()
    stage.supervisor()
    stage.session = stage.open()
    assert stage.session.watched_by == (BO.id,)


def test_who_misses_events_keeps_up_no_more_until_they_are_told():
    stage = Supervised()
    watcher = stage.supervisor()
    for _ in range(MAX_WAITING_EVENTS + 1):
        watcher.offer(None)
    assert not watcher.keeps_up

    async def takes():
        for _ in range(2):
            await watcher.take(MAX_WAITING_EVENTS, 1)

    asyncio.run(takes())
    assert watcher.keeps_up


def test_the_end_of_access_is_told_a_quarter_of_an_hour_and_five_minutes_before_once_each() -> None:
    stage, told = Stage(), []
    stage.register.give("requests", (replace(GRANT, id="req-1", not_after=NOW + 1000),))
    stage.session.warn = lambda when, why: told.append((when - NOW, why))
    for stage.time in (NOW, NOW + 99, NOW + 100, NOW + 105, NOW + 699, NOW + 700, NOW + 705, NOW + 999):
        stage.supervision._warn()
    assert told == [(1000, EndReason.GRANT_ENDED)] * 2
    assert stage.supervision.ends_soon(stage.session) == (NOW + 1000, EndReason.GRANT_ENDED)
