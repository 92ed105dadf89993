"""Salts of commitments, kept apart from the records so that they can be erased."""

import base64
import contextlib
import os
from pathlib import Path

import orjson

from broker.adapters.ledger_files_disk import sync_folder, write_all, write_durable
from broker.ledger.disclosure import SALT_OCTETS, commit


class DisclosureFile:
    """Values behind commitments, one JSON line each, in a file only its owner may read.

    `commit_to` blocks for an fsync: a commitment whose salt was lost could never be disclosed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def commit_to(self, value: str) -> str:
        """A commitment to a value; value and salt are on disk when it is returned. Raises OSError."""
        salt = os.urandom(SALT_OCTETS)
        commitment = commit(value, salt)
        line = orjson.dumps({"commitment": commitment, "salt": base64.b64encode(salt).decode(), "value": value})
        new = not self._path.exists()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, b"\n" + line + b"\n")  # a line cut off by a crash ends here
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync_folder(self._path.parent)
        return commitment

    def disclose(self, commitment: str) -> tuple[str, bytes] | None:
        """Value and salt of a commitment; None if they were erased."""
        for entry in self._entries():
            if entry["commitment"] == commitment:
                return entry["value"], base64.b64decode(entry["salt"])
        return None

    def erase(self, commitment: str) -> bool:
        """Forget value and salt; False if they were not there. The records do not change. Raises OSError."""
        entries = self._entries()
        kept = [entry for entry in entries if entry["commitment"] != commitment]
        if len(kept) == len(entries):
            return False
        write_durable(self._path, b"".join(orjson.dumps(entry) + b"\n" for entry in kept), 0o600)
        sync_folder(self._path.parent)
        return True

    def _entries(self) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        entries = []
        for line in self._path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):  # empty, or cut off by a crash: it was never returned
                entries.append(orjson.loads(line))
        return entries
