"""A PostgreSQL of our own on loopback, run by a user without privileges; it can be stopped, held up and come back."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.ports import free_port

SECONDS = 30.0
USER = "otbroker"


def programs() -> Path:
    """The folder of `initdb` and `postgres`; the test is skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs Debian's postgresql")
    return found[-1].parent


class Postgresql:
    def __init__(self) -> None:
        self._programs = programs()
        self._user = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
        self.folder = Path(tempfile.mkdtemp(prefix="otbroker-postgresql-"))
        if self._user:
            shutil.chown(self.folder, self._user)
        self.port = free_port()
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", USER, "--no-sync", "--no-locale")
        self._process: subprocess.Popen[bytes] | None = None

    def require(self, certificate: Path, key: Path, password: str) -> None:
        """From the next start on: nothing but TLS, and a password."""
        data = self.folder / "data"
        self.query("postgres", f"ALTER USER {USER} PASSWORD '{password}'")
        for source, name in ((certificate, "server.crt"), (key, "server.key")):
            (data / name).write_bytes(source.read_bytes())
            (data / name).chmod(0o600)
            if self._user:
                shutil.chown(data / name, self._user)
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\n")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, user=self._user, capture_output=True, timeout=SECONDS, cwd="/", check=False)
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *settings]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, user=self._user, stdout=log, stderr=log, cwd="/")
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + SECONDS
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        while subprocess.run(ready, check=False, timeout=SECONDS).returncode:
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, with all connections."""
        if self._process is not None:
            self.go_on()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(SECONDS)
            self._process = None

    def hold_up(self) -> None:
        """It is there and says nothing more."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for process in (self._process.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # connections come and go
                os.kill(process, number)

    def make_database(self, name: str) -> str:
        """A new one; its address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def query(self, database: str, statement: str) -> None:
        """As somebody who goes behind the brokers' back."""
        self._run_psql("-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database, "-c", statement)

    def _run_psql(self, *arguments: str) -> None:
        self._run("psql", "-q", "-v", "ON_ERROR_STOP=1", *arguments)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def running() -> Iterator[Postgresql]:
    """For a fixture."""
    postgresql = Postgresql()
    try:
        postgresql.start()
        yield postgresql
    finally:
        postgresql.remove()
