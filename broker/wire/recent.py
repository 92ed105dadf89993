"""What was met last, within a bound."""

from collections import OrderedDict
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Recent(OrderedDict[_Key, _Value]):
    """A mapping of at most so many entries: what was kept first is forgotten first.

    An ordinary dictionary would look through all the gaps at its beginning to find the first.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: _Key, value: _Value) -> None:
        """Add an entry."""
        if len(self) >= self._most:
            self.popitem(last=False)
        self[key] = value
