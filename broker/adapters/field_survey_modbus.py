"""A look at Modbus units: which answer, and what they say they are. It sends functions 43/14 and 17, never a write.

Nothing is sent twice (`retries=0`), one request at a time, at a gentle pace.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from broker.adapters.field_pace import Pace, TimeIsUpError
from broker.adapters.field_words import LONGEST_TEXT, Tell
from broker.model.field import Bounds, FoundUnit

_BASIC, _REGULAR = 1, 2
_FIRST_REGULAR = 3
_MOST_ROUNDS = 8
_NOT_THERE = (4, 10, 11)
"""Exceptions by which gateways and devices say that there is no such unit (7 of the application protocol)."""
_NAMES = {
    0: "vendor-name",
    1: "product-code",
    2: "revision",
    3: "vendor-url",
    4: "product-name",
    5: "model-name",
    6: "application-name",
}
"""6.21 of the application protocol."""


class ModbusFieldSurvey:
    """One look at one host; `found` has what there is so far, also when the look is broken off."""

    def __init__(self, host: str, port: int, bounds: Bounds, pace: Pace, tell: Tell) -> None:
        self.found: list[FoundUnit] = []
        self.trouble: list[str] = []
        self._place = (host, port)
        self._bounds = bounds
        self._pace = pace
        self._tell = tell
        self._requests = 0
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)  # it writes what devices sent
        self._client = AsyncModbusTcpClient(host, port=port, retries=0, timeout=bounds.response_seconds)

    async def look(self, units: Sequence[int]) -> None:
        """Ask each unit what it is."""
        try:
            for unit in units:
                self._tell(f"unit {unit}")
                if not self._client.connected and not await self._client.connect():
                    self.trouble.append("no connection can be made")
                    return
                await self._ask(unit)
        except TimeIsUpError:
            self.trouble.append(f"the time of {self._bounds.total_seconds:g} seconds was up before all was read")
        finally:
            self._client.close()

    async def _ask(self, unit: int) -> None:
        self._requests = 0
        objects: dict[int, str] = {}
        there = await self._identify(unit, _BASIC, 0, objects)
        if there and objects:
            await self._identify(unit, _REGULAR, _FIRST_REGULAR, objects)
        reply = await self._send(self._client.report_device_id, device_id=unit)
        answered = reply is not None and getattr(reply, "exception_code", None) not in _NOT_THERE
        if there or answered:
            identification = tuple((_NAMES.get(n, f"object-{n}"), text) for n, text in sorted(objects.items()))
            server = _text(reply.identifier) if answered and not reply.isError() else ""
            self.found.append(FoundUnit(*self._place, unit, identification, server, self._requests))

    async def _identify(self, unit: int, code: int, first: int, objects: dict[int, str]) -> bool:
        """Read one level of identification into `objects`; whether there is a unit that answered."""
        for _ in range(_MOST_ROUNDS):
            reply = await self._send(
                self._client.read_device_information, read_code=code, object_id=first, device_id=unit
            )
            if reply is None or reply.isError():
                return reply is not None and reply.exception_code not in _NOT_THERE
            for number, value in reply.information.items():
                objects[int(number)] = _text(value[0] if isinstance(value, list) else value)
            if not reply.more_follows or reply.next_object_id <= first:
                return True
            first = reply.next_object_id
        return True

    async def _send(self, request: Any, **what: int) -> Any:
        """The reply, None if there is none. Raises TimeIsUpError."""
        await self._pace.turn()
        if not self._client.connected and not await self._client.connect():
            return None
        self._requests += 1
        with suppress(ModbusException, OSError, ValueError, IndexError, LookupError):
            return await request(**what)
        return None


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)
    return text[:LONGEST_TEXT]
