"""BACnet property services in protocol-neutral form.

A request's payload is the canonical JSON of what will be asked, a reply's that of what came back, in the same order:

    {"properties":[{"instance":1,"object_type":"analog-value","property":"present-value"}],"service":"read-property"}
    {"priority":10,"properties":[{…}],"service":"write-property","value":"21.5"}
    {"results":[{"instance":1,"object_type":"analog-value","property":"present-value","value":"21.5"}]}

`index` is there only for one element of an array; a `value` of null releases the priority; a result has `value` (text,
or a list of texts) or `error` (`property/unknown-property`), or neither for a write.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Request, Touch
from broker.model.place import BacnetAddress, Device, Point
from broker.model.vocabulary import Action
from broker.wire.bacnet.values import RELEASE, text_to_write

READ = "read-property"
READ_MULTIPLE = "read-property-multiple"
WRITE = "write-property"

MOST_READ_AT_ONCE = 20
"""So many primitive values fit an APDU of 480 octets, the largest of many small devices."""

_LAST_OVERRIDE_PRIORITY = 8  # 19.2: 1 to 8 are for life safety, equipment protection and manual operators
_PRIORITIES = range(1, 17)
_PRIORITY_ARRAY = "priority-array"
_OVERRIDING = frozenset(("out-of-service", "reliability", "reliability-evaluation-inhibit", _PRIORITY_ARRAY))
_NO_MULTIPLE = ("read-property-multiple", "no")

Value = str | float | bool | None


def canonical(document: dict[str, Any]) -> bytes:
    """Canonical JSON (RFC 8785) of a document of texts, whole numbers, lists and nulls."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def described(address: BacnetAddress | BacnetProperty) -> dict[str, Any]:
    """A property as it stands in payloads."""
    document: dict[str, Any] = {
        "instance": address.instance,
        "object_type": address.object_type,
        "property": address.property,
    }
    if address.index is not None:
        document["index"] = address.index
    return document


def compose_read(device: Device, points: Sequence[Point]) -> tuple[Request, ...]:
    """Few requests that read all these points, in order.

    A device labelled `read-property-multiple: "no"` is asked for one property at a time.
    """
    if not points:
        return ()
    most = 1 if _NO_MULTIPLE in device.labels else MOST_READ_AT_ONCE
    return tuple(_read(points[start : start + most]) for start in range(0, len(points), most))


def compose_read_priority(point: Point, priority: int) -> Request:
    """The request that reads what one priority of a commandable point holds (19.2.1). Raises FrameError."""
    address = _address(point)
    if priority not in _PRIORITIES or address.priority_lowest is None or address.index is not None:
        raise FrameError("illegal_value", f"{point.id} has no priority {priority}")
    slot = BacnetProperty(address.object_type, address.instance, _PRIORITY_ARRAY, priority)
    operation = Operation("bacnet", Action.VIEW, READ, slot, (Touch(point, whole=False),))
    return _request((operation,), {"properties": [described(slot)], "service": READ})


def compose_write(device: Device, point: Point, value: Value, priority: int | None = None) -> Request:
    """The request that writes a value, or releases a priority (`None` or "null").

    Without a priority a commandable point gets its least urgent allowed one. Raises FrameError `illegal_value`.
    """
    address = _address(point)
    text = text_to_write(address.object_type, address.property, value)
    if priority is None:
        priority = address.priority_highest
    elif priority not in _PRIORITIES:
        raise FrameError("illegal_value", "a priority is 1 to 16")
    if text == RELEASE and priority is None:
        raise FrameError("illegal_value", f"{point.id} has no priorities that could be released")
    operation = Operation(
        protocol="bacnet",
        action=_action(point, address, priority),
        service=WRITE,
        address=_property(address),
        touches=(Touch(point, whole=True, value=text),),
        priority=priority,
    )
    document: dict[str, Any] = {"properties": [described(address)], "service": WRITE}
    document["value"] = None if text == RELEASE else text
    if priority is not None:
        document["priority"] = priority
    return _request((operation,), document, before=_read((point,)))


def values_of(device: Device, request: Request, payload: bytes) -> tuple[tuple[str, str], ...]:
    """Values by point id, as text, of the properties that a read brought; arrays as JSON lists."""
    return tuple((point, text) for point, word, text in _results(request, payload) if word == "value")


def errors_of(request: Request, payload: bytes) -> tuple[tuple[str, str], ...]:
    """The device's refusals by point id (`property/unknown-property`) inside an accepted reply."""
    return tuple((point, text) for point, word, text in _results(request, payload) if word == "error")


def _results(request: Request, payload: bytes) -> Iterable[tuple[str, str, str]]:
    results = json.loads(payload)["results"]
    for operation, result in zip(request.operations, results, strict=True):
        for word in ("value", "error"):
            if word in result:
                found = result[word]
                text = found if isinstance(found, str) else json.dumps(found, separators=(",", ":"), ensure_ascii=False)
                yield operation.touches[0].point.id, word, text


def _read(points: Sequence[Point]) -> Request:
    service = READ if len(points) == 1 else READ_MULTIPLE
    operations = tuple(
        Operation("bacnet", Action.VIEW, service, _property(_address(point)), (Touch(point, whole=True),))
        for point in points
    )
    return _request(operations, {"properties": [described(_address(point)) for point in points], "service": service})


def _request(operations: tuple[Operation, ...], document: dict[str, Any], before: Request | None = None) -> Request:
    payload = canonical(document)
    digest = base64.urlsafe_b64encode(hashlib.sha256(payload).digest()).rstrip(b"=").decode()
    return Request(operations, payload, digest, before=before)


def _address(point: Point) -> BacnetAddress:
    if not isinstance(point.address, BacnetAddress):
        raise FrameError("illegal_value", f"{point.id} is not a BACnet point")
    return point.address


def _property(address: BacnetAddress) -> BacnetProperty:
    return BacnetProperty(address.object_type, address.instance, address.property, address.index)


def _action(point: Point, address: BacnetAddress, priority: int | None) -> Action:
    """The most dangerous class that applies to a write; to a point that is read-only it is `config`."""
    overrides = address.property in _OVERRIDING or (priority is not None and priority <= _LAST_OVERRIDE_PRIORITY)
    if overrides and point.action in (Action.ADJUST, Action.CONTROL):
        return Action.OVERRIDE
    return point.action or Action.CONFIG
