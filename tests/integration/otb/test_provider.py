"""A provider that behaves badly is not believed; a good one renews each login once, whoever asks."""

import asyncio
import base64
import contextlib
import dataclasses
import json
import time

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.cli.people.access import LoginSettings
from broker.cli.people.exits import CommandError
from broker.cli.people.openid.kept_login import KeptLogin, refresh, revoke
from broker.cli.people.openid.provider import LARGEST_ANSWER, Tokens, provider_of
from tests.ports import free_port


def token(seconds):
    return jwt.encode({"exp": time.time() + seconds}, "k" * 32, "HS256")


class HostileProvider:
    """Answers by path, each with a status, a document or octets, and headers; `asked` are the forms so far."""

    def __init__(self, folder):
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.settings = LoginSettings(self.issuer, "a client", folder / "p.login.json")
        self.asked = []
        self.metadata = {"issuer": self.issuer}
        for name in ("token_endpoint", "jwks_uri", "revocation_endpoint"):
            self.metadata[name] = f"{self.issuer}/{name}"
        self.answers = {"/.well-known/openid-configuration": (200, self.metadata, {})}

    @contextlib.asynccontextmanager
    async def serving(self):
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request):
        self.asked.append((request.path, dict(await request.post()), request.headers.get("Authorization", "")))
        status, body, headers = self.answers[request.path]
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=octets, headers=headers)


@pytest.fixture
def provider(tmp_path):
    return HostileProvider(tmp_path)


def story(provider, use):
    async def run():
        async with provider.serving():
            return await use()

    return asyncio.run(run())


def code_of(provider, use):
    with pytest.raises(CommandError) as raised:
        story(provider, use)
    assert provider.issuer not in raised.value.what_to_do
    return raised.value.code


async def never(_provider):
    raise AssertionError("it was believed")


@pytest.mark.parametrize(
    "answer",
    [
        (302, b"", {"Location": "/token_endpoint"}),
        (404, {"issuer": "here"}, {}),
        (200, b"<html>", {}),
        (200, [], {}),
        (200, b"[" * 100_000, {}),
        (200, b" " * (LARGEST_ANSWER + 1), {}),
        (200, {"issuer": "https://elsewhere.example"}, {}),
        (200, {}, {}),
    ],
    ids=["redirect", "missing", "page", "list", "nested", "large", "another", "nameless"],
)
def test_a_discovery_document_that_is_not_the_issuers_own_is_refused(provider, answer):
    provider.answers["/.well-known/openid-configuration"] = answer
    provider.answers["/token_endpoint"] = (200, provider.metadata, {})

    async def use():
        async with provider_of(provider.settings) as found:
            await never(found)

    assert code_of(provider, use) == "provider_odd"
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, {"access_token": "a", "token_type": "DPoP"}, {}), "provider_odd"),
        ((200, {"access_token": "", "token_type": "Bearer"}, {}), "provider_odd"),
        ((200, {"access_token": "a\nb", "token_type": "Bearer"}, {}), "provider_odd"),
        ((200, {"access_token": "a" * 20_000, "token_type": "Bearer"}, {}), "provider_odd"),
        ((200, {"access_token": "a", "token_type": "Bearer", "refresh_token": 1}, {}), "provider_odd"),
        ((302, b"", {"Location": "https://elsewhere.example"}), "provider_odd"),
        ((500, b"", {}), "provider_odd"),
        ((400, {"error": "invalid_request", "error_description": "no"}, {}), "login_refused"),
    ],
)
def test_what_is_no_bearer_token_is_none(provider, answer, code):
    provider.answers["/token_endpoint"] = answer

    async def use():
        async with provider_of(provider.settings) as found:
            await found.tokens({"grant_type": "x"})

    assert code_of(provider, use) == code


def test_endpoints_in_the_clear_are_not_used(provider):
    provider.metadata["token_endpoint"] = "http://id.example/token"

    async def use():
        async with provider_of(provider.settings) as found:
            await found.tokens({"grant_type": "x"})

    assert code_of(provider, use) == "provider_odd"


