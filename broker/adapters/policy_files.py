"""A folder of policies as it is published: module texts by file name, data, and the revision that names them."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import orjson

from broker.errors import ConfigError

MAX_FILES = 500
MAX_FILE_OCTETS = 1 << 20


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """What a folder held; `revision` is the SHA-256 of all of it in canonical form, base64url without padding."""

    modules: dict[str, str]
    data: dict[str, object]
    revision: str


def read_policies(folder: Path) -> PolicyFiles:
    """Read `*.rego` (not `*_test.rego`), at any depth, and `data.json` at the top. Raises ConfigError."""
    paths = sorted(path for path in folder.rglob("*.rego") if not path.name.endswith("_test.rego"))
    if not paths or len(paths) > MAX_FILES:
        raise _refused(f"{folder}: {len(paths)} policy files, where 1 to {MAX_FILES} are expected")
    modules = {path.relative_to(folder).as_posix(): _text(path) for path in paths}
    data = _data(folder / "data.json")
    canonical = orjson.dumps({"data": data, "modules": modules}, option=orjson.OPT_SORT_KEYS)
    revision = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    return PolicyFiles(modules, data, revision)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_OCTETS:
            raise _refused(f"{path}: larger than {MAX_FILE_OCTETS} octets")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(f"{path}: {error}") from error


def _data(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        data = orjson.loads(_text(path))
    except ValueError as error:
        raise _refused(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise _refused(f"{path}: not an object")
    return data


def _refused(detail: str) -> ConfigError:
    return ConfigError("policy_refused", "The policy cannot be used.", detail)
