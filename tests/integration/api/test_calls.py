"""Calls as clients make them, with aiohttp and curl."""

import asyncio
import json
import subprocess
from decimal import Decimal

import pytest

from broker.api import models
from broker.api.call import Limits
from broker.api.routes import ROUTES
from broker.engine.events import Refused
from broker.model.decision import Decision
from broker.model.operation import Relayed
from broker.model.vocabulary import Reason, Result
from tests.integration.api.stage import serving
from tests.unit.api.gate_double import NEXT_WINDOW, SECRET_UPSTREAM

READ = "/v1/devices/plant/ahu-1/read"
WRITE = "/v1/devices/plant/ahu-1/write"
SETPOINT = {"points": {"supply-temp-setpoint": 19.5}}
VIEWS = [
    r
    for r in ROUTES
    if r.method == "GET" and r.name not in {"session", "approval", "calendar"} and not (r.streams or r.subprotocol)
]
NAMES = {"site": "plant", "device": "ahu-1", "index": 1, "id": "dec-abc", "session": "ses-a", "approval": "arm-a"}
BODIES = {"ticket_event": {"state": "closed"}}
NAMES |= {"request": "req-1", "revision": "r" * 43, "ticket": "WO-4711"}


async def told(response, status=200):
    text = await response.text()
    assert response.status == status, text
    kind = "application/json" if status == 200 else "application/problem+json"
    assert response.headers["Content-Type"] == kind
    assert response.headers["Cache-Control"] == "no-store"
    document = json.loads(text, parse_float=Decimal)
    if status != 200:
        models.ProblemDocument.model_validate(document)
        assert document["status"] == status
        assert document["type"] == "urn:otbroker:problem:" + document["code"]
    return document


@pytest.mark.parametrize("route", VIEWS, ids=lambda r: r.name)
def test_every_view_answers_as_its_model_says_and_shows_no_upstream(route, pki, run):
    path = route.path.format(**NAMES)

    async def story():
        async with serving(pki) as stage, stage.client() as client:
            document = await told(await client.get(path))
            if route.answer is not None:
                route.answer.model_validate(document)
            assert SECRET_UPSTREAM not in str(document)

    run(story())


