"""Files that `otb` keeps for its user: for him alone, whole or not at all."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from broker.cli.people.exits import CommandError


def write_whole(path: Path, text: str) -> None:
    """Write a file for its owner alone. Raises CommandError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(unfinished, path)
        except OSError:
            Path(unfinished).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError("file_unwritable", f"{path} cannot be written: {error.strerror or error}.") from None


def lock(path: Path, longest_seconds: float) -> bool:
    """Make a file that must not be there; one older than any use was left behind. Raises CommandError."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return True
    except FileExistsError:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > longest_seconds:
                path.unlink()
        return False
    except OSError as error:
        raise CommandError("file_unwritable", f"{path} cannot be written: {error.strerror or error}.") from None


def unlock(path: Path) -> None:
    """Take it away."""
    path.unlink(missing_ok=True)
