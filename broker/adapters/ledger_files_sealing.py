"""The broker's side of the sealer process: start it, tell it what is on disk, and hear what it published."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import broker

CLOSE_SECONDS = 60.0
CHUNK = 65536
# The child finds the same package that runs here, wherever it was imported from.
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from broker.adapters.ledger_files_sealer import main
sys.exit(main())
"""


class SealerProcess:
    """One sealer for one opened ledger. `heard` and `ended` are called on the event loop."""

    def __init__(self, heard: Callable[[dict[str, Any]], None], ended: Callable[[], None]) -> None:
        self._heard = heard
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def start(self, folder: Path, key: Ed25519PrivateKey, origin: str, lock: int) -> None:
        """Start it; it inherits the lock's descriptor. The key goes through the pipe, never through arguments."""
        package = broker.__file__
        assert package is not None
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(Path(package).parent.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lock,),
            bufsize=0,
            start_new_session=True,
        )
        start = {"folder": str(folder), "origin": origin, "key": key.private_bytes_raw().hex()}
        os.write(self._input, orjson.dumps(start) + b"\n")
        os.set_blocking(self._input, False)
        os.set_blocking(self._output, False)

    @property
    def _input(self) -> int:
        assert self._process is not None and self._process.stdin is not None
        return self._process.stdin.fileno()

    @property
    def _output(self) -> int:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.fileno()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear it on the event loop."""
        loop.add_reader(self._output, self._on_output, loop)

    def ignore(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear it no more; to be called before `stop`."""
        if self._process is not None:
            loop.remove_reader(self._output)

    def synced(self, size: int) -> None:
        """Everything below `size` is on disk. If it is too busy to be told, a later call tells it more."""
        try:
            os.write(self._input, b"%d\n" % size)
        except (BlockingIOError, BrokenPipeError):
            return

    def _on_output(self, loop: asyncio.AbstractEventLoop) -> None:
        octets = os.read(self._output, CHUNK)
        if octets:
            self._hear(octets)
        else:
            loop.remove_reader(self._output)
            self._ended()

    def _hear(self, octets: bytes) -> None:
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            self._heard(orjson.loads(line))

    def stop(self, size: int, *, abandon: bool) -> bytes:
        """Let it seal everything below `size` and end, or just end; what it said last. Blocks."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return b""
        os.set_blocking(self._input, True)
        os.set_blocking(self._output, True)
        try:
            if not abandon:
                process.stdin.write(b"%d\nclose\n" % size)
            process.stdin.close()
        except BrokenPipeError:
            process.stdin.close()
        process.stdin = None
        try:
            said, _ = process.communicate(timeout=CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        return said

    def finish(self, said: bytes) -> None:
        """After `stop`, on the event loop: take in what it said last."""
        self._hear(said)
        self._process = None