def test_the_application_serves_exactly_the_table(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            for route in ROUTES:
                path = route.path.format(**NAMES)
                for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
                    response = await client.request(method, path)
                    served = {r.method for r in ROUTES if r.path == route.path}
                    assert (response.status == 405) is (method not in served), (method, path, response.status)
                    if response.status == 405:
                        assert set(response.headers["Allow"].split(", ")) == served
            for path in ("/", "/v1", "/v1/me/", "/v2/me", "/v1/devices/plant", "/v1/ledger/records/-1", "/metrics"):
                assert (await told(await client.get(path), 404))["code"] == "route_unknown"

    run(story())


def test_every_admin_route_asks_the_policy_for_its_own_permission(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            for route in ROUTES:
                if route.decided_by.value != "admin.decision":
                    continue
                stage.gate.asked.clear()
                stage.gate.unpermitted = {route.permission}
                path = route.path.format(**NAMES)
                body = {} if route.body is None else {"json": BODIES.get(route.name, {"message": "why"})}
                problem = await told(await client.request(route.method, path, **body), 403)
                assert problem["code"] == "permission_denied"
                assert problem["reasons"][0]["code"] == "role_missing"
                assert [permission for _, permission, _ in stage.gate.asked] == [route.permission]
            assert stage.gate.views == []

    run(story())


@pytest.mark.parametrize(
    ("credential", "token", "status", "code", "reason"),
    [
        (None, "token-ana", 401, "credentials_missing", "certificate_missing"),
        ("ana", None, 401, "credentials_missing", "token_missing"),
        ("ana", "forged", 401, "credentials_refused", "token_signature_invalid"),
        ("ana", "token-bo", 403, "subjects_differ", None),
        ("bo", "token-ana", 403, "subjects_differ", None),
    ],
)
def test_both_proofs_of_one_subject_are_needed(credential, token, status, code, reason, pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(credential, token) as client:
            for path in ("/v1/me", "/nothing/here", READ):
                response = await client.get(path)
                problem = await told(response, status)
                assert problem["code"] == code
                if reason:
                    assert problem["reasons"][0]["code"] == reason
                if status == 401:
                    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
            assert len(stage.refusals) == 3
            assert {(listener, code) for listener, _, code in stage.refusals} == {
                ("https", reason or "subjects_differ")
            }

    run(story())


def test_a_hidden_device_is_the_same_as_none(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            answers = []
            for device in ("meter-1", "nothing"):
                for call in ("read", "write"):
                    body = {"points": ["x"]} if call == "read" else {"points": {"x": 1}}
                    answers.append(await told(await client.post(f"/v1/devices/plant/{device}/{call}", json=body), 404))
                answers.append(await told(await client.get(f"/v1/devices/plant/{device}/points"), 404))
            assert all(answer == answers[0] for answer in answers)
            assert answers[0]["code"] == "device_unknown"

    run(story())


def test_read_and_write_by_curl(pki, run):
    """A client that nobody here wrote, with a body typed by hand."""

    def curl(stage, path, body):
        command = ["curl", "-sS", "--cacert", pki.authority.anchor, "--cert", pki.ana.certificate, "--key", pki.ana.key]
        command += ["-H", "Authorization: Bearer token-ana", "-H", "Content-Type: application/json", "-d", body]
        done = subprocess.run([*command, stage.url + path], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout

    async def story():
        async with serving(pki) as stage:
            answer = await asyncio.to_thread(curl, stage, READ, '{"points": ["supply-temp", "energy"]}')
            assert '"value":18.5' in answer
            assert '"value":18446744073709551615' in answer
            answer = await asyncio.to_thread(curl, stage, WRITE, '{"points": {"supply-temp-setpoint": 19.50}}')
            assert json.loads(answer)["points"]["supply-temp-setpoint"]["outcome"] == "done"
            assert stage.gate.relayed[-1].payload == b"\x06\x00\x0a\x00\xc3"

    run(story())


def test_a_refused_session_says_why_and_when(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            denied = Decision("dec-7", 7, False, (Reason.WINDOW_CLOSED,), next_window=NEXT_WINDOW)
            stage.gate.admission = Refused(denied.reasons, (denied,))
            for path, body in ((READ, {"points": ["fan"]}), (WRITE, SETPOINT)):
                problem = await told(await client.post(path, json=body), 403)
                assert problem["decision_id"] == "dec-7"
                assert problem["next_window"]["opens"] == "2026-11-28T08:00:00Z"
                assert "window" in problem["what_to_do"]

    run(story())


def test_a_connection_has_one_session_and_leaves_when_it_ends(pki, run):
    async def story():
        async with serving(pki) as stage:
            async with stage.client() as client:
                for _ in range(3):
                    await told(await client.post(READ, json={"points": ["fan"]}))
                assert len(stage.gate.open_sessions) == 1
            ((connection, _, _),) = stage.gate.open_sessions
            while connection not in stage.gate.left:
                await asyncio.sleep(0.01)

    run(story())


def test_after_a_restart_a_key_is_new_as_the_description_says(pki, run):
    async def story():
        for _ in range(2):
            async with serving(pki) as stage, stage.client() as client:
                response = await client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k1"})
                assert "Idempotency-Replayed" not in response.headers
                await told(response)
                assert len(stage.gate.relayed) == 1

    assert "a restart of the broker makes every key new" in next(r for r in ROUTES if r.name == "write").description
    run(story())


def test_two_calls_with_one_key_at_the_same_time_write_once(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.go.clear()
            first = asyncio.create_task(client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k1"}))
            await stage.gate.begun.wait()
            second = await client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k1"})
            assert (await told(second, 409))["code"] == "idempotency_in_flight"
            stage.gate.go.set()
            answer = await told(await first)
            again = await client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k1"})
            assert again.headers["Idempotency-Replayed"] == "true"
            assert await told(again) == answer
            other = await client.post(WRITE, json={"points": {"fan": True}}, headers={"Idempotency-Key": "k1"})
            assert (await told(other, 422))["code"] == "idempotency_key_reused"
            odd = await client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "a b"})
            assert (await told(odd, 422))["code"] == "idempotency_key_invalid"
            assert len(stage.gate.relayed) == 1

    run(story())


def test_a_write_is_finished_though_its_caller_has_gone_and_its_key_tells_the_answer(pki, run):
    async def story():
        async with serving(pki) as stage:
            stage.gate.go.clear()
            async with stage.client() as client:
                write = asyncio.create_task(client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k1"}))
                await stage.gate.begun.wait()
                write.cancel()
            while not stage.gate.left:
                await asyncio.sleep(0.01)
            stage.gate.go.set()
            assert await stage.api.quiet(5.0)
            assert len(stage.gate.relayed) == 1
            async with stage.client() as client:
                again = await client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k1"})
                assert (await told(again))["points"]["supply-temp-setpoint"]["outcome"] == "done"
            assert len(stage.gate.relayed) == 1

    run(story())


def test_a_write_that_takes_too_long_is_unknown_and_still_finished(pki, run):
    async def story():
        async with serving(pki, limits=Limits(write_seconds=0.2)) as stage, stage.client() as client:
            stage.gate.go.clear()
            problem = await told(await client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k"}), 504)
            assert problem["outcome"] == "unknown"
            assert not await stage.api.quiet(0.05)
            stage.gate.go.set()
            assert await stage.api.quiet(5.0)
            assert len(stage.gate.relayed) == 1
            again = await client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k"})
            await told(again)

    run(story())


def test_an_unknown_outcome_is_504_and_a_repetition_does_not_write(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.failing["supply-temp-setpoint"] = Relayed(Result.UNKNOWN, code="timeout")
            for _ in range(2):
                response = await client.post(WRITE, json=SETPOINT, headers={"Idempotency-Key": "k"})
                problem = await told(response, 504)
                assert (problem["code"], problem["outcome"]) == ("outcome_unknown", "unknown")
            assert len(stage.gate.relayed) == 1

    run(story())


def test_a_fault_of_ours_shows_nothing_and_leaves_a_write_unknown(pki, run, caplog):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.failing["fan"] = RuntimeError("/var/lib/secret 192.0.2.77")
            for path, body, status in ((READ, {"points": ["fan"]}, 500), (WRITE, {"points": {"fan": True}}, 504)):
                problem = await told(await client.post(path, json=body), status)
                assert "secret" not in json.dumps(problem)
                assert "Runtime" not in json.dumps(problem)

    run(story())
    assert "RuntimeError" in caplog.text


def test_one_subject_has_a_bounded_number_of_calls_under_way(pki, run):
    async def story():
        async with serving(pki, limits=Limits(calls_of_subject=2)) as stage, stage.client() as client:
            stage.gate.go.clear()
            writes = [asyncio.create_task(client.post(WRITE, json={"points": {"fan": True}})) for _ in range(2)]
            while stage.api._calls_of["ana@acme.example"] < 2:
                await asyncio.sleep(0.01)
            response = await client.get("/v1/me")
            assert (await told(response, 429))["code"] == "too_many_calls"
            assert response.headers["Retry-After"] == "1"
            stage.gate.go.set()
            for write in writes:
                await told(await write)
            await told(await client.get("/v1/me"))

    run(story())


def test_looking_at_evidence_is_recorded_before_anything_is_shown(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            await told(
                await client.get(
                    "/v1/ledger/records?kind=intent&kind=outcome&subject=x&limit=2&from=2026-11-22T00:00:00Z"
                )
            )
            filters = stage.gate.ledger_view.searched[-1]
            assert (filters.kinds, filters.subject, filters.limit) == (("intent", "outcome"), "x", 2)
            assert filters.since == 1795305600.0
            for path in ("records/1", "checkpoint", "proof/1"):
                await told(await client.get("/v1/ledger/" + path))
            await told(await client.get("/v1/decisions/dec-abc"))
            assert [what.split()[0] for _, what in stage.gate.views] == [
                "records",
                "record",
                "checkpoint",
                "proof",
                "decision",
            ]
            stage.gate.unrecorded = True
            for path in (
                "ledger/records",
                "ledger/records/1",
                "ledger/checkpoint",
                "ledger/proof/1",
                "decisions/dec-abc",
            ):
                problem = await told(await client.get("/v1/" + path), 503)
                assert problem["code"] == "ledger_closed"
                assert "secret" not in json.dumps(problem)

    run(story())


def test_a_proof_is_for_the_checkpoint_beside_it(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            proof = await told(await client.get("/v1/ledger/proof/2"))
            assert proof["hashes"] == ["hash-2-3"]
            assert proof["checkpoint"].splitlines()[1] == "3"
            assert json.loads(proof["stored"])["kind"] == "intent"
            for path in ("proof/3", "records/3", "records/9007199254740993"):
                assert (await told(await client.get("/v1/ledger/" + path), 404))["code"] == "record_unknown"

    run(story())


def test_a_decision_is_explained_to_its_subject_and_hidden_from_others(pki, run):
    async def story():
        async with serving(pki) as stage:
            async with stage.client() as client:
                decision = await told(await client.get("/v1/decisions/dec-abc"))
                assert (decision["allow"], decision["device"]) == (False, "plant/ahu-1")
                assert decision["reasons"][0]["text"].startswith("No window is open")
                about = {"kind": "decision", "id": "dec-abc", "subject": "ana@acme.example", "site": "plant"}
                assert stage.gate.asked[-1][2] == about
            stage.gate.unpermitted = {"decision.explain"}
            async with stage.client("bo", "token-bo") as client:
                hidden = await told(await client.get("/v1/decisions/dec-abc"), 404)
                assert hidden == await told(await client.get("/v1/decisions/dec-nothing"), 404)

    run(story())


def test_sessions_are_all_for_who_may_see_all_else_ones_own(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as ana, stage.client("bo", "token-bo") as bo:
            await told(await ana.post(READ, json={"points": ["fan"]}))
            stage.gate.unpermitted = {("sessions.read", None)}
            assert len((await told(await ana.get("/v1/sessions")))["sessions"]) == 1
            assert await told(await bo.get("/v1/sessions")) == {"scope": "own", "sessions": []}
            stage.gate.unpermitted = set()
            everything = await told(await bo.get("/v1/sessions"))
            assert (everything["scope"], everything["sessions"][0]["subject"]) == ("all", "ana@acme.example")

    run(story())


def test_windows_name_the_devices_they_are_for(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            windows = (await told(await client.get("/v1/windows")))["windows"]
            assert [(w["id"], w["state"], w["devices"]) for w in windows] == [
                ("work", "open", ["plant/ahu-1", "plant/vav-1"]),
                ("saturday", "next", ["plant/ahu-1", "plant/vav-1"]),
            ]
            assert windows[0]["description"] == "Working hours"

    run(story())


def test_a_search_takes_a_device_without_its_site_and_says_if_there_is_none(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            for name in ("ahu-1", "plant/ahu-1"):
                await told(await client.get(f"/v1/ledger/records?device={name}"))
                assert stage.gate.ledger_view.searched[-1].device == "plant/ahu-1"
            searches = len(stage.gate.ledger_view.searched)
            problem = await told(await client.get("/v1/ledger/records?device=ahu-9"), 404)
            assert problem["code"] == "device_unknown"
            assert len(stage.gate.ledger_view.searched) == searches

    run(story())
