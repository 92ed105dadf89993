"""Questions for both engines, the same in every run: well-typed ones across all rules, and broken ones."""

import copy
import random
from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

from broker.model.decision import EntryPoint
from broker.model.operation import BacnetProperty, Operation, Touch
from broker.model.place import Grant, GrantKind, OnLeave, PlannedWrite
from broker.model.schedule import CalendarState, Interval
from broker.model.vocabulary import Action
from tests.unit.authz import given

Asked = tuple[EntryPoint, dict[str, Any]]
NIGHT = Interval("night", given.NOW - 10, given.NOW + 100)
HOLIDAYS = Interval("holidays", given.NOW - 10, given.NOW + 100)
VALUES = [
    "16", "22.0", "15.99", "22.01", "21.899999618530273", "-0", "0", "-21.5", "9007199254740993", "99999999999999.5",
    "abc", "", "null", "true", "1e1", " 20", "020", "+20", "20.", ".5", "٢٠", "20\n", "0x14", "16.0000000000000001",
]  # fmt: skip
SERVICES = [
    "write-single-register",
    "write-property",
    "read-holding-registers",
    "report-server-id",
    "reinitialize-device",
]
BACNET_SERVICES = [
    ("who-is", Action.DISCOVER),
    ("read-property-multiple", Action.VIEW),
    ("subscribe-cov-property", Action.VIEW),
    ("write-property-multiple", Action.CONFIG),
    ("acknowledge-alarm", Action.CONTROL),
    ("life-safety-operation", Action.OVERRIDE),
    ("create-object", Action.CONFIG),
    ("atomic-write-file", Action.INSTALL),
    ("authenticate", Action.AUTH),
]
BACNET_PLACES = [
    BacnetProperty("device", 1001, "object-list"),
    BacnetProperty("device", 1001, None),
    BacnetProperty("analog-value", 1, "present-value"),
    BacnetProperty("analog-value", 1, "priority-array", 8),
    BacnetProperty("file", None, None),
]
PERMISSIONS = ["me.read", "ledger.read", "sessions.read", "decision.explain", "config.apply", "policy.publish"]
PERMISSIONS += ["lock.set", "lock.lift", "site.isolate", "isolation.pass"]
JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    5,
    2**60,
    "",
    "x",
    "view",
    [],
    ["x"],
    [None],
    [[]],
    {},
    {"id": 1},
    {"0": []},
]


def well_typed() -> list[Asked]:
    """Every rule of the library is touched, most of them from both sides."""
    asked = [
        *_values(),
        *_priorities(),
        *_plans(),
        *_surroundings(),
        *_operations(),
        *_bacnet(),
        *_sessions(),
        *_admin(),
    ]
    return [*asked, *_reviews(), *_leaves(), *_emergencies()]


def broken(count: int) -> list[Asked]:
    """Well-typed questions with one to three places removed or replaced by something else."""
    chance = random.Random(20261122)
    sources = well_typed()
    return [
        (entry_point, _break(copy.deepcopy(asked), chance)) for entry_point, asked in chance.choices(sources, k=count)
    ]


def _values() -> list[Asked]:
    limits = [
        (None, None, ()),
        (Decimal("16.0"), Decimal("22.0"), ()),
        (Decimal("16.0"), None, ()),
        (None, None, ("20", "abc")),
    ]
    return [
        _operation(replace(given.ADJUST, touches=(Touch(_point(low, high, allowed), True, value),)))
        for value, (low, high, allowed) in product(VALUES, limits)
    ]


def _priorities() -> list[Asked]:
    asked = []
    for priority, action, value in product(
        [None, 1, 6, 8, 9, 10, 16], [Action.ADJUST, Action.OVERRIDE], ["21", "null"]
    ):
        for bounds in [(10, 16), (1, 16), (None, None)]:
            address = replace(given.ZONE.address, priority_lowest=bounds[0], priority_highest=bounds[1])  # type: ignore[type-var]
            touches = (Touch(replace(given.ZONE, address=address), True, value),)
            grants = (replace(given.GRANTS[1], actions=(action,)),)
            write = replace(given.ZONE_WRITE, action=action, priority=priority, touches=touches)
            asked.append(_operation(write, grants=grants))
    return asked


