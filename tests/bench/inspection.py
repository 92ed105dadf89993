"""How long it takes to see what a BACnet request asks: decoding, points, values, and the octets that will be sent."""

import struct
from time import perf_counter_ns

from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.interpreter import Interpreter
from broker.wire.bacnet.property_requests import Write, encode_read_property, encode_write_property
from broker.wire.bacnet.references import Reference

POINTS = 500
REQUESTS = 20_000
_PRESENT_VALUE = 85
_ANALOG_VALUE = 2


def _plant() -> Device:
    points = tuple(
        Point(f"p{n}", BacnetAddress("analog-value", n, priority_lowest=8, priority_highest=16), Action.ADJUST)
        for n in range(POINTS)
    )
    return Device("plant", "ahu", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1001), points=points)


def _read(instance: int) -> bytes:
    return b"\x00\x0c" + encode_read_property(Reference(_ANALOG_VALUE, instance, _PRESENT_VALUE, None))


def _write(number: int) -> bytes:
    """A value that was not written before."""
    value = b"\x44" + struct.pack(">f", 10 + number / 1000)
    at = Reference(_ANALOG_VALUE, number % POINTS, _PRESENT_VALUE, None)
    return b"\x00\x0f" + encode_write_property(Write(at, value, 10))


def _median_us(requests: list[bytes]) -> float:
    interpreter = Interpreter(_plant())
    for octets in requests[:POINTS]:
        interpreter.interpret(octets)
    taken = []
    for octets in requests:
        began = perf_counter_ns()
        interpreter.interpret(octets)
        taken.append(perf_counter_ns() - began)
    return sorted(taken)[len(taken) // 2] / 1000


def inspection_us() -> dict[str, float]:
    """Medians: reads that come again, as explorers ask them, reads of which each is about something else, and writes of
    which each has another value.
    """
    return {
        "bacnet_read_inspection_us": round(_median_us([_read(n % POINTS) for n in range(REQUESTS)]), 1),
        "bacnet_new_read_inspection_us": round(_median_us([_read(n) for n in range(REQUESTS)]), 1),
        "bacnet_write_inspection_us": round(_median_us([_write(n) for n in range(REQUESTS)]), 1),
    }
