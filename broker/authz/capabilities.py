"""What a policy may call: one list of pure builtins, for `opa check --capabilities` and for our own walk.

Everything on it is a pure function that both engines have and that answers alike on both (the differential suite
calls each on both). Not on it: clock, chance, network, runtime, printing; `regex.*` and `glob.*` (different
dialects); `upper` and `lower` (different Unicode tables); `sprintf` and `json.*` (different ways to write a number);
division (different numbers).
"""

from importlib.resources import files
from typing import Any

import orjson

_LIST: dict[str, Any] = orjson.loads(files(__package__).joinpath("allowed_builtins.json").read_bytes())

ALLOWED_BUILTINS: frozenset[str] = frozenset(builtin["name"] for builtin in _LIST["builtins"])
RESERVED_NAMES: frozenset[str] = frozenset(_LIST["reserved_names"])


def opa_capabilities() -> dict[str, Any]:
    """The document for `opa check --capabilities FILE`."""
    return {"builtins": _LIST["builtins"], "future_keywords": [], "features": _LIST["features"], "allow_net": []}
