"""Break-glass through the API: who needs no token where, what is refused and how, and that no part is ever shown."""

import asyncio
from dataclasses import replace

import pytest

from broker.api import break_glass_models
from broker.model.emergency import OpeningRefusal
from broker.model.subject import SubjectKind
from tests.integration.api.stage import TOKENS, serving
from tests.integration.api.test_calls import READ, told
from tests.unit.api.break_glass_double import NOW, OURS, PARTS

PATH = "/v1/break-glass"
OPEN = {"site": "plant", "why": "fire alarm", "parts": PARTS}


def test_an_emergency_is_opened_by_the_certificate_alone(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(token=None) as client:
            answer = await told(await client.post(PATH, json=OPEN | {"minutes": 15}))
            break_glass_models.EmergencyAnswer.model_validate(answer)
            assert answer["emergency"]["subject"] == "ana@acme.example"
            ((who, site, why, minutes, peer),) = stage.gate.break_glass.asked
            assert (who, site, why, minutes) == ("ana@acme.example", "plant", "fire alarm", 15)
            assert peer.startswith("127.0.0.1:")
            assert stage.gate.asked == [], "the policy is not asked: it may be what is down"

    run(story())


def test_without_a_certificate_no_part_is_looked_at(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(credential=None, token=None) as client:
            assert (await told(await client.post(PATH, json=OPEN), 401))["code"] == "credentials_missing"
            assert stage.gate.break_glass.asked == []

    run(story())


@pytest.mark.parametrize(
    ("site", "path", "status"),
    [
        ("plant", READ, 200),
        ("plant", "/v1/devices/plant/ahu-1/points", 200),
        ("plant", PATH, 200),
        ("other", READ, 401),
        ("", READ, 401),
        ("plant", "/v1/me", 401),
        ("plant", "/v1/locks", 401),
        ("plant", "/v1/ledger/checkpoint", 401),
    ],
)
def test_a_certificate_alone_reaches_the_site_of_ones_emergency_and_nothing_else(site, path, status, pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(token=None) as client:
            stage.gate.break_glass.holders = {"ana@acme.example": site} if site else {}
            answer = await (client.post(path, json={"points": ["supply-temp"]}) if path == READ else client.get(path))
            document = await told(answer, status)
            if status == 401:
                assert [reason["code"] for reason in document["reasons"]] == ["token_missing"]

    run(story())


def test_whoever_holds_an_emergency_sees_points_though_the_policy_permits_nothing(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(token=None) as client:
            stage.gate.unpermitted.add("devices.read")
            stage.gate.break_glass.holders = {"ana@acme.example": "plant"}
            assert (await told(await client.get("/v1/devices/plant/ahu-1/points")))["device"] == "plant/ahu-1"
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.unpermitted.add("devices.read")
            await told(await client.get("/v1/devices/plant/ahu-1/points"), 403)

    run(story())


def test_whoever_calls_on_after_the_end_is_told_that_the_emergency_is_over(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(token=None) as client:
            mine = replace(OURS, subject="ana@acme.example", organisation="acme")
            for found, over in (
                (mine, False),
                (replace(mine, until=NOW - 1), True),
                (replace(mine, ended_at=NOW), True),
            ):
                stage.gate.break_glass.emergencies = (found,)
                document = await told(await client.post(READ, json={"points": ["supply-temp"]}), 401)
                assert ("Your emergency emg-ours is over" in document["what_to_do"]) is over

    run(story())


def test_a_body_that_arrives_after_the_end_of_the_emergency_needs_a_token_again(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(token=None) as client:
            stage.gate.break_glass.holders = {"ana@acme.example": "plant"}

            async def slowly():
                yield b'{"points": '
                while not stage.gate.break_glass.looked:
                    await asyncio.sleep(0.01)
                stage.gate.break_glass.holders = {}
                yield b'["supply-temp"]}'

            headers = {"Content-Type": "application/json"}
            document = await told(await client.post(READ, data=slowly(), headers=headers), 401)
            assert [reason["code"] for reason in document["reasons"]] == ["token_missing"]

    run(story())


def test_a_token_that_is_presented_must_be_good_even_in_an_emergency(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(token="forged") as client:
            stage.gate.break_glass.holders = {"ana@acme.example": "plant"}
            assert (await told(await client.post(PATH, json=OPEN), 401))["code"] == "credentials_refused"

    run(story())


@pytest.mark.parametrize("refusal", OpeningRefusal, ids=str)
def test_every_refusal_has_its_answer_and_shows_no_part(refusal, pki, run):
    status, code = {
        OpeningRefusal.NOT_SET_UP: (409, "break_glass_unready"),
        OpeningRefusal.NOT_SEALED: (409, "break_glass_unready"),
        OpeningRefusal.NO_SESSIONS: (409, "break_glass_unready"),
        OpeningRefusal.TOO_SOON: (429, "too_many_attempts"),
    }.get(refusal, (403, "break_glass_refused"))

    async def story():
        async with serving(pki) as stage, stage.client(token=None) as client:
            stage.gate.break_glass.refusal = refusal
            response = await client.post(PATH, json=OPEN)
            document = await told(response, status)
            assert document["code"] == code
            assert not any(part in str(document) for part in PARTS)
            assert ("Retry-After" in response.headers) is (status == 429)

    run(story())


@pytest.mark.parametrize(
    "body",
    [
        {"site": "plant", "why": "x"},
        OPEN | {"parts": []},
        OPEN | {"parts": ["secret-part"] * 17},
        OPEN | {"parts": ["secret-part" * 30]},
        OPEN | {"parts": [["secret-part"]]},
        OPEN | {"why": "a\u202eb"},
        OPEN | {"minutes": 0},
        OPEN | {"minutes": 481},
        OPEN | {"force": True},
    ],
    ids=lambda body: str(body)[-40:],
)
def test_what_does_not_fit_is_refused_without_showing_it(body, pki, run):
    async def story():
        async with serving(pki) as stage, stage.client(token=None) as client:
            document = await told(await client.post(PATH, json=body), 422)
            assert "secret-part" not in str(document)
            assert stage.gate.break_glass.asked == []

    run(story())


def test_who_may_see_all_sees_those_of_other_brokers_and_others_their_own(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            assert [e["id"] for e in (await told(await client.get(PATH)))["emergencies"]] == ["emg-ours", "emg-theirs"]
            stage.gate.unpermitted = {"break_glass.read"}
            assert (await told(await client.get(PATH), 403))["code"] == "permission_denied"
            stage.gate.break_glass.holders = {"ana@acme.example": "plant"}
            assert await told(await client.get(PATH)) == {"scope": "own", "emergencies": []}

    run(story())


def test_whoever_opened_one_closes_it_without_the_policy_and_others_with_its_permission(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            mine = (await told(await client.post(PATH, json=OPEN)))["emergency"]["id"]
            stage.gate.unpermitted = {"break_glass.close"}
            assert (await told(await client.post(f"{PATH}/emg-ours/close", json={}), 403))[
                "code"
            ] == "permission_denied"
            closed = await told(await client.post(f"{PATH}/{mine}/close", json={}))
            assert (closed["emergency"]["state"], closed["emergency"]["ended_by"]) == ("to_review", "ana@acme.example")
            stage.gate.unpermitted = set()
            assert (await told(await client.post(f"{PATH}/emg-ours/close", json={})))["emergency"]["ended_by"]
            about = stage.gate.asked[-1][2]
            assert about == {"kind": "emergency", "id": OURS.id, "site": "plant", "opened_by": OURS.subject}
            assert (await told(await client.post(f"{PATH}/emg-none/close", json={}), 404))[
                "code"
            ] == "emergency_unknown"
            assert stage.gate.acts == []
            await told(await client.post(f"{PATH}/emg-theirs/close", json={}))
            stage.gate.break_glass.state = False
            assert (await told(await client.post(f"{PATH}/emg-theirs/close", json={}), 409))["code"] == (
                "emergency_elsewhere"
            )
            acts = [(by, permission, about["id"], outcome) for by, permission, about, outcome in stage.gate.acts]
            asked = ("ana@acme.example", "break_glass.close", "emg-theirs")
            outcomes = ("begun", "done", "begun", "emergency_elsewhere")
            assert acts == [(*asked, outcome) for outcome in outcomes], "no other broker can prove who asked here"

    run(story())


def test_a_review_takes_two_others_after_the_end(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as ana, stage.client("bo", "token-bo") as bo:

            async def sign(client, status=200, emergency="emg-ours"):
                return await told(await client.post(f"{PATH}/{emergency}/review", json={"comment": "fine"}), status)

            assert "still open" in (await sign(ana, 409))["detail"]
            await told(await bo.post(f"{PATH}/emg-ours/close", json={}))
            assert (await sign(ana))["emergency"]["signatures_missing"] == 1
            assert "signed it before" in (await sign(ana, 409))["detail"]
            assert (await sign(bo))["emergency"]["state"] == "reviewed"
            assert (await sign(bo, 409))["code"] == "signature_refused"
            assert (await sign(bo, 409, "emg-theirs"))["code"] == "emergency_elsewhere"

    run(story())


def test_no_machine_signs_a_review_whatever_the_policy_says(pki, run, monkeypatch):
    async def story():
        async with serving(pki) as stage, stage.client() as ana, stage.client("bo", "token-bo") as bo:
            await told(await bo.post(f"{PATH}/emg-ours/close", json={}))
            monkeypatch.setitem(TOKENS, "token-ana", replace(TOKENS["token-ana"], kind=SubjectKind.SERVICE))
            problem = await told(await ana.post(f"{PATH}/emg-ours/review", json={"comment": "fine"}), 403)
            assert [reason["code"] for reason in problem["reasons"]] == ["second_person_needed"]
            assert stage.gate.break_glass.emergencies[0].signatures == ()

    run(story())
