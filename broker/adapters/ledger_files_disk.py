"""What the ledger asks of a file system: durable files, reserved room, and one owner."""

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import cast

from broker.errors import LedgerUnavailableError

FALLOC_FL_KEEP_SIZE = 0x01
LOCK_SECONDS = 5.0
LOCK_RETRY_SECONDS = 0.05
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


def write_durable(path: Path, octets: bytes, mode: int = 0o640) -> None:
    """Replace a file as a whole, its content on disk before its name; the folder is not synced. Raises OSError."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb", buffering=0) as file:
        os.fchmod(file.fileno(), mode)
        write_all(file.fileno(), octets)
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_new(file: tuple[Path, bytes]) -> None:
    """Write a file that nobody reads yet, its content on disk when this returns. Raises OSError."""
    path, octets = file
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        write_all(descriptor, octets)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, octets: bytes) -> None:
    """Write everything. Raises OSError (ENOSPC for a short write that cannot go on)."""
    view = memoryview(octets)
    while view:
        written = os.write(descriptor, view)
        if written == 0:
            raise OSError(errno.ENOSPC, "nothing written")
        view = view[written:]


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o750)
    sync_folder(folder.parent)


def free_octets(folder: Path) -> int:
    """Room on the file system for processes without privileges."""
    figures = os.statvfs(folder)
    return figures.f_bavail * figures.f_frsize


def reserve(descriptor: int, offset: int, length: int) -> bool:
    """Reserve room behind the end of a file without changing its size; False if there is none.

    On file systems that cannot reserve, True if that much is free now.
    """
    if _fallocate is not None:
        if _fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, length) == 0:
            return True
        code = ctypes.get_errno()
        if code in NO_ROOM:
            return False
        if code not in UNSUPPORTED:
            raise OSError(code, os.strerror(code))
    figures = os.fstatvfs(descriptor)
    return figures.f_bavail * figures.f_frsize > length


def _load_fallocate() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int
    return cast("Callable[[int, int, int, int], int]", function)


_fallocate = _load_fallocate()


class FolderLock:
    """One broker at a time owns a ledger: an advisory lock that ends with the processes that hold its descriptor.

    The sealer of a broker that was killed holds it a moment longer, so it is asked for a few times.
    """

    def __init__(self, folder: Path) -> None:
        """Take it. Raises LedgerUnavailableError `ledger_locked`."""
        self.descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        deadline = monotonic() + LOCK_SECONDS
        while not self._try():
            if monotonic() > deadline:
                os.close(self.descriptor)
                raise LedgerUnavailableError(
                    "ledger_locked", "the ledger is in use", f"another broker has {folder} open; only one may write it"
                )
            sleep(LOCK_RETRY_SECONDS)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self.descriptor)
