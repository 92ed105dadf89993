"""Brokers that start quickly: everything is imported once, then each start is a fork of this process.

`python -m tests.end_to_end.crash.preloaded` reads one JSON line per order and answers each with one.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

from broker.cli.otbroker import main


class ForkedBroker:
    """One start; the part of `Popen` that the tests use."""

    def __init__(self, launcher: "Launcher", pid: int) -> None:
        self._launcher = launcher
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._launcher.order({"poll": self.pid})
        return self._status

    def wait(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("otbroker", seconds)
            time.sleep(0.01)
        return status


class Launcher:
    """The process in which everything is imported."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, arguments: list[str], log: Path) -> ForkedBroker:
        pid = self.order({"start": arguments, "log": str(log)})
        assert pid is not None
        return ForkedBroker(self, pid)

    def order(self, order: dict[str, object]) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=10)


def _serve() -> None:
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "start" in order:
            answer = _fork(order["start"], order["log"])
        else:
            pid, status = os.waitpid(order["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)


def _fork(arguments: list[str], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(said, 1)
        os.dup2(said, 2)
        status = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
