"""What was met last, and what was made of devices, within bounds."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from broker.model.place import Device

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_MOST_DEVICES = 65_536
"""More than an inventory has; devices that left it go when it is reached."""


class Recent(OrderedDict[_Key, _Value]):
    """A mapping of at most so many entries: what was kept first is forgotten first.

    An ordinary dictionary would look through all the gaps at its beginning to find the first.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: _Key, value: _Value) -> None:
        """Add an entry, or put it in the place of another."""
        if len(self) >= self._most and key not in self:
            self.popitem(last=False)
        self[key] = value


class OfDevices(Generic[_Value]):
    """What is made of each device once: of its latest description, in the place of what was made of an earlier one."""

    def __init__(self, made: Callable[[Device], _Value], most: int = _MOST_DEVICES) -> None:
        self._made = made
        self._most = most
        self._kept: dict[int, tuple[Device, _Value]] = {}
        self._latest: dict[str, int] = {}

    def of(self, device: Device) -> _Value:
        """What was made of exactly this device, or is now; raises what making it raises."""
        # By identity: comparing would look at all of its points. The device is kept, so its id stays its own.
        kept = self._kept.get(id(device))
        if kept is not None:
            return kept[1]
        value = self._made(device)
        former = self._latest.pop(device.key, None)
        if former is None and len(self._latest) >= self._most:
            former = self._latest.pop(next(iter(self._latest)))
        if former is not None:
            del self._kept[former]
        self._kept[id(device)] = device, value
        self._latest[device.key] = id(device)
        return value
