"""One interpreter a device, shared by all connections; a changed device gets a new one."""

from broker.model.place import Device
from broker.wire.modbus.meaning import Interpreter


class Interpreters:
    """Interpreters by device key, bounded by the inventory."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Device, Interpreter]] = {}

    def of(self, device: Device) -> Interpreter:
        """The interpreter of exactly this device as it is described now."""
        known = self._known.get(device.key)
        if known is not None and known[0] is device:
            return known[1]
        interpreter = Interpreter(device)
        self._known[device.key] = (device, interpreter)
        return interpreter
