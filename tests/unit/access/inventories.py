"""Small inventories, and a strategy for pairs of them that differ in everything that access depends on."""

from decimal import Decimal

from hypothesis import strategies as st

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
from broker.model.vocabulary import Action
from broker.model.way import ModbusTcpWay
from broker.settings.canonical import with_revision

WRITES = (Action.ADJUST, Action.CONTROL, Action.CONFIG)


def point(name: str = "setpoint", start: int = 10, action: Action | None = Action.ADJUST, **changes: object) -> Point:
    return Point(name, ModbusAddress(Table.HOLDING_REGISTER, start, 1, ValueType.UINT16), action, **changes)


def device(name: str = "ahu-1", port: int = 502, points: tuple[Point, ...] = (), **changes: object) -> Device:
    way = ModbusTcpWay("127.0.0.1", port)
    return Device("plant", name, "hvac", Protocol.MODBUS, way, points or (point(),), **changes)


def window(name: str = "evening", hours: int = 4, starts: str = "2026-11-22T18:00:00", **changes: object) -> Window:
    scope = changes.pop("scope", Scope())
    return Window(name, scope, Occurrence(starts, "UTC", duration_seconds=hours * 3600, **changes))


def grant(name: str = "g", **changes: object) -> Grant:
    given = {"scope": Scope(sites=("plant",)), "actions": (Action.VIEW, Action.ADJUST), "subjects": ("ana",)} | changes
    return Grant(id=name, **given)


def inventory(**parts: object) -> Inventory:
    given = {
        "sites": ("plant",),
        "segments": (),
        "devices": (device(),),
        "organisations": (Organisation("acme", (), ("*@acme.example",)),),
        "windows": (window(),),
        "freezes": (),
        "grants": (grant(),),
    }
    return with_revision(Inventory(revision="", **(given | parts)))


def _some(*words: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sets(st.sampled_from(words)).map(lambda found: tuple(sorted(found)))


_scopes = st.builds(
    Scope,
    sites=st.sampled_from([(), ("plant",)]),
    devices=_some("plant/d0", "plant/d1"),
    labels=st.sampled_from([(), (("system", "hvac"),)]),
    organisations=st.sampled_from([(), (), ("acme",), ("beta",)]),
)
_points = st.lists(
    st.builds(
        point,
        name=st.sampled_from(["p0", "p1"]),
        start=st.sampled_from([10, 11]),
        action=st.sampled_from([*WRITES, None]),
        minimum=st.sampled_from([None, Decimal(1), Decimal(3)]),
        maximum=st.sampled_from([None, Decimal(4), Decimal(9)]),
        allowed=st.sampled_from([(), ("3",), ("3", "7")]),
        on_leave=st.sampled_from([OnLeave.KEEP, OnLeave.RESTORE]),
    ),
    unique_by=lambda p: p.id,
    max_size=2,
).map(tuple)
_devices = st.lists(
    st.builds(
        device,
        name=st.sampled_from(["d0", "d1"]),
        port=st.sampled_from([502, 502, 503]),
        points=_points,
        labels=st.sampled_from([(), (("system", "hvac"),)]),
        criticality=st.sampled_from(["low", "high"]),
    ),
    unique_by=lambda d: d.id,
).map(tuple)
_occurrences = st.builds(
    Occurrence,
    starts=st.sampled_from(["2026-11-22T18:00:00", "2026-11-22T19:00:00"]),
    zone=st.just("UTC"),
    duration_seconds=st.sampled_from([3600, 7200]),
    recurrence=st.sampled_from(["", "FREQ=DAILY", "FREQ=DAILY;UNTIL=20270101", "FREQ=DAILY;COUNT=3"]),
)
_windows = st.lists(
    st.builds(Window, st.sampled_from(["w0", "w1"]), _scopes, _occurrences), unique_by=lambda w: w.id
).map(tuple)
_freezes = st.lists(
    st.builds(Freeze, st.sampled_from(["f0", "f1"]), _scopes, _occurrences, st.booleans()), unique_by=lambda f: f.id
).map(tuple)
_grants = st.lists(
    st.builds(
        Grant,
        id=st.sampled_from(["g0", "g1", "g2"]),
        scope=_scopes,
        actions=st.sets(st.sampled_from([Action.VIEW, *WRITES]), min_size=1).map(lambda a: tuple(sorted(a))),
        subjects=_some("ana", "bo"),
        organisations=_some("acme"),
        roles=_some("technician"),
        points=_some("p0", "p1"),
        windows=_some("w0", "w1"),
        not_before=st.sampled_from([None, 1.0, 2.0]),
        not_after=st.sampled_from([None, 3.0, 4.0]),
        supervised=st.booleans(),
    ),
    unique_by=lambda g: g.id,
    max_size=3,
).map(tuple)

inventories = st.builds(
    inventory,
    devices=_devices,
    organisations=st.sampled_from(
        [
            (),
            (Organisation("acme", (), ("*@acme.example",), roles=(("ana", ("technician",)),)),),
            (Organisation("acme", (), ()),),
        ]
    ),
    windows=_windows,
    freezes=_freezes,
    grants=_grants,
)
