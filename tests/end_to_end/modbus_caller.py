"""A Modbus/TCP Security caller that sends exactly the octets it is told to."""

import os
import socket
import ssl
import time
from base64 import urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from typing import NamedTuple


class Reply(NamedTuple):
    transaction: int
    unit: int
    pdu: bytes


def frame(pdu: bytes, transaction: int = 1, unit: int = 1, protocol: int = 0, length: int | None = None) -> bytes:
    octets = len(pdu) + 1 if length is None else length
    return b"".join(n.to_bytes(2, "big") for n in (transaction, protocol, octets)) + bytes((unit,)) + pdu


def read_registers(start: int, count: int = 1) -> bytes:
    return bytes((3,)) + start.to_bytes(2, "big") + count.to_bytes(2, "big")


def write_register(address: int, value: int) -> bytes:
    return bytes((6,)) + address.to_bytes(2, "big") + value.to_bytes(2, "big")


def write_registers(address: int, *values: int) -> bytes:
    head = bytes((16,)) + address.to_bytes(2, "big") + len(values).to_bytes(2, "big") + bytes((2 * len(values),))
    return head + b"".join(value.to_bytes(2, "big") for value in values)


def digest_of(pdu: bytes, upstream_unit: int = 1) -> str:
    """The digest under which the ledger knows a request."""
    return urlsafe_b64encode(sha256(bytes((upstream_unit,)) + pdu).digest()).rstrip(b"=").decode()


def digest_of_frame(pdu: bytes) -> str:
    """The digest under which the ledger knows octets that were not understood."""
    return urlsafe_b64encode(sha256(pdu).digest()).rstrip(b"=").decode()


class ModbusCaller:
    """A connection; `sni` None sends no name."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        sni: str | None,
        *,
        receive_octets: int | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        raw = socket.socket()
        if receive_octets is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_octets)
        raw.settimeout(10)
        raw.connect(("127.0.0.1", port))
        self.local_port: int = raw.getsockname()[1]
        self.socket = context.wrap_socket(raw, server_hostname=sni, session=session)
        self._received = b""
        self._transaction = 0

    def __enter__(self) -> "ModbusCaller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        """The PDU of the reply, which carries our own transaction and unit."""
        self._transaction += 1
        self.send(frame(pdu, self._transaction, unit))
        reply = self.receive()
        assert (reply.transaction, reply.unit) == (self._transaction, unit)
        return reply.pdu

    def receive(self) -> Reply:
        header = self._exactly(7)
        length = int.from_bytes(header[4:6], "big")
        return Reply(int.from_bytes(header[:2], "big"), header[6], self._exactly(length - 1))

    def half_close(self, *, politely: bool) -> None:
        """Say that nothing more will come, by TLS' own word or by TCP alone, and go on reading."""
        if not politely:
            with socket.socket(fileno=os.dup(self.socket.fileno())) as same:
                same.shutdown(socket.SHUT_WR)
            return
        self.socket.settimeout(0)
        with suppress(ssl.SSLWantReadError):
            self.socket.unwrap()
        self.socket.settimeout(10)

    def closed_within(self, seconds: float) -> float:
        """How long it took until the broker closed; AssertionError if it did not."""
        began = time.monotonic()
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(4096):
                pass
        except TimeoutError:
            raise AssertionError(f"still open after {seconds} s") from None
        except (ConnectionError, ssl.SSLError):
            pass
        return time.monotonic() - began

    def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError("the broker closed the connection")
            self._received += more
        taken, self._received = self._received[:count], self._received[count:]
        return taken
