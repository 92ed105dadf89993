"""The inventory that was last approved, kept in the state folder so that gains can wait for `otbroker config apply`."""

import os
from pathlib import Path

from broker.access.losses import losses_only
from broker.model.place import Inventory
from broker.settings.canonical import decode_inventory, encode_inventory

REVISION_FILE = "applied-revision"
INVENTORY_FILE = "applied-inventory.json"
_MAXIMUM_OCTETS = 256 * 1024 * 1024


def write_applied(state_dir: str, inventory: Inventory) -> None:
    """Approve an inventory: its canonical form first, then its revision, each replaced whole. Raises OSError."""
    folder = Path(state_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(folder / INVENTORY_FILE, encode_inventory(inventory))
    _replace(folder / REVISION_FILE, inventory.revision.encode("ascii") + b"\n")


def read_applied_revision(state_dir: str) -> str:
    """The approved revision; empty if nothing was ever approved. Raises OSError."""
    try:
        with (Path(state_dir) / REVISION_FILE).open("rb") as file:
            return file.read(100).decode("ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


def read_applied(state_dir: str) -> Inventory | None:
    """The approved inventory; None if there is none, or if the file is not that of the approved revision."""
    revision = read_applied_revision(state_dir)
    try:
        with (Path(state_dir) / INVENTORY_FILE).open("rb") as file:
            inventory = decode_inventory(file.read(_MAXIMUM_OCTETS))
    except (FileNotFoundError, ValueError):
        return None
    return inventory if revision and inventory.revision == revision else None


def to_be_in_force(current: Inventory, applied: Inventory | None, gains: str) -> Inventory:
    """What the broker must have in force for the files as they are now.

    `gains` is the setting `reload.gains`. With no approved inventory there is nothing to compare with: the first one is
    taken as it is, and the broker writes it as approved.
    """
    if gains == "apply" or applied is None:
        return current
    return losses_only(applied, current)


def _replace(path: Path, content: bytes) -> None:
    """Readers see the old content or the new, and after a power loss as well."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
