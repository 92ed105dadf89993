"""A device with points of every kind, for the tests of meaning."""

from decimal import Decimal

from broker.model.place import Device, ModbusAddress, Order, Point, Protocol, Table, ValueType
from broker.model.vocabulary import Action
from broker.model.way import ModbusTcpWay

HOLDING, INPUT, COIL, DISCRETE = (
    Table.HOLDING_REGISTER,
    Table.INPUT_REGISTER,
    Table.COIL,
    Table.DISCRETE_INPUT,
)
WIDTHS = {
    ValueType.UINT16: 1,
    ValueType.INT16: 1,
    ValueType.UINT32: 2,
    ValueType.INT32: 2,
    ValueType.UINT64: 4,
    ValueType.INT64: 4,
    ValueType.FLOAT32: 2,
    ValueType.FLOAT64: 4,
}


def point(
    id_,
    table,
    start,
    kind,
    action=None,
    *,
    count=None,
    bit=None,
    scale="1",
    offset="0",
    words=Order.BIG,
    octets=Order.BIG,
):
    """A point with defaults for what a test does not care about."""
    address = ModbusAddress(
        table, start, count or WIDTHS.get(kind, 1), kind, words, octets, bit, Decimal(scale), Decimal(offset)
    )
    return Point(id_, address, action)


def device(*points, upstream_unit_id=7):
    """A Modbus device with these points; callers use unit 1."""
    return Device(
        "plant",
        "ahu-1",
        "hvac",
        Protocol.MODBUS,
        ModbusTcpWay("127.0.0.1", 502),
        points,
        unit_id=1,
        upstream_unit_id=upstream_unit_id,
    )


POINTS = (
    point("supply-temp-setpoint", HOLDING, 10, ValueType.INT16, Action.ADJUST, scale="0.1"),
    point("flow-setpoint", HOLDING, 11, ValueType.FLOAT32, Action.ADJUST),
    point("fan-command", HOLDING, 13, ValueType.UINT16, Action.CONTROL),
    point("fan-override", HOLDING, 14, ValueType.UINT16, Action.OVERRIDE),
    point("serial-number", HOLDING, 15, ValueType.UINT32),
    point("firmware-slot", HOLDING, 17, ValueType.UINT16, Action.INSTALL),
    point("energy", HOLDING, 20, ValueType.UINT64, Action.CONFIG),
    point("label", HOLDING, 30, ValueType.STRING, Action.CONFIG, count=4),
    *(point(f"relay-{bit}", HOLDING, 40, ValueType.BIT, Action.CONTROL, bit=bit) for bit in range(16)),
    point("alarm-ack", HOLDING, 41, ValueType.BIT, Action.ADJUST, bit=0),
    point("alarm-reset", HOLDING, 41, ValueType.BIT, Action.CONTROL, bit=15),
    point("alarm-lock", HOLDING, 41, ValueType.BIT, bit=7),
    point("enabled", HOLDING, 42, ValueType.BOOL, Action.CONTROL),
    point("outdoor-temp", INPUT, 10, ValueType.INT16, scale="0.1", offset="-40"),
    point("pump", COIL, 0, ValueType.BOOL, Action.CONTROL),
    point("damper", COIL, 1, ValueType.BOOL, Action.ADJUST),
    point("locked", COIL, 2, ValueType.BOOL),
    point("smoke", DISCRETE, 3, ValueType.BOOL),
)
AHU = device(*POINTS)
BY_ID = {p.id: p for p in POINTS}
