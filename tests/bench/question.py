"""A realistic question: the write of a setpoint inside a window, as the broker asks it."""

from decimal import Decimal

from broker.authz.question import SessionFacts, encode, operation_question
from broker.model.place import (
    Device,
    Grant,
    ModbusAddress,
    ModbusTcpWay,
    Organisation,
    Point,
    Protocol,
    Table,
    ValueType,
)
from broker.model.schedule import CalendarState, Interval, Scope
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action
from broker.wire.modbus.meaning import compose_write

NOW = 1_790_000_000.0


def question() -> bytes:
    """Canonical JSON."""
    address = ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16, scale=Decimal("0.1"))
    point = Point("supply-temp-setpoint", address, Action.ADJUST, "°C", Decimal(16), Decimal(22))
    device = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502), (point,))
    proof = Proof(ProofKind.CERTIFICATE, "CN=acme issuing", "ana@acme.example", "f" * 43, NOW - 60, NOW + 86400)
    return encode(
        operation_question(
            now=NOW,
            subject=Subject("ana@acme.example", SubjectKind.PERSON, "acme", proofs=(proof,)),
            organisation=Organisation("acme", (), ("*@acme.example",)),
            device=device,
            operation=compose_write(device, point, "18.5").operations[0],
            calendar=CalendarState((Interval("evening", NOW - 3600, NOW + 3600),), (), None, NOW + 3600),
            grants=(Grant("ana-adjust", Scope(), (Action.VIEW, Action.ADJUST), subjects=("ana@acme.example",)),),
            session=SessionFacts("ses-abcdefghijklmnop", "modbus_tls", "127.0.0.1:40000", NOW - 60),
        )
    )
