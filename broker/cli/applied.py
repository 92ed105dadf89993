"""What a broker has in force and what was last approved, as both stand in the state folder."""

from pathlib import Path

from broker.adapters.private_files import write_private
from broker.cli.file_sources import APPROVED, IN_FORCE
from broker.errors import ConfigError
from broker.model.place import Inventory
from broker.settings.canonical import decode_inventory

_MAXIMUM_OCTETS = 256 * 1024 * 1024


def approve(state_dir: str, revision: str) -> None:
    """Let the gains of this revision come into force; a running broker notices. Raises ConfigError."""
    folder = Path(state_dir)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / APPROVED, revision.encode("ascii") + b"\n")
    except OSError as error:
        public = f"The approval cannot be written to {state_dir}."
        raise ConfigError("state_unwritable", public, error.strerror or "") from None


def read_in_force(state_dir: str) -> Inventory | None:
    """The inventory that the broker has in force, or had when it last ran; None if it never ran.

    Raises ConfigError if the file is not an inventory.
    """
    path = Path(state_dir) / IN_FORCE
    try:
        with path.open("rb") as file:
            return decode_inventory(file.read(_MAXIMUM_OCTETS))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError("state_unreadable", f"{path} cannot be read.", str(error)) from None
