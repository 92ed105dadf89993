"""A serial line that is not there: two pseudo-terminals, what goes into one comes out of the other."""

import asyncio
import os
import pty
import tty
from contextlib import suppress

_READ_OCTETS = 1024


class PseudoLine:
    """`device_path` is the device's end, `path` the master's; both stay open here, so that either may come and go."""

    def __init__(self, link: str = "") -> None:
        self._loop = asyncio.get_running_loop()
        self._device_side, self._device_end = _raw_terminal()
        self._master_side, self._master_end = _raw_terminal()
        self.device_path = os.ttyname(self._device_end)
        self.path = os.ttyname(self._master_end)
        self._link = link
        if link:
            with suppress(FileNotFoundError):
                os.unlink(link)
            os.symlink(self.path, link)
            self.path = link
        self._loop.add_reader(self._device_side, self._carry, self._device_side, self._master_side)
        self._loop.add_reader(self._master_side, self._carry, self._master_side, self._device_side)

    def _carry(self, source: int, target: int) -> None:
        with suppress(OSError):
            os.write(target, os.read(source, _READ_OCTETS))

    def close(self) -> None:
        """Take the line away."""
        for descriptor in (self._device_side, self._master_side):
            self._loop.remove_reader(descriptor)
        for descriptor in (self._device_side, self._device_end, self._master_side, self._master_end):
            os.close(descriptor)
        if self._link:
            with suppress(FileNotFoundError):
                os.unlink(self._link)


def _raw_terminal() -> tuple[int, int]:
    side, end = pty.openpty()
    tty.setraw(end)
    os.set_blocking(side, False)
    return side, end
