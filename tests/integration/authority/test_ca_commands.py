"""`otbroker ca …` as its operator types it."""

import json
import os
import pty
import stat
import subprocess
import sys
import time

import pytest
from cryptography.x509 import load_pem_x509_certificate

from broker.adapters.authority.certificates import make_key
from broker.adapters.authority.folder import AuthorityFolder
from broker.adapters.authority.register import locked
from broker.cli.passphrases import GivenSecrets
from broker.identity.issuance import decode_terms
from tests.integration.authority.kit import ANA, openssl_accepts, otbroker_ca, secret_file


class Desk:
    """A folder with an authority, the files that open it, and what the last command said."""

    def __init__(self, folder, capsys):
        self.folder, self.ca, self._capsys = folder, folder / "ca", capsys
        self.root_passphrase = secret_file(folder / "root.txt", "the root's long passphrase")
        self.passphrase = secret_file(folder / "issuing.txt", "the issuing key's long passphrase")

    def run(self, command, *words, status=0, root=False):
        opening = ["--root-passphrase-file", self.root_passphrase] if root else []
        if command not in {"status", "sign", "root-crl", "approvers"}:
            opening += ["--passphrase-file", self.passphrase]
        assert otbroker_ca(command, *words, *opening) == status
        said = self._capsys.readouterr()
        return said.err if status else said.out

    def init(self, *words):
        return self.run("init", self.ca, "--organisation", "acme", "--namespace", "*@acme.example", *words, root=True)

    def issue(self, *words, status=0, who=ANA, name="ana"):
        files = [] if "--csr" in words else ["--key-out", self.folder / f"{name}.key"]
        profile = [] if "--profile" in words else ["--profile", "person"]
        out = ["--name", who, "--out", self.folder / f"{name}.pem", *files, *profile]
        return self.run("issue", self.ca, *out, *words, status=status)


@pytest.fixture
def desk(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    desk.init("--root", tmp_path / "root")
    return desk


def test_keys_are_encrypted_and_nobody_else_s_while_lists_are_everybody_s(desk):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in desk.ca.iterdir()}
    public = {name for name, mode in modes.items() if mode == 0o644}
    assert public == {"root.pem", "root-crl.pem", "crl.pem", "issuing-1.pem"}
    assert {mode for name, mode in modes.items() if name not in public} == {0o600}
    assert stat.S_IMODE(desk.ca.stat().st_mode) == 0o755
    for key in (desk.ca / "issuing-1.key", desk.folder / "root" / "root.key"):
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in key.read_bytes()


def test_issue_revoke_and_status_say_what_they_did_as_json_too(desk):
    issued = json.loads(desk.issue("--modbus-role", "Operator", "--format", "json"))
    assert (issued["names"], issued["certificate"]) == (ANA, str(desk.folder / "ana.pem"))
    assert openssl_accepts(desk.ca, desk.folder / "ana.pem") == (True, "")
    before = json.loads(desk.run("status", desk.ca, "--format", "json"))
    assert (before["valid"], before["revoked"], before["steps"]) == (1, 0, [])
    assert [one["stage"] for one in before["issuing"]] == ["in use"]
    revoked = json.loads(desk.run("revoke", desk.ca, issued["serial"], "--reason", "superseded", "--format", "json"))
    assert revoked["revoked"] == issued["serial"]
    accepted, why = openssl_accepts(desk.ca, desk.folder / "ana.pem")
    assert not accepted and "revoked" in why
    assert "0 valid, 1 revoked" in desk.run("status", desk.ca)


def test_revoke_says_what_followed_from_the_certificate(desk):
    first = json.loads(desk.issue("--format", "json"))["serial"]
    secrets = GivenSecrets("issuing authority", desk.passphrase)
    authority = AuthorityFolder(desk.ca, secrets)
    terms = decode_terms("person", authority.facts.spaces, [ANA])
    authority.issue(terms, make_key().public_key(), time.time(), first)
    follower = authority.register.entries[-1].serial
    told = desk.run("revoke", desk.ca, first, "--reason", "key-compromise")
    assert f"renewed from it: {follower}" in told
    assert "0 valid, 2 revoked" in desk.run("status", desk.ca)


