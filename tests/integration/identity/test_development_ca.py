"""The development authority uses again what is good, makes anew what is not, and keeps its keys to itself."""

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from broker.adapters.development_ca import create_authority, issue_client, issue_server, publish_crl
from broker.adapters.development_tokens import create_token_issuer
from broker.adapters.private_files import write_private
from broker.errors import ConfigError
from broker.identity.certificate import Trust
from broker.identity.explanation import explain_certificate
from broker.model.place import Organisation

NOW = float(int(time.time()))
DAY = 86_400.0
SCRIPTS = Path(__file__).resolve().parents[3] / "certs"


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_good_is_used_again(tmp_path):
    for _ in range(2):
        authority = create_authority(tmp_path, "acme", NOW)
        credential = issue_client(authority, "ana@acme.example", tmp_path / "ana", NOW)
        issuer = create_token_issuer(tmp_path)
        state = {name: octets for name, octets in content(tmp_path).items() if name != "crl.pem"}
        if _ == 0:
            before = (state, credential, issuer.key_id)
    assert (state, credential, issuer.key_id) == before


@pytest.mark.parametrize(
    ("spoil", "anew"),
    [
        (lambda f: None, set()),
        (lambda f: (f / "ana.key").write_bytes((f / "issuing.key").read_bytes()), {"ana"}),
        (lambda f: (f / "ana.pem").write_bytes(b"nonsense"), {"ana"}),
        (lambda f: (f / "root.key").unlink(), {"ana", "root", "issuing"}),
        (lambda f: (f / "issuing.pem").write_bytes((f / "root.pem").read_bytes()), {"ana", "root", "issuing"}),
    ],
)
def test_what_does_not_fit_together_is_made_anew(tmp_path, spoil, anew):
    issue_client(create_authority(tmp_path, "acme", NOW), "ana@acme.example", tmp_path / "ana", NOW)
    before = content(tmp_path)
    spoil(tmp_path)
    issue_client(create_authority(tmp_path, "acme", NOW), "ana@acme.example", tmp_path / "ana", NOW)
    after = content(tmp_path)
    assert {name.removesuffix(".pem") for name in after if name.endswith(".pem") and after[name] != before[name]} - {
        "crl"
    } == anew
    assert accepted(tmp_path, (tmp_path / "ana.pem").read_bytes(), NOW)


def accepted(folder, raw_chain, now):
    anchor, crl = (folder / "root.pem").read_text(), (folder / "crl.pem").read_bytes()
    trust = Trust((Organisation("acme", (anchor,), ("*@acme.example",), crls=(crl,), crl_required=True),))
    return explain_certificate(raw_chain, trust, now) == ()


def test_certificates_are_renewed_before_they_end_and_lists_with_them(tmp_path):
    chain = {}
    for now in (NOW, NOW + 28 * DAY, NOW + 340 * DAY):
        authority = create_authority(tmp_path, "acme", now)
        issue_client(authority, "ana@acme.example", tmp_path / "ana", now)
        chain[now] = (tmp_path / "ana.pem").read_bytes()
        assert accepted(tmp_path, chain[now], now)
    assert len(set(chain.values())) == 3


def test_another_role_or_name_or_a_revocation_makes_a_new_certificate(tmp_path):
    authority = create_authority(tmp_path, "acme", NOW)
    issued = [
        issue_client(authority, "ana@acme.example", tmp_path / "ana", NOW),
        issue_client(authority, "ana@acme.example", tmp_path / "ana", NOW, modbus_role="Operator"),
        issue_client(authority, "eve@acme.example", tmp_path / "ana", NOW),
    ]
    publish_crl(authority, [issued[-1].serial], NOW)
    issued.append(issue_client(authority, "eve@acme.example", tmp_path / "ana", NOW))
    assert len({credential.serial for credential in issued}) == 4


def test_a_revocation_is_never_taken_back_by_a_later_list(tmp_path):
    authority = create_authority(tmp_path, "acme", NOW)
    ana, eve = (issue_client(authority, f"{who}@acme.example", tmp_path / who, NOW) for who in ("ana", "eve"))
    for serial in (ana.serial, eve.serial):
        publish_crl(authority, [serial], NOW)
    create_authority(tmp_path, "acme", NOW)
    assert not accepted(tmp_path, ana.certificate.read_bytes(), NOW)
    assert not accepted(tmp_path, eve.certificate.read_bytes(), NOW)


def test_revoking_the_issuing_authority_refuses_everybody_below_it(tmp_path):
    authority = create_authority(tmp_path, "acme", NOW)
    ana = issue_client(authority, "ana@acme.example", tmp_path / "ana", NOW)
    publish_crl(authority, [authority.issuing.certificate.serial_number], NOW)
    assert not accepted(tmp_path, ana.certificate.read_bytes(), NOW)


def test_a_server_certificate_lets_no_client_in(tmp_path):
    server = issue_server(create_authority(tmp_path, "acme", NOW), ["a.acme.example"], tmp_path / "server", NOW)
    assert not accepted(tmp_path, server.certificate.read_bytes(), NOW)


def test_files_are_their_owner_s_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        authority = create_authority(tmp_path / "new", "acme", NOW)
        issue_client(authority, "ana@acme.example", tmp_path / "new" / "ana", NOW)
        create_token_issuer(tmp_path / "new")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert modes == {0o600} and stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_private(tmp_path / "file", b"old")

    def fail(_descriptor):
        raise OSError("disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk"):
        write_private(tmp_path / "file", b"new")
    assert content(tmp_path) == {"file": b"old"}


@pytest.mark.parametrize(
    "subject", ["", "a b@acme.example", "host.acme.example", "spiffe://acme.example", "*@acme.example"]
)
def test_only_mailboxes_and_spiffe_ids_are_issued_to(tmp_path, subject):
    with pytest.raises(ConfigError):
        issue_client(create_authority(tmp_path, "acme", NOW), subject, tmp_path / "x", NOW)


def script(name, *arguments, cwd):
    return subprocess.run(
        [SCRIPTS / name, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_scripts_make_issue_and_revoke(tmp_path):
    folder = tmp_path / "pki"
    made = script("make-development-ca", folder, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "vendor-ana" in made.stdout and (folder / "personas" / "bms-sync.key").is_file()
    issued = script("issue-client", folder, "acme", "eve@acme.example", folder / "eve", cwd=tmp_path)
    assert issued.returncode == 0, issued.stderr
    raw_chain = (folder / "eve.pem").read_bytes()
    assert accepted(folder / "acme", raw_chain, time.time())
    revoked = script("revoke", folder, "acme", folder / "eve.pem", cwd=tmp_path)
    assert revoked.returncode == 0, revoked.stderr
    assert not accepted(folder / "acme", raw_chain, time.time())
    assert script("issue-client", folder, "acme", "no subject", folder / "x", cwd=tmp_path).returncode == 1
    assert script("revoke", folder, cwd=tmp_path).returncode == 2
    assert script("make-development-ca", cwd=tmp_path).returncode == 2


def test_openssl_accepts_the_chain_with_revocation_checking(tmp_path):
    authority = create_authority(tmp_path, "acme", NOW)
    ana = issue_client(authority, "ana@acme.example", tmp_path / "ana", NOW)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-crl_check_all"]
    files = ["-CAfile", authority.anchor, "-CRLfile", authority.crl, "-untrusted", ana.certificate, ana.certificate]
    checked = subprocess.run([*command, *files], capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr
