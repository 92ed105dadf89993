"""A folder of policies as it is published: module texts by file name, data, and the revision that names them."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import orjson

from broker.errors import ConfigError, Problem

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
        raise _refused(folder, f"{len(paths)} policy files, where 1 to {MAX_FILES} are expected")
    modules = {path.relative_to(folder).as_posix(): _text(path) for path in paths}
    return policy_of(modules, _data(folder / "data.json"))


def policy_of(modules: dict[str, str], data: dict[str, object]) -> PolicyFiles:
    """Modules and data with the revision that names them."""
    canonical = orjson.dumps({"data": data, "modules": modules}, option=orjson.OPT_SORT_KEYS)
    revision = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    return PolicyFiles(modules, data, revision)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_OCTETS:
            raise _refused(path, f"larger than {MAX_FILE_OCTETS} octets")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refused(path, "it is not UTF-8 text") from error


def _data(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        data = orjson.loads(_text(path))
    except orjson.JSONDecodeError as error:
        raise _refused(path, f"this is not JSON: {error.msg}", error.lineno, error.colno) from error
    if not isinstance(data, dict):
        raise _refused(path, "it is not an object", 1, 1)
    return data


def _refused(path: Path, message: str, line: int = 0, column: int = 0) -> ConfigError:
    problem = Problem(str(path), line, column, message)
    return ConfigError("policy_refused", "The policy cannot be used.", f"{path}: {message}", (problem,))
