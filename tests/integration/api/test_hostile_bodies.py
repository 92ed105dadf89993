"""What may come as the body of a call that changes something: whatever the route, it changes nothing unless it fits."""

import asyncio
import copy
import json
from dataclasses import replace

import pytest

from broker.api import application, models, strangers
from broker.api.route import Effect
from broker.api.routes import ROUTES
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import NAMES
from tests.integration.api.test_hostile_http import answers

CHANGING = tuple(r for r in ROUTES if r.method != "GET" or r.body is not None or r.effect is Effect.CHANGES)
WHY = {"why": "the pump is dry"}
FITTING = {
    "read": {"points": ["fan"]},
    "write": {"points": {"fan": True}},
    "pause_session": WHY,
    "resume_session": WHY,
    "end_session": WHY,
    "approve": WHY,
    "refuse": WHY,
    "step_up": {"code": "123456"},
    "lock": {"kind": "site", "target": "plant", "message": "fire", "seconds": 60},
    "lift": {},
    "isolate": {"message": "fire"},
    "acknowledge_leave": WHY,
    "invite": {"organisation": "acme", "subject": "eve@acme.example", "seconds": 600},
    "revoke_invitation": {},
    "revoke_person": {"subject": "eve@acme.example", **WHY},
    "enrol": {"code": "c" * 20, "request": "-----BEGIN CERTIFICATE REQUEST-----"},
    "renew": {"certificate": "-----BEGIN CERTIFICATE-----", "request": "-----BEGIN", "signature": "AAAA"},
    "complete_enrolment": {"ticket": "t" * 43, "code": "123456", "credential": None},
    "complete_renewal": {"ticket": "t" * 43, "code": "123456", "credential": None},
    "renew_service": {"request": "-----BEGIN CERTIFICATE REQUEST-----"},
    "create_request": {
        "devices": ["plant/ahu-1"],
        "points": ["fan"],
        "reason": "the coil was exchanged",
        "until": "2026-11-28T16:00:00Z",
        "submit": True,
    },
    "submit_request": {"version": 3},
    "review_request": {"verdict": "approve", "comment": "good", "version": 3},
    "withdraw_request": {"why": "not needed", "version": 3},
    "revoke_request": {"why": "not needed", "version": 3},
    "extend_request": {"until": "2026-11-28T16:00:00Z", "reason": "it takes longer", "ticket": "WO-4711"},
    "close_request": {"report": "all is done", "version": 3},
    "break_glass": {"site": "plant", "why": "fire", "minutes": 5, "parts": ["part-a", "part-b"]},
    "close_emergency": {},
    "review_emergency": {"comment": "it was right"},
    "ticket_event": {"state": "closed", "message": "done"},
    "activate_policy": {},
    "propose": {"act": "ca.sign", "parameters": {"csr": "text"}, "why": "a new site"},
    "approve_proposal": {},
    "refuse_proposal": WHY,
}
"""A body that each of these routes takes."""
JSON = "application/json"
TOO_LARGE = 1_048_577


def test_every_changing_route_is_tried_with_a_body_that_fits():
    assert set(FITTING) == {route.name for route in CHANGING}
    for route in CHANGING:
        route.body.model_validate(FITTING[route.name])


