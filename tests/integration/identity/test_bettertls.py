"""BetterTLS' path building: of many ways up to the anchor the right one is found, and none that it calls wrong.

Its end entities are servers, so the one thing that is put aside here is what our profile asks of their extended key
usage; `test_pkits` and the unit tests hold that. More than four authorities presented are refused before any path.
"""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Criticality, ExtensionPolicy

from broker.errors import CertificateError
from broker.identity import anchors
from broker.identity.anchors import MOST_INTERMEDIATES, TrustDomain
from broker.identity.certificate import decode_presented
from broker.model.place import Organisation

SUITE = Path(__file__).parents[3] / ".tools" / "bettertls" / "pathbuilding.json"
_SERVERS = ExtensionPolicy.webpki_defaults_ee().may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)


def verdict(domain: TrustDomain, chain: list[bytes], now: float) -> str:
    try:
        leaf, others = decode_presented(chain[0], tuple(chain[1:]))
        domain.verify_path(leaf, others, now)
    except CertificateError as error:
        return error.code
    return "believed"


def test_every_path_is_judged_as_bettertls_does(monkeypatch: pytest.MonkeyPatch) -> None:
    if not SUITE.exists():
        pytest.skip("BetterTLS' vectors are not there: no Go to write them with")
    monkeypatch.setattr(anchors, "_LEAF_POLICY", _SERVERS)
    suite: dict[str, Any] = json.loads(SUITE.read_text())
    root = x509.load_der_x509_certificate(base64.b64decode(suite["trustRoot"]))
    pem = root.public_bytes(Encoding.PEM).decode()
    domain = TrustDomain(Organisation("bettertls", (pem,), (), max_path_length=MOST_INTERMEDIATES))
    now = SUITE.stat().st_mtime  # when its certificates were made
    verdicts: Counter[tuple[str, str, bool]] = Counter()
    for case in suite["suites"]["pathbuilding"]["testCases"]:
        chain = [base64.b64decode(member) for member in case["certificates"]]
        verdicts[case["expected"], verdict(domain, chain, now), len(chain) - 1 > MOST_INTERMEDIATES] += 1
    assert verdicts == {
        ("ACCEPT", "believed", False): 24,
        ("ACCEPT", "chain_too_long", True): 21,
        ("REJECT", "certificate_untrusted", False): 24,
        ("REJECT", "chain_too_long", True): 12,
    }
