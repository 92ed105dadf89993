"""One subject, device, operation and calendar to start from, and the policy library as it would be published."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from broker.adapters.policy_files import PolicyFiles, read_policies
from broker.authz import question, review
from broker.model.access_request import Reviewer, Terms
from broker.model.leave import Debt, Errand
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Touch
from broker.model.place import (
    BacnetAddress,
    Device,
    Grant,
    ModbusAddress,
    OnLeave,
    Organisation,
    PlannedWrite,
    Point,
    Protocol,
    Table,
    ValueType,
)
from broker.model.schedule import CalendarState, Interval, Scope
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action
from broker.model.way import ModbusTcpWay

ROOT = Path(__file__).resolve().parents[3]
NOW = 1_790_000_000.25
SECOND = 1_790_000_000

CERTIFICATE = Proof(
    ProofKind.CERTIFICATE, "CN=Vendor CA", "spiffe://vendor/ana", "c" * 43, NOW - 9, NOW + 900.9, NOW + 500, "0a1b"
)
TOKEN = Proof(
    ProofKind.TOKEN, "https://idp.vendor", "ana", "t" * 43, NOW - 5, NOW + 300, None, "", NOW - 60, ("pwd", "otp")
)
SUBJECT = Subject("ana@vendor.example", SubjectKind.PERSON, "vendor", ("technician",), "Operator", (CERTIFICATE, TOKEN))
ORGANISATION = Organisation("vendor", (), (), contract_from=NOW - 1000, contract_until=NOW + 1000)
SETPOINT = Point(
    "supply-temp-setpoint",
    ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16, scale=Decimal("0.1")),
    Action.ADJUST,
    "°C",
    Decimal("16.0"),
    Decimal("22.0"),
)
ZONE = Point("zone-setpoint", BacnetAddress("analog-value", 1, "present-value", None, 10, 16), Action.ADJUST, "°C")
DEVICE = Device(
    "plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502), (SETPOINT,), labels=(("wing", "east"),)
)
ADJUST = Operation(
    "modbus",
    Action.ADJUST,
    "write-single-register",
    ModbusRange(Table.HOLDING_REGISTER, 10, 1),
    (Touch(SETPOINT, True, "21.5"),),
    ("215",),
    unit_id=1,
)
VIEW = Operation(
    "modbus",
    Action.VIEW,
    "read-holding-registers",
    ModbusRange(Table.HOLDING_REGISTER, 10, 1),
    (Touch(SETPOINT, True),),
    unit_id=1,
)
ZONE_WRITE = Operation(
    "bacnet",
    Action.ADJUST,
    "write-property",
    BacnetProperty("analog-value", 1, "present-value"),
    (Touch(ZONE, True, "21"),),
    priority=12,
)
CALENDAR = CalendarState(
    (Interval("night", NOW - 10, NOW + 100.75),), (), Interval("saturday", NOW + 5000.5, NOW + 9000), NOW + 100.75
)
GRANTS = (
    Grant("look", Scope(), (Action.VIEW, Action.DISCOVER)),
    Grant("adjust", Scope(), (Action.ADJUST,), points=("supply-temp-setpoint", "zone-setpoint"), not_after=NOW + 50),
)
SESSION = question.SessionFacts("ses-1", "modbus_tls", "127.0.0.1:50000", NOW - 20, NOW - 60)
OWNER = Organisation("owner", (), (), owner=True)
REVIEWER = Reviewer("bo@owner.example", "person", "owner", ("security",), ("certificate", "token"), SECOND - 60)
TERMS = Terms(
    "req-1",
    "ana@vendor.example",
    "vendor",
    ("plant/ahu-1",),
    ("supply-temp-setpoint",),
    (Action.VIEW, Action.ADJUST),
    "the coil was exchanged",
    SECOND,
    SECOND + 3600,
    SECOND - 600,
    plan=(PlannedWrite("plant/ahu-1", "supply-temp-setpoint", "21.5"),),
    chain="req-1",
)
SURROUNDINGS: dict[str, Any] = {
    "now": NOW,
    "subject": SUBJECT,
    "organisation": ORGANISATION,
    "device": DEVICE,
    "calendar": CALENDAR,
    "grants": GRANTS,
    "session": SESSION,
}


def operation_question(operation: Operation = ADJUST, **changes: Any) -> dict[str, Any]:
    return question.operation_question(operation=operation, **{**SURROUNDINGS, **changes})


def session_question(**changes: Any) -> dict[str, Any]:
    return question.session_question(**{**SURROUNDINGS, **changes})


def admin_question(permission: str, resource: dict[str, object] | None = None, **changes: Any) -> dict[str, Any]:
    caller = {key: SURROUNDINGS[key] for key in ("now", "subject", "organisation", "session")}
    return question.admin_question(permission=permission, resource=resource or {}, **{**caller, **changes})


def review_question(**changes: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "now": NOW,
        "terms": TERMS,
        "organisation": ORGANISATION,
        "devices": (DEVICE,),
        "reviewer": REVIEWER,
        "reviewer_organisation": OWNER,
    }
    return review.review_question(**{**asked, **changes})


ITSELF_PROOF = Proof(ProofKind.BROKER, "b/ledger", "otbroker:b/ledger", "k" * 43, NOW, NOW + 120)
ITSELF = Subject("otbroker:b/ledger", SubjectKind.SERVICE, "broker.itself", proofs=(ITSELF_PROOF,))
DEBT = Debt(
    SUBJECT,
    DEVICE.key,
    SETPOINT.id,
    OnLeave.RESTORE,
    None,
    "19.5",
    ("21.5",),
    (),
    frozenset({"adjust"}),
    "ses-1",
    3,
    NOW,
)
ERRAND = Errand("lve-1", SUBJECT, "window_closed", DEBT)


def leave_question(operation: Operation | None = None, **changes: Any) -> dict[str, Any]:
    own = {"subject": ITSELF, "organisation": Organisation("broker.itself", (), (), owner=True), "grants": ()}
    errand = ERRAND if operation is not None else replace(ERRAND, debt=None)
    return question.leave_question(operation=operation, **{**SURROUNDINGS, **own, "errand": errand, **changes})


def library() -> PolicyFiles:
    return read_policies(ROOT / "policies")
