"""No setting is accepted and then ignored."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import broker
from broker.settings.reference import json_schema

PACKAGE = Path(broker.__file__).parent


def test_the_broker_reads_every_setting_that_it_accepts() -> None:
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.parent.name != "settings")
    ignored = sorted(key for key in set(_keys(json_schema("settings"))) if not re.search(rf"\.{key}\b", code))
    assert not ignored


def _keys(schema: dict[str, Any]) -> Iterator[str]:
    for part in (schema, *schema["$defs"].values()):
        yield from part.get("properties", {})
