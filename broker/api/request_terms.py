"""From what a caller asks for to the terms of an access request: every name known, every value one that can be written.

What approvers sign is exact: devices, points, times in epoch seconds, and values as the device's protocol carries them.
"""

import time
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import partial
from math import ceil, floor

from broker.access.plain_text import unreadable_because
from broker.api import codecs
from broker.api.call import Call
from broker.api.models import WriteValue
from broker.api.moments import moment_of
from broker.api.problems import Problem, timestamp
from broker.api.request_models import ExtendCall, PlannedValue, RequestCall
from broker.model.access_request import AccessRequest, Terms
from broker.model.place import BacnetAddress, Device, Organisation, PlannedWrite, Point
from broker.model.schedule import Interval
from broker.model.vocabulary import Action, Reason

LONGEST_SECONDS = 366 * 86_400
FARTHEST_SECONDS = 366 * 86_400
MOST_WINDOWS = 20
_LOOKING = frozenset({Action.VIEW, Action.DISCOVER})
_READ_FIRST = frozenset({Action.ADJUST, Action.CONTROL, Action.OVERRIDE, Action.CONFIG})
_VIEW_TOO = (
    "must include view as well: where the policy wants the value before a write (critical devices, values that are put "
    "back), it is read under the same access, and without it nothing could be written"
)


def terms_of(call: Call, asked: RequestCall) -> Terms:
    """The terms of a new request. Raises Problem."""
    organisation = _organisation(call)
    devices = _devices(call, organisation, asked.devices)
    planned = [_planned(devices, place, wish) for place, wish in enumerate(asked.plan)]
    plan = tuple(write for write, _ in planned)
    points = _points(devices, asked, plan)
    actions = _actions(asked, {action for _, action in planned})
    starts, ends = _times(call, asked, devices, organisation)
    if not asked.window and not _LOOKING.issuperset(actions):
        _require_window(call, devices, organisation, starts, ends)
    identifier = call.gate.requests.new_id()
    return Terms(
        id=identifier,
        subject=call.subject.id,
        organisation=organisation.id,
        devices=tuple(device.key for device in devices),
        points=points,
        actions=actions,
        reason=asked.reason,
        starts=starts,
        ends=ends,
        created_at=int(time.time()),
        plan=plan,
        ticket=asked.ticket,
        window=asked.window,
        single_use=asked.single_use,
        supervised=asked.supervised,
        chain=identifier,
    )


def extended(call: Call, request: AccessRequest, asked: ExtendCall) -> Terms:
    """The terms of a request that prolongs another. Raises Problem."""
    before, now = request.terms, int(time.time())
    ends = floor(moment_of("until", asked.until, "body_invalid") or 0)
    if ends <= before.ends:
        raise Problem("request_time", "It must end later than what it prolongs.")
    starts = max(before.starts, now)
    _require_length(starts, ends, now)
    return replace(
        before,
        id=call.gate.requests.new_id(),
        reason=asked.reason,
        ticket=asked.ticket or before.ticket,
        starts=starts,
        ends=ends,
        created_at=now,
        extends=before.id,
    )


def _organisation(call: Call) -> Organisation:
    found = call.gate.organisation(call.subject.organisation)
    if found is None:
        raise Problem("request_ineligible", reasons=(Reason.CONTRACT_ENDED,))
    return found


def _devices(call: Call, organisation: Organisation, keys: tuple[str, ...]) -> tuple[Device, ...]:
    """Devices that may be asked for; those that the caller may not see are not there for it."""
    inventory = {device.key: device for device in call.gate.inventory.devices}
    visible = inventory.keys() if organisation.owner else {d.key for d in call.gate.visible_devices(call.subject)}
    for place, key in enumerate(keys):
        if key not in visible:
            errors = [{"at": f"devices.{place}", "problem": "there is no such device, or you may not see it"}]
            raise Problem("device_unknown", f"No such device: {key}.", members={"errors": errors})
        if not organisation.may_ask_for(inventory[key]):
            raise Problem("request_ineligible", reasons=(Reason.OUTSIDE_REACH,))
    return tuple(inventory[key] for key in keys)


def _planned(devices: tuple[Device, ...], place: int, wish: PlannedValue) -> tuple[PlannedWrite, Action]:
    """What is planned, and the action that it is. Raises Problem."""
    at = f"plan.{place}"
    device = next((d for d in devices if d.key == wish.device), devices[0] if len(devices) == 1 else None)
    if device is None or wish.device not in (None, device.key):
        raise _wrong("request_terms", f"{at}.device", "must be one of the devices that are asked for")
    point = next((point for point in device.points if point.id == wish.point), None)
    if point is None:
        raise _wrong("point_unknown", f"{at}.point", f"{device.key} has no point {wish.point}")
    if point.action is None:
        raise _wrong("request_terms", f"{at}.point", "can only be read")
    item = WriteValue(value=wish.value, priority=wish.priority)
    request = codecs.composed(f"{at}.value", partial(codecs.compose_write, device, point, item))
    (operation,) = request.operations
    value = next((touch.value for touch in operation.touches if touch.point.id == point.id and touch.whole), None)
    if value is None:
        raise _wrong("value_invalid", f"{at}.value", "writes only part of the point")
    priority = operation.acts_at(point)
    unreadable = _unreadable(point, value)
    if unreadable:
        raise _wrong("request_terms", f"{at}.value", f"must {unreadable}")
    for name, problem in (("value", _outside_limits(point, value)), ("priority", _outside_range(point, priority))):
        if problem:
            raise _wrong("value_outside_limits", f"{at}.{name}", f"{name} of {point.id} of {device.key} {problem}")
    return PlannedWrite(device.key, point.id, value, priority), operation.action


def _unreadable(point: Point, value: str) -> str:
    """Why approvers must not be shown it: they read it beside names of Latin letters, and take what looks like a Latin
    word for one. What the inventory names for the point may be planned as it is.
    """
    return "" if value in point.allowed else unreadable_because(value) or unreadable_because(f"{point.id} is {value}")


def _outside_range(point: Point, priority: int | None) -> str:
    if priority is None:
        return ""
    address = point.address
    if not isinstance(address, BacnetAddress) or address.priority_lowest is None or address.priority_highest is None:
        return "cannot be: the point has none"
    lowest, highest = address.priority_lowest, address.priority_highest
    return "" if lowest <= priority <= highest else f"must be from {lowest} to {highest}"


def _outside_limits(point: Point, value: str) -> str:
    if value == "null":
        return ""
    if point.allowed and value not in point.allowed:
        return f"must be one of {', '.join(point.allowed)}"
    try:
        number = Decimal(value)
    except InvalidOperation:
        return ""
    if point.minimum is not None and number < point.minimum:
        return f"must be at least {point.minimum:f} {point.engineering_unit}".rstrip()
    if point.maximum is not None and number > point.maximum:
        return f"must be at most {point.maximum:f} {point.engineering_unit}".rstrip()
    return ""


def _points(devices: tuple[Device, ...], asked: RequestCall, plan: tuple[PlannedWrite, ...]) -> tuple[str, ...]:
    known = {point.id for device in devices for point in device.points}
    for place, name in enumerate(asked.points):
        if name not in known:
            raise _wrong("point_unknown", f"points.{place}", f"none of the devices has a point {name}")
    if not asked.points:
        return tuple(sorted({write.point for write in plan}))
    for place, write in enumerate(plan):
        if write.point not in asked.points:
            raise _wrong("request_terms", f"plan.{place}.point", "is not among the points that are asked for")
    return tuple(sorted(asked.points))


def _actions(asked: RequestCall, needed: set[Action]) -> tuple[Action, ...]:
    """What is asked for, or to view and what the plan needs (`needed`). Raises Problem."""
    wanted = set(asked.actions) or {Action.VIEW, *needed}
    missing = sorted(needed - wanted)
    if missing:
        raise _wrong("request_terms", "actions", f"must include {', '.join(missing)} for what is planned")
    if Action.VIEW not in wanted and not _READ_FIRST.isdisjoint(wanted):
        raise _wrong("request_terms", "actions", _VIEW_TOO)
    return tuple(action for action in Action if action in wanted)


def _times(call: Call, asked: RequestCall, devices: tuple[Device, ...], organisation: Organisation) -> tuple[int, int]:
    now = time.time()
    begins = moment_of("from", asked.starts, "body_invalid")
    ends = moment_of("until", asked.until, "body_invalid")
    if asked.window:
        for device in devices:
            interval = call.gate.occurrence(asked.window, device, organisation.id, max(begins or now, now))
            if interval is None:
                raise _no_such_window(call, asked.window, device, organisation, max(begins or now, now))
            begins = max(interval.opens, begins or 0.0)
            ends = ends or interval.closes
    starts = ceil(begins) if begins is not None else int(now)
    until = floor(ends or 0.0)
    _require_length(starts, until, now)
    return starts, until


def _no_such_window(call: Call, window: str, device: Device, organisation: Organisation, moment: float) -> Problem:
    """That it is none, or does not open any more, with those that do."""
    windows = call.gate.inventory.windows
    found = [(each.id, call.gate.occurrence(each.id, device, organisation.id, moment)) for each in windows]
    told = [f"{name} ({_when(interval, moment)})" for name, interval in found if interval is not None]
    there = f"its windows are {', '.join(told[:MOST_WINDOWS])}" if told else "no window of it opens any more"
    return _wrong("request_time", "window", f"{window} does not open for {device.key}: {there}")


def _when(interval: Interval, moment: float) -> str:
    if interval.opens <= moment:
        return f"open until {timestamp(interval.closes)}"
    return f"opens {timestamp(interval.opens)}"


def _require_length(starts: int, ends: int, now: float) -> None:
    if ends <= max(starts, now):
        raise _wrong("request_time", "until", "must be later than now and than from")
    if starts > now + FARTHEST_SECONDS or ends - starts > LONGEST_SECONDS:
        raise _wrong("request_time", "until", "must not be more than a year away")


def _require_window(
    call: Call, devices: tuple[Device, ...], organisation: Organisation, starts: int, ends: int
) -> None:
    """Whoever wants to change something needs a window: one that never opens in that time would give nothing."""
    for device in devices:
        state = call.gate.calendar_at(device, organisation.id, max(float(starts), time.time()))
        if not state.open and (state.next is None or state.next.opens >= ends):
            following = f"; the next, {state.next.id}, opens {timestamp(state.next.opens)}" if state.next else ""
            raise _wrong("request_time", "until", f"no window of {device.key} is open in that time{following}")


def _wrong(code: str, at: str, problem: str) -> Problem:
    return Problem(code, f"{at}: {problem}", members={"errors": [{"at": at, "problem": problem}]})
