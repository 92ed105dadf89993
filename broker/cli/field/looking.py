"""Runs a look at the field: progress to standard error, and whatever was found by the time it ends or is broken off."""

import asyncio
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from broker.cli.people.safe_text import escape
from broker.model.field import Bounds, FieldAddress, FoundDevice, FoundUnit

BROKEN_OFF = "it was broken off"


@dataclass(frozen=True, slots=True)
class BacnetLook:
    """Where to look for BACnet devices, and how far."""

    interface: str
    port: int
    low: int
    high: int
    devices: tuple[FieldAddress, ...]
    networks: tuple[int, ...]
    bbmd: str
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class ModbusLook:
    """Which Modbus units to ask."""

    host: str
    port: int
    units: tuple[int, ...]
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found; with `trouble`, that is not all there is."""

    devices: tuple[FoundDevice, ...] = ()
    units: tuple[FoundUnit, ...] = ()
    trouble: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether there may be more."""
        return bool(self.told_trouble())

    def told_trouble(self) -> list[str]:
        """All that kept the look from being whole."""
        devices = [f"device {each.instance}: {trouble}" for each in self.devices for trouble in each.trouble]
        units = [f"unit {each.unit_id}: {trouble}" for each in self.units for trouble in each.trouble]
        return [*self.trouble, *devices, *units]

    def counts(self) -> list[tuple[str, int, int]]:
        """What was read: device or unit, requests sent to it, objects read."""
        devices = [(str(each.instance), each.requests, len(each.objects)) for each in self.devices]
        return devices + [(f"unit-{each.unit_id}", each.requests, len(each.identification)) for each in self.units]


def look_at_bacnet(look: BacnetLook) -> Looked:
    """Look; what is found until the user breaks it off counts. Raises ConfigError."""
    # Loaded when somebody looks: the server is the same program.
    from broker.adapters.field_pace import Pace
    from broker.adapters.field_reader_bac0 import bac0_reader
    from broker.adapters.field_survey_bacnet import BacnetFieldSurvey

    async def run() -> Looked:
        async with bac0_reader(look.interface, look.port, look.bounds, look.bbmd) as reader:
            survey = BacnetFieldSurvey(reader, look.bounds, Pace(look.bounds), tell)
            looking = survey.look(look.low, look.high, look.devices, look.networks)
            await _until_broken_off(looking, survey.trouble)
            return Looked(devices=tuple(survey.found), trouble=tuple(survey.trouble))

    return asyncio.run(run())


def look_at_modbus(look: ModbusLook) -> Looked:
    """Look; what is found until the user breaks it off counts."""
    from broker.adapters.field_pace import Pace
    from broker.adapters.field_survey_modbus import ModbusFieldSurvey

    async def run() -> Looked:
        survey = ModbusFieldSurvey(look.host, look.port, look.bounds, Pace(look.bounds), tell)
        await _until_broken_off(survey.look(look.units), survey.trouble)
        return Looked(units=tuple(survey.found), trouble=tuple(survey.trouble))

    return asyncio.run(run())


async def _until_broken_off(looking: Coroutine[Any, Any, None], trouble: list[str]) -> None:
    """Ctrl-C ends the look, not what was found."""
    try:
        await looking
    except asyncio.CancelledError:
        trouble.append(BROKEN_OFF)


def tell(progress: str) -> None:
    """A line for whoever waits."""
    print(escape(progress), file=sys.stderr, flush=True)
