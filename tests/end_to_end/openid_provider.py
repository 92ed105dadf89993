"""The certified OpenID Provider of tests/peers, and what its people do."""

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from broker.adapters.authority.certificates import make_key
from broker.adapters.development_ca import create_authority, encode_key, issue_server
from tests.end_to_end.peers import npm_package, program
from tests.end_to_end.web_browser import WebBrowser
from tests.ports import free_port

RESOURCE = "https://broker.plant.example"
SERVICE = "spiffe://acme.example/reporting"
SIGNING_SERVICE = "spiffe://acme.example/metering"
SERVICE_SECRET = "a secret+that needs:encoding"
START_SECONDS = 60


@dataclass
class OpenIdProvider:
    """A running provider."""

    folder: Path
    issuer: str
    ca_file: Path

    @property
    def section(self) -> dict[str, Any]:
        """The issuer as a broker's settings name it."""
        return {
            "issuer": self.issuer,
            "organisation": "acme",
            "audiences": [RESOURCE],
            "subjects": ["*@acme.example", "spiffe://acme.example/*"],
            "subject_claim": "username",
            "roles_claim": "groups",
            "roles": {"/hvac": ["hvac-engineer"]},
            "clients": ["otb", SERVICE, SIGNING_SERVICE],
            "jwks_url": f"{self.issuer}/jwks",
            "jwks_ca_file": str(self.ca_file),
            "refresh_seconds": 5,
        }

    @property
    def service_key(self) -> Path:
        """The private key of the service that signs who it is."""
        return self.folder / "service.pem"

    def browser(self) -> WebBrowser:
        """A browser in which nobody has logged in yet."""
        return WebBrowser(str(self.ca_file))

    def change(self, **what: Any) -> None:
        """How the next login goes, which keys there are, how long access tokens live."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(f"{self.issuer}/test", json.dumps(what).encode())
        urllib.request.urlopen(request, context=context, timeout=10).close()


@contextmanager
def openid_provider(folder: Path, now: float, broker_port: int, broker_ca: Path) -> Iterator[OpenIdProvider]:
    """Runs the provider, which tells a broker on that port of this machine who logs out."""
    npm_package("oidc-provider")
    authority = create_authority(folder / "ca", "id", now)
    server = issue_server(authority, ["localhost"], folder / "server", now)
    port, service_key = free_port(), make_key()
    (folder / "service.pem").write_bytes(encode_key(service_key))
    signing_keys = folder / "signing-keys.json"
    signing_keys.write_text(json.dumps({kid: _signing_key(kid) for kid in ("one", "two")}))
    given = {
        "signing_keys": str(signing_keys),
        "service_key": jwt.algorithms.ECAlgorithm.to_jwk(service_key.public_key(), as_dict=True),
        "port": port,
        "key": str(server.key),
        "certificate": str(server.certificate),
        "logout_uri": f"https://localhost:{broker_port}/v1/backchannel-logout",
    }
    process = subprocess.Popen(
        [program("node"), "oidc-provider.mjs", json.dumps(given)],
        cwd=npm_package("oidc-provider"),
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(broker_ca)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield OpenIdProvider(folder, f"https://localhost:{port}", authority.anchor)
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def _signing_key(kid: str) -> dict[str, Any]:
    return {**jwt.algorithms.ECAlgorithm.to_jwk(make_key(), as_dict=True), "kid": kid, "alg": "ES256", "use": "sig"}


class Otb:
    """`otb` of one person: a profile of his own, and the browser that he uses."""

    def __init__(self, profile: Path, provider: OpenIdProvider, api: str, ca: Path) -> None:
        self.profile = profile
        self.browser = provider.browser()
        self._provider = provider
        self._broker = ["--api", api, "--ca", str(ca)]

    @property
    def token_file(self) -> Path:
        return self.profile.with_suffix(".token")

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    @property
    def kept(self) -> dict[str, Any]:
        """What fresh tokens come from."""
        found: dict[str, Any] = json.loads(self.profile.with_suffix(".login.json").read_text())
        return found

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "broker.cli.otb", "--profile", str(self.profile), "--format", "json", *arguments]

    def settings(self, client: str = "otb", **changed: str) -> list[str]:
        """Options that name provider and broker, for the first login."""
        provider = {"--issuer": self._provider.issuer, "--client-id": client, "--resource": RESOURCE, **changed}
        provider["--issuer-ca"] = str(self._provider.ca_file)
        return [*self._broker, *(part for option in provider.items() for part in option)]

    def run(self, *arguments: str) -> tuple[int, Any, str]:
        """Status, the last document, and what was said to a person."""
        done = subprocess.run(
            self.command(*arguments), env=self._environment(), capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, _last(done.stdout), done.stderr

    def log_in(self, *arguments: str) -> tuple[int, Any, str]:
        """Log in with the person's browser: the page that `otb` names is opened in it."""
        process = subprocess.Popen(
            self.command("login", *arguments),
            env=self._environment(BROWSER="true"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        told = process.stdout.readline()
        if told.startswith('{"type"'):
            asked = json.loads(told)
            self.browser.visit(asked.get("page") or asked["complete"])
        assert process.stderr is not None
        with process.stdout, process.stderr:
            out, err = process.stdout.read(), process.stderr.read()
        return process.wait(60), _last(told + out), err

    def log_out_in_browser(self) -> float:
        """End the login on the provider's own page; when that was asked for (epoch seconds)."""
        began = time.time()
        self.browser.visit(f"{self._provider.issuer}/session/end?client_id=otb")
        return began

    def _environment(self, **more: str) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in {"OTB_PROFILE", "DISPLAY"}}
        return {**kept, **more}


def _last(out: str) -> Any:
    """The last of the documents, of which a line for each event may come first."""
    found, rest = None, out.strip()
    while rest:
        found, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].lstrip()
    return found