def _surroundings() -> list[Asked]:
    asked = []
    calendars = [
        CalendarState(opened, frozen, NIGHT if not opened else None, given.NOW + 100, views_frozen)
        for opened, frozen, views_frozen in product([(), (NIGHT,)], [(), (HOLIDAYS,)], [False, True])
    ]
    grants = [
        (),
        given.GRANTS,
        given.GRANTS[:1],
        (replace(given.GRANTS[1], windows=("night",)),),
        (replace(given.GRANTS[1], points=("fan-speed",)),),
        (replace(given.GRANTS[0], windows=("saturday",)), replace(given.GRANTS[1], windows=("saturday", "night"))),
        (replace(given.GRANTS[0], not_after=given.NOW - 5), replace(given.GRANTS[1], not_before=given.NOW + 5)),
        *_given_grants(),
    ]
    for calendar, granted in product(calendars, grants):
        asked += [_operation(operation, calendar=calendar, grants=granted) for operation in (given.ADJUST, given.VIEW)]
        asked.append((EntryPoint.SESSION, given.session_question(calendar=calendar, grants=granted)))
    return asked


def _given_grants() -> list[tuple[Grant, ...]]:
    """As approved requests give them: with a plan, to be used once, or both."""
    asked = replace(given.GRANTS[1], kind=GrantKind.REQUEST, actions=(Action.VIEW, Action.ADJUST))
    writes = [PlannedWrite(given.DEVICE.key, given.SETPOINT.id, value) for value in ("21.5", "21.500", "22", "abc")]
    plans = [replace(asked, plan=(write,)) for write in writes]
    elsewhere = replace(asked, plan=(PlannedWrite("plant/ahu-2", given.SETPOINT.id, "21.5"),))
    once = [replace(grant, single_use=True, supervised=True) for grant in (asked, plans[0])]
    return [*((grant,) for grant in (*plans, elsewhere, *once)), (once[0], given.GRANTS[1])]


def _plans() -> list[Asked]:
    """A plan holds a value to its last character, and at a priority; without one a write acts at the least urgent."""
    asked = []
    close = [*zip(VALUES, VALUES, strict=True), ("16.0000000000000001", "16"), ("9007199254740992", "9007199254740993")]
    for planned, written in [*close, ("20", "20."), ("0", "-0"), ("16.0000000000000001", "16.0000000000000002")]:
        write = PlannedWrite(given.DEVICE.key, given.SETPOINT.id, planned)
        grant = replace(given.GRANTS[1], kind=GrantKind.REQUEST, plan=(write,))
        touches = (Touch(_point(None, None, ()), True, written),)
        asked.append(_operation(replace(given.ADJUST, touches=touches), grants=(grant,)))
    for planned, written in product((None, 10, 12, 16), (None, 10, 12, 16)):
        write = PlannedWrite(given.DEVICE.key, given.ZONE.id, "21.0", planned)
        grant = replace(given.GRANTS[1], kind=GrantKind.REQUEST, plan=(write,))
        asked.append(_operation(replace(given.ZONE_WRITE, priority=written), grants=(grant,)))
    return asked


def _operations() -> list[Asked]:
    asked = []
    for action, service, described, whole in product(Action, SERVICES, [True, False], [True, False]):
        value = "20" if whole and action not in {Action.VIEW, Action.DISCOVER} else None
        operation = replace(
            given.ADJUST,
            action=action,
            service=service,
            described=described,
            touches=(Touch(given.SETPOINT, whole, value),),
        )
        everything = replace(given.GRANTS[0], actions=tuple(Action))
        asked.append(_operation(operation, grants=(everything,)))
        asked.append(_operation(operation, grants=(replace(everything, points=("supply-temp-setpoint",)),)))
    unnamed = replace(given.VIEW, touches=())
    readable = replace(given.ADJUST, touches=(Touch(replace(given.SETPOINT, action=None), True, "20"),))
    return [*asked, _operation(unnamed), _operation(unnamed, grants=given.GRANTS[1:]), _operation(readable)]


