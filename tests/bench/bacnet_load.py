"""Reads one property over and over by BACnet/IP, so many at a time, and prints how fast that was.

usage: python -m tests.bench.bacnet_load HOST:PORT OUTSTANDING SECONDS [NETWORK HEXADDRESS]
"""

import json
import socket
import statistics
import sys
import time

READ_PRESENT_VALUE = bytes.fromhex("0c008000011955")
LOST_SECONDS = 2.0
COMPLEX_ACK = 0x30


def request(destination: bytes) -> bytes:
    """A datagram but for its invoke id, which goes where `\\x00` stands before the service choice."""
    control = 0x24 if destination else 0x04
    npdu = bytes((0x01, control)) + destination + bytes((0x00, 0x05, 0x00, 0x0C)) + READ_PRESENT_VALUE
    return bytes((0x81, 0x0A)) + (len(npdu) + 4).to_bytes(2, "big") + npdu


def measure(place: tuple[str, int], outstanding: int, seconds: float, destination: bytes) -> dict[str, float]:
    """Reads a second, and what they took in microseconds."""
    datagram = bytearray(request(destination))
    place_of_invoke = len(datagram) - len(READ_PRESENT_VALUE) - 2
    sent: dict[int, float] = {}
    taken: list[float] = []
    failures = lost = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(LOST_SECONDS)
        invoke = 0

        def ask() -> None:
            nonlocal invoke
            invoke = (invoke + 1) % 256
            datagram[place_of_invoke] = invoke
            sent[invoke] = time.perf_counter()
            client.sendto(datagram, place)

        for _ in range(outstanding):
            ask()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            try:
                reply = client.recv(1500)
            except TimeoutError:
                lost += len(sent)
                sent.clear()
                for _ in range(outstanding):
                    ask()
                continue
            apdu = _apdu(reply)
            asked = sent.pop(apdu[1], None)
            if asked is None:
                continue
            taken.append(time.perf_counter() - asked)
            failures += apdu[0] & 0xF0 != COMPLEX_ACK
            ask()
        elapsed = time.perf_counter() - began
    taken.sort()
    return {
        "reads_per_s": round(len(taken) / elapsed, 1),
        "p50_us": round(statistics.median(taken) * 1e6, 1),
        "p99_us": round(taken[int(len(taken) * 0.99)] * 1e6, 1),
        "failures": failures,
        "lost": lost,
    }


def _apdu(datagram: bytes) -> bytes:
    control, place = datagram[5], 6
    if control & 0x20:
        place += 3 + datagram[place + 2]
    if control & 0x08:
        place += 3 + datagram[place + 2]
    return datagram[place + (1 if control & 0x20 else 0) :]


def main() -> None:
    """Measure what the arguments name, and print it as JSON."""
    host, _, port = sys.argv[1].rpartition(":")
    destination = b""
    if len(sys.argv) > 4:
        address = bytes.fromhex(sys.argv[5])
        destination = int(sys.argv[4]).to_bytes(2, "big") + bytes((len(address),)) + address + b"\xff"
    print(json.dumps(measure((host, int(port)), int(sys.argv[2]), float(sys.argv[3]), destination)))


if __name__ == "__main__":
    main()
