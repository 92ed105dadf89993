"""The files behind a running broker: inventory, policies, and what it keeps of them in its state folder."""

import base64
import hashlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from broker.adapters.ledger_files_disk import sync_folder
from broker.adapters.policy_files import PolicyFiles, read_policies
from broker.adapters.private_files import read_kept, write_private
from broker.cli.config_files import raise_if_any
from broker.cli.inventory_files import read_inventory
from broker.cli.policies import shipped_policies
from broker.cli.policy_folder import read_policy_folder
from broker.model.place import Inventory, Organisation
from broker.settings.action_class_file import FILE_NAME
from broker.settings.broker_file import Settings
from broker.settings.canonical import decode_inventory, encode_inventory

log = logging.getLogger(__name__)
IN_FORCE = "inventory-in-force.json"
APPROVED = "applied-revision"
SETTINGS = "settings-revision"
ARCHIVE = "archive"
POLICIES = "policies-in-force.json"
MOST_POLICIES = 200
_REVISION = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class FileSources:
    """Implements the broker's `Sources`; organisations may have a folder of their own besides the inventory's."""

    def __init__(
        self,
        state_dir: Path,
        inventory_folder: Path,
        policy_folder: Path,
        ledger_folder: Path,
        organisation_folder: Path | None = None,
        certificates: tuple[Path, ...] = (),
    ) -> None:
        self._state_dir = state_dir
        self._inventory_folder = inventory_folder
        self._policy_folder = policy_folder
        self._archive = ledger_folder / ARCHIVE
        self._organisation_folder = organisation_folder
        self._certificates = certificates
        self._named_files: frozenset[Path] = frozenset()

    def inventory_mark(self) -> str:
        """A digest of names, sizes and times of every file in the inventory's folder or named by an organisation."""
        folders = filter(None, (self._inventory_folder, self._organisation_folder))
        found = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
        return _mark(sorted(found | self._named_files))

    def policy_mark(self) -> str:
        """The same of the policies."""
        beside = (self._policy_folder / name for name in ("data.json", FILE_NAME))
        return _mark((*sorted(self._policy_folder.rglob("*.rego")), *beside))

    def certificate_mark(self) -> str:
        """The same of the listeners' certificates and keys."""
        return _mark(self._certificates)

    def approved_revision(self) -> str:
        """What `otbroker config apply` approved last."""
        try:
            return (self._state_dir / APPROVED).read_text(encoding="ascii").strip()[:64]
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            log.warning("an approval cannot be read and counts for nothing: %s", error)
            return ""

    def spend_approval(self) -> None:
        """Forget the approval that has come into force."""
        (self._state_dir / APPROVED).unlink(missing_ok=True)

    def inventory(self) -> Inventory:
        """Read the inventory. Raises ConfigError."""
        self._named_files = frozenset()
        extra: tuple[Organisation, ...] = ()
        if self._organisation_folder is not None:
            extra = self._read(self._organisation_folder, ()).organisations
        return self._read(self._inventory_folder, extra)

    def _read(self, folder: Path, extra: tuple[Organisation, ...]) -> Inventory:
        reading = read_inventory(folder, extra)
        self._named_files |= frozenset(reading.named_files)
        raise_if_any(reading.problems, "inventory_invalid", str(folder))
        assert reading.inventory is not None
        return reading.inventory

    def last_in_force(self) -> Inventory | None:
        """The inventory that was in force when the broker last ran; None at the first start."""
        try:
            return decode_inventory((self._state_dir / IN_FORCE).read_bytes())
        except FileNotFoundError:
            return None

    def policies(self) -> PolicyFiles:
        """Read the policies. Raises ConfigError."""
        return read_policy_folder(self._policy_folder)

    def emergency_policies(self) -> PolicyFiles:
        """The library that comes with the broker, wherever the policies in force are. Raises ConfigError."""
        return read_policies(shipped_policies())

    def keep(self, inventory: Inventory) -> None:
        """Remember what is in force and archive it by its revision."""
        encoded = encode_inventory(inventory)
        self._keep_once(f"inventory-{inventory.revision}.json", encoded)
        write_private(self._state_dir / IN_FORCE, encoded)

    def keep_settings(self, settings: Settings) -> tuple[str, str]:
        """Archive the settings (they name secrets' files only) by their revision; that, and the one before."""
        encoded = orjson.dumps(settings.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        revision = base64.urlsafe_b64encode(hashlib.sha256(encoded).digest()).rstrip(b"=").decode()
        self._keep_once(f"settings-{revision}.json", encoded)
        path = self._state_dir / SETTINGS
        previous = path.read_text(encoding="ascii").strip() if path.exists() else ""
        write_private(path, revision.encode() + b"\n")
        return revision, previous

    def archive_policies(self, files: PolicyFiles) -> None:
        """Archive the policies by their revision."""
        encoded = orjson.dumps({"data": files.data, "modules": files.modules}, option=orjson.OPT_SORT_KEYS)
        self._keep_once(f"policy-{files.revision}.json", encoded)

    def archived_policies(self, revision: str) -> PolicyFiles | None:
        """What was archived under that revision; None unless it is there and whole."""
        if not _REVISION.fullmatch(revision):
            return None
        try:
            encoded = (self._archive / f"policy-{revision}.json").read_bytes()
        except FileNotFoundError:
            return None
        if base64.urlsafe_b64encode(hashlib.sha256(encoded).digest()).rstrip(b"=").decode() != revision:
            log.error("policy %s in the archive is not what its name says", revision)
            return None
        found = orjson.loads(encoded)
        return PolicyFiles(found["modules"], found["data"], revision)

    def policies_in_force(self) -> tuple[tuple[str, float], ...]:
        """Revisions that came into force and when, the newest last. Raises ConfigError."""

        def decode(document: Any) -> tuple[tuple[str, float], ...]:
            return tuple((str(revision), float(at)) for revision, at in document)

        public = "Which policies were in force cannot be read."
        return read_kept(self._state_dir / POLICIES, decode, (), "policies_unreadable", public)

    def remember_policy(self, revision: str, at: float) -> None:
        """Add to the revisions that came into force."""
        kept = (*self.policies_in_force(), (revision, at))[-MOST_POLICIES:]
        write_private(self._state_dir / POLICIES, orjson.dumps(kept) + b"\n")

    def _keep_once(self, name: str, octets: bytes) -> None:
        if not self._archive.is_dir():
            self._archive.mkdir(mode=0o700, parents=True)
            sync_folder(self._archive.parent)
        if not (self._archive / name).exists():
            write_private(self._archive / name, octets)


def _mark(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}\n".encode())
    return digest.hexdigest()
