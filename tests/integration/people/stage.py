"""All parts about people of one broker, on a real authority and a real state, with a clock that can be set."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateSigningRequestBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID

from broker.access.locks import LocksInForce
from broker.adapters.authority.folder import KeyFacts
from broker.adapters.authority.root import create_root
from broker.adapters.authority.rotation import create_folder
from broker.adapters.state_database import StateDatabase, StatePlace
from broker.engine.in_force import InForce
from broker.errors import LedgerUnavailableError, PeerError
from broker.identity.certificate import Trust
from broker.listeners.authentication import Authenticator
from broker.model.decision import Decision
from broker.model.enrolment import FactorKind, IssuedCertificate
from broker.model.place import Organisation
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Reason
from broker.settings.enrolling import EnrolmentSection
from broker.wiring.people.parts import FileSecrets, People, people
from tests.totp import code_at, secret_of
from tests.unit.access.inventories import inventory

EVE, BO = "eve@northwind.example", "bo@plant.example"
SYNC = "spiffe://northwind.example/sync"
SPACES = ("*@northwind.example", "spiffe://northwind.example/*")
NORTHWIND = "northwind"
PLANT = Organisation("plant", (), ("*@plant.example",), owner=True, roles=(("lee@plant.example", ("security",)),))
SPONSOR = Subject(BO, SubjectKind.PERSON, "plant")


def make_authority(folder: Path, now: float) -> Path:
    folder.mkdir(parents=True)
    secret = folder / "passphrase"
    secret.write_text("a passphrase beyond guessing\n")
    secrets = FileSecrets(str(secret), "")
    root = create_root(folder / "root", NORTHWIND, SPACES, secrets, now)
    create_folder(folder, root, KeyFacts(), 7 * 86_400, secrets, now)
    return folder


@dataclass
class Surroundings:
    """Clock, ledger, desk and register in one."""

    wall: float = field(default_factory=lambda: float(int(time.time())))
    ticks: float = 1000.0
    closed: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    locks: LocksInForce = field(default_factory=LocksInForce)
    organisations: tuple[Organisation, ...] = ()
    examined: int = 0
    owner: Organisation = field(default_factory=lambda: PLANT)
    inviting: tuple[str, ...] = ("security",)
    engine_says: tuple[str, ...] = ()
    asked: list[tuple[str, str]] = field(default_factory=list)
    held: list[Callable[[], None]] | None = None

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def append(self, record: bytes) -> int:
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "The ledger is closed.")
        self.records.append(json.loads(record))
        return len(self.records)

    def settle(self, durable: bool, settled: Callable[[Any], None]) -> bool:
        asyncio.get_running_loop().call_soon(settled, None)
        return False

    @property
    def in_force(self) -> Any:
        both = InForce(inventory(organisations=(*self.organisations, self.owner)))
        invited = SimpleNamespace(organisations=self.organisations)
        return SimpleNamespace(inventory=invited, organisation_of=both.organisation_of, roles_of=both.roles_of)

    def admin(self, subject: Subject, permission: str, resource: Any, about: object, decided: Any) -> None:
        """What the policy says of invitations: sponsors may, and who has the role."""
        assert (permission, resource["kind"]) == ("invitation.create", "invitation")
        assert subject.proofs
        may = resource.get("sponsor") == subject.id or not set(self.inviting).isdisjoint(subject.roles)
        reasons: tuple[str, ...] = () if may else (Reason.ROLE_MISSING,)
        if self.locks.on_subject(subject) is not None:
            reasons = (Reason.LOCKED,)
        reasons = self.engine_says or reasons
        self.asked.append((subject.id, resource["invitee"]))
        answer = partial(decided, Decision("dec-1", 0, not reasons, reasons))
        if self.held is None:
            answer()
        else:
            self.held.append(answer)

    def examine_all(self, cause: object) -> None:
        self.examined += 1

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds

    def kinds(self) -> list[str]:
        return [record["kind"] for record in self.records]


class Stage:
    """One broker; `northwind` is enrolled here."""

    def __init__(self, folder: Path, authority: Path, database: StateDatabase, world: Surroundings, **changes: Any):
        self.world, self.authority_folder = world, authority
        world.organisations = (self.organisation(),)
        self.authenticator = Authenticator(Trust(world.organisations), [], SimpleNamespace(), world)  # type: ignore[arg-type]
        place = {
            "organisation": NORTHWIND,
            "folder": str(authority),
            "passphrase_file": str(authority / "passphrase"),
        }
        keys = {"relying_party": "localhost", "origins": ["https://localhost"]}
        section = EnrolmentSection(**{"authorities": [place], "security_keys": keys} | changes)
        settings: Any = SimpleNamespace(
            enrolment=section, state_dir=str(folder), ledger=SimpleNamespace(origin="broker.example/ledger")
        )
        desk: Any = world
        made = people(settings, world, desk, desk, desk, self.authenticator, database)
        assert made is not None
        self.people: People = made

    def organisation(self, **changes: Any) -> Organisation:
        anchor, crl = (self.authority_folder / name for name in ("root.pem", "crl.pem"))
        facts: dict[str, Any] = {"crls": (crl.read_bytes(),), "crl_required": True, "sponsor": BO}
        return Organisation(NORTHWIND, **{"anchors": (anchor.read_text(),), "namespaces": SPACES} | facts | changes)

    # What people do

    async def invite(self, subject: str = EVE, seconds: float = 3600, by: Subject = SPONSOR) -> str:
        self.people.membership.require_invitable(subject, NORTHWIND)
        return (await self.people.membership.invite(subject, NORTHWIND, seconds, by))[1]

    async def enrolled(self, subject: str = EVE) -> "Somebody":
        somebody = Somebody(self)
        await somebody.enrol(await self.invite(subject))
        return somebody


class Somebody:
    """Who enrols, with an authenticator app and a key."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.secret = b""
        self.issued: IssuedCertificate | None = None

    @property
    def code(self) -> str:
        return code_at(self.secret, self.stage.world.wall)

    async def begin(self, code: str, request: str | None = None) -> str:
        offer = await self.stage.people.enrolment.begin(code, request or request_of(self.key), FactorKind.TOTP)
        self.secret = secret_of(offer.uri)
        return offer.ticket

    async def enrol(self, code: str) -> IssuedCertificate:
        ticket = await self.begin(code)
        self.issued = await self.stage.people.enrolment.complete(ticket, self.code, None)
        return self.issued

    async def begin_renewal(self, key: Any = None, signer: Any = None) -> str:
        from cryptography.x509 import load_pem_x509_certificate

        from broker.identity.renewal import sign_renewal

        assert self.issued is not None
        request = request_of(key or self.key)
        old = load_pem_x509_certificate(self.issued.chain.encode())
        signature = sign_renewal(signer or self.key, old, request.encode())
        enrolment = self.stage.people.enrolment
        return (await enrolment.begin_renewal(self.issued.chain, request, signature)).ticket

    async def renew(self, code: str | None = None) -> IssuedCertificate:
        ticket = await self.begin_renewal()
        return await self.stage.people.enrolment.complete_renewal(ticket, code or self.code, None)