def kept(provider, folder, seconds=-1):
    found = KeptLogin(provider.settings, folder / "p.token")
    found.keep(Tokens(token(seconds), 60, "refresh-1"), {})
    return found


def test_a_login_is_renewed_once_however_many_ask(provider, tmp_path):
    login = kept(provider, tmp_path)
    fresh = token(600)
    given = {"access_token": fresh, "token_type": "bearer", "expires_in": 600, "refresh_token": "refresh-2"}
    provider.answers["/token_endpoint"] = (200, given, {})

    async def use():
        assert await asyncio.gather(*(refresh(login) for _ in range(5))) == [True] * 5
        assert not await refresh(login)

    story(provider, use)
    forms = [form for path, form, _ in provider.asked if path == "/token_endpoint"]
    assert forms == [{"grant_type": "refresh_token", "refresh_token": "refresh-1", "client_id": "a client"}]
    assert (login.token.read_text().strip(), login.read()["refresh_token"]) == (fresh, "refresh-2")
    assert not provider.settings.kept.with_suffix(".lock").exists()


def test_a_login_that_has_ended_says_so_and_another_fault_is_another(provider, tmp_path):
    login = kept(provider, tmp_path)
    provider.answers["/token_endpoint"] = (400, {"error": "invalid_grant"}, {})
    assert code_of(provider, lambda: refresh(login)) == "login_ended"
    provider.answers["/token_endpoint"] = (503, b"", {})
    assert code_of(provider, lambda: refresh(login)) == "provider_odd"
    assert not provider.settings.kept.with_suffix(".lock").exists()
    with pytest.raises(CommandError) as raised:
        asyncio.run(refresh(login))
    assert raised.value.code == "provider_unreachable"


def test_a_secret_goes_into_the_header_alone(provider, tmp_path):
    (tmp_path / "secret").write_text("sec:ret +\n")
    provider.settings = dataclasses.replace(provider.settings, secret=tmp_path / "secret", resource="https://broker")
    login = kept(provider, tmp_path)
    provider.answers["/token_endpoint"] = (200, {"access_token": token(60), "token_type": "Bearer"}, {})
    story(provider, lambda: refresh(login))
    ((_, form, header),) = [asked for asked in provider.asked if asked[0] == "/token_endpoint"]
    assert form == {"grant_type": "client_credentials", "resource": "https://broker"}
    assert base64.b64decode(header.removeprefix("Basic ")) == b"a+client:sec%3Aret+%2B"


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ed25519.Ed25519PrivateKey.generate, "EdDSA"),
        (lambda: rsa.generate_private_key(65537, 2048), "PS256"),
    ],
)
def test_a_service_with_a_key_signs_who_it_is(provider, tmp_path, make, algorithm):
    key = make()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    provider.settings = dataclasses.replace(provider.settings, key=tmp_path / "key.pem")
    login = kept(provider, tmp_path)
    provider.answers["/token_endpoint"] = (200, {"access_token": token(60), "token_type": "Bearer"}, {})
    story(provider, lambda: refresh(login))
    ((_, form, header),) = [asked for asked in provider.asked if asked[0] == "/token_endpoint"]
    assert (form["grant_type"], header) == ("client_credentials", "")
    claims = jwt.decode(form["client_assertion"], key.public_key(), [algorithm], audience=provider.issuer)
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("a client", "a client", 60)


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_refused_without_being_shown(provider, tmp_path, text):
    (tmp_path / "key.pem").write_text(text)
    provider.settings = dataclasses.replace(provider.settings, key=tmp_path / "key.pem")
    assert code_of(provider, lambda: refresh(kept(provider, tmp_path))) == "file_invalid"


def test_tokens_are_given_back(provider, tmp_path):
    login = kept(provider, tmp_path, 60)
    provider.answers["/revocation_endpoint"] = (200, b"", {})

    async def use():
        async with provider_of(provider.settings) as found:
            await revoke(found, login)

    story(provider, use)
    assert provider.asked[-1][1]["token"] == "refresh-1"
