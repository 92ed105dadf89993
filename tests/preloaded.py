"""Brokers that start quickly: everything is imported once, then each start is a fork of one process that does nothing
else. What a broker does from there on is the same as after a start by its command.

`python -m tests.preloaded` reads one JSON line per order and answers each with one.
"""

import atexit
import functools
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, TextIO


class ForkedBroker:
    """One start; the part of `Popen` that the tests use."""

    def __init__(self, launcher: "Launcher", pid: int) -> None:
        self._launcher = launcher
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._launcher.order({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("otbroker", timeout or 0)
            time.sleep(0.01)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Launcher:
    """The process in which everything is imported."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self._process.communicate, timeout=10)

    def start(self, arguments: Sequence[str], log: Path) -> ForkedBroker:
        """`otbroker` with these arguments; what it says is appended to `log`."""
        log.touch(0o600)  # whoever waits for a word of it may read at once
        pid = self.order({"start": list(arguments), "log": str(log), "environment": dict(os.environ)})
        assert pid is not None
        return ForkedBroker(self, pid)

    def order(self, order: dict[str, object]) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer: int | None = json.loads(self._process.stdout.readline())
        return answer


@functools.cache
def launcher() -> Launcher:
    """The one of this test run."""
    return Launcher()


class _ForkedSimulators:
    """The simulated devices, another fork; the part of `Popen` that `otbroker dev` uses."""

    def __init__(self, command: Sequence[str], **_: object) -> None:
        reading, self.stdin = _pipe()
        self.stdout, writing = _pipe()
        self.pid = os.fork()
        if self.pid:
            reading.close()
            writing.close()
            return
        os.dup2(reading.fileno(), 0)
        os.dup2(writing.fileno(), 1)
        os.closerange(3, 256)
        _end(functools.partial(_simulate, command))

    def wait(self, _: float | None = None) -> None:
        os.waitpid(self.pid, 0)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _pipe() -> tuple[TextIO, TextIO]:
    reading, writing = os.pipe()
    return os.fdopen(reading), os.fdopen(writing, "w")


def _simulate(command: Sequence[str]) -> int:
    from broker.adapters.simulators.__main__ import main

    sys.argv = list(command[2:])
    main()
    return 0


def _serve() -> None:
    # All that a development broker imports, early or late.
    import broker.adapters.bacnet_ip
    import broker.adapters.modbus_serial
    import broker.adapters.simulators.__main__
    import broker.cli.development
    import broker.cli.greeting
    import broker.cli.serving
    import broker.cli.walkthrough  # noqa: F401
    from broker.api.openapi import openapi_octets

    openapi_octets()
    gc.freeze()
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "start" in order:
            answer = _fork(order["start"], order["log"], order["environment"])
        else:
            pid, status = os.waitpid(order["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)


def _fork(arguments: list[str], log: str, environment: dict[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    from broker.cli import development
    from broker.cli.otbroker import main

    development.subprocess = SimpleNamespace(
        Popen=_ForkedSimulators, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
    )  # type: ignore[assignment]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    _end(lambda: main(arguments))


def _end(work: Callable[[], int]) -> NoReturn:
    """What a fork does, to its end."""
    status = 1
    try:
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