def _bacnet() -> list[Asked]:
    """Objects, elements and services without a value, described by a point or not, by grants for all points or some."""
    asked = []
    everything = replace(given.GRANTS[0], actions=tuple(Action))
    grants = (everything, replace(everything, points=("zone-setpoint",)))
    cases = product(BACNET_SERVICES, BACNET_PLACES, [True, False], [None, 8], grants)
    for (service, action), place, described, priority, grant in cases:
        touches = (replace(given.ZONE_WRITE.touches[0], whole=place.index is None),) if described else ()
        facts = (("enable-disable", "disable"), ("password", "present"))
        operation = Operation(
            "bacnet", action, service, place, touches, described=described, priority=priority, facts=facts
        )
        asked.append(_operation(operation, grants=(grant,)))
    return asked


def _sessions() -> list[Asked]:
    asked = []
    organisations = [
        None,
        replace(given.ORGANISATION, contract_from=None, contract_until=None),
        replace(given.ORGANISATION, contract_until=given.NOW - 1),
        replace(given.ORGANISATION, contract_from=given.NOW + 1),
    ]
    subjects = [given.SUBJECT, *(replace(given.SUBJECT, proofs=(proof,)) for proof in given.SUBJECT.proofs)]
    for organisation, subject, criticality in product(organisations, subjects, ["low", "high", "critical", "odd"]):
        where = {
            "organisation": organisation,
            "subject": subject,
            "device": replace(given.DEVICE, criticality=criticality),
        }
        asked.append((EntryPoint.SESSION, given.session_question(**where)))
        asked += [_operation(operation, **where) for operation in (given.ADJUST, given.VIEW)]
    return asked


def _admin() -> list[Asked]:
    asked = []
    resources: list[dict[str, object]] = [{}, {"subject": given.SUBJECT.id}, {"subject": "bo@owner.example"}]
    isolation: dict[str, object] = {"kind": "lock", "isolation": "yes", "site": given.DEVICE.site}
    resources += [isolation | {"set_by": who} for who in (given.SUBJECT.id, "bo@owner.example")]
    for permission, resource, role, owner in product(
        PERMISSIONS, resources, ["auditor", "security", "operator", "technician", "emergency"], [True, False]
    ):
        subject = replace(given.SUBJECT, roles=(role, "policy-author"))
        organisation = replace(given.ORGANISATION, owner=owner)
        question = given.admin_question(permission, resource, subject=subject, organisation=organisation)
        asked.append((EntryPoint.ADMIN, question))
    return [*asked, *_scoped_roles()]


def _scoped_roles() -> list[Asked]:
    """Roles at one site, and duties that exclude each other, for things of this site, of another one and of none."""
    held = [("operator@plant",), ("auditor@plant", "operator"), ("operator@", "@plant", "operator@plant@plant"), (".",)]
    held += [
        ("policy-author@mill", "security"),
        ("auditor", "security@plant"),
        ("operator@" + "x" * 63, "security@mill"),
    ]
    sites: list[dict[str, object]] = [{}, {"site": ""}, {"site": "plant"}, {"site": "mill"}]
    owner = replace(given.ORGANISATION, owner=True)
    return [
        (
            EntryPoint.ADMIN,
            given.admin_question(word, site, subject=replace(given.SUBJECT, roles=roles), organisation=owner),
        )
        for word, site, roles in product(["sessions.end", "ledger.read", "policy.approve", "me.read"], sites, held)
    ] + [
        (
            EntryPoint.ADMIN,
            given.admin_question(
                word,
                {"approved_by": people},
                subject=replace(given.SUBJECT, roles=("security",)),
                organisation=owner,
            ),
        )
        for word, people in product(
            ["policy.approve", "policy.activate", "ca.sign", "proposal.approve"],
            [(), (given.SUBJECT.id,), (given.SUBJECT.id, "bo@owner.example"), ("x", "y", "z")],
        )
    ]


