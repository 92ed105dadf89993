"""The broker's own manner of talking to an OPA server, on top of opa-python-client's asynchronous client.

No retries, no redirects, no system trust store, no environment proxies, bounded bodies; the caller sets the deadline.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import orjson
from opa_client.opa_async import AsyncOpaClient

from broker.errors import ConfigError

MAX_LISTING_OCTETS = 64 << 20
EXCHANGE_SECONDS = 10.0
PUBLISH_SECONDS = 30.0
"""For a whole policy: a server compiles everything anew for each module that is put or taken away."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class OpaServer:
    """Where the server is and how both sides prove themselves; files are read when a connection is made.

    `url` is `https://host:port`, or `http://` on loopback; `ca_file` alone is trusted; `token_file` has a bearer token.
    """

    url: str
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    token_file: str = ""
    connections: int = 8


class OddReplyError(Exception):
    """The server said something else than was asked for."""


class PolicyRejectedError(Exception):
    """The server would not take a module or document; the text is its complaint."""


class EvaluationError(Exception):
    """The policy failed on this question (OPA's `internal_error`): it has no answer."""


class OpaConnection(AsyncOpaClient):  # type: ignore[misc]
    """One client of one server. Errors of the transport leave it as aiohttp's."""

    def __init__(self, server: OpaServer) -> None:
        where = urlsplit(server.url)
        if where.scheme not in {"http", "https"} or not where.hostname or where.path.strip("/"):
            raise ConfigError("opa_url", "The OPA server's URL cannot be used.", server.url)
        if where.scheme == "http" and where.hostname not in LOOPBACK:
            raise ConfigError("opa_url", "An OPA server elsewhere must be reached by https.", server.url)
        secure = where.scheme == "https"
        host = f"[{where.hostname}]" if ":" in where.hostname else where.hostname
        super().__init__(
            host=host,
            port=where.port or (443 if secure else 8181),
            ssl=secure,
            token=_token(server.token_file),
            retries=0,
            timeout=EXCHANGE_SECONDS,
        )
        self._server = server
        self._context = _tls(server) if secure else None

    async def _init_session(self) -> None:
        """Replaces the client's own, which knows neither a private CA nor limits."""
        self._connector = aiohttp.TCPConnector(ssl=self._context or False, limit=self._server.connections)
        self._session = aiohttp.ClientSession(
            headers=self.headers,
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            trust_env=False,
            auto_decompress=False,
        )

    async def open(self) -> "OpaConnection":
        """Make it ready for use; connections are made when needed."""
        await self._init_session()
        return self

    async def ask(self, path: str, question: bytes, longest: int) -> Any:
        """The document at a path of `data` for a question; None if undefined.

        Raises EvaluationError, OddReplyError.
        """
        url = f"{self.root_url}/data/{path}?strict-builtin-errors=true"
        status, body = await self._exchange("POST", url, b'{"input":' + question + b"}", "application/json", longest)
        reply = _decoded(body)
        if status == 500 and reply.get("code") == "internal_error":
            raise EvaluationError
        if status != 200:
            raise OddReplyError(f"status {status}")
        return reply.get("result")

    async def put_module(self, identifier: str, text: str) -> None:
        """Put one module. Raises PolicyRejectedError."""
        await self._change("PUT", f"{self.root_url}/policies/{quote(identifier)}", text.encode(), "text/plain")

    async def delete_module(self, identifier: str) -> None:
        """Take one module away. Raises PolicyRejectedError, for instance while another needs it."""
        await self._change("DELETE", f"{self.root_url}/policies/{quote(identifier)}", b"", "text/plain")

    async def put_data(self, data: dict[str, object]) -> None:
        """Replace all data that is not made by modules. Raises PolicyRejectedError."""
        await self._change("PUT", f"{self.root_url}/data", orjson.dumps(data), "application/json")

    async def document(self, key: str) -> object:
        """One top-level document, None if there is none. Raises OddReplyError."""
        url = f"{self.root_url}/data/{quote(key, safe='')}"
        status, body = await self._exchange("GET", url, b"", "text/plain", MAX_LISTING_OCTETS)
        if status != 200:
            raise OddReplyError(f"status {status}")
        found: object = _decoded(body).get("result")
        return found

    async def modules(self) -> dict[str, str]:
        """Every module that the server holds: text by identifier. Raises OddReplyError."""
        status, body = await self._exchange("GET", f"{self.root_url}/policies", b"", "text/plain", MAX_LISTING_OCTETS)
        found = _decoded(body).get("result")
        if status != 200 or not isinstance(found, list):
            raise OddReplyError(f"status {status}")
        try:
            return {module["id"]: module["raw"] for module in found}
        except (KeyError, TypeError) as error:
            raise OddReplyError("listing of modules") from error

    async def _change(self, method: str, url: str, body: bytes, content_type: str) -> None:
        status, reply = await self._exchange(method, url, body, content_type, MAX_LISTING_OCTETS)
        if status not in {200, 204} and not (status == 404 and method == "DELETE"):
            raise PolicyRejectedError(reply[:2000].decode(errors="replace"))

    async def _exchange(self, method: str, url: str, body: bytes, content_type: str, longest: int) -> tuple[int, bytes]:
        headers = {"Content-Type": content_type, "Accept-Encoding": "identity"}
        async with self._asking(method, url, data=body, headers=headers, allow_redirects=False) as response:
            received = await _bounded(response, longest)
            return response.status, received

    def _asking(self, method: str, url: str, **arguments: Any) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        context: AbstractAsyncContextManager[aiohttp.ClientResponse] = self._request(method, url, **arguments)
        return context


async def _bounded(response: aiohttp.ClientResponse, longest: int) -> bytes:
    """The whole body. Raises OddReplyError, closing the connection, if it is longer than allowed."""
    received = bytearray()
    chunks: AsyncIterator[bytes] = response.content.iter_any()
    async for chunk in chunks:
        received += chunk
        if len(received) > longest:
            response.close()
            raise OddReplyError("too long")
    return bytes(received)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body) if body else {}
    except ValueError as error:
        raise OddReplyError("not JSON") from error
    if not isinstance(document, dict):
        raise OddReplyError("not an object")
    return document


def _tls(server: OpaServer) -> ssl.SSLContext:
    """Only the configured CA, the name checked, TLS 1.2 at least. Raises ConfigError."""
    if not server.ca_file:
        raise ConfigError("opa_tls", "An OPA server reached by https needs a CA file.")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(server.ca_file)
        if server.certificate_file:
            context.load_cert_chain(server.certificate_file, server.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("opa_tls", "The OPA server's CA, certificate or key cannot be used.", str(error)) from error
    return context


def _token(file: str) -> str | None:
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("opa_token", "The OPA server's token cannot be read.", type(error).__name__) from error