def test_all_certificates_of_a_name_are_revoked_with_one_command(desk):
    serials = [json.loads(desk.issue("--format", "json", name=name))["serial"] for name in ("one", "two")]
    desk.issue(who="bea@acme.example", name="bea")
    told = json.loads(desk.run("revoke", desk.ca, "--name", ANA, "--reason", "key-compromise", "--format", "json"))
    assert told["revoked"].split(", ") == serials
    assert [openssl_accepts(desk.ca, desk.folder / f"{name}.pem")[0] for name in ("one", "two", "bea")] == [0, 0, 1]
    assert "1 valid, 2 revoked" in desk.run("status", desk.ca)
    assert "is good" in desk.run("revoke", desk.ca, "--name", ANA, status=1)


def test_a_request_made_with_openssl_is_answered(desk):
    csr = desk.folder / "ana.csr"
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    command += ["-keyout", desk.folder / "own.key", "-subj", "/CN=ana", "-addext", f"subjectAltName=email:{ANA}"]
    subprocess.run([*command, "-out", csr], check=True, capture_output=True, timeout=30)
    desk.issue("--csr", csr, "--lifetime", "2h")
    leaf = load_pem_x509_certificate((desk.folder / "ana.pem").read_bytes())
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 2 * 3600 + 300
    assert openssl_accepts(desk.ca, desk.folder / "ana.pem") == (True, "")
    subprocess.run([*command, "-addext", "basicConstraints=CA:TRUE", "-out", csr], check=True, capture_output=True)
    assert "asks to be an authority" in desk.issue("--csr", csr, status=1, name="other")
    assert not (desk.folder / "other.pem").exists()


def test_what_is_refused_leaves_nothing_behind(desk):
    assert "outside the namespaces" in desk.issue(status=1, who="ana@evil.example")
    assert not (desk.folder / "ana.key").exists()
    desk.issue()
    assert "never written over" in desk.issue(status=1)


def test_the_root_can_stay_on_another_machine(desk):
    root, request, answer = desk.folder / "root", desk.folder / "next.csr", desk.folder / "next.pem"
    desk.run("rotate", desk.ca, "--request", request)
    assert "let the root sign" in desk.run("status", desk.ca)
    assert "serial" in desk.run("sign", root, "--csr", request, "--out", answer, root=True)
    taken = json.loads(desk.run("rotate", desk.ca, "--certificate", answer, "--issue-after", "30m", "--format", "json"))
    assert taken["issuing"] == 2
    assert "waiting" in desk.run("status", desk.ca)
    desk.run("root-crl", root, "--revoke", taken["serial"], "--out", desk.folder / "root.crl", root=True)
    desk.run("crl", desk.ca, "--root-crl", desk.folder / "root.crl")
    assert "issuing 2: revoked" in desk.run("status", desk.ca)


def test_with_the_root_at_hand_rotation_is_one_command(desk):
    desk.run("rotate", desk.ca, "--root", desk.folder / "root", root=True)
    assert "issuing 2: waiting" in desk.run("status", desk.ca)


def test_an_authority_is_never_made_over_another(desk):
    before = (desk.ca / "issuing-1.key").read_bytes()
    words = ["--organisation", "acme", "--namespace", "*@acme.example"]
    assert "already" in desk.run("init", desk.ca, *words, status=1, root=True)
    assert "never written over" in desk.run(
        "init", desk.folder / "other", "--root", desk.folder / "root", *words, status=1, root=True
    )
    assert (desk.ca / "issuing-1.key").read_bytes() == before


def test_a_slip_of_the_hand_is_not_the_passphrase_of_the_next_key(desk):
    secret_file(desk.passphrase, "the issuing key's lonk passphrase")
    said = desk.run("rotate", desk.ca, "--root", desk.folder / "root", status=1, root=True)
    assert "issuing-1.key" in said and "wrong passphrase" in said
    assert not (desk.ca / "issuing-2.key").exists()