def malformed(fitting):
    """Bodies that no two readers need agree on: name, octets, content type, the codes that may refuse them."""
    good = json.dumps(fitting).encode()
    member = good[:-1] + (b"," if fitting else b"")
    for name, octets in {
        "empty": b"",
        "no JSON": b"points=fan",
        "truncated": good[:-1],
        "two documents": good + good,
        "not UTF-8": member + b'"x":"\xff"}',
        "UTF-16": good.decode().encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "NaN": member + b'"x":NaN}',
        "Infinity": member + b'"x":-Infinity}',
        "a number too large": member + b'"x":1e400}',
        "a number too small": member + b'"x":1e-400}',
        "a number too long": member + b'"x":' + b"9" * 5000 + b"}",
        "lists 10,000 deep": member + b'"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "objects 10,000 deep": member + b'"x":' + b'{"x":' * 10_000 + b"0" + b"}" * 10_001,
        "a raw NUL": member + b'"x":"\x00"}',
        "a lone surrogate": member + b'"x":"\\ud800"}',
        "a lone surrogate as UTF-8": member + b'"x":"\xed\xa0\x80"}',
        "a lone surrogate as a name": member + b'"\\udfff":0}',
        "an unknown name twice": member + b'"x":0,"x":0}',
        "a name twice, escaped": member + b'"x":0,"\\u0078":0}',
    }.items():
        yield name, octets, JSON, {"json_invalid"}
    for name, value in fitting.items():
        again = json.dumps({name: value}).encode()[1:]
        yield f"{name} twice", member + again, JSON, {"json_invalid"}
        for number in (b"NaN", b"1e400", b"9" * 41):
            yield f"{name} {number[:5]}", one_as(fitting, name, number), JSON, {"json_invalid"}
        yield f"{name} a lone surrogate", one_as(fitting, name, b'"a\\udc00"'), JSON, {"json_invalid"}
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"):
        yield f"as {kind or 'nothing'}", good, kind, {"media_type_unsupported"}


def unfitting(route, fitting):
    """JSON that is not a body of this route."""
    for name, octets in {"null": b"null", "a list": b"[]", "a text": b'"x"', "a number": b"1"}.items():
        yield name, octets
    yield "an unknown name", json.dumps(fitting | {"force": True}).encode()
    yield "a name of the innards", json.dumps(fitting | {"__class__": "x"}).encode()
    for name, field in route.body.model_fields.items():
        if field.is_required():
            yield f"without {name}", json.dumps({k: v for k, v in fitting.items() if k != name}).encode()
        wrong = [b"true", b"-1.5", b"9" * 39, json.dumps(["x"] * 2100).encode(), b'[{"x":[]}]', b'{"":{"x":[]}}']
        if name == "credential":  # an object of the browser's making
            wrong.pop()
        if field.annotation is bool:
            wrong[0] = b'"true"'
        for value in wrong:
            yield f"{name} {value[:9]}", one_as(fitting, name, value)
        yield f"{name} with NUL", one_as(fitting, name, b'"a\\u0000"')
        yield f"{name} too long", one_as(fitting, name, json.dumps("x" * 40_000).encode())


def one_as(fitting, name, octets):
    """A fitting body in which one member is these octets."""
    others = {k: v for k, v in fitting.items() if k != name}
    return (
        json.dumps(others).encode()[:-1] + (b"," if others else b"") + json.dumps(name).encode() + b":" + octets + b"}"
    )


@pytest.fixture
def reached(monkeypatch):
    """The names of the routes whose handlers were called; strangers may try as often as they like."""
    names = []

    def noting(route):
        async def handler(call):
            names.append(route.name)
            return await route.handler(call)

        return replace(route, handler=handler)

    noted = tuple(map(noting, ROUTES))
    proving = {route.name for route in application._PROVING}
    monkeypatch.setattr(application, "ROUTES", noted)
    monkeypatch.setattr(application, "_PROVING", tuple(route for route in noted if route.name in proving))
    monkeypatch.setattr(strangers, "BURST", 1e9)
    return names


def standing(gate):
    """All that calls could have changed in the broker behind the API, and what they were let do."""
    parts = (gate.supervision, gate.locks, gate.leaves, gate.requests, gate.break_glass, gate.proposals)
    seen = [gate.asked, gate.acts, gate.views, gate.recorded, gate.relayed, gate.open_sessions]
    plain = [{k: v for k, v in vars(part).items() if not k.startswith("_")} for part in parts]
    return copy.deepcopy(repr((seen, plain, gate.people.enrolment.asked)))


def is_refusal(status, text, route, codes):
    """Whether this is a problem document that names one of these codes, and shows nothing of ours."""
    document = json.loads(text)
    models.ProblemDocument.model_validate(document)
    assert 400 <= status < 500, (route.name, text)
    assert document["status"] == status
    assert document["code"] in codes, (route.name, text)
    assert document["type"] == f"urn:otbroker:problem:{document['code']}"
    assert not any(word in text for word in ("Traceback", "pydantic", "aiohttp", "/broker/"))


def test_no_body_that_does_not_fit_reaches_a_route(pki, run, reached):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            before = standing(stage.gate)
            for route in CHANGING:
                path, fitting = route.path.format(**NAMES), FITTING[route.name]
                cases = [*malformed(fitting), *((n, o, JSON, {"body_invalid"}) for n, o in unfitting(route, fitting))]
                for name, octets, kind, codes in cases:
                    async with client.post(path, data=octets, headers={"Content-Type": kind}) as answer:
                        text = await answer.text()
                        assert reached == [], (route.name, name)
                        assert answer.content_type == "application/problem+json", (route.name, name, text)
                        is_refusal(answer.status, text, route, codes)
            assert standing(stage.gate) == before

    run(story())


async def answered(stage, octets):
    """The first answer to these octets; the connection is left at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, ssl=stage.pki.client_context(stage.pki.ana))
    writer.write(octets)
    said = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in said.decode().lower().split("\r\n") if line.startswith("content-length:"))
    said += await reader.readexactly(int(length.partition(":")[2]))
    writer.close()
    return answers(said)[0]


def head(path, *fields):
    lines = (f"POST {path} HTTP/1.1", "Host: x", "Authorization: Bearer token-ana", *fields, "", "")
    return "\r\n".join(lines).encode()


def test_no_body_that_is_too_large_badly_framed_or_missing_reaches_a_route(pki, run, reached):
    async def story():
        async with serving(pki) as stage:
            before = standing(stage.gate)
            for route in CHANGING:
                path, typed = route.path.format(**NAMES), f"Content-Type: {JSON}"
                chunked = head(path, typed, "Transfer-Encoding: chunked")
                declared = head(path, typed, f"Content-Length: {TOO_LARGE}")
                missing = head(path, "Connection: close")
                empty = head(path, typed, "Content-Length: 0", "Connection: close")
                for octets, code in {
                    declared: "body_too_large",
                    chunked + b"10001\r\n" + b" " * 65_537: "body_too_large",
                    chunked + b"nonsense\r\n{}\r\n0\r\n\r\n": "request_malformed",
                    missing: "media_type_unsupported",
                    empty: "json_invalid",
                }.items():
                    status, document, _ = await answered(stage, octets)
                    is_refusal(status, json.dumps(document), route, {code})
            assert reached == []
            assert standing(stage.gate) == before

    run(story())


def test_a_body_whose_caller_leaves_before_its_end_reaches_no_route(pki, run, reached):
    async def story():
        async with serving(pki) as stage:
            before = standing(stage.gate)
            for count, route in enumerate(CHANGING, 1):
                body = json.dumps(FITTING[route.name]).encode()
                size = f"Content-Length: {len(body) + 1}"
                octets = head(route.path.format(**NAMES), f"Content-Type: {JSON}", size) + body
                context = pki.client_context(pki.ana)
                _, writer = await asyncio.open_connection("127.0.0.1", stage.port, ssl=context)
                writer.write(octets)
                await writer.drain()
                writer.close()
                async with asyncio.timeout(20):
                    while len(stage.gate.left) < count:
                        await asyncio.sleep(0.001)
            assert reached == []
            assert standing(stage.gate) == before

    run(story())
