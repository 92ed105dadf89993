"""PKITS inside a handshake, with a listener's own context: OpenSSL and path validation both have their say."""

import ssl
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.identity.certificate import Trust
from broker.listeners.tls_context import ServerContext, server_context
from tests.integration.identity.pkits import FOLDER, NOW, Suite
from tests.integration.identity.test_pkits import EXCEPTIONS, is_invalid, trust, usable

ENDS = 1_924_984_800.0  # 31 December 2030: OpenSSL looks at the machine's clock
Handshake = Callable[[tuple[bytes, ...]], bool]


@pytest.fixture(scope="module")
def suite() -> Suite:
    if not (FOLDER / "vectors.txt").exists():
        pytest.skip("PKITS is not there: its wheel could not be brought")
    if time.time() >= ENDS:
        pytest.skip("PKITS has expired")
    return Suite()


@pytest.fixture(scope="module")
def handshake(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Handshake:
    """Whether the server's side of a handshake with that chain completes, unrefused."""
    folder = tmp_path_factory.mktemp("pkits")
    key = suite.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    presented, own = folder / "presented.pem", folder / "own.pem"
    own.write_text(ssl.DER_cert_to_PEM_cert(suite.issued_again(suite.vector("ValidSignaturesTest1"))) + key.decode())
    anchor = suite.anchor.public_bytes(Encoding.PEM).decode()
    listener = server_context(own, own, client_anchors_pem=[anchor], client_certificate="required")
    domain = trust(suite, tuple(usable(suite).values()))

    def completes(chain: tuple[bytes, ...]) -> bool:
        presented.write_text("".join(map(ssl.DER_cert_to_PEM_cert, chain)) + key.decode())
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.set_ciphers("DEFAULT:@SECLEVEL=0")  # whoever is hostile presents what it likes
        client.load_cert_chain(presented)
        return _server_completes(client, listener, domain)

    return completes


def _server_completes(client: ssl.SSLContext, listener: ServerContext, domain: Trust) -> bool:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(to_client, to_server)
    server = listener.wrap_bio(to_server, to_client, server_side=True)
    server.examine = lambda leaf, others: domain.verify(leaf, others, NOW)
    for side in (caller, server, caller, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            return False
    return server.refusal is None and server.getpeercert(binary_form=True) is not None


def test_no_handshake_with_a_path_that_pkits_calls_invalid_completes(suite: Suite, handshake: Handshake) -> None:
    completed = set()
    for name in filter(is_invalid, suite.names):
        try:
            vector = suite.vector(name)
            leaf = suite.issued_again(vector)
        except ValueError:
            continue
        if handshake((leaf, *vector.presented)):
            completed.add(name)
    assert completed == EXCEPTIONS


@pytest.mark.parametrize(
    "name",
    ["ValidSignaturesTest1", "ValidpathLenConstraintTest13", "ValidRFC822nameConstraintsTest25", "ValidTwoCRLsTest7"],
)
def test_a_handshake_with_a_path_in_our_profile_completes(suite: Suite, handshake: Handshake, name: str) -> None:
    vector = suite.vector(name)
    assert handshake((suite.issued_again(vector), *vector.presented))
