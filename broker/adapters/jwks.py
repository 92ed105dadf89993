"""Public keys of token issuers, fetched from pinned places (JWKS URL or file) and kept for a bounded time.

A lookup is synchronous and reads memory only. A key set that cannot be had leaves the last good one in force until it
is older than the issuer's `maximum_age_seconds`; after that nobody's token verifies. Nothing a token says chooses where
keys are fetched, and an unknown key id costs at most one fetch per issuer and `retry_seconds`.
"""

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from broker.engine.ports import Clock
from broker.errors import BrokerError, ConfigError, UnavailableError
from broker.identity.keys import LARGEST_SET, KeySet, VerificationKey, parse_key_set
from broker.model.trust import Issuer

_log = logging.getLogger("otbroker.jwks")
_FILE_POLL_SECONDS = 0.5
_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class KeySourceState:
    """How one issuer's keys stand: `age_seconds` is None before the first success, `failure` empty after one."""

    issuer: str
    usable: bool
    age_seconds: float | None
    failure: str


def _nobody_asks() -> None:
    """Nobody wants to know."""


class KeyCache:
    """The keys of all issuers. Raises ConfigError `jwks_source_refused` for a URL or CA file that cannot be used."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        clock: Clock,
        *,
        retry_seconds: float = 10.0,
        timeout_seconds: float = 5.0,
        changed: Callable[[], None] = _nobody_asks,
    ) -> None:
        """`changed` is called when the usable keys of an issuer have become others."""
        self._retry_seconds = retry_seconds
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._sources = {issuer.issuer: _Source(issuer, self._fetcher(issuer), clock) for issuer in issuers}
        self._changed = changed

    async def start(self) -> None:
        """Fetch every set once, failures tolerated, then keep them fresh in the background until `close`."""
        await asyncio.gather(*(source.refresh() for source in self._sources.values()))
        self._tasks = [asyncio.create_task(self._keep_fresh(source)) for source in self._sources.values()]

    async def close(self) -> None:
        """End the background work and disconnect."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._session is not None:
            await self._session.close()
            self._session = None

    def keys(self, issuer: str, key_id: str) -> tuple[VerificationKey, ...]:
        """The issuer's keys of that id, none if they are older than the issuer allows."""
        source = self._sources.get(issuer)
        return source.named(key_id) if source is not None else ()

    async def ensure(self, issuer: str, key_id: str) -> None:
        """Fetch once more if the key is not known, unless that was done a moment ago; callers share one fetch."""
        source = self._sources.get(issuer)
        if source is not None and not source.named(key_id) and source.may_retry(self._retry_seconds):
            await self._refresh(source)

    def states(self) -> tuple[KeySourceState, ...]:
        """How the keys of each issuer stand, for readiness and metrics."""
        return tuple(source.state() for source in self._sources.values())

    async def _keep_fresh(self, source: "_Source") -> None:
        while True:
            await asyncio.sleep(source.pause_seconds(self._retry_seconds))
            await self._refresh(source)

    async def _refresh(self, source: "_Source") -> None:
        before = source.usable()
        await source.refresh()
        if source.usable() != before:
            self._changed()

    def _fetcher(self, issuer: Issuer) -> Callable[[], Awaitable[bytes]]:
        if bool(issuer.jwks_url) == bool(issuer.jwks_file):
            raise _source_refused(issuer, "exactly one of jwks_url and jwks_file is needed")
        if issuer.jwks_file:
            path = Path(issuer.jwks_file)
            return lambda: asyncio.to_thread(_read_file, path)
        context = _context(issuer)
        return lambda: self._fetch(issuer.jwks_url, context)

    async def _fetch(self, url: str, context: ssl.SSLContext) -> bytes:
        """One GET: no redirect, no cookie, no proxy of the environment, no decompression, a bounded body."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                auto_decompress=False,
                trust_env=False,
            )
        try:
            async with self._session.get(url, ssl=context, allow_redirects=False, headers=_HEADERS) as response:
                return await _bounded_body(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _unavailable(f"{type(error).__name__} from {url}") from None


class _Source:
    """One issuer's keys and when they were last had."""

    def __init__(self, issuer: Issuer, fetch: Callable[[], Awaitable[bytes]], clock: Clock) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._raw_set = b""
        self._key_set = KeySet(())
        self._fetched_at: float | None = None
        self._attempted_at = float("-inf")
        self._failure = "not fetched yet"
        self._running: asyncio.Task[None] | None = None

    def named(self, key_id: str) -> tuple[VerificationKey, ...]:
        age = self._age()
        if age is None or age > self._issuer.maximum_age_seconds:
            return ()
        return self._key_set.named(key_id)

    def usable(self) -> bytes:
        """The key set that `named` looks into, as it was fetched; b"" if there is none or it is too old."""
        age = self._age()
        return b"" if age is None or age > self._issuer.maximum_age_seconds else self._raw_set

    def may_retry(self, retry_seconds: float) -> bool:
        return self._running is not None or self._clock.monotonic() - self._attempted_at >= retry_seconds

    def pause_seconds(self, retry_seconds: float) -> float:
        if self._issuer.jwks_file:
            return min(_FILE_POLL_SECONDS, self._issuer.refresh_seconds)
        return min(retry_seconds, self._issuer.refresh_seconds) if self._failure else self._issuer.refresh_seconds

    def state(self) -> KeySourceState:
        age = self._age()
        usable = age is not None and age <= self._issuer.maximum_age_seconds
        return KeySourceState(self._issuer.issuer, usable, age, self._failure)

    async def refresh(self) -> None:
        """Fetch once, whoever asks meanwhile; a caller that goes away does not stop it for the others."""
        if self._running is None:
            self._attempted_at = self._clock.monotonic()
            self._running = asyncio.create_task(self._refresh())
            self._running.add_done_callback(self._finished)
        await asyncio.shield(self._running)

    async def _refresh(self) -> None:
        asked_at = self._clock.monotonic()
        try:
            raw_set = await self._fetch()
            if raw_set != self._raw_set:
                self._take(raw_set)
        except BrokerError as error:
            if error.detail != self._failure:
                _log.warning("keys of %s: %s", self._issuer.issuer, error)
            self._failure = error.detail or error.public
        else:
            self._fetched_at = asked_at
            self._failure = ""

    def _take(self, raw_set: bytes) -> None:
        self._key_set = parse_key_set(raw_set)
        self._raw_set = raw_set
        for reason in self._key_set.passed_over:
            _log.warning("keys of %s: %s", self._issuer.issuer, reason)

    def _finished(self, _task: asyncio.Task[None]) -> None:
        self._running = None

    def _age(self) -> float | None:
        return None if self._fetched_at is None else self._clock.monotonic() - self._fetched_at


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    if response.status != 200:
        raise ValueError(f"status {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ValueError("an encoded body")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_SET:
            raise ValueError("a body that is too large")
    return bytes(body)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_SET + 1)
    except OSError as error:
        raise _unavailable(f"{error.strerror} on {path}") from None


def _context(issuer: Issuer) -> ssl.SSLContext:
    """TLS 1.2 or better against the issuer's own CA file, or the system's store without one."""
    parts = urlsplit(issuer.jwks_url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise _source_refused(issuer, "jwks_url is https, or http to the loopback address only")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise _source_refused(issuer, "jwks_url has a host, no user and no fragment")
    try:
        context = ssl.create_default_context(cafile=issuer.jwks_ca_file or None)
    except (OSError, ValueError) as error:
        raise _source_refused(issuer, f"jwks_ca_file: {type(error).__name__}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _source_refused(issuer: Issuer, detail: str) -> ConfigError:
    return ConfigError("jwks_source_refused", f"The key source of issuer {issuer.issuer} cannot be used.", detail)


def _unavailable(detail: str) -> UnavailableError:
    return UnavailableError("jwks_unavailable", "The keys of a token issuer cannot be had.", detail)
