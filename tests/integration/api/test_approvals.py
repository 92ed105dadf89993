"""Operations that wait for a person, as the API shows, arms and refuses them."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from broker.api.approval_models import ApprovalEntries, ApprovalEntry
from broker.engine.sessions import Session
from broker.model.decision import Decision, Obligation
from broker.model.operation import ModbusRange, Operation, Request, Touch
from broker.model.place import Grant, Table
from broker.model.schedule import Scope
from broker.model.vocabulary import Action
from tests.integration.api import stage as stages
from tests.integration.api.stage import serving
from tests.unit.api.gate_double import AHU, ANA, BO

WRITE = "/v1/devices/plant/ahu-1/write"
SETPOINT = {"points": {"supply-temp-setpoint": 19.5}}
SECOND, STEP_UP = Obligation.SECOND_PERSON, Obligation.STEP_UP
NOW = 1_795_000_010.0


async def told(response, status=200):
    assert response.status == status, await response.text()
    return await response.json()


def story_of(pki, run, *, needs=(SECOND,)):
    """Runs a story with two clients, ana whose write of the setpoint waits, and bo."""

    def decorate(story):
        async def told_story():
            async with serving(pki) as stage, stage.client() as ana, stage.client("bo", "token-bo") as bo:
                stage.gate.persons = {"supply-temp-setpoint": needs}
                problem = await told(await ana.post(WRITE, json=SETPOINT), 403)
                await story(stage, ana, bo, problem)

        run(told_story())

    return decorate


def test_what_waits_is_shown_whole_with_what_is_there_and_what_would_be_written(pki, run):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        assert (problem["code"], problem["approvals"]) == ("denied", ["arm-1"])
        assert [reason["code"] for reason in problem["reasons"]] == ["approval_needed"]
        listed = await told(await bo.get("/v1/approvals"))
        ApprovalEntries.model_validate(listed)
        shown = await told(await bo.get("/v1/approvals/arm-1"))
        ApprovalEntry.model_validate(shown)
        assert listed == {"scope": "all", "approvals": [shown]}
        (operation,) = shown["operations"]
        point = {"name": "supply-temp-setpoint", "unit": "°C", "old": "20.0", "new": "19.5"}
        assert (operation["points"], operation["raw_values"]) == ([point], ["195"])
        assert operation["address"] == "holding-register 10"
        assert (shown["state"], shown["missing"]) == ("waiting", ["second_person"])
        assert stage.gate.relayed == []


def test_approving_asks_the_policy_with_whose_it_is_and_lets_it_pass_once(pki, run):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        stage.gate.asked.clear()
        armed = await told(await bo.post("/v1/approvals/arm-1/approve", json={"why": "agreed"}))
        ApprovalEntry.model_validate(armed)
        assert (armed["state"], armed["armings"][0]["by"]) == ("armed", BO.id)
        about = {"kind": "approval", "id": "arm-1", "subject": ANA.id, "organisation": "acme", "session": "ses-0"}
        assert stage.gate.asked == [(BO.id, "operation.approve", about | {"site": "plant", "device": "ahu-1"})]
        recorded = orjson.loads(stage.gate.recorded[-1])
        assert (recorded["kind"], recorded["by"], recorded["why"]) == ("operation_armed", BO.id, "agreed")
        await told(await ana.post(WRITE, json=SETPOINT))
        assert (await told(await bo.post("/v1/approvals/arm-1/approve", json={}), 409))["code"] == "approval_over"


def test_what_could_not_be_read_is_told_and_approved_only_by_who_says_that_he_knows(pki, run):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        place, book = "/v1/approvals/arm-1", stage.gate.approvals
        known = book.get("arm-1")
        assert (await told(await bo.get(place)))["old_values"] == "read"
        for before, old_values, code in (
            (None, "being_read", "approval_unread"),
            ((), "unreadable", "approval_unseen"),
        ):
            book.show_before(known, before)
            assert (await told(await bo.get(place)))["old_values"] == old_values
            assert (await told(await bo.post(f"{place}/approve", json={}), 409))["code"] == code
            assert book.get("arm-1").missing == (SECOND,)
        armed = await told(await bo.post(f"{place}/approve", json={"without_old": True}))
        assert (armed["state"], armed["old_values"]) == ("armed", "unreadable")


@pytest.mark.parametrize("act", ["approve", "refuse"])
def test_nobody_is_his_own_second_person_whatever_the_policy_says(pki, run, act):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        refused = await told(await ana.post(f"/v1/approvals/arm-1/{act}", json={"why": "x"}), 403)
        assert [reason["code"] for reason in refused["reasons"]] == ["second_person_needed"]
        assert stage.gate.approvals.get("arm-1").missing == (SECOND,)
        stage.gate.unpermitted = {"operation.approve"}
        for identifier in ("arm-1", "arm-9"):
            refused = await told(await bo.post(f"/v1/approvals/{identifier}/{act}", json={"why": "x"}), 403)
            assert refused["code"] == "permission_denied"


def test_those_who_may_not_see_all_see_their_own(pki, run):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        stage.gate.unpermitted = {("approvals.read", None), ("approvals.read", BO.id)}
        assert (await told(await ana.get("/v1/approvals")))["scope"] == "own"
        assert len((await told(await ana.get("/v1/approvals")))["approvals"]) == 1
        assert (await told(await bo.get("/v1/approvals"), 403))["code"] == "permission_denied"
        assert (await told(await ana.get("/v1/approvals/arm-9"), 403))["code"] == "permission_denied"


def test_a_call_waits_until_it_is_armed_and_goes_on(pki, run):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        body = SETPOINT | {"wait_seconds": 30}
        call = asyncio.create_task(ana.post(WRITE, json=body, headers={"Idempotency-Key": "k"}))
        await asyncio.sleep(0.1)
        assert not call.done()
        await told(await bo.post("/v1/approvals/arm-1/approve", json={}))
        await told(await call)
        assert len(stage.gate.relayed) == 1


def test_a_call_waits_no_longer_than_it_asked_for_and_leaves_its_key_unused(pki, run):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        body = SETPOINT | {"wait_seconds": 1}
        for _ in range(2):
            answer = await ana.post(WRITE, json=body, headers={"Idempotency-Key": "k"})
            assert (await told(answer, 403))["approvals"] == ["arm-1"]
            assert "Idempotency-Replayed" not in answer.headers
        assert (await told(await ana.post(WRITE, json=SETPOINT | {"wait_seconds": 91}), 422))["code"] == "body_invalid"


def test_who_waits_is_told_of_a_refusal(pki, run):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        call = asyncio.create_task(ana.post(WRITE, json=SETPOINT | {"wait_seconds": 30}))
        await asyncio.sleep(0.1)
        refused = await told(await bo.post("/v1/approvals/arm-1/refuse", json={"why": "too cold"}))
        assert (refused["state"], refused["refused_by"]) == ("refused", BO.id)
        problem = await told(await call, 403)
        assert [reason["code"] for reason in problem["reasons"]] == ["approval_refused"]
        assert stage.gate.relayed == []


def proven_at(at, subject=ANA):
    return replace(subject, proofs=tuple(replace(proof, authenticated_at=at) for proof in subject.proofs))


def test_a_step_up_takes_a_fresh_proof_of_who_asked(pki, run, monkeypatch):
    @story_of(pki, run, needs=(STEP_UP,))
    async def story(stage, ana, bo, problem):
        place = "/v1/approvals/arm-1/step-up"
        assert (await told(await ana.post(place, json={}), 403))["code"] == "proof_not_fresh"
        monkeypatch.setitem(stages.TOKENS, "token-ana", proven_at(NOW - 31))
        assert (await told(await ana.post(place, json={}), 403))["code"] == "proof_not_fresh"
        monkeypatch.setitem(stages.TOKENS, "token-bo", proven_at(NOW, BO))
        assert (await told(await bo.post(place, json={}), 403))["code"] == "permission_denied"
        assert (await told(await bo.post("/v1/approvals/arm-1/approve", json={}), 409))["code"] == "approval_over"
        monkeypatch.setitem(stages.TOKENS, "token-ana", proven_at(NOW - 29))
        armed = await told(await ana.post(place, json={}))
        assert (armed["state"], armed["armings"][0]["obligation"]) == ("armed", "step_up")
        await told(await ana.post(WRITE, json=SETPOINT))


def test_a_step_up_takes_a_code_of_the_authenticator_app_instead(pki, run):
    @story_of(pki, run, needs=(STEP_UP,))
    async def story(stage, ana, bo, problem):
        place = "/v1/approvals/arm-1/step-up"
        refused = await ana.post(place, json={"code": "000000"})
        assert (await told(refused, 403))["code"] == "factor_refused"
        assert refused.headers["Retry-After"] == "3"
        assert (await told(await bo.post(place, json={"code": "123456"}), 403))["code"] == "permission_denied"
        assert stage.gate.approvals.get("arm-1").missing == (STEP_UP,)
        armed = await told(await ana.post(place, json={"code": "123456"}))
        assert armed["state"] == "armed"
        recorded = orjson.loads(stage.gate.recorded[-1])
        assert (recorded["by"], recorded["why"]) == (ANA.id, "by a code of the authenticator app")


def test_what_it_rests_on_is_shown_with_reason_and_ticket(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client("bo", "token-bo") as bo:
            request = next(iter(stage.gate.requests.found.values())).request
            asked, standing = request.terms.grant(), Grant("look", Scope(), (), description="stand\u202eing")
            stage.gate.grants = (asked, standing, Grant("other", Scope(), ()))
            session = Session("ses-9", ANA, AHU, "https", "127.0.0.1:1", NOW)
            operation = Operation("modbus", Action.ADJUST, "write-single-register", ModbusRange(None))
            rules = (f"grant/{asked.id}", "grant/look")
            decisions = tuple(Decision("dec-1", 1, True, rule=rule) for rule in rules)
            stage.gate.approvals.ask(session, Request((operation,), b"x", "d1"), decisions, (SECOND,))
            shown = await told(await bo.get("/v1/approvals/arm-1"))
            assert shown["grants"] == [
                {"id": asked.id, "reason": request.terms.reason, "ticket": request.terms.ticket or None},
                {"id": "look", "reason": "stand\ufffding", "ticket": None},
            ]

    run(story())


@pytest.mark.parametrize("why", ["x" * 201, "a\nb", "a\u202eb", 7])
def test_a_reason_that_could_deceive_who_reads_it_is_refused(pki, run, why):
    @story_of(pki, run)
    async def story(stage, ana, bo, problem):
        for act in ("approve", "refuse"):
            refused = await told(await bo.post(f"/v1/approvals/arm-1/{act}", json={"why": why}), 422)
            assert refused["code"] == "body_invalid"
        assert stage.gate.approvals.get("arm-1").state.value == "waiting"


def test_what_would_be_written_is_shown_in_plain_characters_and_confidential_points_without_values(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client("bo", "token-bo") as bo:
            session = Session("ses-9", ANA, AHU, "https", "127.0.0.1:1", NOW)
            point = AHU.points[0]
            for digest, written, secret in (("d1", "19\u202e.5\x1b[2J", None), ("d2", "hunter2", "secret")):
                touch = Touch(replace(point, confidential=secret), True, written)
                address = ModbusRange(Table.HOLDING_REGISTER, 0, 3)
                operation = Operation(
                    "modbus", Action.ADJUST, "write-multiple-registers", address, (touch,), ("1", "2")
                )
                request = Request((operation,), b"x", digest)
                decision = Decision("dec-1", 1, True, rule="grant/ana-adjust")
                stage.gate.approvals.ask(session, request, (decision,), (SECOND,))
            plain, hidden = (await told(await bo.get("/v1/approvals")))["approvals"]
            assert plain["operations"][0]["points"][0]["new"] == r"19\u202e.5\x1b[2J"
            assert plain["operations"][0]["address"] == "holding-register 0 to 2"
            assert hidden["concealed"] is True
            assert "hunter2" not in str(hidden)
            assert (hidden["operations"][0]["raw_values"], hidden["rules"]) == ([], ["grant/ana-adjust"])

    run(story())
