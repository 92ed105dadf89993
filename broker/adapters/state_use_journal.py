"""The uses of grants that this broker took up, in a file of its own: nobody uses one again through the database."""

import json
from collections.abc import Mapping
from pathlib import Path

from broker.adapters.private_files import write_private
from broker.errors import ConfigError

Use = tuple[str, str]
"""The chain of requests that a grant belongs to, and the use."""


class UseJournal:
    """One JSON file, replaced as a whole and fsynced; called from worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[Use, float]:
        """When (Unix seconds) each use that was taken up may be forgotten. Raises ConfigError."""
        try:
            found = json.loads(self._path.read_bytes())
            return {(str(chain), str(use)): float(until) for chain, use, until in found}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            detail = f"{self._path}: {error}"
            raise ConfigError("uses_unreadable", "The uses that were taken up cannot be read.", detail) from None

    def write(self, uses: Mapping[Use, float]) -> None:
        """Keep these, and no others. Raises OSError."""
        write_private(self._path, json.dumps([[*use, until] for use, until in uses.items()]).encode())
