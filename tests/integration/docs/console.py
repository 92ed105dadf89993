"""Runs the ```console blocks of a page, in order, in one shell, and checks what they say is printed."""

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

COMMAND_SECONDS = 90.0
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'")
_MARK = "--done-"


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and the lines that its output must have in this order; `…` stands for anything."""

    command: str
    expected: tuple[str, ...]


def fenced(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [found.group(2) for found in _FENCE.finditer(page) if found.group(1) == language]


def steps(page: str) -> list[Step]:
    """The commands of all console blocks of a page."""
    return [step for block in fenced(page, "console") for step in _steps(block)]


def _steps(block: str) -> Iterator[Step]:
    lines = block.splitlines()
    place = 0
    while place < len(lines):
        assert lines[place].startswith("$ "), f"a console block begins with a command: {lines[place]}"
        command = [lines[place][2:]]
        place += 1
        here = _HERE_DOCUMENT.search(command[0])
        while here and command[-1] != here.group(1):
            command.append(lines[place])
            place += 1
        first = place
        while place < len(lines) and not lines[place].startswith("$ "):
            place += 1
        yield Step("\n".join(command), tuple(line for line in lines[first:place] if line.strip()))


class Shell:
    """One bash in a folder. It leads a process group of its own, which is ended with it."""

    def __init__(self, folder: Path, replaced: Mapping[str, str]) -> None:
        self._replaced = replaced
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
        environment |= {"PYTHONUTF8": "1", "COLUMNS": "200"}
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.killpg(self._bash.pid, signal.SIGTERM)
        try:
            os.killpg(self._bash.pid, signal.SIGHUP)
            self._bash.wait(20)
        except ProcessLookupError:
            pass
        self._bash.stdin.close()
        self._bash.stdout.close()

    def run(self, step: Step) -> None:
        """Run a command and check its exit status, which must be 0, and its output."""
        command = step.command
        for old, new in self._replaced.items():
            command = command.replace(old, new)
        output, status = self._said(command)
        assert status == 0, f"$ {command}\n{output}\nexit status {status}"
        text = " ".join(output.split())
        place = 0
        for line in step.expected:
            pattern = ".*?".join(re.escape(" ".join(part.split())) for part in line.split("…"))
            found = re.compile(pattern).search(text, place)
            assert found, f"$ {command}\n{output}\nis without: {line}"
            place = found.end()

    def _said(self, command: str) -> tuple[str, int]:
        mark = f"{_MARK}{time.monotonic_ns()}"
        self._bash.stdin.write(f"{command}\necho {mark} $?\n".encode())
        self._bash.stdin.flush()
        octets = b""
        deadline = time.monotonic() + COMMAND_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._bash.stdout, selectors.EVENT_READ)
            while (done := re.search(rf"^{mark} (\d+)\n".encode(), octets, re.MULTILINE)) is None:
                left = deadline - time.monotonic()
                assert left > 0 and selector.select(left), f"$ {command}\n{octets.decode()}\nis not done in time"
                more = os.read(self._bash.stdout.fileno(), 65536)
                assert more, f"$ {command}\n{octets.decode()}\nended the shell"
                octets += more
        return octets[: done.start()].decode(), int(done.group(1))


def checkout_like(folder: Path) -> None:
    """A folder in which the commands of the pages work as in a checkout; all they make stays in it."""
    (folder / ".venv").symlink_to(Path(sys.prefix))
