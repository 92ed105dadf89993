"""Faults in the system calls of a running broker, by a tracer that is attached and let go again."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

ATTACH_SECONDS = 20.0


def fsync_fails(strace: str, after: int) -> list[str]:
    """The prefix under which every fdatasync of a thread fails after so many good ones."""
    inject = f"inject=fdatasync:error=EIO:when={after + 1}+"
    return [
        strace,
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "signal=none",
        "-e",
        "trace=fdatasync",
        "-e",
        inject,
        "-o",
        "/dev/null",
    ]


@contextmanager
def injected(strace: str, pid: int, fault: str) -> Iterator[None]:
    """Every fdatasync of that process suffers this fault, as strace words it."""
    command = [strace, "-f", "-e", "signal=none", "-e", "trace=fdatasync", "-e", f"inject=fdatasync:{fault}"]
    tracer = subprocess.Popen([*command, "-o", "/dev/null", "-p", str(pid)], stderr=subprocess.PIPE)
    try:
        _wait_attached(tracer)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=30)


def _wait_attached(tracer: "subprocess.Popen[bytes]") -> None:
    assert tracer.stderr is not None
    said, end = b"", time.monotonic() + ATTACH_SECONDS
    while b"attached" not in said:
        ready, _, _ = select.select([tracer.stderr], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"strace did not attach: {said!r}"
        more = os.read(tracer.stderr.fileno(), 4096)
        assert more, f"strace did not attach: {said!r}"
        said += more
