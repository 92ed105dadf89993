"""How far notices of the ledger have been dealt with, channel by channel, in one small file."""

from pathlib import Path

import orjson

from broker.adapters.private_files import write_private
from broker.errors import ConfigError

LARGEST_FILE = 65_536


class NoticePositions:
    """The index of the first record that a channel may still have to tell of, by name of the channel."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, int]:
        """What was written last; nothing before the first time. Raises ConfigError."""
        try:
            with self._path.open("rb") as file:
                octets = file.read(LARGEST_FILE)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unusable(self._path, error) from None
        try:
            document = orjson.loads(octets)
            if not all(type(index) is int and index >= 0 for index in document.values()):
                raise ValueError("not all are indices")
        except (ValueError, AttributeError) as error:
            raise _unusable(self._path, error) from None
        return dict(document)

    def write(self, positions: dict[str, int]) -> None:
        """Replace it as a whole. Raises OSError."""
        write_private(self._path, orjson.dumps(positions))


def _unusable(path: Path, error: Exception) -> ConfigError:
    hint = f"{path}: {error}; remove it, and only what is recorded from then on is told"
    return ConfigError("notice_positions", "How far notices were sent cannot be read.", hint)
