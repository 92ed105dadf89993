"""One interpreter a device, shared by all connections; a changed device gets a new one."""

from broker.wire.bacnet.interpreter import Interpreter as BacnetInterpreter
from broker.wire.modbus.meaning import Interpreter as ModbusInterpreter
from broker.wire.recent import OfDevices


class Interpreters:
    """`modbus(device)` and `bacnet(device)`: the interpreter of exactly this device as it is described now."""

    def __init__(self) -> None:
        self.modbus = OfDevices(ModbusInterpreter).of
        self.bacnet = OfDevices(BacnetInterpreter).of
