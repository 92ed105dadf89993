"""A broker in memory that undoes what ana left: real desk, driver, register and keeper, and a clock that is told."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.access.locks import LocksInForce
from broker.adapters.state_leaves import DebtJournal, LeaveFile
from broker.engine.exchange import exchange
from broker.engine.in_force import InForce
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError
from broker.listeners.concealment import Concealment
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.driver import Driver
from broker.listeners.session_register import SessionRegister
from broker.model.decision import EntryPoint
from broker.model.operation import Relayed
from broker.model.place import (
    Device,
    Grant,
    Inventory,
    ModbusAddress,
    OnLeave,
    Organisation,
    Point,
    Protocol,
    Table,
    ValueType,
)
from broker.model.schedule import Freeze, Occurrence, Scope, Window
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action, EndReason, Result
from broker.model.way import ModbusTcpWay
from broker.settings.broker_file import LeaveSection
from broker.wire.modbus.meaning import compose_write
from broker.wiring import leaves
from broker.wiring.leaves import LeaveKeeper

Story = Callable[["Stage"], Awaitable[None]]
NOW = 1_800_000_000.0
PROOF = Proof(ProofKind.CERTIFICATE, "CN=root", "ana@acme.example", "a" * 43, NOW, NOW + 10**6)
ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme", proofs=(PROOF,))
BO = replace(ANA, id="bo@plant.example", organisation="acme-sister")
POINT = Point(
    "setpoint",
    ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16),
    Action.ADJUST,
    on_leave=OnLeave.RESTORE,
)
DEVICE = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502), points=(POINT,))
LOOK = Grant("look", Scope(), (Action.VIEW,), subjects=(ANA.id,))
ADJUST = Grant("adjust", Scope(), (Action.ADJUST,), subjects=(ANA.id,), windows=("night",))
NIGHT = Window("night", Scope(), Occurrence("2027-01-15T08:00:00", "UTC", duration_seconds=1000))
"""Open from `NOW` on."""
ACME, SISTER = Organisation("acme", (), ()), Organisation("acme-sister", (), ())
INVENTORY = Inventory("i", ("plant",), (), (DEVICE,), (ACME, SISTER), (NIGHT,), (), (LOOK, ADJUST))
HOLIDAYS = Freeze("holidays", Scope(organisations=("acme-sister",)), replace(NIGHT.occurrence, duration_seconds=10**6))
GRACE, GIVE_UP = 60.0, 3600.0


class Stage:
    """`holds` is what the device has at register 10; `script` answers instead of it if it gives something. The ledger
    closes, until `closed` is taken back, with a record that `fails` or (taken but never durable) `sinks`.
    """

    def __init__(self, folder: Path, *, alone: bool = True) -> None:
        self.time, self.revision, self.folder = NOW, "r1", folder
        self.closed = False
        self.fails: Callable[[dict[str, Any]], bool] = lambda record: False
        self.sinks: Callable[[dict[str, Any]], bool] = lambda record: False
        self.records: list[dict[str, Any]] = []
        self.writes: list[int] = []
        self.holds = 18
        self.script: Callable[[bytes], Relayed | None] = lambda pdu: None
        self.denied: set[EntryPoint] = set()
        self.owing = {ANA.id}
        self.made = 0
        self.desk = DecisionDesk(self, self, self, InForce(INVENTORY), self._id, Concealment(SimpleNamespace()))
        self.register = SessionRegister(self, self, self.desk, self._id, lambda subject, now: subject)
        self.journal = DebtJournal(folder / "owed.json")
        self.driver = Driver(self, self, self.desk, lambda key: self, self.register.end, self.journal)
        self.keeper = LeaveKeeper(
            self,
            self,
            self.desk,
            self.register,
            self.driver,
            self.journal,
            LeaveFile(folder / "leaves.json"),
            self._id,
            LeaveSection(grace_seconds=GRACE, give_up_seconds=GIVE_UP),
            "b/ledger",
            "f" * 43,
            alone=alone,
        )

    async def start(self) -> None:
        await self.journal.open()
        await self.keeper.start()

    async def stop(self) -> None:
        self.register.end_all(EndReason.BROKER_STOPPED)
        await self.keeper.stop()
        await self.journal.close()

    # The world

    def _id(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}-{self.made}"

    def now(self) -> float:
        return self.time

    monotonic = now

    def append(self, record: bytes, *, intent: bool = False) -> int:
        document = json.loads(record)
        self.closed = self.closed or self.fails(document)
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "")
        self.records.append(document)
        return len(self.records) - 1

    def settle(self, durable: bool, settled: Callable[[Any], None]) -> bool:
        if not (durable and self.sinks(self.records[-1])):
            return True
        self.closed = True
        asyncio.get_running_loop().call_soon(settled, LedgerUnavailableError("ledger_closed", ""))
        return False

    def decide(self, entry_point: EntryPoint, question: bytes, answered: Callable[[bytes], None]) -> None:
        asked = json.loads(question)
        owes = entry_point is EntryPoint.OPERATION and asked["subject"]["id"] in self.owing
        obliged = ["restore"] if owes and asked["operation"]["writes"] else []
        denied = entry_point in self.denied
        answer = {"allow": not denied, "reasons": ["role_missing"] if denied else [], "rule": "r"}
        answer |= {"obligations": [] if denied else obliged}
        asyncio.get_running_loop().call_soon(answered, json.dumps(answer).encode())

    def relay(self, request: Any, relayed: Callable[[Relayed], None], still_allowed: Callable[[], str]) -> None:
        asyncio.get_running_loop().call_soon(self._turn, request.payload, relayed, still_allowed)

    def _turn(self, pdu: bytes, relayed: Callable[[Relayed], None], still_allowed: Callable[[], str]) -> None:
        held_back = still_allowed()
        if held_back:
            relayed(Relayed(Result.NOT_SENT, code=held_back))
            return
        scripted = self.script(pdu)
        if pdu[0] == 6 and (scripted is None or scripted.result == Result.UNKNOWN):
            self.holds = int.from_bytes(pdu[3:], "big")
            self.writes.append(self.holds)
        relayed(scripted or Relayed(Result.DONE, pdu if pdu[0] == 6 else b"\x03\x02" + self.holds.to_bytes(2, "big")))

    # What happens in it

    async def ana(self) -> Session:
        return await self.enters(ANA)

    async def enters(self, subject: Subject, device: Device = DEVICE) -> Session:
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.register.open(subject, device, "modbus_tls", "127.0.0.1:1", lambda reason: None, opened.set_result)
        session = await opened
        assert isinstance(session, Session), session
        return session

    async def writes_as(self, session: Session, value: int, device: Device = DEVICE) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request = compose_write(device, device.points[0], value)
        self.driver.run(session, exchange(session, request), done.set_result)
        return await done

    def changed(self, **changes: Any) -> None:
        self.desk.in_force = InForce(replace(INVENTORY, **changes))
        self.desk.epoch += 1

    def given(self, *grants: Grant, gone: EndReason = EndReason.GRANT_ENDED) -> None:
        """These are the grants that were asked for and approved."""
        allowed = (replace(ACME, allowed=Scope()), SISTER)
        self.changed(organisations=allowed, grants=(LOOK,))
        self.register.give("requests", grants, gone)

    def locked(self, *locks: Any) -> None:
        self.desk.enforce(LocksInForce(locks))
        self.register.enforce_locks()

    def told(self, *kinds: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["kind"] in kinds]

    async def after(self, seconds: float) -> None:
        """So much later, and the keeper has looked a few times and is done with what it found."""
        self.time += seconds
        for _ in range(12):
            await asyncio.sleep(leaves.LOOK_SECONDS)
            while self.keeper._running:
                await asyncio.sleep(leaves.LOOK_SECONDS)

    async def leave(self) -> list[tuple[str, str]]:
        """What became of the points of the one leave, waited for."""
        for _ in range(2000):
            if found := self.told("leave_finished", "leave_unsettled"):
                (record,) = found
                return [(point["result"], point["detail"]) for point in record["points"]]
            await asyncio.sleep(leaves.LOOK_SECONDS)
        raise AssertionError(self.keeper.debts())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "LOOK_SECONDS", 0.002)


@pytest.fixture
def play(tmp_path) -> Iterator[Callable[..., None]]:
    def playing(story: Story, stage: Stage | None = None) -> None:
        async def all_of_it() -> None:
            acted = stage or Stage(tmp_path)
            await acted.start()
            await story(acted)
            await acted.stop()

        asyncio.run(all_of_it())

    yield playing


async def left(stage: Stage, why: EndReason = EndReason.PEER_CLOSED) -> None:
    """Ana has written 20 where 18 was, and her session has ended."""
    session = await stage.ana()
    assert (await stage.writes_as(session, 20)).relayed.result == Result.DONE
    assert stage.holds == 20
    stage.register.end(session, why)
