"""Brokers that share one state and keep access requests, each with a ledger, a clock and a policy of the test's own."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.access.given import GivenGrants
from broker.access.locks import LocksInForce
from broker.adapters.clock import random_id
from broker.adapters.state_database import StateDatabase, StatePlace
from broker.adapters.state_request_journal import RequestJournal
from broker.adapters.state_use_journal import UseJournal
from broker.engine.in_force import InForce
from broker.errors import LedgerUnavailableError, PolicyUnavailableError
from broker.ledger.notes import Verifier, verifier_of
from broker.listeners.review_desk import ReviewDesk
from broker.model.access_request import Terms
from broker.model.place import Grant, Inventory, Organisation, PlannedWrite
from broker.model.schedule import Scope
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action, EndReason
from broker.wiring.request_grants import RequestGrants
from broker.wiring.request_parts import RequestParts
from broker.wiring.requests import RequestBook
from broker.wiring.tickets import TicketDesk
from tests.unit.access.inventories import device, inventory

NOW = 1_800_000_000.0
ANA = "ana@acme.example"
PLANT = inventory(
    devices=(device("ahu-1", 502), device("ahu-2", 503)),
    organisations=(
        Organisation("acme", (), (), allowed=Scope(sites=("plant",))),
        Organisation("plant-owner", (), (), owner=True),
    ),
    grants=(),
)


def person(name: str, *roles: str, organisation: str = "plant-owner") -> Subject:
    proof = Proof(ProofKind.CERTIFICATE, "CN=root", name, "f" * 43, NOW, NOW + 9e6)
    return Subject(name, SubjectKind.PERSON, organisation, roles, proofs=(proof,))


BO, DI, CY = person("bo", "security"), person("di", "operator"), person("cy", "security")


def terms(identifier: str = "req-a", **changes: Any) -> Terms:
    start = int(NOW)
    asked = Terms(
        identifier,
        ANA,
        "acme",
        ("plant/ahu-1",),
        ("setpoint",),
        (Action.VIEW, Action.ADJUST),
        "exchange the coil",
        start,
        start + 3600,
        start,
        plan=(PlannedWrite("plant/ahu-1", "setpoint", "21"),),
        chain=identifier,
    )
    return replace(asked, **changes)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@dataclass
class Machine:
    """Clock, ledger, desk, register and policy engine of one broker, in one."""

    folder: Path
    wall: float = NOW
    ticks: float = 1000.0
    closed: bool = False
    needed: int = 1
    silent: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    in_force: InForce = field(default_factory=lambda: InForce(PLANT))
    locks: LocksInForce = field(default_factory=LocksInForce)
    given: GivenGrants = field(default_factory=GivenGrants)
    grants_unread: set[str] = field(default_factory=set)
    epoch: int = 1
    revision: str = "r1"

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def append(self, record: bytes) -> int:
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "The ledger is closed.")
        self.records.append(orjson.loads(record))
        return len(self.records) - 1

    def settle(self, durable: bool, settled: Any) -> bool:
        return True

    def tick(self, now: float) -> None:
        """There are no sessions."""

    def give(self, source: str, grants: Iterable[Grant], gone: EndReason = EndReason.GRANT_ENDED) -> None:
        self.given = self.given.replaced(source, grants)
        self.epoch += 1

    def decide(self, entry_point: object, question: bytes, answered: Any) -> None:
        roles = json.loads(question)["reviewer"]["roles"]
        groups = [role for role in roles if role in ("operator", "security")]
        told = {"allow": bool(groups), "reasons": [] if groups else ["role_missing"], "groups": groups}
        answer: Any = json.dumps(
            told | {"needed": self.needed, "rule": "x", "approvers": ["operator", "security"]}
        ).encode()
        if self.silent:
            answer = PolicyUnavailableError("policy_late", "The policy did not answer in time.")
        asyncio.get_running_loop().call_soon(answered, answer)

    def bring(self, plant: Inventory) -> None:
        self.in_force = InForce(plant)
        self.epoch += 1

    def kinds(self, *kinds: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["kind"] in kinds]


class Broker:
    """One broker's access requests; `knows` are the keys of the others."""

    def __init__(self, place: StatePlace, folder: Path, name: str = "one", knows: tuple[Verifier, ...] = ()) -> None:
        self.machine = Machine(folder)
        self.key = Ed25519PrivateKey.generate()
        self.origin = f"{name}.example/ledger"
        self.verifier = verifier_of(self.origin, self.key)
        self.database = StateDatabase(place)
        m: Any = self.machine
        self.parts = RequestParts(
            m,
            m,
            m,
            m,
            ReviewDesk(m, m, m, m, random_id),
            random_id,
            self.database,
            RequestJournal(folder / f"{name}.json"),
            UseJournal(folder / f"{name}-uses.json"),
            self.origin,
            self.key,
            (self.verifier, *knows),
            TicketDesk(None, None),
        )
        self.grants = RequestGrants(self.parts)
        self.book = RequestBook(self.parts, self.grants)

    async def __aenter__(self) -> "Broker":
        await self.book.uses.start()
        await self.grants.recall()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.book.uses.settled()
        await self.database.close()

    @property
    def gives(self) -> set[str]:
        """The grants in force."""
        return set(self.machine.given._by_id)

    async def fresh(self, identifier: str = "req-a") -> Any:
        view = await self.book.request(identifier)
        assert view is not None
        return view.request

    async def state(self, identifier: str = "req-a") -> str:
        return (await self.fresh(identifier)).standing.state.value

    async def at(self, moment: float) -> None:
        """Let time pass, and look."""
        self.machine.ticks += moment - self.machine.wall
        self.machine.wall = moment
        await self.grants.look()
