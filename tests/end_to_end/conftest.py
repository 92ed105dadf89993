"""Brokers that several tests share, and what every one of them must leave behind: a ledger in which everything
holds."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.development import Development

Start = Callable[..., Development]


def _starting(folder: Path) -> Iterator[Start]:
    started: list[Development] = []

    def start(*options: str, name: str = "", **others: object) -> Development:
        place = folder / (name or f"broker-{len(started)}")
        development = Development(place, *options, **others)  # type: ignore[arg-type]
        started.append(development)
        return development.wait()

    yield start
    try:
        for development in started:
            development.stop()
    finally:
        for development in started:
            development.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts brokers for one test; each is stopped in order and its ledger verified."""
    yield from _starting(tmp_path)


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """The same for all tests of a module."""
    yield from _starting(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    """The simulated building of `otbroker dev`, its window open, for tests that change nothing for others."""
    for starting in _starting(tmp_path_factory.mktemp("building")):
        yield starting()


@pytest.fixture(scope="session")
def unfinished_handshake(building: Development) -> Iterator[tuple[socket.socket, float]]:
    """A connection that began a handshake and never went on, and when (monotonic) it began."""
    with socket.create_connection(("127.0.0.1", building.modbus_port)) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00")
        yield connection, time.monotonic()