def test_a_group_may_read_a_passphrase_as_systemd_lets_it(desk):
    """Credentials of a service bear an access list, which shows as group bits."""
    desk.passphrase.chmod(0o440)
    desk.run("crl", desk.ca)


@pytest.mark.parametrize("typed", [["one long passphrase", "one long passphrase"], ["one long passphrase", "another"]])
def test_a_new_passphrase_is_asked_for_twice(tmp_path, monkeypatch, capsys, typed):
    same = typed[0] == typed[1]
    answers = iter([*typed, *typed])
    monkeypatch.setattr("broker.cli.passphrases.sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("broker.cli.passphrases.getpass.getpass", lambda _prompt: next(answers))
    status = otbroker_ca("init", tmp_path / "ca", "--organisation", "acme", "--namespace", "*@acme.example")
    assert status == (0 if same else 1)
    assert same or "not the same twice" in capsys.readouterr().err


def test_commands_at_the_same_time_wait_for_each_other(desk):
    command = [sys.executable, "-m", "broker.cli.otbroker", "ca", "issue", desk.ca, "--profile", "person"]
    command += ["--name", ANA, "--passphrase-file", desk.passphrase]
    files = [desk.folder / f"at-once-{place}" for place in range(4)]
    started = [subprocess.Popen([*command, "--key-out", f"{file}.key", "--out", f"{file}.pem"]) for file in files]
    assert [process.wait(60) for process in started] == [0, 0, 0, 0]
    assert json.loads(desk.run("status", desk.ca, "--format", "json"))["valid"] == 4


def test_a_file_that_cannot_be_written_is_told(desk):
    (desk.folder / "taken.pem").mkdir()
    assert "cannot be used" in desk.issue(status=1, name="taken")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda path: path.chmod(0o644), "can be read by others"),
        (lambda path: path.write_text("a wrong passphrase of some length"), "wrong passphrase"),
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not text"),
    ],
)
def test_what_does_not_open_the_key_is_told_apart(desk, spoil, word):
    spoil(desk.passphrase)
    assert word in desk.run("crl", desk.ca, status=1)


def test_a_passphrase_that_can_be_guessed_makes_no_key(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    secret_file(desk.root_passphrase, "secret")
    words = ["init", desk.ca, "--organisation", "acme", "--namespace", "*@acme.example"]
    assert "at least 16" in desk.run(*words, status=1, root=True)
    assert not list(tmp_path.rglob("*.key"))


def test_nobody_is_asked_where_nobody_sits(desk):
    assert otbroker_ca("crl", desk.ca) == 1
    assert "--passphrase-file" in desk._capsys.readouterr().err


def test_a_folder_without_an_authority_is_told(desk, tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        assert "not the folder of an authority" in desk.run("crl", folder, status=1)


def test_status_exits_with_1_when_something_is_overdue(desk, monkeypatch):
    now = os.stat(desk.ca / "crl.pem").st_mtime
    monkeypatch.setattr("broker.cli.ca_commands.time.time", lambda: now + 8 * 86_400)
    assert otbroker_ca("status", desk.ca) == 1
    assert "OVERDUE" in desk._capsys.readouterr().out


def test_nobody_waits_for_the_folder_while_its_passphrase_is_asked_for(desk):
    words = ["--name", ANA, "--profile", "person", "--key-out", desk.folder / "ana.key", "--out", desk.folder / "a.pem"]
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "broker.cli.otbroker", "ca", "issue", desk.ca, *words]
    # Without a terminal of its own it asks on its standard input.
    with subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, start_new_session=True) as issuing:
        try:
            asked = b""
            while b"passphrase" not in asked:
                asked += issuing.stderr.read(1)
            with locked(desk.ca, patience_seconds=0.0):
                pass
            os.write(terminal, b"the issuing key's long passphrase\n")
            assert issuing.wait(60) == 0, issuing.stderr.read()
        finally:
            issuing.kill()
    assert (desk.folder / "a.pem").exists()
