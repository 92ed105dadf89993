"""Reads a ledger's folder for verification. Knows nothing of how it was written, and imports nothing Windows lacks."""

from collections.abc import Sequence
from pathlib import Path

from broker.ledger.verify import LARGEST_BUNDLE, Report, verify_ledger


class FolderReader:
    """The files below one folder, each read at most as far as asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str, offset: int = 0, length: int = LARGEST_BUNDLE) -> bytes | None:
        """Octets of a file; None if there is none."""
        try:
            with open(self._folder.joinpath(*path.split("/")), "rb") as file:
                file.seek(offset)
                return file.read(length)
        except (FileNotFoundError, NotADirectoryError):
            return None


def verify_directory(
    folder: Path, vkey_text: str, saved_checkpoint_text: str | None = None, witnesses: Sequence[str] = ()
) -> Report:
    """Verify the ledger in a folder with its public key (vkey) and, if there is one, a checkpoint saved earlier."""
    return verify_ledger(FolderReader(folder), vkey_text, saved_checkpoint_text, witnesses)
