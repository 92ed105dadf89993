"""Wycheproof's signed tokens and key sets: nothing that they call invalid is believed.

Their payloads are no claims and their headers name no type, so this is the layer of form, key and signature alone; a
whole token needs all that and its claims besides.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from broker.errors import ConfigError, TokenError
from broker.identity import compact
from broker.identity.json_object import JsonObject, decode_json_object
from broker.identity.keys import KeySet, parse_key_set
from broker.identity.signature import _signed

FOLDER = Path(__file__).parents[3] / ".tools" / "wycheproof"
# Of the keys and algorithms that we believe: everything else (symmetric keys) proves nobody here.
BELIEVED = {"json_web_signature_test": 26, "json_web_key_test": 1}


def key_set(group: dict[str, Any]) -> KeySet | None:
    public = group.get("public") or {}
    members = public.get("keys") or ([public] if public else [])
    try:
        return parse_key_set(json.dumps({"keys": members}).encode())
    except ConfigError:
        return None


def believed(raw_token: str, keys: KeySet | None) -> bool:
    """Whether form, key, algorithm and signature are as they must be."""
    try:
        token = compact.decode_compact(raw_token)
    except TokenError:
        return False
    key_id, algorithm = token.header.get("kid"), token.header.get("alg")
    known = () if keys is None or not isinstance(key_id, str) else keys.named(key_id)
    return any(algorithm in key.algorithms and _signed(token, key, str(algorithm)) for key in known)


@pytest.mark.parametrize("name", sorted(BELIEVED))
def test_no_token_that_wycheproof_calls_invalid_is_believed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip("Wycheproof's vectors are not there: no Go to bring them with")

    def decode(octets: bytes) -> JsonObject:
        try:
            return decode_json_object(octets)
        except ValueError:
            return {}

    monkeypatch.setattr(compact, "decode_json_object", decode)
    verdicts = [
        (test["result"], believed(test["jws"], key_set(group)), f"{test['tcId']} {test['comment']}")
        for group in json.loads(path.read_text())["testGroups"]
        for test in group["tests"]
    ]
    assert len(verdicts) > 20
    assert [case for result, is_believed, case in verdicts if result == "invalid" and is_believed] == []
    assert sum(is_believed for _, is_believed, _ in verdicts) == BELIEVED[name]
