"""What is remembered is bounded."""

from dataclasses import replace

import pytest

from broker.model.place import Device, Protocol
from broker.model.way import ModbusTcpWay
from broker.wire.recent import OfDevices, Recent


def device(name: str) -> Device:
    return Device("plant", name, "hvac", Protocol.MODBUS, ModbusTcpWay("192.0.2.1", 502))


def test_what_was_kept_first_is_forgotten_first() -> None:
    recent: Recent[int, str] = Recent(2)
    for number in (1, 2, 3):
        recent.keep(number, str(number))
    assert dict(recent) == {2: "2", 3: "3"}


def test_what_takes_the_place_of_another_makes_nothing_else_forgotten() -> None:
    recent: Recent[int, str] = Recent(2)
    for number, text in ((1, "1"), (2, "2"), (2, "zwei")):
        recent.keep(number, text)
    assert dict(recent) == {1: "1", 2: "zwei"}


def test_something_is_made_of_a_device_once() -> None:
    made: list[Device] = []
    of_devices = OfDevices(lambda one: made.append(one) or len(made))
    ahu, meter = device("ahu"), device("meter")
    assert [of_devices.of(one) for one in (ahu, meter, ahu, meter)] == [1, 2, 1, 2]


def test_of_a_device_only_what_was_made_of_its_latest_description_is_kept() -> None:
    of_devices = OfDevices(lambda one: one.description)
    for number in range(3):
        assert of_devices.of(replace(device("ahu"), description=str(number))) == str(number)
    assert len(of_devices._kept) == 1


def test_the_devices_of_which_something_is_kept_are_bounded() -> None:
    of_devices = OfDevices(lambda one: one.id, most=3)
    devices = [device(f"d{number}") for number in range(5)]
    for one in (*devices, devices[0]):
        assert of_devices.of(one) == one.id
        assert len(of_devices._kept) <= 3


def test_what_cannot_be_made_is_not_kept() -> None:
    of_devices = OfDevices(lambda one: 1 // len(one.points))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            of_devices.of(device("ahu"))
    assert not of_devices._kept
