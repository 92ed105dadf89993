"""A look at BACnet devices: what is asked, in what steps, and what is kept when devices do not play along."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from struct import pack

import pytest

from broker.adapters.field_pace import Pace
from broker.adapters.field_reader import Announced, Answer, NoAnswerError, RefusedError
from broker.adapters.field_survey_bacnet import BacnetFieldSurvey
from broker.model.field import Bounds, FieldAddress, FoundDevice
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.tags import ENUMERATED, OBJECT, REAL, TEXT, UNSIGNED, Tag

BOUNDS = Bounds(requests_per_second=1000, total_seconds=1000)
DEVICE, AI, AV, BV, MSV = 8, 0, 2, 5, 19
LIST, NAME, UNITS, LOW, HIGH, STATES, STATE_TEXT, PRIORITIES = 76, 77, 117, 69, 65, 74, 110, 87


def tag(number: int, content: bytes) -> tuple[Tag, ...]:
    return (Tag("application", number, content),)


def text(value: str) -> tuple[Tag, ...]:
    return tag(TEXT, b"\0" + value.encode())


def number(value: int) -> tuple[Tag, ...]:
    return tag(UNSIGNED, value.to_bytes(4, "big"))


def real(value: float) -> tuple[Tag, ...]:
    return tag(REAL, pack(">f", value))


def identifier(kind: int, instance: int) -> tuple[Tag, ...]:
    return tag(OBJECT, (kind << 22 | instance).to_bytes(4, "big"))


@dataclass
class ScriptedDevice:
    """Answers from `objects`; `most` references fit into a reply, after `answers` requests it is silent."""

    instance: int = 1001
    objects: dict[tuple[int, int], dict[int, Answer]] = field(default_factory=dict)
    told: int | None = None
    most: int = 100
    answers: int = 1_000_000
    multiple: bool = True
    max_apdu: int = 1476
    asked: list[tuple[Reference, ...]] = field(default_factory=list)

    def announced(self) -> Announced:
        return Announced(self.instance, FieldAddress("192.0.2.1", self.instance), self.max_apdu, "none", 999)

    def read(self, references: Sequence[Reference]) -> dict[Reference, Answer]:
        self.asked.append(tuple(references))
        if len(self.asked) > self.answers:
            raise NoAnswerError
        if len(references) > 1 and not self.multiple:
            raise RefusedError("reject-unrecognized-service")
        if len(references) > self.most:
            raise RefusedError("abort-segmentation-not-supported")
        return {each: self._answer(each) for each in references}

    def _answer(self, at: Reference) -> Answer:
        if (at.object_type, at.property) == (DEVICE, LIST):
            return self._listed(at.array_index)
        found = self.objects.get((at.object_type, at.instance), {}).get(at.property, "property/unknown-property")
        if at.array_index and not isinstance(found, str):
            return found[at.array_index - 1 : at.array_index]
        return found

    def _listed(self, index: int | None) -> Answer:
        every = [(DEVICE, self.instance), *self.objects]
        if index == 0:
            return number(len(every) if self.told is None else self.told)
        if index is None:
            return tuple(each for which in every for each in identifier(*which))
        return identifier(*every[index - 1]) if index <= len(every) else identifier(AI, index)


class ScriptedField:
    """Devices by their address; on `networks` behind a router there are others."""

    def __init__(
        self, *devices: ScriptedDevice, networks: Mapping[int, Sequence[ScriptedDevice]] | None = None
    ) -> None:
        self.behind = networks or {}
        self.near = devices
        every = (*devices, *(device for some in self.behind.values() for device in some))
        self.devices = {device.announced().address: device for device in every}
        self.asked_networks: list[int] = []

    async def networks(self, router: FieldAddress | None) -> tuple[int, ...]:
        return tuple(self.behind)

    async def who_is(
        self, low: int, high: int, device: FieldAddress | None = None, network: int | None = None
    ) -> tuple[Announced, ...]:
        if network is not None:
            self.asked_networks.append(network)
        some = self.near if network is None else self.behind[network]
        told = (each.announced() for each in some)
        return tuple(each for each in told if device in (None, each.address) and low <= each.instance <= high)

    async def read(self, device: FieldAddress, references: Sequence[Reference]) -> Mapping[Reference, Answer]:
        return self.devices[device].read(references)


def look(field: ScriptedField, bounds: Bounds = BOUNDS, **how: object) -> BacnetFieldSurvey:
    clock = [0.0]

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    asked = {"low": 0, "high": 4194302, "devices": (), "networks": ()} | how

    async def run() -> BacnetFieldSurvey:
        survey = BacnetFieldSurvey(field, bounds, Pace(bounds, lambda: clock[0], sleep), lambda _: None)
        await survey.look(**asked)  # type: ignore[arg-type]
        return survey

    return asyncio.run(run())


def only(device: ScriptedDevice, bounds: Bounds = BOUNDS) -> FoundDevice:
    (found,) = look(ScriptedField(device), bounds).found
    return found


SETPOINT = {NAME: text("Zone setpoint"), UNITS: tag(ENUMERATED, b"\x3e"), LOW: real(10), HIGH: real(30.5)}
SETPOINT[PRIORITIES] = number(16)


def test_a_setpoint_is_read_with_unit_limits_and_priorities() -> None:
    (found,) = only(ScriptedDevice(objects={(AV, 1): SETPOINT})).objects
    assert (found.object_type, found.instance, found.name) == ("analog-value", 1, "Zone setpoint")
    assert (found.unit, found.minimum, found.maximum) == ("degrees-celsius", Decimal(10), Decimal("30.5"))
    assert found.commandable is True
    assert not found.trouble


@pytest.mark.parametrize(
    ("said", "commandable"),
    [("property/unknown-property", False), ("property/read-access-denied", None), (number(16), True)],
)
def test_whether_there_are_priorities_is_only_known_if_the_device_says_so(said: Answer, commandable: object) -> None:
    (found,) = only(ScriptedDevice(objects={(AV, 1): {**SETPOINT, PRIORITIES: said}})).objects
    assert found.commandable is commandable


def test_an_input_is_not_asked_for_priorities() -> None:
    device = ScriptedDevice(objects={(AI, 1): {NAME: text("t")}})
    assert only(device).objects[0].commandable is False
    assert not [at for wanted in device.asked for at in wanted if at.property == PRIORITIES]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_what_does_not_fit_into_a_reply_is_asked_for_in_parts(most: int) -> None:
    whole = only(ScriptedDevice(objects={(AV, 1): SETPOINT}))
    parts = only(ScriptedDevice(objects={(AV, 1): SETPOINT}, most=most))
    assert parts.objects == whole.objects
    assert parts.requests > whole.requests


def test_a_device_that_reads_one_property_at_a_time_is_asked_so_and_once_tried() -> None:
    device = ScriptedDevice(objects={(AV, 1): SETPOINT, (AV, 2): SETPOINT}, multiple=False)
    found = only(device)
    assert [each.unit for each in found.objects] == ["degrees-celsius"] * 2
    assert sum(len(wanted) > 1 for wanted in device.asked) == 1


def test_a_list_longer_than_a_reply_is_read_element_by_element() -> None:
    device = ScriptedDevice(objects={(AI, n): {NAME: text(f"t{n}")} for n in range(1, 101)}, max_apdu=206)
    found = only(device)
    assert [each.instance for each in found.objects] == list(range(1, 101))
    assert Reference(DEVICE, 1001, LIST, None) not in [at for wanted in device.asked for at in wanted]


def test_of_a_list_of_a_million_only_as_many_are_read_as_may_be() -> None:
    device = ScriptedDevice(told=1_000_000)
    found = only(device, Bounds(requests_per_second=1000, objects=50))
    assert len(found.objects) == 49  # the device itself is one of the 50
    assert found.objects_told == 1_000_000
    assert any("1000000" in trouble for trouble in found.trouble)
    assert len(device.asked) < 60


def test_a_list_whole_in_a_reply_but_longer_than_told_is_cut_too() -> None:
    device = ScriptedDevice(objects={(AI, n): {} for n in range(200)}, told=3)
    found = only(device, Bounds(requests_per_second=1000, objects=50))
    assert len(found.objects) == 49
    assert found.trouble


def test_what_was_read_before_a_device_fell_silent_is_kept() -> None:
    device = ScriptedDevice(objects={(AI, n): {NAME: text(f"t{n}")} for n in range(1, 11)}, answers=6)
    found = only(device)
    assert [each.name for each in found.objects] == ["t1", "t2", "t3"]
    assert found.trouble == ("it stopped answering",)
    assert len(device.asked) <= 6 + 3


def test_one_answer_that_nobody_can_read_does_not_hide_the_others() -> None:
    class Odd(ScriptedDevice):
        def read(self, references: Sequence[Reference]) -> dict[Reference, Answer]:
            if any(at.property == UNITS for at in references):
                self.asked.append(tuple(references))
                raise NoAnswerError
            return super().read(references)

    found = only(Odd(objects={(AV, 1): SETPOINT, (AV, 2): SETPOINT}))
    assert [each.maximum for each in found.objects] == [Decimal("30.5")] * 2
    assert all("units: was not answered" in each.trouble for each in found.objects)


def test_the_time_that_a_look_may_take_ends_it_and_what_was_found_is_kept() -> None:
    device = ScriptedDevice(objects={(AI, n): {NAME: text("t")} for n in range(1000)})
    survey = look(ScriptedField(device), Bounds(requests_per_second=10, total_seconds=20))
    assert 150 < len(device.asked) <= 200
    assert 100 < len(survey.found[0].objects) < 1000
    assert survey.trouble


def test_requests_are_no_closer_together_than_the_pace_says() -> None:
    clock, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    async def run() -> None:
        pace = Pace(Bounds(requests_per_second=4), lambda: clock[0], sleep)
        for _ in range(5):
            await pace.turn()

    asyncio.run(run())
    assert slept == [0.25] * 4


WRONG = {
    "name": {NAME: number(1)},
    "name-many": {NAME: text("a") + text("b")},
    "unit": {UNITS: text("degrees")},
    "limits": {LOW: text("low"), HIGH: tag(ENUMERATED, b"\x01")},
    "constructed": {NAME: (Tag("opening", 1, b""), Tag("closing", 1, b""))},
    "character-set": {NAME: tag(TEXT, b"\x09abc")},
}


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG.keys())
def test_values_of_wrong_types_are_trouble_and_never_a_guess(said: dict[int, Answer]) -> None:
    (found,) = only(ScriptedDevice(objects={(AV, 1): said})).objects
    assert found.trouble
    assert (found.name, found.unit, found.minimum, found.maximum) == ("", "", None, None)


@pytest.mark.parametrize("limit", [float("inf"), float("nan"), 3.4e38, 1e-30])
def test_a_limit_beyond_all_measure_is_none(limit: float) -> None:
    (found,) = only(ScriptedDevice(objects={(AV, 1): {LOW: real(-limit), HIGH: real(limit)}})).objects
    assert (found.minimum, found.maximum) == (None, None)


def test_states_that_do_not_fit_into_a_reply_are_read_one_by_one() -> None:
    texts = tuple(each for n in range(1, 6) for each in text(f"state {n}"))

    class Full(ScriptedDevice):
        def read(self, references: Sequence[Reference]) -> dict[Reference, Answer]:
            if any(at.property == STATE_TEXT and at.array_index is None for at in references):
                raise RefusedError("abort-buffer-overflow")
            return super().read(references)

    (found,) = only(Full(objects={(MSV, 1): {STATES: number(5), STATE_TEXT: texts}})).objects
    assert found.state_texts == tuple(f"state {n}" for n in range(1, 6))


def test_networks_behind_routers_are_looked_into_and_only_those_asked_for() -> None:
    behind = {7: [ScriptedDevice(7001)], 8: [ScriptedDevice(8001)]}
    assert [each.instance for each in look(ScriptedField(networks=behind)).found] == [7001, 8001]
    field = ScriptedField(networks=behind)
    assert [each.instance for each in look(field, networks=(8, 9)).found] == [8001]
    assert field.asked_networks == [8]


def test_a_router_that_names_thousands_of_networks_does_not_take_all_the_time() -> None:
    field = ScriptedField(ScriptedDevice(5), networks={number: [] for number in range(1, 5000)})
    survey = look(field)
    assert [each.instance for each in survey.found] == [5]
    assert len(field.asked_networks) == 64
    assert survey.trouble == ["routers name 4999 networks, of which 64 were looked into"]


def test_two_devices_that_say_they_are_the_same_are_both_looked_at_and_told_of() -> None:
    here, there = ScriptedDevice(5), ScriptedDevice(5)
    field = ScriptedField(here, networks={9: [there]})
    there.announced = lambda: Announced(5, FieldAddress("192.0.2.9", 1, 9, b"\x01"), 480, "none", 1)  # type: ignore[method-assign]
    field.devices[there.announced().address] = there
    survey = look(field)
    assert len(survey.found) == 2
    assert "several devices say that they are device 5" in survey.trouble


def test_more_devices_than_may_be_are_not_looked_at() -> None:
    survey = look(ScriptedField(*map(ScriptedDevice, range(10))), Bounds(requests_per_second=1000, devices=4))
    assert len(survey.found) == 4
    assert survey.trouble == ["10 devices answered, of which 4 were looked at"]
