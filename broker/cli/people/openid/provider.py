"""One OpenID Provider: its endpoints as the discovery document of the pinned issuer names them, and calls of them."""

import base64
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus, urlsplit

import aiohttp

from broker.cli.people.access import LoginSettings, read_text
from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.openid.client_key import ASSERTION_TYPE, client_assertion
from broker.errors import ConfigError
from broker.identity.keys import LARGEST_SET, KeySet, parse_key_set

ANSWER_SECONDS = 15.0
LARGEST_ANSWER = 256 * 1024
LONGEST_TOKEN = 16 * 1024
WELL_KNOWN = "/.well-known/openid-configuration"
_HEADERS = {"User-Agent": "otb", "Accept": "application/json", "Accept-Encoding": "identity"}
Form = Mapping[str, str]


class RefusedGrantError(CommandError):
    """The provider gave no token; `error` is OAuth's word for it (RFC 6749, 5.2; RFC 8628, 3.5)."""

    def __init__(self, error: str, description: str) -> None:
        told = f"{description} ({error})" if description else error
        super().__init__(
            "login_refused", f"The provider refused it: {told}.", "Log in: `otb login`.", Exit.NOT_AUTHENTICATED
        )
        self.error = error


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a provider gave; `lifetime_seconds` None if it did not say."""

    access: str = field(repr=False)
    lifetime_seconds: float | None
    refresh: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)


class Provider:
    """Calls of one provider. No redirect, no cookie, nothing packed, nothing large."""

    def __init__(self, http: aiohttp.ClientSession, settings: LoginSettings, metadata: Document) -> None:
        self.settings = settings
        self.metadata = metadata
        self._http = http

    def endpoint(self, name: str, what: str) -> str:
        """The address under that name. Raises CommandError if there is none that may be used."""
        address = self.metadata.get(name)
        if address is None:
            hint = "Log in another way, or ask whoever runs the provider."
            raise CommandError("provider_lacks", f"The provider {self.settings.issuer} has no {what}.", hint)
        if not isinstance(address, str) or not is_protected(address):
            raise odd_provider(f"{name} is no https:// address")
        return address

    async def keys(self) -> KeySet:
        """Its public keys. Raises CommandError."""
        octets = await _got(self._http, self.endpoint("jwks_uri", "keys"), LARGEST_SET)
        try:
            return parse_key_set(octets)
        except ConfigError as error:
            raise odd_provider(f"its keys: {error.public}") from None

    async def tokens(self, form: Form) -> Tokens:
        """The tokens for a grant. Raises RefusedGrantError or CommandError."""
        status, answer = await self.post(self.endpoint("token_endpoint", "tokens"), form)
        return _tokens(answer) if status == 200 else _refuse(status, answer)

    async def post(self, address: str, form: Form) -> tuple[int, Document]:
        """Send a form as this client; status and document. Raises CommandError."""
        own, headers = self._client()
        try:
            async with self._http.post(
                address, data={**form, **own}, headers=headers, allow_redirects=False
            ) as response:
                octets = await _bounded(response, LARGEST_ANSWER)
                return response.status, _document(octets) if octets else {}
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreached(self.settings.issuer, error) from None

    def _client(self) -> tuple[dict[str, str], dict[str, str]]:
        """What makes us this client: its id; of a service its signature (RFC 7523, 2.2) or secret (RFC 6749, 2.3.1)."""
        if self.settings.key is not None:
            assertion = client_assertion(self.settings.issuer, self.settings.client_id, self.settings.key)
            return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}, {}
        if self.settings.secret is None:
            return {"client_id": self.settings.client_id}, {}
        secret = read_text(self.settings.secret, "client secret").strip()
        pair = f"{quote_plus(self.settings.client_id)}:{quote_plus(secret)}"
        return {}, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@asynccontextmanager
async def provider_of(settings: LoginSettings) -> AsyncIterator[Provider]:
    """The provider of the pinned issuer. Raises CommandError."""
    if not is_protected(settings.issuer):
        raise CommandError("usage", f"{settings.issuer} is no https:// address.", status=Exit.USAGE)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_context(settings.ca), limit=2),
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
    ) as http:
        try:
            metadata = _document(await _got(http, settings.issuer.rstrip("/") + WELL_KNOWN, LARGEST_ANSWER))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreached(settings.issuer, error) from None
        # OpenID Connect Discovery 1.0, 4.3: exactly the issuer that was asked, not one that it names instead.
        if metadata.get("issuer") != settings.issuer:
            raise odd_provider(f"it calls itself {metadata.get('issuer')!r}")
        yield Provider(http, settings, metadata)


def is_protected(address: str) -> bool:
    """Whether it is https, or http to this machine itself, without user or fragment."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def odd_provider(what: str) -> CommandError:
    """What answers is not a provider, or not the one that was meant."""
    return CommandError("provider_odd", f"The provider's answer makes no sense: {what}.", "Check --issuer.")


def _tokens(answer: Document) -> Tokens:
    """RFC 6749, 5.1; only bearer tokens of a bearable size."""
    texts = [answer.get(name, "") for name in ("access_token", "refresh_token", "id_token")]
    lifetime = answer.get("expires_in")
    access, refresh, identity = (text if _is_token(text) else None for text in texts)
    if not access or refresh is None or identity is None or str(answer.get("token_type")).lower() != "bearer":
        raise odd_provider("it gave no bearer token")
    seconds = float(lifetime) if isinstance(lifetime, int) and lifetime > 0 else None
    return Tokens(access, seconds, refresh, identity)


def _is_token(text: object) -> bool:
    return isinstance(text, str) and len(text) <= LONGEST_TOKEN and text.isascii() and text.isprintable()


def _refuse(status: int, answer: Document) -> Tokens:
    error, description = answer.get("error"), answer.get("error_description", "")
    if status >= 500 or not isinstance(error, str):
        raise odd_provider(f"status {status}")
    raise RefusedGrantError(error[:64], str(description)[:300].rstrip("."))


async def _got(http: aiohttp.ClientSession, address: str, most_octets: int) -> bytes:
    async with http.get(address, allow_redirects=False) as response:
        if response.status != 200:
            raise odd_provider(f"status {response.status} at {address}")
        return await _bounded(response, most_octets)


async def _bounded(response: aiohttp.ClientResponse, most_octets: int) -> bytes:
    octets = bytearray()
    async for chunk in response.content.iter_any():
        octets += chunk
        if len(octets) > most_octets:
            raise odd_provider("it is too long")
    return bytes(octets)


def _document(octets: bytes) -> Document:
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        raise odd_provider("it is not JSON") from None
    if not isinstance(found, dict):
        raise odd_provider("it is no document")
    return found


def _context(ca: Path | None) -> ssl.SSLContext:
    """Believes --issuer-ca and no other, or the authorities of the system. Raises CommandError."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise CommandError("file_invalid", f"The authority {ca} cannot be used: {error}.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _unreached(issuer: str, error: Exception) -> CommandError:
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    hint = "Check --issuer, --issuer-ca and the network."
    return CommandError("provider_unreachable", f"The provider {issuer} cannot be reached: {reason}.", hint)
