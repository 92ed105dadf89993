"""`otbroker dev` as a process of its own, and what the people of its building use."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker.adapters.development_ca import OWNER as OWNER
from broker.adapters.development_ca import VENDOR as VENDOR
from broker.adapters.development_ca import Authority, create_authority, publish_crl
from broker.adapters.development_tokens import create_token_issuer, mint_token
from broker.adapters.ledger_reader import verify_directory
from broker.cli.development import ISSUERS
from broker.identity.certificate import fingerprint
from tests.end_to_end.modbus_caller import ModbusCaller
from tests.preloaded import ForkedBroker, launcher

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Persona:
    """Somebody's files."""

    name: str
    certificate: Path
    key: Path
    token: Path


@dataclass(frozen=True)
class Answer:
    """What the API answered; `body` is the decoded JSON document."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def reasons(self) -> list[str]:
        return [reason["code"] for reason in self.body.get("reasons", [])]


class Development:
    """A running development broker; `stop` ends it in order and proves its ledger."""

    def __init__(self, folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        """`environment`, over that of the tests, needs a start by the command itself."""
        self.folder = folder
        self.log = folder.with_name(folder.name + ".log")
        self.process = self._started(["dev", "--dir", str(folder), *options], environment)
        self.facts: dict[str, Any] = {}
        self.minted: set[str] = set()
        self._stopped = False

    def _started(
        self, arguments: list[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes] | ForkedBroker:
        if environment is None:
            return launcher().start(arguments, self.log)
        command = [sys.executable, "-m", "broker.cli.otbroker", *arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})

    def wait(self) -> "Development":
        """Until the broker says that it serves."""
        end = time.monotonic() + START_SECONDS
        path = self.folder / "dev.json"
        while not path.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                self._stopped = True
                self.kill()
                raise AssertionError(f"the broker did not start:\n{self.logged()}")
            time.sleep(0.02)
        self.facts = json.loads(path.read_text())
        return self

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """SIGTERM, an exit in order, and a ledger in which everything holds."""
        if self._stopped:
            return
        self._stopped = True
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the broker did not stop:\n{self.logged()}") from None
        assert status == 0, f"exit status {status}:\n{self.logged()}"
        assert "Traceback" not in self.logged(), self.logged()
        self.verify()
        self.verify_silence()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def verify(self) -> None:
        """What `otb audit verify` proves from files and the public key alone."""
        key = (self.folder / "ledger.pub").read_text().strip()
        report = verify_directory(self.folder / "ledger", key)
        assert report.ok, f"{report}\n{self.logged()}"
        assert report.open_intents == 0

    def verify_silence(self) -> None:
        """No token and no private key is in the log, the evidence or what the broker keeps."""
        tokens = {path.read_text().strip() for path in self.folder.rglob("*.token")} | self.minted
        keys = {"".join(path.read_text().splitlines()[1:-1]) for path in self.folder.rglob("*.key")}
        assert tokens
        assert keys
        # Signatures are at a token's end; of a key in PKCS #8 these characters are private, its end may be public.
        secrets = {token[-24:].encode() for token in tokens} | {key[48:64].encode() for key in keys}
        written = [self.log, *self.folder.glob("*.json"), *self.folder.glob("*.yaml")]
        for path in (*written, *(path for path in (self.folder / "ledger").rglob("*") if path.is_file())):
            octets = path.read_bytes()
            assert not any(secret in octets for secret in secrets), f"{path} contains a secret"
            assert b"PRIVATE KEY" not in octets, path

    # Who is who

    def persona(self, name: str) -> Persona:
        paths = self.facts["personas"][name]
        return Persona(name, *(self.folder / paths[kind] for kind in ("certificate", "key", "token")))

    def authority(self, organisation: str) -> Authority:
        return create_authority(self.folder / "ca" / organisation, organisation, time.time())

    def revoke(self, organisation: str, *serials: int) -> None:
        authority = self.authority(organisation)
        publish_crl(authority, serials, time.time())

    # Ways in

    @property
    def modbus_port(self) -> int:
        return int(self.facts["modbus_tls"].rpartition(":")[2])

    @property
    def api_address(self) -> tuple[str, int]:
        parts = urlsplit(self.facts["api"])
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def tls(self, who: str | Persona | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / self.facts["ca"]))
        context.check_hostname = False
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if who is not None:
            persona = self.persona(who) if isinstance(who, str) else who
            context.load_cert_chain(persona.certificate, persona.key)
        return context

    def modbus(self, who: str | Persona = "vendor-ana", sni: str | None = "ahu-1.plant") -> ModbusCaller:
        return ModbusCaller(self.modbus_port, self.tls(who), sni)

    def token(self, name: str) -> str:
        return self.persona(name).token.read_text().strip()

    def ops(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.facts["ops"].removeprefix("http://"), timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def api(self, who: str | Persona = "vendor-ana", token: str = "") -> "ApiCaller":
        """`token` instead of the persona's own."""
        return ApiCaller(self, who, token)

    # What it recorded

    def records(self, *kinds: str, **members: object) -> list[dict[str, Any]]:
        """The records of these kinds so far, oldest first, asked for by the auditor; `members` must be as given."""
        found: list[dict[str, Any]] = []
        cursor: int | None = None
        while True:
            query = [("kind", kind) for kind in kinds] + [("order", "oldest"), ("limit", "500")]
            if cursor is not None:
                query.append(("cursor", str(cursor)))
            answer = self.api("auditor-cy").get(f"/v1/ledger/records?{urlencode(query)}")
            assert answer.status == 200, answer
            found += [{"index": entry["index"], **entry["record"]} for entry in answer.body["records"]]
            cursor = answer.body["cursor"]
            if cursor is None:
                return [record for record in found if all(record.get(k) == v for k, v in members.items())]

    def eventually(self, *kinds: str, seconds: float = 5.0, **members: object) -> dict[str, Any]:
        """The newest such record, waited for a while."""
        end = time.monotonic() + seconds
        while True:
            found = self.records(*kinds, **members)
            if found:
                return found[-1]
            assert time.monotonic() < end, f"no record {kinds} {members}; {self.records(*kinds)[-5:]}"
            time.sleep(0.05)

    def outcomes_of(self, digest: str) -> list[dict[str, Any]]:
        """The outcomes of every intent whose request has that digest."""
        intents = {record["index"] for record in self.records("intent", digest=digest)}
        return [record for record in self.records("outcome") if record["intent"] in intents]


