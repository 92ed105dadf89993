"""Keys come from pinned places over verified TLS, within bounds, and are believed for a bounded time."""

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from broker.adapters.development_ca import create_authority, issue_server
from broker.adapters.jwks import KeyCache
from broker.errors import ConfigError
from broker.model.trust import Issuer
from tests.unit.identity.forgery import NOW, ed25519_key, key
from tests.unit.identity.test_identity_token import member

ISS = "https://issuer.example"


class FakeClock:
    """Time that stands still until told."""

    def __init__(self):
        self.elapsed = 0.0

    def now(self):
        return NOW + self.elapsed

    def monotonic(self):
        return self.elapsed


def key_set(*names):
    return json.dumps({"keys": [member(key(name), name) for name in names]}).encode()


class Provider:
    """An identity provider whose answers a test chooses."""

    def __init__(self):
        self.body = key_set("one")
        self.status = 200
        self.headers = {}
        self.requests = []
        self.handle_with = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request):
        self.requests.append(request)
        await self.gate.wait()
        if self.handle_with is not None:
            return await self.handle_with(request)
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    now = time.time()
    authority = create_authority(folder, "plant-owner", now)
    return authority, issue_server(authority, ["localhost"], folder / "server", now)


@asynccontextmanager
async def serving(provider, pki):
    """The provider on a free port of loopback, over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki[1].certificate, pki[1].key)
    application = web.Application()
    application.router.add_get("/{path:.*}", provider.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/jwks"
    finally:
        provider.gate.set()
        await runner.cleanup()


def issuer(url="", file="", ca="", **rest):
    return Issuer(ISS, "acme", ("otbroker",), ("*",), jwks_url=url, jwks_file=file, jwks_ca_file=ca, **rest)


@asynccontextmanager
async def caching(pki, *, started=True, timeout=2.0, retry=10.0, trusted=True, **rest):
    """A provider, and a cache of its keys."""
    provider, clock = Provider(), FakeClock()
    async with serving(provider, pki) as url:
        pinned = issuer(url, ca=str(pki[0].anchor) if trusted else "", **rest)
        cache = KeyCache([pinned], clock, retry_seconds=retry, timeout_seconds=timeout)
        if started:
            await cache.start()
        try:
            yield cache, provider, clock
        finally:
            await cache.close()


def ids(cache, *names):
    return [name for name in names if cache.keys(ISS, name)]


def test_keys_are_there_after_the_start_and_asked_for_without_cookies_or_credentials(pki):
    async def story():
        async with caching(pki) as (cache, provider, _):
            assert ids(cache, "one", "two") == ["one"]
            assert cache.keys("https://evil.example", "one") == ()
            (request,) = provider.requests
            assert request.path == "/jwks" and not {"Cookie", "Authorization"} & set(request.headers)
            assert cache.states()[0].usable and cache.states()[0].failure == ""

    asyncio.run(story())


def test_a_rotated_key_is_learnt_at_once_and_the_old_one_forgotten(pki):
    async def story():
        async with caching(pki) as (cache, provider, clock):
            provider.body = key_set("two")
            clock.elapsed += 11
            await cache.ensure(ISS, "two")
            assert ids(cache, "one", "two") == ["two"]

    asyncio.run(story())


def test_an_unknown_key_costs_one_fetch_whoever_asks_and_one_per_interval(pki):
    async def story():
        async with caching(pki) as (cache, provider, clock):
            await cache.ensure(ISS, "unknown")
            assert len(provider.requests) == 1, "the start was a moment ago"
            clock.elapsed += 11
            await asyncio.gather(*(cache.ensure(ISS, f"unknown {place}") for place in range(50)))
            assert len(provider.requests) == 2
            await cache.ensure(ISS, "unknown")
            await cache.ensure("https://evil.example", "unknown")
            await cache.ensure(ISS, "one")
            assert len(provider.requests) == 2

    asyncio.run(story())


def test_a_caller_that_goes_away_does_not_stop_the_fetch_for_the_others(pki):
    async def story():
        async with caching(pki, started=False) as (cache, provider, _):
            provider.gate.clear()
            first, second = (asyncio.create_task(cache.ensure(ISS, "one")) for _ in range(2))
            while not provider.requests:
                await asyncio.sleep(0)
            first.cancel()
            provider.gate.set()
            await second
            assert ids(cache, "one") == ["one"] and len(provider.requests) == 1

    asyncio.run(story())


ANSWERS = {
    "a redirect": {"status": 302, "headers": {"Location": "/elsewhere"}},
    "a permanent redirect": {"status": 308, "headers": {"Location": "/elsewhere"}},
    "an error": {"status": 500},
    "not found": {"status": 404},
    "a huge body": {"body": b" " * (1 << 20)},
    "a body a little too large": {"body": key_set("two") + b" " * 65536},
    "a web page": {"body": b"<html>", "headers": {"Content-Type": "text/html"}},
    "no keys": {"body": b'{"keys": []}'},
    "a private key": {"body": b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "two"}]}'},
    "a compressed body": {"headers": {"Content-Encoding": "gzip"}},
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_bad_answer_leaves_the_last_good_keys_in_force(pki, what):
    async def story():
        async with caching(pki) as (cache, provider, clock):
            provider.body = key_set("two")
            for name, value in ANSWERS[what].items():
                setattr(provider, name, value)
            clock.elapsed += 11
            await cache.ensure(ISS, "two")
            assert len(provider.requests) == 2, "the redirect was not followed"
            assert ids(cache, "one", "two") == ["one"]
            assert cache.states()[0].failure and cache.states()[0].usable

    asyncio.run(story())


def test_an_endless_answer_is_not_read_to_its_end(pki):
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b" " * 4096)
        return response

    async def story():
        async with caching(pki, started=False, timeout=30.0) as (cache, provider, _):
            provider.handle_with = endless
            await cache.ensure(ISS, "one")
            assert "ValueError" in cache.states()[0].failure

    asyncio.run(story())


def test_a_slow_answer_is_given_up_within_the_time_limit(pki):
    async def story():
        async with caching(pki, timeout=0.2) as (cache, provider, clock):
            provider.gate.clear()
            clock.elapsed += 11
            async with asyncio.timeout(5):
                await cache.ensure(ISS, "two")
            assert ids(cache, "one") == ["one"] and "Timeout" in cache.states()[0].failure

    asyncio.run(story())


def test_a_provider_that_is_gone_is_believed_until_the_maximum_age(pki):
    async def story():
        clock = FakeClock()
        async with serving(Provider(), pki) as url:
            pinned = issuer(url, ca=str(pki[0].anchor), maximum_age_seconds=3600)
            cache = KeyCache([pinned], clock, timeout_seconds=1)
            await cache.start()
        clock.elapsed = 3600.0
        await cache.ensure(ISS, "unknown")
        assert ids(cache, "one") == ["one"]
        clock.elapsed = 3600.5
        assert ids(cache, "one") == [] and not cache.states()[0].usable
        await cache.close()

    asyncio.run(story())


def test_a_provider_that_was_never_reached_gives_no_keys_and_stops_nothing(pki):
    async def story():
        cache = KeyCache([issuer("https://127.0.0.1:1/jwks", ca=str(pki[0].anchor))], FakeClock(), timeout_seconds=1)
        await cache.start()
        assert ids(cache, "one") == [] and cache.states()[0].age_seconds is None
        await cache.close()

    asyncio.run(story())


def test_a_provider_with_a_certificate_of_another_authority_is_not_believed(pki):
    async def story():
        async with caching(pki, trusted=False) as (cache, provider, _):
            assert provider.requests == [] and ids(cache, "one") == []
            assert "Certificate" in cache.states()[0].failure

    asyncio.run(story())


def test_the_background_learns_a_new_key_without_being_asked(pki):
    async def story():
        async with caching(pki, refresh_seconds=1) as (cache, provider, _):
            provider.body = key_set("two")
            async with asyncio.timeout(10):
                while not ids(cache, "two"):
                    await asyncio.sleep(0.05)

    asyncio.run(story())


def test_a_key_file_is_read_again_when_it_changes_and_a_bad_one_leaves_the_last_good(tmp_path):
    path = tmp_path / "jwks.json"

    async def story():
        clock = FakeClock()
        cache = KeyCache([issuer(file=str(path))], clock)
        await cache.start()
        assert ids(cache, "one") == [] and "No such file" in cache.states()[0].failure
        for content, expected in ((key_set("one"), ["one"]), (b"{", ["one"]), (key_set("two"), ["two"])):
            path.write_bytes(content)
            clock.elapsed += 11
            await cache.ensure(ISS, "two")
            assert ids(cache, "one", "two") == expected
        path.unlink()
        clock.elapsed += 3601
        await cache.ensure(ISS, "two")
        assert ids(cache, "two") == []
        await cache.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/jwks",
        "http://127.0.0.1.evil.example/jwks",
        "http://10.0.0.1/jwks",
        "ftp://idp.example/jwks",
        "file:///etc/passwd",
        "https:///jwks",
        "https://user@idp.example/jwks",
        "idp.example/jwks",
    ],
)
def test_only_https_or_plain_http_to_loopback_is_a_key_source(url):
    with pytest.raises(ConfigError) as raised:
        KeyCache([issuer(url)], FakeClock())
    assert raised.value.code == "jwks_source_refused"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/jwks", "http://[::1]:1/jwks", "http://localhost:1/jwks"])
def test_plain_http_to_loopback_is_a_key_source(url):
    assert KeyCache([issuer(url)], FakeClock()).keys(ISS, "one") == ()


def test_exactly_one_source_and_a_readable_ca_file_are_needed(tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    url = "https://idp.example/jwks"
    refused = [
        issuer(),
        issuer(url, file="jwks.json"),
        issuer(url, ca=str(tmp_path / "none")),
        issuer(url, ca=str(empty)),
    ]
    for pinned in refused:
        with pytest.raises(ConfigError) as raised:
            KeyCache([pinned], FakeClock())
        assert raised.value.code == "jwks_source_refused"


def test_keys_of_several_types_live_in_one_set(pki):
    async def story():
        async with caching(pki, started=False) as (cache, provider, _):
            members = [member(ed25519_key("ed"), "ed"), member(key("one"), "one"), {"kty": "AKP", "kid": "pq"}]
            provider.body = json.dumps({"keys": members}).encode()
            await cache.ensure(ISS, "ed")
            assert ids(cache, "ed", "one", "pq") == ["ed", "one"]

    asyncio.run(story())
