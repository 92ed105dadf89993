"""What a hostile or broken client may send: each gets a problem, nothing gets through, nothing of ours is shown."""

import asyncio
import json

import pytest

from broker.api import strangers
from broker.api.call import Limits
from tests.integration.api.stage import serving

HEAD = b"Host: x\r\nAuthorization: Bearer token-ana\r\n"
JSON = b"Content-Type: application/json\r\n"
READ = b"POST /v1/devices/plant/ahu-1/read HTTP/1.1\r\n"
GOOD = b'{"points":["fan"]}'


def post(body, head=b"", kind=JSON, length=None):
    size = str(len(body) if length is None else length).encode()
    return READ + HEAD + kind + head + b"Content-Length: " + size + b"\r\nConnection: close\r\n\r\n" + body


def answers(said):
    """Status and document of every response in a row."""
    found = []
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        size = int(fields.get("content-length", 0))
        found.append((int(lines[0].split()[1]), json.loads(rest[:size]) if size else {}, fields))
        said = rest[size:]
    return found


def one(pki, run, octets, *, limits=None):
    async def story():
        async with serving(pki, limits=limits) as stage:
            said = await stage.raw(octets)
            return said, stage.gate.relayed

    said, relayed = run(story())
    return answers(said), relayed


@pytest.mark.parametrize(
    ("octets", "status", "code"),
    [
        pytest.param(
            post(GOOD, b"Authorization: Bearer token-bo\r\n"), 400, "header_repeated", id="two-authorizations"
        ),
        pytest.param(post(GOOD, JSON), 400, None, id="two-content-types"),
        pytest.param(post(GOOD, b"Host: y\r\n"), 400, None, id="two-hosts"),
        pytest.param(post(GOOD, b"Content-Length: 18\r\n"), 400, "request_malformed", id="two-lengths"),
        pytest.param(post(GOOD, b"Transfer-Encoding: chunked\r\n"), 400, "request_malformed", id="length-and-chunked"),
        pytest.param(post(GOOD, b"Transfer-Encoding: xchunked\r\n"), 400, "request_malformed", id="odd-encoding"),
        pytest.param(post(GOOD, b"Content-Encoding: gzip\r\n"), 415, "media_type_unsupported", id="gzip"),
        pytest.param(post(GOOD, kind=b"Content-Type: text/plain\r\n"), 415, "media_type_unsupported", id="text"),
        pytest.param(post(GOOD, kind=b""), 415, "media_type_unsupported", id="no-type"),
        pytest.param(
            post(GOOD, kind=b"Content-Type: application/json; charset=utf-16\r\n"),
            415,
            "media_type_unsupported",
            id="utf16",
        ),
        pytest.param(post(b'{"points": ["fan",]}'), 400, "json_invalid", id="trailing-comma"),
        pytest.param(post(b'{"points": ["fan"], "points": ["x"]}'), 400, "json_invalid", id="name-twice"),
        pytest.param(post(b"[" * 60_000), 400, "json_invalid", id="deep"),
        pytest.param(post(b""), 400, "json_invalid", id="empty"),
        pytest.param(post(b'{"points": ["fan"], "force": true}'), 422, "body_invalid", id="unknown-field"),
        pytest.param(post(b'"fan"'), 422, "body_invalid", id="not-an-object"),
        pytest.param(
            post(json.dumps({"points": [f"p{i}" for i in range(257)]}).encode()), 422, "body_invalid", id="too-many"
        ),
        pytest.param(post(b"x" * 65_537), 413, "body_too_large", id="large"),
        pytest.param(post(b"", length=2**40), 413, "body_too_large", id="large-declared"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 400, None, id="long-header"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HEAD + b"X: a\r\n" * 500 + b"\r\n", 400, None, id="many-headers"),
        pytest.param(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 400, None, id="long-line"),
        pytest.param(b"\x16\x03\x01 nonsense\r\n\r\n", 400, "request_malformed", id="no-http"),
        pytest.param(b"GET /v1/me HTTP/1.1\r\nAuthorization: Bearer token-ana\r\n\r\n", 400, None, id="no-host"),
        pytest.param(b"GET /v1/me HTTP/1.1\r\n" + HEAD + b"X-A: b\r\n c: d\r\n\r\n", 400, None, id="folded"),
        pytest.param(b"GET /v1/me?x=1 HTTP/1.1\r\n" + HEAD + b"\r\n", 400, "query_invalid", id="query"),
        pytest.param(
            b"GET /v1/ledger/records?limit=1&limit=2 HTTP/1.1\r\n" + HEAD + b"\r\n",
            400,
            "query_invalid",
            id="limit-twice",
        ),
        pytest.param(
            b"GET /v1/ledger/records?limit=0 HTTP/1.1\r\n" + HEAD + b"\r\n", 400, "query_invalid", id="limit-0"
        ),
        pytest.param(b"GET /v1/ledger/records?from=now HTTP/1.1\r\n" + HEAD + b"\r\n", 400, "query_invalid", id="time"),
        pytest.param(b"GET /v1/ledger/records?a=%ff HTTP/1.1\r\n" + HEAD + b"\r\n", 400, "query_invalid", id="octets"),
        pytest.param(b"GET https://evil/v1/me HTTP/1.1\r\n" + HEAD + b"\r\n", 404, "route_unknown", id="absolute"),
        pytest.param(b"GET /v1/%6de HTTP/1.1\r\n" + HEAD + b"\r\n", 404, "route_unknown", id="escaped"),
        pytest.param(b"GET /v1/x/../me HTTP/1.1\r\n" + HEAD + b"\r\n", 404, "route_unknown", id="dots"),
        pytest.param(
            b"GET /v1/me HTTP/1.1\r\n" + HEAD + b"Content-Length: 3\r\n\r\nabc", 400, "request_malformed", id="body"
        ),
        pytest.param(
            b"POST /v1/me HTTP/1.1\r\n" + HEAD + b"X-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n\r\n",
            405,
            "method_not_allowed",
            id="override",
        ),
        pytest.param(post(GOOD).replace(b"Bearer token-ana", b"Basic YTpi"), 401, "credentials_refused", id="basic"),
        pytest.param(post(GOOD, b"Origin: https://evil.example\r\n"), 403, "origin_refused", id="origin"),
    ],
)
def test_what_is_doubtful_is_refused_with_a_problem(octets, status, code, pki, run):
    found, relayed = one(pki, run, octets)
    assert found, "the connection was closed without an answer"
    said, problem, fields = found[0]
    assert said == status
    assert fields["content-type"] == "application/problem+json"
    assert problem["code"] == (code or problem["code"])
    assert {"type", "title", "status", "detail", "what_to_do"} <= set(problem)
    text = json.dumps(problem)
    assert not any(word in text for word in ("Traceback", "aiohttp", "/broker/", "pydantic", "Error:", "pattern"))
    assert len(found) == 1
    assert relayed == []