class ApiCaller:
    """Calls of one persona, each on a connection of its own unless one is kept; any part can be replaced."""

    def __init__(self, development: Development, who: str | Persona, token: str = "") -> None:
        self._development = development
        self._who = who
        self._token = token
        self._kept: http.client.HTTPSConnection | None = None

    @contextmanager
    def kept(self) -> Iterator["ApiCaller"]:
        """All calls on one connection."""
        self._kept = self._connection(self._development.tls(self._who))
        yield self
        self._kept.close()
        self._kept = None

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
        certificate: str | Persona | None = "",
    ) -> Answer:
        """`token` or `certificate` None leaves that proof out."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self._token or self._development.token(str(self._who))}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection = self._kept or self._connection(
            self._development.tls(self._who if certificate == "" else certificate)
        )
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            octets = response.read()
            return Answer(response.status, json.loads(octets) if octets else None, dict(response.headers))
        finally:
            if connection is not self._kept:
                connection.close()

    def _connection(self, context: ssl.SSLContext) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(*self._development.api_address, timeout=30, context=context)

    def get(self, path: str, **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def read(self, device: str, *points: str, **options: Any) -> Answer:
        return self.call("POST", f"/v1/devices/{device}/read", {"points": list(points)}, **options)

    def write(self, device: str, points: Mapping[str, object], **options: Any) -> Answer:
        return self.call("POST", f"/v1/devices/{device}/write", {"points": dict(points)}, **options)


def token_of(
    development: Development,
    subject: str,
    organisation: str,
    seconds: int,
    bound_to: str = "",
    claims: Mapping[str, object] | None = None,
) -> str:
    """A token by the development issuer, bound to the certificate of a persona or to none."""
    issuer = create_token_issuer(development.folder / "issuers" / organisation, ISSUERS[organisation])
    bound = None
    if bound_to:
        leaf = x509.load_pem_x509_certificate(development.persona(bound_to).certificate.read_bytes())
        bound = fingerprint(leaf.public_bytes(Encoding.DER))
    token = mint_token(
        issuer, subject, time.time(), lifetime_seconds=seconds, certificate_fingerprint=bound, claims=claims
    )
    development.minted.add(token)
    return token


def until(condition: Callable[[], Any], seconds: float = 5.0, what: str = "") -> Any:
    """Ask again and again until it is true; the truth it said."""
    end = time.monotonic() + seconds
    while True:
        said = condition()
        if said:
            return said
        assert time.monotonic() < end, what or "it did not happen in time"
        time.sleep(0.01)


def in_background(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
