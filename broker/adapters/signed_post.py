"""JSON posted to an address of the settings, signed as Standard Webhooks 1.0.0 says.

The address is never taken from anywhere else, is not redirected, and no proxy of the environment is used. The host may
well be in a private network: whoever writes the settings says whom the broker talks to.
"""

import base64
import binascii
import hmac
import socket
import ssl
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from broker.adapters.own_thread import OwnThread
from broker.errors import ConfigError

LARGEST_ANSWER = 65_536
SECRET_PREFIX = "whsec_"
FEWEST_SECRET_OCTETS, MOST_SECRET_OCTETS = 24, 64
MOST_SECRETS = 4


class SignedPost:
    """One address and the secret that both sides have."""

    def __init__(self, url: str, secret_file: Path, ca_file: str = "") -> None:
        """Raises ConfigError for files that cannot be used."""
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.netloc}"
        self._url = url
        self._secret_file = secret_file
        read_secrets(secret_file)
        self._tls = _context(ca_file) if parts.scheme == "https" else None
        self._resolver = _Resolver()
        self._session: aiohttp.ClientSession | None = None

    async def post(self, identifier: str, body: bytes, now: float) -> tuple[int, bytes]:
        """Status and answer. Raises OSError, TimeoutError or aiohttp.ClientError; the caller limits the time."""
        try:
            secrets = read_secrets(self._secret_file)
        except ConfigError as error:
            raise OSError(error.public) from None
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "otbroker",
            "webhook-id": identifier,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": signature(secrets, identifier, int(now), body),
        }
        secure = self._tls if self._tls is not None else True
        async with self._opened().post(
            self._url, data=body, headers=headers, ssl=secure, allow_redirects=False
        ) as response:
            answer = await response.content.read(LARGEST_ANSWER + 1)
            while len(answer) <= LARGEST_ANSWER and (more := await response.content.read(LARGEST_ANSWER)):
                answer += more
            if len(answer) > LARGEST_ANSWER:
                response.close()
            return response.status, answer[:LARGEST_ANSWER]

    async def close(self) -> None:
        """Close connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=2, resolver=self._resolver)
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                max_line_size=8190,
                max_field_size=8190,
            )
        return self._session


def signature(secrets: Sequence[bytes], identifier: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each secret, so that secrets can be changed in two steps."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    made = (base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode() for secret in secrets)
    return " ".join(f"v1,{text}" for text in made)


def read_secrets(path: Path) -> tuple[bytes, ...]:
    """The secrets in a file, one a line, as `whsec_` and base64. Raises ConfigError, which shows none of them."""
    try:
        lines = path.read_text(encoding="ascii").split()
        secrets = tuple(_secret(line) for line in lines)
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not of the form whsec_ and base64"
        raise ConfigError("webhook_secret", f"The secret in {path} cannot be used: {cause}.") from None
    if not 1 <= len(secrets) <= MOST_SECRETS:
        raise ConfigError("webhook_secret", f"{path} must hold 1 to {MOST_SECRETS} secrets, one a line.")
    return secrets


def _secret(line: str) -> bytes:
    if not line.startswith(SECRET_PREFIX):
        raise ValueError
    try:
        octets = base64.b64decode(line.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError from None
    if not FEWEST_SECRET_OCTETS <= len(octets) <= MOST_SECRET_OCTETS:
        raise ValueError
    return octets


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("webhook_ca", "The authorities of a webhook cannot be used.", str(error)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Resolver(AbstractResolver):
    """Looks names up in a thread of its own: a name server that hangs must not take the threads of others."""

    def __init__(self) -> None:
        self._thread = OwnThread("webhook-resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._thread.run(lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is kept open."""
