"""The requests that this broker knows to be over, in a file of its own: nobody revives them through the database."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from broker.adapters.private_files import write_private
from broker.errors import ConfigError
from broker.model.access_request import Ending, RequestState


class RequestJournal:
    """One JSON file, replaced as a whole and fsynced; called from worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Ending, ...]:
        """The endings of the last run. Raises ConfigError: whoever cannot know what is over must not begin."""
        try:
            found = json.loads(self._path.read_bytes())
            return tuple(Ending(**fields | {"state": RequestState(fields["state"])}) for fields in found)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, KeyError) as error:
            detail = f"{self._path}: {error}"
            raise ConfigError("requests_unreadable", "The requests that are over cannot be read.", detail) from None

    def write(self, endings: Iterable[Ending]) -> None:
        """Keep these, and no others. Raises OSError."""
        write_private(self._path, json.dumps([asdict(ending) for ending in endings]).encode())
