"""A broker in memory, as far as the API can see: one Modbus and one BACnet device, and a policy of sets."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

from broker.api.evidence_ports import Page
from broker.engine.events import Answered, Refused
from broker.engine.rate import Rate
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError, StateUnavailableError
from broker.identity.enrolment_codes import enrolment_error
from broker.listeners.approvals import Approvals
from broker.listeners.bacnet_shares import DATAGRAMS_PER_SECOND
from broker.model.decision import Decision
from broker.model.enrolment import ProvenFactor
from broker.model.leave import Debt, Leave, PointLeft, Undone
from broker.model.lock import Lock, LockKind, LockTaken
from broker.model.operation import Relayed
from broker.model.place import (
    BacnetAddress,
    BacnetNetwork,
    Device,
    Inventory,
    ModbusAddress,
    OnLeave,
    Point,
    Protocol,
    Table,
    ValueType,
)
from broker.model.schedule import CalendarState, Interval, Occurrence, Scope, Window
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import BacnetIpWay, ModbusTcpWay
from broker.wire.modbus.pdu import decode_request
from tests.bacnet_replies import read_reply, write_reply
from tests.unit.api.break_glass_double import BreakGlassDouble
from tests.unit.api.proposals_double import PoliciesDouble, ProposalsDouble
from tests.unit.api.requests_double import RequestsDouble
from tests.unit.api.supervision_double import SupervisionDouble

SECRET_UPSTREAM = "192.0.2.77"
NEXT_WINDOW = ("saturday", 1_795_852_800.0, 1_795_881_600.0)


def register(name, start, *, table=Table.HOLDING_REGISTER, action=None, value_type=ValueType.INT16, count=1, **more):
    address = ModbusAddress(table, start, count, value_type, scale=Decimal(more.pop("scale", "0.1")))
    return Point(name, address, action, **more)


AHU = Device(
    "plant",
    "ahu-1",
    "hvac",
    Protocol.MODBUS,
    ModbusTcpWay(SECRET_UPSTREAM, 502),
    points=(
        register("supply-temp", 0, engineering_unit="°C"),
        register("return-temp", 1, engineering_unit="°C"),
        register("outside-temp", 2, engineering_unit="°C"),
        register(
            "supply-temp-setpoint",
            10,
            action=Action.ADJUST,
            engineering_unit="°C",
            minimum=Decimal("16.0"),
            maximum=Decimal("22.0"),
        ),
        register("energy", 20, value_type=ValueType.UINT64, count=4, scale="1", engineering_unit="kWh"),
        register("fan", 5, table=Table.COIL, value_type=ValueType.BOOL, action=Action.CONTROL, scale="1"),
        register("fan-speed", 30, action=Action.ADJUST, scale="1"),
        register("label", 40, value_type=ValueType.STRING, count=2, scale="1"),
    ),
    description="Air handling unit",
)
VAV = Device(
    "plant",
    "vav-1",
    "hvac",
    Protocol.BACNET,
    BacnetIpWay(SECRET_UPSTREAM, 47808, 1001),
    points=(
        Point("zone-temp", BacnetAddress("analog-input", 1), None, "°C"),
        Point(
            "zone-setpoint",
            BacnetAddress("analog-value", 1, priority_lowest=10, priority_highest=16),
            Action.ADJUST,
            "°C",
        ),
    ),
)
HIDDEN = Device("plant", "meter-1", "power", Protocol.MODBUS, ModbusTcpWay(SECRET_UPSTREAM, 503))
INVENTORY = Inventory(
    "rev",
    ("plant",),
    (),
    (AHU, VAV, HIDDEN),
    (),
    (Window("work", Scope(), Occurrence("2026-11-28T08:00:00", "UTC", 28800), "Working hours"),),
    (),
    (),
    bacnet_networks=(BacnetNetwork("plant", 2001),),
)


def subject(name="ana@acme.example", organisation="acme"):
    proof = Proof(ProofKind.TOKEN, "iss", name, "fp-" + name, 1_795_000_000.0, 1_795_900_000.0)
    return Subject(name, SubjectKind.PERSON, organisation, ("vendor",), proofs=(proof,))


ANA = subject()
BO = subject("bo@plant.example", "plant-owner")


class GateDouble:
    """Denies the points in `denied`, fails the ones in `failing`; everything it relays is in `relayed`."""

    def __init__(self):
        self.inventory = INVENTORY
        self.inventory_without_bacnet = replace(INVENTORY, bacnet_networks=())
        self.grants = ()
        self.registers = {0: 185, 1: 190, 2: 65_436, 10: 200, 30: 7, 20: 0xFFFF, 21: 0xFFFF, 22: 0xFFFF, 23: 0xFFFF}
        self.registers |= {40: 0x6869, 41: 0}
        self.coils = {5: 1}
        self.properties = {("analog-input", 1): "21.5", ("analog-value", 1): "20"}
        self.denied = {}
        self.failing = {}
        self.unpermitted = set()
        self.at_sites = {}
        self.admission = None
        self.unrecorded = False
        self.relayed = []
        self.asked = []
        self.views = []
        self.acts = []
        self.left = []
        self.closed = []
        self.renewed = []
        self.opened = []
        self.streams = []
        self.bacnet_streams = []
        self.emergency = ""
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()
        self.open_sessions = {}
        self.ledger_view = LedgerDouble()
        self.supervision = SupervisionDouble(self)
        self.locks = LocksDouble()
        self.leaves = LeavesDouble()
        self.persons = {}
        self.recorded = []
        self.approvals = self._new_approvals()
        self.people = PeopleDouble()
        self.requests = RequestsDouble()
        self.break_glass = BreakGlassDouble()
        self.proposals, self.policies = ProposalsDouble(), PoliciesDouble()
        self.denial = Reason.ROLE_MISSING

    def _new_approvals(self):
        clock = SimpleNamespace(now=lambda: 1_795_000_010.0)
        ledger = SimpleNamespace(append=self.recorded.append, settle=lambda durable, settled: True)
        numbers = iter(range(1, 100))
        return Approvals(clock, ledger, lambda prefix: f"{prefix}-{next(numbers)}")

    def calendar_state(self, device, organisation):
        opens, closes = 1_795_000_000.0, 1_795_028_800.0
        later = Interval(*NEXT_WINDOW)
        return CalendarState((Interval("work", opens, closes),), (), later, closes)

    def grants_of(self, subject):
        return self.grants if subject.organisation == "acme" else ()

    def calendar_at(self, device, organisation, moment):
        return self.calendar_state(device, organisation)

    def occurrence(self, window, device, organisation, moment):
        return {"saturday": Interval(*NEXT_WINDOW)}.get(window)

    def organisation(self, identifier):
        return next((o for o in self.inventory.organisations if o.id == identifier), None)

    def given(self, grant):
        return grant in self.requests.found

    def visible_devices(self, subject):
        return (AHU, VAV) if subject.organisation == "acme" else ()

    async def admit(self, subject, device, listener, peer, connection):
        if self.admission is not None:
            return self.admission
        key = (connection, subject.id, device.key)
        if key not in self.open_sessions:
            number = len(self.open_sessions)
            self.open_sessions[key] = Session(f"ses-{number}", subject, device, listener, peer, 1_795_000_000.0)
        return self.open_sessions[key]

    def leave(self, connection):
        self.left.append(connection)

    async def open(self, subject, device, listener, peer, cut):
        if self.admission is not None:
            return self.admission
        session = Session(f"tun-{len(self.opened)}", subject, device, listener, peer, 1_795_000_000.0)
        self.opened.append((session, cut))
        return session

    def close(self, session, reason):
        self.closed.append((session.id, reason))
        session.ended = reason

    def renew(self, session, subject):
        self.renewed.append((session.id, subject.id))

    def tunnel(self, session, *, write, hold, denied, close):
        stream = StreamDouble(write, hold, denied, close)
        self.streams.append(stream)
        return stream

    def bacnet(self, subject, site, listener, peer, **calls):
        stream = BacnetStreamDouble(self.admission, subject, site, listener, peer, calls)
        self.bacnet_streams.append(stream)
        return stream

    def emergency_of(self, subject, site):
        return self.emergency

    async def read(self, session, request):
        await asyncio.sleep(0)
        decisions = tuple(self._decide(request, place) for place in range(len(request.operations)))
        if not all(d.allow for d in decisions):
            return Refused(_reasons(decisions), decisions)
        return self._relay(session, request, decisions)

    async def write(self, session, requests):
        return await asyncio.shield(asyncio.ensure_future(self._write(session, requests)))

    async def _write(self, session, requests):
        self.begun.set()
        await self.go.wait()
        taken = [tuple(self._decide(r, place) for place in range(len(r.operations))) for r in requests]
        if not all(d.allow for decisions in taken for d in decisions):
            return tuple(Refused(_reasons(decisions), decisions) for decisions in taken)
        waits = [self._waits(session, *each) for each in zip(requests, taken, strict=True)]
        if any(waits):
            return tuple(waiting or Refused((), taken[place]) for place, waiting in enumerate(waits))
        findings = []
        for request, decisions in zip(requests, taken, strict=True):
            if findings and not _done(findings[-1]):
                findings.append(Refused((), decisions))
            else:
                findings.append(self._relay(session, request, decisions))
        return tuple(findings)

    def _waits(self, session, request, decisions):
        """The refusal of a request of which a point takes a person who has not armed it."""
        touched = {touch.point.id for operation in request.operations for touch in operation.touches}
        needs = tuple(kind for point in sorted(touched) for kind in self.persons.get(point, ()))
        met = {arming.kind for arming in self.approvals.armed(session, request, 1_795_000_010.0)}
        if not set(needs) - met:
            return None
        approval = self.approvals.ask(session, request, decisions, needs)
        self.approvals.show_before(approval, (("supply-temp-setpoint", "20.0"),))
        word = Reason.APPROVAL_REFUSED if approval.refused_by else Reason.APPROVAL_NEEDED
        return Refused((word,), decisions, approval.id)

    async def permitted(self, subject, permission, resource, peer=""):
        self.asked.append((subject.id, permission, resource))
        allow = permission not in self.unpermitted and (permission, resource.get("subject")) not in self.unpermitted
        allow = allow and (permission not in self.at_sites or resource.get("site") in self.at_sites[permission])
        reasons = () if allow else (self.denial,)
        return Decision("dec-admin", 9, allow, reasons)

    def record_act(self, subject, permission, resource, outcome):
        self.acts.append((subject.id, permission, resource, outcome))

    def record_view(self, subject, what):
        if self.unrecorded:
            raise LedgerUnavailableError("ledger_closed", "The ledger is closed.", "/var/lib/secret: EIO")
        self.views.append((subject.id, what))

    def sessions(self):
        return tuple(self.open_sessions.values())

    def _decide(self, request, place):
        touched = {touch.point.id for touch in request.operations[place].touches}
        reasons = tuple(dict.fromkeys(r for point in sorted(touched) for r in self.denied.get(point, ())))
        if reasons:
            return Decision("dec-denied", 5, False, reasons, next_window=NEXT_WINDOW)
        return Decision("dec-allowed", 4, True)

    def _relay(self, session, request, decisions):
        self.relayed.append(request)
        touched = [touch.point.id for operation in request.operations for touch in operation.touches]
        for point in touched:
            if point in self.failing:
                failure = self.failing[point]
                if isinstance(failure, Exception):
                    raise failure
                return failure(decisions) if callable(failure) else Answered(failure, decisions)
        payload = self._modbus(request) if session.device is AHU else self._bacnet(request)
        return Answered(Relayed(Result.DONE, payload), decisions)

    def _modbus(self, request):
        pdu = decode_request(request.payload)
        if request.writes:
            return request.payload[:5]
        cells = range(pdu.start, pdu.start + pdu.count)
        if request.payload[0] in (1, 2):
            packed = sum(self.coils.get(cell, 0) << place for place, cell in enumerate(cells))
            octets = packed.to_bytes((pdu.count + 7) // 8, "little")
        else:
            octets = b"".join(self.registers.get(cell, 0).to_bytes(2, "big") for cell in cells)
        return bytes((request.payload[0], len(octets))) + octets

    def _bacnet(self, request):
        if request.writes:
            return write_reply(request)
        places = [(operation.address.object_type, operation.address.instance) for operation in request.operations]
        return read_reply(request, *(self.properties[place] for place in places))


class LocksDouble:
    """Two locks; takes what it is told. Without `state`, nothing is shared and nothing can be lifted."""

    def __init__(self):
        self.held = [
            Lock("lck-1", LockKind.SUBJECT, "eve@acme.example", "why", "bo@plant.example", 1_795_000_000.0, "b/ledger"),
            Lock("lck-2", LockKind.SITE, "plant", "why", "bo@plant.example", 1.0, "b/ledger", None, True),
        ]
        self.state = True

    def locks(self):
        return tuple(self.held)

    async def set(self, kind, target, *, message, by, seconds=None, isolation=False):
        until = None if seconds is None else 2.0 + seconds
        lock = Lock("lck-3", kind, target, message, by, 2.0, "b/ledger", until, isolation)
        self.held.append(lock)
        return LockTaken(lock, 4, self.state)

    async def lift(self, lock, by):
        if not self.state:
            raise StateUnavailableError("state_unavailable", "The state cannot be reached.", "postgres.internal: EOF")
        present = lock in self.held
        self.held = [held for held in self.held if held is not lock]
        return present


class LeavesDouble:
    """One leave that left something, and one debt; takes note of what it is told."""

    def __init__(self):
        point = PointLeft("setpoint", OnLeave.RESTORE, None, Undone.FAILED, "device_down")
        self.unsettled = (Leave("lve-1", "eve@acme.example", "plant/ahu-1", "locked", 1.0, 2.0, (point,)),)
        eve = Subject("eve@acme.example", SubjectKind.PERSON, "acme")
        place = ("plant/ahu-1", "setpoint", OnLeave.RESTORE, None)
        self.owed = Debt(eve, *place, "18", ("20",), ("21",), frozenset(), "ses-1", 7, 3.0)
        self.noted = []

    def debts(self):
        return ((self.owed, "the end of the access"),)

    async def acknowledge(self, leave, by, why):
        self.noted.append((leave.id, by, why))
        self.unsettled = ()


class StreamDouble:
    """Echoes what it receives."""

    def __init__(self, write, hold, denied, close):
        self.write, self.hold, self.denied, self.close = write, hold, denied, close
        self.octets = b""
        self.was_lost = False

    def received(self, data):
        self.octets += bytes(data)
        self.write(bytes(data))

    def ended(self):
        from broker.model.vocabulary import EndReason

        self.close(EndReason.PEER_CLOSED)

    def lost(self):
        self.was_lost = True


class BacnetStreamDouble:
    """Echoes what it receives; refuses to start with `refusal`."""

    def __init__(self, refusal, subject, site, listener, peer, calls):
        self.rate = Rate(DATAGRAMS_PER_SECOND)
        self.refusal = refusal
        self.subject, self.site, self.listener, self.peer = subject, site, listener, peer
        self.write, self.close, self.denied = calls["write"], calls["close"], calls["denied"]
        self.failed = calls["failed"]
        self.ended, self.warned = calls["ended"], calls["warned"]
        self.npdus = []
        self.lost_for = None

    def start(self, opened):
        opened(self.refusal)

    def received(self, mac, npdu):
        self.npdus.append((mac, npdu))
        self.write(mac, npdu)

    def renew(self, subject):
        self.subject = subject

    def lost(self, reason):
        self.lost_for = reason


class LedgerDouble:
    """Three records; finds a decision by id."""

    RECORDS = (
        {"kind": "session_opened", "subject": {"id": "ana@acme.example"}},
        {
            "kind": "decision",
            "id": "dec-abc",
            "allow": False,
            "reasons": ["window_closed"],
            "input": {"subject": {"id": "ana@acme.example"}, "device": {"site": "plant", "id": "ahu-1"}},
        },
        {"kind": "intent", "decision": 1},
    )

    def __init__(self):
        self.searched = []

    @property
    def size(self):
        return len(self.RECORDS)

    def checkpoint(self):
        return "broker.example/ledger\n3\nAAAA\n\n— broker.example BBBB\n"

    def records(self, start, stop):
        return ((i, r) for i, r in enumerate(self.RECORDS) if start <= i < stop)

    def stored(self, index):
        return json.dumps(self.RECORDS[index], sort_keys=True, separators=(",", ":")).encode()

    def inclusion_proof(self, index):
        if index >= self.size:
            raise LookupError(index)
        return [f"hash-{index}-{self.size}"], self.checkpoint()

    def search(self, filters):
        self.searched.append(filters)
        if filters.decision:
            if filters.cursor is None:
                return Page((), 1)
            found = tuple((i, r) for i, r in enumerate(self.RECORDS) if r.get("id") == filters.decision)
            return Page(found, None)
        return Page(tuple(enumerate(self.RECORDS))[: filters.limit], 7)


def _reasons(decisions):
    return tuple(dict.fromkeys(reason for d in decisions if not d.allow for reason in d.reasons))


def _done(finding):
    return isinstance(finding, Answered) and finding.recorded and finding.relayed.result == Result.DONE


class MembershipDouble:
    """Nobody's people can be invited."""

    organisations = ()
    longest_seconds = 172_800

    async def invitation(self, identifier):
        return None

    async def person(self, subject):
        return None

    async def states(self, invitations):
        assert not invitations
        return ()


class EnrolmentDouble:
    """Whoever calls is refused with the next of `refusals`, and what it was asked is kept."""

    def __init__(self):
        self.refusals = []
        self.asked = []

    async def begin(self, raw_code, raw_request, kind):
        self.asked.append((raw_code, raw_request, kind))
        raise self.refusals.pop(0)


class FactorsDouble:
    """Everybody's code is 123456."""

    async def verify(self, subject, raw_code):
        if raw_code != "123456":
            raise enrolment_error("factor_refused", wait_seconds=2.0)
        return ProvenFactor(1_795_000_010.0, ("otp",))


class PeopleDouble:
    """People as far as the API can see them."""

    def __init__(self):
        self.membership = MembershipDouble()
        self.enrolment = EnrolmentDouble()
        self.factors = FactorsDouble()
