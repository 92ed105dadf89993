"""Programs that nobody here wrote, each skipped visibly where it is missing."""

import functools
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.development import Development, Persona
from tests.ports import free_port
from tests.temporary import lasting_folder

PEERS = Path(__file__).resolve().parents[1] / "peers"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def npm_package(name: str) -> Path:
    program("node")
    if not (PEERS / "node_modules" / name).is_dir():
        pytest.skip(f"needs the npm package {name} in tests/peers")
    return PEERS


@functools.cache
def libmodbus_program() -> Path:
    compiler = program("cc")
    if not Path("/usr/include/modbus/modbus.h").exists():
        pytest.skip("needs libmodbus-dev")
    target = lasting_folder() / "server"
    source = PEERS / "libmodbus_server.c"
    subprocess.run([compiler, "-O1", "-I/usr/include/modbus", "-o", target, source, "-lmodbus"], check=True)
    return target


@contextmanager
def libmodbus_device(port: int = 0) -> Iterator[int]:
    """A device in C; its port. Register n holds n."""
    port = port or free_port()
    process = subprocess.Popen([libmodbus_program(), "tcp", str(port)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def plaintext_port(development: Development, persona: Persona, sni: str) -> Iterator[int]:
    """A local port behind which socat speaks TLS as that persona, for masters that cannot."""
    port = free_port()
    target = (
        f"OPENSSL:127.0.0.1:{development.modbus_port},cert={persona.certificate},key={persona.key},"
        f"cafile={development.folder / 'ca.pem'},openssl-min-proto-version=TLS1.2,snihost={sni},commonname={sni}"
    )
    process = subprocess.Popen(
        [program("socat"), f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr", target], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    """Until something listens there, without connecting to it."""
    wanted = f"0100007F:{port:04X}"
    end = time.monotonic() + 10
    while not any(line.split()[1] == wanted for line in Path("/proc/net/tcp").read_text().splitlines()[1:]):
        assert time.monotonic() < end, "socat does not listen"
        time.sleep(0.02)
