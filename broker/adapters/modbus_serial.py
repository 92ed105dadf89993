"""Modbus RTU on a serial line (MODBUS over Serial Line v1.02), through a terminal device of the system."""

import asyncio
import fcntl
import os
import termios

from broker.adapters.endpoint import Endpoint, OpenLink
from broker.adapters.lane import Link
from broker.adapters.modbus_line import RtuLink
from broker.errors import ConfigError
from broker.model.way import SerialWay

_READ_OCTETS = 1024
_FASTEST_COUNTED_BAUD = 19200
_FAST_SILENCE_SECONDS = 0.00175


def seconds_per_octet(way: SerialWay) -> float:
    """How long one character takes: start bit, eight data bits, parity, stop bits."""
    return (9 + (way.parity != "N") + way.stop_bits) / way.baud


def silence_seconds(way: SerialWay) -> float:
    """The silence between two frames: 3.5 characters, fixed above 19,200 baud (Serial Line v1.02, 2.5.1.1)."""
    if way.baud > _FASTEST_COUNTED_BAUD:
        return _FAST_SILENCE_SECONDS
    return 3.5 * seconds_per_octet(way)


def check_serial(way: SerialWay) -> None:
    """Raises ConfigError for a line that this system cannot set up."""
    if getattr(termios, f"B{way.baud}", None) is None:
        raise ConfigError("serial_invalid", f"{way.path}: a baud rate of {way.baud} is not possible")
    if way.parity not in ("N", "E", "O") or way.stop_bits not in (1, 2):
        raise ConfigError("serial_invalid", f"{way.path}: parity is N, E or O, stop bits are 1 or 2")


def _set_up(line: int, way: SerialWay) -> None:
    """Raw eight-bit characters without flow control, for us alone."""
    fcntl.ioctl(line, termios.TIOCEXCL)
    baud = getattr(termios, f"B{way.baud}")
    control = termios.CS8 | termios.CREAD | termios.CLOCAL
    if way.parity != "N":
        control |= termios.PARENB | (termios.PARODD if way.parity == "O" else 0)
    if way.stop_bits == 2:
        control |= termios.CSTOPB
    characters = termios.tcgetattr(line)[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    checked = termios.INPCK if way.parity != "N" else 0
    termios.tcsetattr(line, termios.TCSANOW, [checked, 0, control, 0, baud, baud, characters])
    termios.tcflush(line, termios.TCIOFLUSH)


class SerialLink(RtuLink):
    """One open line."""

    def __init__(self, endpoint: Endpoint, way: SerialWay) -> None:
        super().__init__(endpoint, silence_seconds(way), seconds_per_octet(way))
        self._loop = asyncio.get_running_loop()
        self._line = os.open(way.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            _set_up(self._line, way)
        except (OSError, termios.error) as error:
            os.close(self._line)
            raise OSError(f"{way.path} cannot be set up") from error
        self._loop.add_reader(self._line, self._readable)
        self.started()

    def write(self, octets: bytes) -> None:
        """Hand the octets to the line; a line that does not take a whole frame at once is given up."""
        try:
            written = os.write(self._line, octets)
        except OSError:
            written = 0
        if written < len(octets):
            self.unsent = not written
            self._loop.call_soon(self.lost_line, "line_blocked")

    def _readable(self) -> None:
        try:
            data = os.read(self._line, _READ_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self.lost_line("connection_lost")

    def disconnect(self) -> None:
        """Close the line; once only, because its number may be another file's by then."""
        self._loop.remove_reader(self._line)
        os.close(self._line)


def serial_opener(way: SerialWay) -> OpenLink:
    """What opens this line."""

    async def open_link(endpoint: Endpoint) -> Link:
        return SerialLink(endpoint, way)

    return open_link
