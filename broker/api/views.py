"""What a subject may look at: itself, its devices, their points, windows."""

import time
from decimal import Decimal
from typing import Any

from aiohttp import web

from broker.api.call import Call
from broker.api.codecs import as_json
from broker.api.json_text import decimal_text
from broker.api.problems import timestamp, window_document
from broker.model.place import BacnetAddress, Device, ModbusAddress, Point, Protocol
from broker.model.schedule import CalendarState, Interval
from broker.model.subject import Proof
from broker.model.way import BacnetIpWay, BacnetScWay


async def me(call: Call) -> dict[str, Any]:
    """Who the caller is to the broker."""
    subject = call.subject
    return {
        "id": subject.id,
        "kind": subject.kind.value,
        "organisation": subject.organisation,
        "roles": list(subject.roles),
        "proofs": [_proof(proof) for proof in subject.proofs],
    }


async def devices(call: Call) -> dict[str, Any]:
    """The devices of the caller, with what is open now and next."""
    visible = call.gate.visible_devices(call.subject)
    return {"devices": [_device(call, device) for device in visible]}


async def points(call: Call) -> dict[str, Any]:
    """The points of one device; whoever holds an emergency at its site sees them whatever the policy says, if it says
    anything at all.
    """
    site = call.parameters["site"]
    if not call.gate.break_glass.holds(call.subject, site):
        await call.require("devices.read", {"kind": "points", "site": site, "device": call.parameters["device"]})
    device = call.device()
    return {"device": device.key, "protocol": device.protocol.value, "points": [_point(p) for p in device.points]}


async def windows(call: Call) -> dict[str, Any]:
    """Windows and freezes that matter to the caller's devices: open now, frozen now, next."""
    described = {window.id: window.description for window in call.gate.inventory.windows}
    described |= {freeze.id: freeze.description for freeze in call.gate.inventory.freezes}
    entries: dict[tuple[str, str, Interval], list[str]] = {}
    for device in call.gate.visible_devices(call.subject):
        for state, interval in _intervals(call.gate.calendar_state(device, call.subject.organisation)):
            entries.setdefault((state, interval.id, interval), []).append(device.key)
    ordered = sorted(entries.items(), key=lambda entry: (entry[0][2].opens, entry[0][1], entry[0][0]))
    return {
        "now": timestamp(time.time()),
        "windows": [
            {
                "id": window,
                "description": described.get(window, ""),
                "state": state,
                "opens": timestamp(interval.opens),
                "closes": timestamp(interval.closes),
                "devices": keys,
            }
            for (state, window, interval), keys in ordered
        ],
    }


async def openapi(call: Call) -> web.Response:
    """The description of the API."""
    return web.Response(body=call.shared.description, headers={"Content-Type": "application/json"})


def _proof(proof: Proof) -> dict[str, Any]:
    return {
        "kind": proof.kind.value,
        "issuer": proof.issuer,
        "identifier": proof.identifier,
        "fingerprint": proof.fingerprint,
        "proven_at": timestamp(proof.proven_at),
        "not_after": timestamp(proof.not_after),
        "authenticated_at": None if proof.authenticated_at is None else timestamp(proof.authenticated_at),
        "acr": proof.acr,
        "methods": list(proof.methods),
    }


def _device(call: Call, device: Device) -> dict[str, Any]:
    calendar = call.gate.calendar_state(device, call.subject.organisation)
    return {
        "id": device.key,
        "site": device.site,
        "device": device.id,
        "segment": device.segment,
        "protocol": device.protocol.value,
        "criticality": device.criticality,
        "description": device.description,
        "labels": dict(device.labels),
        "unit_id": device.unit_id if device.protocol is Protocol.MODBUS else None,
        "bacnet": _bacnet(call, device),
        "windows": {
            "open": [_window(interval) for interval in calendar.open],
            "frozen": [_window(interval) for interval in calendar.frozen],
            "next": _window(calendar.next) if calendar.next else None,
        },
    }


def _bacnet(call: Call, device: Device) -> dict[str, Any] | None:
    way = device.way
    if not isinstance(way, BacnetIpWay | BacnetScWay):
        return None
    network = call.gate.inventory.bacnet_network(device.site)
    return {"instance": way.instance, "network": network, "address": device.bacnet_address.hex()}


def _window(interval: Interval) -> dict[str, str]:
    return window_document(interval.id, interval.opens, interval.closes)


def _intervals(calendar: CalendarState) -> list[tuple[str, Interval]]:
    found = [("open", interval) for interval in calendar.open]
    found += [("frozen", interval) for interval in calendar.frozen]
    return found + ([("next", calendar.next)] if calendar.next else [])


def _point(point: Point) -> dict[str, Any]:
    return {
        "id": point.id,
        "description": point.description,
        "unit": point.engineering_unit,
        "writable": point.action is not None,
        "action": point.action.value if point.action else None,
        "minimum": _limit(point, point.minimum),
        "maximum": _limit(point, point.maximum),
        "allowed": [as_json(point, text) for text in point.allowed],
        "confidential": point.confidential.value if point.confidential else None,
        **_address(point.address),
    }


def _limit(point: Point, limit: Decimal | None) -> Any:
    return None if limit is None else as_json(point, decimal_text(limit))


def _address(address: ModbusAddress | BacnetAddress) -> dict[str, Any]:
    if isinstance(address, ModbusAddress):
        place = {"table": address.table.value, "address": address.start, "count": address.count}
        bit = {} if address.bit is None else {"bit": address.bit}
        return {"modbus": place | {"type": address.value_type.value} | bit}
    return {
        "bacnet": {
            "object_type": address.object_type,
            "instance": address.instance,
            "property": address.property,
            "index": address.index,
            "priority_lowest": address.priority_lowest,
            "priority_highest": address.priority_highest,
        }
    }