def request_of(key: Any, *extensions: tuple[Any, bool]) -> str:
    builder = CertificateSigningRequestBuilder().subject_name(Name([NameAttribute(NameOID.COMMON_NAME, "x")]))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def played(place: StatePlace, folder: Path, story: Callable[[Stage], Awaitable[None]], **changes: Any) -> None:
    """Run a story on one broker."""

    async def run() -> None:
        world = Surroundings()
        authority = make_authority(folder / "ca", world.wall)
        async with broker(place, folder, authority, world, **changes) as stage:
            await story(stage)

    asyncio.run(run())


@asynccontextmanager
async def broker(
    place: StatePlace, folder: Path, authority: Path, world: Surroundings, **changes: Any
) -> AsyncIterator[Stage]:
    """One broker, from its start to its stop."""
    database = StateDatabase(place)
    stage = Stage(folder, authority, database, world, **changes)
    await stage.people.start()
    try:
        yield stage
    finally:
        await stage.people.stop()
        await database.close()


async def refusal(work: Awaitable[Any]) -> str:
    """The code with which something is refused."""
    try:
        await work
    except PeerError as error:
        return error.code
    raise AssertionError("it was not refused")


async def changed(stage: Stage, statement: str) -> None:
    """What somebody does who has the database and not the broker's key."""
    with sqlite3.connect(stage.people.known._rows._database._engine.url.database) as database:  # type: ignore[arg-type]
        assert database.execute(statement).rowcount
