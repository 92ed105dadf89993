"""The issuing key in a PKCS #11 token (SoftHSM): it signs, and never leaves."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from broker.adapters.authority.folder import KeyFacts
from broker.adapters.authority.key_tokens import TokenKey, TokenPrivateKey
from broker.errors import ConfigError, UnavailableError
from tests.integration.authority.kit import ANA, NOW, Authority, Opened, openssl_accepts, secret_file, serial_of

MODULES = [Path("/usr/lib/softhsm/libsofthsm2.so"), *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")]
MODULE = next((str(path) for path in MODULES if path.exists()), None)
PIN = "123456"

pytestmark = [
    pytest.mark.skipif(MODULE is None or not shutil.which("softhsm2-util"), reason="softhsm2 is not installed"),
]
pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """One for the module: the library reads its configuration once in a process."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        words = ["--init-token", "--free", "--label", "otbroker", "--pin", PIN, "--so-pin", "12345678"]
        subprocess.run(["softhsm2-util", *words], check=True, capture_output=True, timeout=30)
        yield KeyFacts(kind="pkcs11", module=MODULE, token="otbroker")


def test_an_authority_whose_keys_lie_in_a_token_issues_revokes_and_rotates(token, tmp_path):
    authority = Authority(tmp_path / "ca", token)
    assert not list(authority.folder.glob("*.key"))
    old = authority.issue()
    (tmp_path / "old.pem").write_bytes(old)
    assert openssl_accepts(authority.folder, tmp_path / "old.pem") == (True, "")
    authority.rotate(NOW, issues_from=NOW)
    new = authority.issue()
    assert authority.subject(old, NOW).id == authority.subject(new, NOW).id == ANA
    authority.opened().revoke(serial_of(old), "key-compromise", NOW)
    (tmp_path / "new.pem").write_bytes(new)
    assert openssl_accepts(authority.folder, tmp_path / "new.pem") == (True, "")
    assert not openssl_accepts(authority.folder, tmp_path / "old.pem")[0]


def test_a_key_can_move_from_a_file_into_a_token_by_rotation(token, tmp_path):
    authority = Authority(tmp_path / "ca")
    old, authority.key = authority.issue(), token
    authority.rotate(NOW, issues_from=NOW)
    new = authority.issue()
    assert authority.subject(old, NOW).id == authority.subject(new, NOW).id == ANA


def test_the_private_half_stays_in_the_token(token):
    place = TokenKey(token.module, token.token, "stays", Opened(pin=PIN))
    key = place.create()
    for come_out in (key.private_numbers, lambda: key.private_bytes(None, None, None)):
        with pytest.raises(NotImplementedError):
            come_out()
    attributes = [pkcs11.Attribute.SENSITIVE, pkcs11.Attribute.EXTRACTABLE]
    assert [key._handle[attribute] for attribute in attributes] == [True, False]
    with pytest.raises(ConfigError) as caught:
        place.create()
    assert caught.value.code == "key_exists"


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"label": "nobody"}, "NoSuchKey"),
        ({"token": "elsewhere"}, "NoSuchToken"),
        ({"module": "/nonexistent.so"}, "nonexistent"),
    ],
)
def test_what_keeps_a_token_from_signing_is_told(token, changed, word):
    named = {"module": token.module, "token": token.token, "label": "stays"} | changed
    with pytest.raises(ConfigError) as caught:
        TokenKey(named["module"], named["token"], named["label"], Opened(pin=PIN)).load()
    assert caught.value.code == "key_unusable"
    assert word in caught.value.detail


def test_a_token_that_goes_away_while_it_signs_is_told():
    class Gone:
        def sign(self, *_, **__):
            raise pkcs11.exceptions.DeviceRemoved

    key = TokenPrivateKey(Gone(), ec.generate_private_key(ec.SECP256R1()).public_key())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    with pytest.raises(UnavailableError, match="DeviceRemoved"):
        request.sign(key, hashes.SHA256())


def test_a_wrong_pin_is_told(token, tmp_path):
    """In a process of its own: in ours the token is open already."""
    authority = Authority(tmp_path / "ca", token)
    pin = secret_file(tmp_path / "pin.txt", "999999")
    command = [sys.executable, "-m", "broker.cli.otbroker", "ca", "crl", authority.folder, "--pin-file", pin]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "PinIncorrect" in done.stderr
