"""Sessions of an emergency rest on it alone: the fixed policy decides, no calendar ends them, its end does."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from broker.access.emergencies import EmergenciesInForce
from broker.access.locks import LocksInForce
from broker.engine.events import Refused
from broker.engine.sessions import Session, Situation
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.session_register import FILES_INVALID, LOGOUTS_UNREAD, STATE_STALE, SessionRegister
from broker.model.decision import EntryPoint
from broker.model.emergency import Emergency
from broker.model.lock import Lock, LockKind
from broker.model.place import Device, Organisation, Protocol
from broker.model.schedule import CalendarState, Interval
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action, EndReason
from broker.model.way import ModbusTcpWay

NOW = 1_800_000_000.0
PROOF = Proof(ProofKind.CERTIFICATE, "CN=root", "di@plant.example", "a" * 43, NOW, NOW + 7200)
DI = Subject("di@plant.example", SubjectKind.PERSON, "plant-owner", proofs=(PROOF,))
BO = replace(DI, id="bo@plant.example")
AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502))
FROZEN = CalendarState((), (Interval("holidays", NOW - 9, NOW + 9000),), None, NOW + 9000, views_frozen=True)
EMERGENCY = Emergency(
    id="emg-1",
    site="plant",
    subject=DI.id,
    organisation="plant-owner",
    why="fire",
    opened_at=NOW,
    until=NOW + 60,
    actions=(Action.VIEW,),
    broker="b/ledger",
    seal="seal-1",
    parts=(1, 2),
    peer="127.0.0.1:1",
    passes=("lck-before",),
)
YES = b'{"allow":true,"reasons":[],"obligations":[],"valid_until":%d,"rule":"r"}' % (NOW + 50)
NO = b'{"allow":false,"reasons":["role_missing"],"obligations":[],"rule":"denied"}'


class Plant:
    """A register and a desk in memory; the policy in force denies everything, the fixed one allows it."""

    def __init__(self) -> None:
        self.time = NOW
        self.asked: list[tuple[str, EntryPoint, dict[str, Any]]] = []
        self.records: list[dict[str, Any]] = []
        clock: Any = SimpleNamespace(now=lambda: self.time, monotonic=lambda: self.time)
        ledger: Any = SimpleNamespace(
            append=lambda record: self.records.append(orjson.loads(record)) or len(self.records) - 1,
            settle=lambda durable, settled: True,
        )
        in_force: Any = SimpleNamespace(
            organisation=lambda subject: Organisation("plant-owner", (), (), owner=True),
            situation=lambda subject, device, now: Situation(now, (), FROZEN, None),
            device=lambda key: AHU,
        )
        nothing: Any = SimpleNamespace()
        ordinary: Any = self._policy("in force", NO)
        self.desk = DecisionDesk(
            clock, ledger, ordinary, in_force, lambda prefix: f"{prefix}-{len(self.records)}", nothing
        )
        self.desk.emergencies.policy = self._policy("fixed", YES)
        self.desk.enforce_emergencies(EmergenciesInForce((EMERGENCY,)))
        self.register = SessionRegister(clock, ledger, self.desk, lambda prefix: f"{prefix}-1", lambda s, now: s)
        self.cut: list[EndReason] = []

    def _policy(self, name: str, answer: bytes) -> Any:
        def decide(entry_point: EntryPoint, question: bytes, answered: Any) -> None:
            self.asked.append((name, entry_point, orjson.loads(question)))
            answered(answer)

        return SimpleNamespace(revision=name, decide=decide)

    def open(self, subject: Subject = DI) -> Session | Refused:
        found: list[Session | Refused] = []
        self.register.open(subject, AHU, "modbus_tls", "127.0.0.1:1", self.cut.append, found.append)
        return found[0]

    def isolate(self, *ids: str) -> None:
        locks = (Lock(name, LockKind.SITE, "plant", "why", "bo", NOW, "b/ledger", isolation=True) for name in ids)
        self.desk.enforce(LocksInForce(locks))
        self.register.enforce_locks()


def test_the_fixed_policy_alone_is_asked_and_told_of_nothing_but_the_emergency() -> None:
    plant = Plant()
    session = plant.open()
    assert isinstance(session, Session)
    ((name, entry_point, question),) = plant.asked
    assert (name, entry_point) == ("fixed", EntryPoint.EMERGENCY)
    assert [grant["id"] for grant in question["grants"]] == ["emg-1"]
    assert question["freezes"]
    decision, opened = plant.records
    assert (decision["revision"], decision["entry_point"]) == ("fixed", "emergency.decision")
    assert opened["emergency"] == session.emergency == "emg-1"


def test_others_are_decided_by_the_policy_in_force() -> None:
    plant = Plant()
    assert isinstance(plant.open(BO), Refused)
    assert plant.asked[0][:2] == ("in force", EntryPoint.SESSION)


def test_a_freeze_does_not_end_it_and_its_time_does_at_the_next_look() -> None:
    plant = Plant()
    plant.open()
    plant.register.tick(plant.time + 59)
    assert plant.cut == []
    plant.time = EMERGENCY.until
    plant.register.tick(plant.time)
    assert plant.cut == [EndReason.GRANT_ENDED]
    assert isinstance(plant.open(), Refused)


def test_closing_it_ends_its_sessions_at_once() -> None:
    plant = Plant()
    plant.open()
    plant.desk.enforce_emergencies(EmergenciesInForce())
    plant.register.enforce_emergencies()
    assert plant.cut == [EndReason.GRANT_ENDED]


def test_a_state_that_is_too_old_spares_it() -> None:
    plant = Plant()
    plant.register.shut_for.add(STATE_STALE)
    session = plant.open()
    assert isinstance(session, Session)
    plant.register.end_all_but_emergencies(EndReason.STATE_STALE)
    assert session.ended is None


@pytest.mark.parametrize("word", [STATE_STALE, LOGOUTS_UNREAD, FILES_INVALID])
def test_a_state_or_files_that_cannot_be_read_bar_others_and_not_it(word: str) -> None:
    plant = Plant()
    plant.register.shut_for.add(word)
    assert isinstance(plant.open(BO), Refused)
    assert plant.asked == [], "not even the policy is asked"
    assert isinstance(plant.open(), Session)


def test_nothing_else_spares_it() -> None:
    plant = Plant()
    plant.register.shut_for |= {STATE_STALE, "the broker stops"}
    assert isinstance(plant.open(), Refused)


def test_it_passes_the_isolation_from_before_and_a_later_one_ends_it() -> None:
    plant = Plant()
    plant.isolate("lck-before")
    assert isinstance(plant.open(), Session)
    plant.isolate("lck-before")
    assert plant.cut == []
    plant.isolate("lck-after", "lck-before")
    assert plant.cut == [EndReason.SITE_ISOLATED], "set later, whatever the clock of its broker said"
    assert plant.asked[-1][:2] == ("in force", EntryPoint.ADMIN), "the policy may still name whom it spares"


def test_a_lock_on_the_emergency_as_on_a_grant_takes_it_away() -> None:
    plant = Plant()
    plant.open()
    plant.desk.enforce(LocksInForce((Lock("lck-1", LockKind.GRANT, "emg-1", "why", "bo", NOW, "b/ledger"),)))
    plant.register.enforce_locks()
    assert plant.cut == [EndReason.LOCKED]