def _reviews() -> list[Asked]:
    asked = []
    roles = [("operator",), ("security", "operator"), ("auditor",), ("security", "policy-author"), ()]
    organisations = [replace(given.OWNER, contract_until=end) for end in (None, given.NOW - 5)]
    for held, organisation, actions, criticality in product(
        roles,
        [*organisations, given.ORGANISATION, None],
        [(Action.VIEW,), (Action.VIEW, Action.ADJUST), (Action.CONFIG,)],
        ["low", "high"],
    ):
        asked.append(
            (
                EntryPoint.REVIEW,
                given.review_question(
                    terms=replace(given.TERMS, actions=actions),
                    devices=(replace(given.DEVICE, criticality=criticality),),
                    reviewer=replace(given.REVIEWER, roles=held),
                    reviewer_organisation=organisation,
                ),
            )
        )
    oneself = given.review_question(terms=replace(given.TERMS, subject=given.REVIEWER.id))
    service = given.review_question(reviewer=replace(given.REVIEWER, kind="service"))
    return [*asked, (EntryPoint.REVIEW, oneself), (EntryPoint.REVIEW, service)]


def _leaves() -> list[Asked]:
    """What the broker itself asks: to open a session, to look, to put back and to release, rightly and wrongly."""
    put = [replace(given.ADJUST, touches=(Touch(given.SETPOINT, True, value),)) for value in ("19.5", "19.50", "21.5")]
    frozen = replace(given.CALENDAR, frozen=(HOLIDAYS,))
    released = replace(given.DEBT, point=given.ZONE.id, undo=OnLeave.RELEASE, priority=12, before="")
    release = replace(given.ZONE_WRITE, touches=(Touch(given.ZONE, True, "null"),))
    slot = replace(given.ZONE_WRITE, action=Action.VIEW, service="read-property", priority=None)
    operations = [None, given.VIEW, *put, release, replace(release, priority=11), given.ZONE_WRITE, slot]
    debts = [None, given.DEBT, released, replace(given.DEBT, point="other")]
    asked = []
    for operation, debt, calendar in product(operations, debts, (given.CALENDAR, frozen)):
        errand = replace(given.ERRAND, debt=debt)
        asked.append((EntryPoint.LEAVE, given.leave_question(operation, errand=errand, calendar=calendar)))
    asked.append((EntryPoint.LEAVE, given.leave_question(put[0], subject=given.SUBJECT)))
    marks = [replace(given.SETPOINT, on_leave=mark) for mark in OnLeave]
    asked += [_operation(replace(given.ADJUST, touches=(Touch(point, True, "20"),))) for point in marks]
    return asked


def _emergencies() -> list[Asked]:
    """What the fixed policy is asked: sessions and operations of an emergency, in and out of a freeze, and beyond."""
    actions = (Action.VIEW, Action.ADJUST, Action.CONTROL)
    grant = replace(given.GRANTS[1], kind=GrantKind.EMERGENCY, actions=actions, points=())
    over = replace(grant, not_after=given.NOW - 5)
    calendars = [replace(given.CALENDAR, frozen=frozen) for frozen in ((), (HOLIDAYS,))]
    too_high = replace(given.ADJUST, touches=(Touch(given.SETPOINT, True, "99"),))
    undescribed = replace(given.ADJUST, described=False)
    grave = replace(given.ADJUST, action=Action.CONFIG)
    asked: list[Asked] = []
    for calendar, held in product(calendars, [(grant,), (over,), ()]):
        asked.append((EntryPoint.EMERGENCY, given.session_question(calendar=calendar, grants=held)))
        for operation in (given.VIEW, given.ADJUST, too_high, undescribed, grave):
            question = given.operation_question(operation, calendar=calendar, grants=held)
            asked.append((EntryPoint.EMERGENCY, question))
    return asked


def _operation(operation: Operation, **changes: Any) -> Asked:
    return EntryPoint.OPERATION, given.operation_question(operation, **changes)


def _point(low: Decimal | None, high: Decimal | None, allowed: tuple[str, ...]) -> Any:
    return replace(given.SETPOINT, minimum=low, maximum=high, allowed=allowed)


def _break(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    for _ in range(chance.randint(1, 3)):
        places = list(_places(document))
        if not places:
            break
        container, key = chance.choice(places)
        if chance.random() < 0.4:
            del container[key]
        else:
            container[key] = chance.choice(JUNK)
    return document


def _places(node: Any) -> Any:
    """Every place below as (container, key or index)."""
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])