def test_bad_json_says_where(pki, run):
    ((_, problem, _),), _ = one(pki, run, post(b'{\n "points": [fan]\n}'))
    assert problem["errors"] == [{"at": "line 2, column 13", "problem": "Expecting value"}]


def test_unknown_fields_are_named(pki, run):
    ((_, problem, _),), _ = one(pki, run, post(b'{"points": ["fan"], "forc\\n\\u00e9": 1}'))
    assert problem["errors"] == [{"at": "forc\\n\\xe9", "problem": "is not a field of this body"}]


def test_a_smuggled_second_request_is_never_served(pki, run):
    """Length and chunked encoding disagree: only one reading may count, and it is none."""
    smuggled = b"0\r\n\r\nPOST /v1/devices/plant/ahu-1/write HTTP/1.1\r\n" + HEAD + JSON
    smuggled += b'Content-Length: 25\r\n\r\n{"points": {"fan": true}}'
    octets = READ + HEAD + JSON + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + smuggled
    found, relayed = one(pki, run, octets)
    assert [status for status, _, _ in found] == [400]
    assert relayed == []


def test_pipelined_requests_are_answered_in_order(pki, run):
    get = b"GET /v1/me HTTP/1.1\r\n" + HEAD + b"\r\n"
    found, _ = one(pki, run, get + get.replace(b"/v1/me", b"/v1/nothing") + get)
    assert [status for status, _, _ in found] == [200, 404, 200]


def test_headers_of_other_hops_and_underscores_mean_nothing(pki, run):
    lies = b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Client-Cert: x\r\nX_Subject: bo@plant.example\r\n"
    lies += b"Forwarded: for=10.0.0.1\r\nX-Original-URL: /v1/ledger/records\r\nHost_: y\r\n"
    octets = b"GET /v1/me HTTP/1.1\r\n" + HEAD + lies + b"Connection: close\r\n\r\n"
    ((status, me, _),), _ = one(pki, run, octets)
    assert (status, me["id"]) == (200, "ana@acme.example")


def test_a_slow_body_is_cut(pki, run):
    found, _ = one(pki, run, post(b'{"poi', length=100), limits=Limits(body_seconds=0.3))
    assert [(status, problem["code"]) for status, problem, _ in found] == [(408, "request_timeout")]


def test_a_slow_body_of_a_stranger_is_cut_sooner(pki, run):
    octets = b"POST /v1/enrolment HTTP/1.1\r\nHost: x\r\n" + JSON + b"Content-Length: 100\r\n\r\n{"
    found, _ = one(pki, run, octets, limits=Limits(body_seconds=3600.0, stranger_seconds=0.3))
    assert [(status, problem["code"]) for status, problem, _ in found] == [(408, "request_timeout")]


def test_who_shows_a_certificate_does_not_wait_for_strangers(pki, run, monkeypatch):
    monkeypatch.setattr(strangers, "BURST", 2.0)
    monkeypatch.setattr(strangers, "PER_SECOND", 1e-9)

    async def story():
        async with serving(pki) as stage:
            statuses = {}
            for credential in (None, None, None, "ana", "ana", "ana", "bo"):
                async with (
                    stage.client(credential, token=None) as client,
                    client.post("/v1/enrolment", json={}) as told,
                ):
                    statuses.setdefault(credential, []).append(told.status)
            assert statuses == {None: [422, 422, 429], "ana": [422, 422, 429], "bo": [422]}

    run(story())


def test_a_slow_head_is_cut(pki, run, monkeypatch):
    monkeypatch.setattr("broker.listeners.https.HEAD_SECONDS", 0.3)

    async def story():
        async with serving(pki) as stage:
            began = asyncio.get_running_loop().time()
            for octets in (b"", b"GET /v1/me HTTP/1.1\r\nHost: x\r\n"):
                assert await stage.raw(octets, seconds=10.0) == b""
            assert asyncio.get_running_loop().time() - began < 8.0

    run(story())


def test_a_chunked_body_is_counted_as_it_comes(pki, run):
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    octets = READ + HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20
    found, relayed = one(pki, run, octets)
    assert [(status, problem["code"]) for status, problem, _ in found] == [(413, "body_too_large")]
    assert relayed == []


def test_expect_continue_is_honoured(pki, run):
    async def story():
        async with serving(pki) as stage:
            context = pki.client_context(pki.ana)
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, ssl=context)
            writer.write(READ + HEAD + JSON + b"Expect: 100-continue\r\nContent-Length: 18\r\n\r\n")
            assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(GOOD)
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200")
            writer.close()

    run(story())
