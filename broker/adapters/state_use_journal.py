"""The uses of grants that this broker took up, in a file of its own: nobody uses one again through the database."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.adapters.private_files import read_kept, write_private

Use = tuple[str, str]
"""The chain of requests that a grant belongs to, and the use."""


class UseJournal:
    """One JSON file, replaced as a whole and fsynced; called from worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[Use, float]:
        """When (Unix seconds) each use that was taken up may be forgotten. Raises ConfigError."""
        public = "The uses that were taken up cannot be read."
        return read_kept(self._path, _decode, {}, "uses_unreadable", public)

    def write(self, uses: Mapping[Use, float]) -> None:
        """Keep these, and no others. Raises OSError."""
        write_private(self._path, json.dumps([[*use, until] for use, until in uses.items()]).encode())


def _decode(document: Any) -> dict[Use, float]:
    return {(str(chain), str(use)): float(until) for chain, use, until in document}
