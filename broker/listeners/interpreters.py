"""One interpreter a device, shared by all connections; a changed device gets a new one."""

from collections.abc import Callable
from typing import Generic, TypeVar

from broker.model.place import Device
from broker.wire.bacnet.interpreter import Interpreter as BacnetInterpreter
from broker.wire.modbus.meaning import Interpreter as ModbusInterpreter

_Interpreter = TypeVar("_Interpreter")


class _Known(Generic[_Interpreter]):
    """Interpreters by device key, bounded by the inventory."""

    def __init__(self, made: Callable[[Device], _Interpreter]) -> None:
        self._made = made
        self._known: dict[str, tuple[Device, _Interpreter]] = {}

    def of(self, device: Device) -> _Interpreter:
        known = self._known.get(device.key)
        if known is not None and known[0] is device:
            return known[1]
        interpreter = self._made(device)
        self._known[device.key] = (device, interpreter)
        return interpreter


class Interpreters:
    """`modbus(device)` and `bacnet(device)`: the interpreter of exactly this device as it is described now."""

    def __init__(self) -> None:
        self.modbus = _Known(ModbusInterpreter).of
        self.bacnet = _Known(BacnetInterpreter).of
