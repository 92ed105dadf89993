"""A vendor's day with `otb` and ordinary tools alone: invited, enrolled, at work, renewed, and gone."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from broker.api.strangers import BURST, PER_SECOND
from broker.cli import otbroker
from broker.cli.people.own_identity import request_for
from broker.identity.renewal import sign_renewal
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, Persona, until
from tests.end_to_end.modbus_caller import read_registers
from tests.ports import free_port
from tests.security_key import SecurityKey
from tests.totp import code_at, secret_of

EVE = "eve@northwind.example"
READ = read_registers(0)
SECONDS = 40.0
CUT_SECONDS = 3.0  # a second is promised; a busy machine gets more before it fails a test


@pytest.fixture(scope="module")
def development(start_shared: Start) -> Development:
    return start_shared()


class Somebody:
    """Who works with `otb` from a folder of his own, and has an authenticator app."""

    def __init__(self, development: Development, folder: Path) -> None:
        self.development, self.folder = development, folder
        self.profile, self.identity = folder / "profile.toml", folder / "profile.identity.pem"
        self.secret = b""
        self.codes = 0

    @property
    def persona(self) -> Persona:
        return Persona("eve", self.identity, self.identity, Path())

    def next_code(self) -> str:
        """A code that was not used yet: of now, or (a clock that is ahead) of the next step, or when that is there."""
        step = max(int(time.time()) // 30, self.codes + 1)
        time.sleep(max(0.0, (step - 1) * 30 - time.time()))
        self.codes = step
        return code_at(self.secret, step * 30)

    def otb(self, *words: str, given: str = "", status: int = 0) -> Any:
        done = subprocess.run(
            otb(*words),
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=self._environment,
            check=False,
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def enrol(self, code: str, *more: str) -> subprocess.Popen[str]:
        at = ("--api", self.development.facts["api"], "--ca", str(self.development.folder / "ca.pem"))
        process = subprocess.Popen(
            otb("enrol", *at, *more, "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        assert process.stdin is not None
        process.stdin.write(code + "\n")
        process.stdin.flush()
        return process

    def enrolled(self, code: str) -> None:
        process = self.enrol(code)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline() or "{}")
        self.secret = secret_of(told["uri"])
        self.development.minted |= {code, base64.b32encode(self.secret).decode()}
        answer, trouble = process.communicate(self.next_code() + "\n", timeout=SECONDS)
        assert process.returncode == 0, trouble
        assert json.loads(answer)["subject"] == EVE

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "OTB_PROFILE": str(self.profile)}


def otb(*words: str) -> list[str]:
    return [sys.executable, "-m", "broker.cli.otb", "--format", "json", *words]


def sponsor(development: Development, *words: str) -> Any:
    command = [sys.executable, "-m", "broker.cli.otb", "--dev", str(development.folder), "--as", "secops-bo"]
    done = subprocess.run([*command, "--format", "json", *words], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def connected(eve: Somebody) -> Iterator[int]:
    """`otb connect ahu-1`, and the port at which it serves."""
    port = free_port()
    process = subprocess.Popen(
        otb("connect", "ahu-1", "--listen", f"127.0.0.1:{port}"),
        stdout=subprocess.PIPE,
        text=True,
        env=eve._environment,
    )
    try:
        assert process.stdout is not None
        assert '"open"' in process.stdout.readline()
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)


def mbpoll(port: int) -> str:
    command = ["mbpoll", "-0", "-1", "-m", "tcp", "-p", str(port), "-a", "1", "-t", "4", "-r", "0", "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed (Debian package mbpoll)")
def test_the_day_of_a_vendor_who_has_no_account(development: Development, tmp_path: Path) -> None:
    eve = Somebody(development, tmp_path)
    invited = sponsor(development, "invite", "create", "northwind", EVE)
    eve.enrolled(invited["code"])
    assert eve.profile.stat().st_mode & 0o077 == 0
    assert eve.identity.stat().st_mode & 0o077 == 0

    me = eve.otb("me")
    (proof,) = me["proofs"]
    assert (me["id"], proof["kind"], proof["methods"]) == (EVE, "certificate", ["otp"])
    assert eve.otb("read", "ahu-1", "supply-temp")["points"]["supply-temp"]["quality"] == "good"
    with development.modbus(eve.persona) as caller:
        assert caller.ask(READ)[0] == 3
    decision = development.records("decision", entry_point="session.decision")[-1]
    assert decision["input"]["subject"]["id"] == EVE
    assert decision["input"]["session"]["mfa_at"] is not None

    with connected(eve) as port:
        assert "[0]:" in mbpoll(port)
        before = eve.identity.read_text()
        assert eve.otb("renew", given=eve.next_code() + "\n")["subject"] == EVE
        assert eve.identity.read_text() != before
        assert "PRIVATE KEY" in before
        for _ in range(3):
            assert "[0]:" in mbpoll(port), "a new master gets a tunnel with the new certificate"
    used = code_at(eve.secret, eve.codes * 30)
    assert eve.otb("renew", given=used + "\n", status=4)["code"] == "factor_refused"

    words = ("request", "create", "ahu-1", "--action", "view", "--for", "1h", "--reason", "look at the coil")
    asked = eve.otb(*words)["request"]["id"]
    with development.modbus(eve.persona) as caller:
        assert caller.ask(READ)[0] == 3
        began = time.monotonic()
        sponsor(development, "people", "revoke", EVE, "--why", "left northwind")
        caller.closed_within(CUT_SECONDS)
        assert time.monotonic() - began < CUT_SECONDS + 2
        closed = development.eventually("session_closed", reason="certificate_revoked")
    (opened,) = development.records("session_opened", session=closed["session"])
    assert opened["subject"]["id"] == EVE
    assert "ask your sponsor for a new invitation" in eve.otb("me", status=4)["what_to_do"]
    with pytest.raises(OSError):
        development.modbus(eve.persona).ask(READ)
    eve.otb("renew", given="123456\n", status=4)
    (person,) = sponsor(development, "people", "ls")["people"]
    assert (person["subject"], person["revoked_by"], person["why"]) == (EVE, "bo@plant.example", "left northwind")
    assert sponsor(development, "request", "show", asked)["request"]["state"] == "revoked"
    (ended,) = development.records("request_changed", request=asked, to="revoked")
    assert ended["by"] == "bo@plant.example"
    kinds = ("invitation_created", "person_enrolled", "certificate_issued", "person_revoked", "factor_refused")
    until(lambda: {r["kind"] for r in development.records(*kinds)} == set(kinds))


def test_a_security_key_enrols_and_renews_through_the_api(development: Development) -> None:
    dan, key, token = "dan@northwind.example", ec.generate_private_key(ec.SECP256R1()), SecurityKey()

    def post(path: str, body: dict[str, Any]) -> Any:
        answer = development.api("secops-bo").call("POST", path, body, token=None, certificate=None)
        assert answer.status == 200, answer
        return answer.body

    code = sponsor(development, "invite", "create", "northwind", dan)["code"]
    offer = post("/v1/enrolment", {"code": code, "request": request_for(key), "factor": "webauthn"})
    answer = token.register(offer["options"])
    first = post("/v1/enrolment/complete", {"ticket": offer["ticket"], "credential": answer})
    old, request = x509.load_pem_x509_certificate(first["certificate"].encode()), request_for(key)
    signature = base64.b64encode(sign_renewal(key, old, request.encode())).decode()
    asked = {"certificate": first["certificate"], "request": request, "signature": signature}
    offer = post("/v1/renewal", asked)
    answer = token.sign(offer["options"])
    renewed = post("/v1/renewal/complete", {"ticket": offer["ticket"], "credential": answer})
    assert (renewed["subject"], renewed["serial"] != first["serial"]) == (dan, True)
    issued = development.records("certificate_issued", subject=dan)
    assert [record["certificate"]["methods"] for record in issued] == [["hwk"], ["hwk"]]


def test_while_who_invited_is_locked_the_code_is_worth_nothing(development: Development) -> None:
    operator, bo = development.api("operator-eli"), development.api("secops-bo")
    asked = {"organisation": "northwind", "subject": "fay@northwind.example"}
    made = bo.call("POST", "/v1/invitations", asked).body
    request = request_for(ec.generate_private_key(ec.SECP256R1()))
    body = {"code": made["code"], "request": request, "factor": "totp"}

    def state() -> str:
        found = development.api("auditor-cy").get("/v1/invitations").body["invitations"]
        return str(next(known["state"] for known in found if known["id"] == made["invitation"]["id"]))

    lock = {"kind": "subject", "target": "bo@plant.example", "message": "his laptop was stolen"}
    held = operator.call("POST", "/v1/locks", lock).body["lock"]["id"]
    try:
        refused = bo.call("POST", "/v1/enrolment", body, token=None, certificate=None)
        assert (refused.status, refused.body["code"]) == (410, "code_void")
        assert state() == "void"
    finally:
        assert operator.call("POST", f"/v1/locks/{held}/lift", {}).status == 200
    assert bo.call("POST", "/v1/enrolment", body, token=None, certificate=None).status == 200
    assert state() == "open"


def test_a_service_renews_itself(development: Development, tmp_path: Path) -> None:
    service, folder = Somebody(development, tmp_path), development.folder / "ca" / "northwind"
    certificate, key, name = tmp_path / "sync.pem", tmp_path / "sync.key", "spiffe://northwind.example/sync"
    words = ["ca", "issue", folder, "--profile", "service", "--name", name, "--key-out", key, "--out", certificate]
    assert otbroker.main([str(word) for word in (*words, "--passphrase-file", folder / "passphrase")]) == 0
    service.profile.write_text(
        f'api = "{development.facts["api"]}"\nca = "{development.folder / "ca.pem"}"\n'
        f'certificate = "{certificate}"\nkey = "{key}"\n'
    )
    before = certificate.read_text()
    assert service.otb("renew", "--service")["renewed"] is False
    assert certificate.read_text() == before
    assert service.otb("renew", "--service", "--now")["subject"] == name
    assert certificate.read_text() != before
    assert service.otb("renew", "--service", "--now")["subject"] == name
    assert len(development.records("certificate_issued", subject=name)) == 2
    service.otb("renew", given="123456\n", status=4)


def test_strangers_are_held_back_and_leave_no_more_than_sums(development: Development) -> None:
    caller, body, statuses = development.api("secops-bo"), {"code": "aaaa-" * 10, "request": "x"}, []
    began = time.monotonic()
    with caller.kept():
        while 429 not in statuses and len(statuses) < 300:
            statuses.append(caller.call("POST", "/v1/enrolment", body, token=None).status)
    allowed = BURST + (time.monotonic() - began) * PER_SECOND + 1
    assert set(statuses) == {422, 429}
    assert statuses.count(422) <= allowed

    def counted() -> list[int]:
        return [record["count"] for record in development.records("identity_refused", code="code_malformed")]

    until(lambda: sum(counted()) == statuses.count(422))
    assert len(counted()) < 10
    for path in ("/v1/me", "/v1/invitations", "/v1/people", "/v1/renewal/service"):
        method = "POST" if path.endswith("service") else "GET"
        found = caller.call(method, path, {"request": "x"} if method == "POST" else None, token=None, certificate=None)
        assert found.status in {401, 429}, path
