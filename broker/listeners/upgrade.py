"""The opening handshake of a WebSocket (RFC 6455, 4.2.1) where nothing else is spoken, sans I/O and strict."""

import base64
import binascii
import re
from typing import Final, NamedTuple

from broker.errors import FrameError

MAX_HEAD_OCTETS: Final = 8_192
MAX_HEADERS: Final = 64
_END: Final = b"\r\n\r\n"
_REQUEST = re.compile(rb"GET (/[\x21-\x7e]*) HTTP/1\.1")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*")  # RFC 9112, 5
_ONCE: Final = ("host", "sec-websocket-key", "sec-websocket-version", "upgrade")


class Upgrade(NamedTuple):
    """A proper handshake: the client's key, what it offers to speak, and what it sent behind."""

    key: str
    subprotocols: tuple[str, ...]
    rest: bytes


class UpgradeReader:
    """Octets of a client in, its handshake out once it is complete."""

    __slots__ = ("_octets",)

    def __init__(self) -> None:
        self._octets = b""

    def receive(self, data: bytes) -> Upgrade | None:
        """Take octets. Raises FrameError `upgrade_refused` as soon as they cannot become a handshake."""
        searched = max(0, len(self._octets) - len(_END))
        self._octets += data
        end = self._octets.find(_END, searched)
        if end > MAX_HEAD_OCTETS or (end < 0 and len(self._octets) > MAX_HEAD_OCTETS):
            raise _refused("the head is too long")
        if end < 0:
            return None
        request, *lines = self._octets[:end].split(b"\r\n")
        if not _REQUEST.fullmatch(request):
            raise _refused("not a GET of HTTP/1.1")
        headers = _headers(lines)
        _verify(headers)
        offered = headers.get("sec-websocket-protocol", "")
        rest = self._octets[end + len(_END) :]
        return Upgrade(headers["sec-websocket-key"], tuple(map(str.strip, offered.split(","))), rest)


def _headers(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > MAX_HEADERS:
        raise _refused("too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise _refused("a malformed header")
        name, value = found[1].decode().lower(), found[2].decode()
        if name in headers and name in _ONCE:
            raise _refused(f"{name} more than once")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _verify(headers: dict[str, str]) -> None:
    if "host" not in headers or "content-length" in headers or "transfer-encoding" in headers:
        raise _refused("no host, or a body")
    connection = [token.strip() for token in headers.get("connection", "").lower().split(",")]
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in connection:
        raise _refused("no upgrade to a WebSocket")
    if headers.get("sec-websocket-version") != "13":
        raise _refused("not version 13")
    if not _is_nonce(headers.get("sec-websocket-key", "")):
        raise _refused("no key of 16 octets")


def _is_nonce(key: str) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _refused(detail: str) -> FrameError:
    return FrameError("upgrade_refused", "not a WebSocket handshake", detail)


def refusal() -> bytes:
    """The answer to anything else."""
    return b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\nSec-WebSocket-Version: 13\r\n\r\n"
