"""Live control over HTTP: acts on sessions, and their events as a stream that ends with the watcher's own access."""

import asyncio
import contextlib
import json

import pytest

from broker.api import watching
from broker.api.call import Limits
from broker.api.session_models import SessionEntry
from broker.listeners import tls
from broker.listeners.watchers import MAX_WAITING_EVENTS, MAX_WATCHERS_OF_SUBJECT
from broker.model.vocabulary import Action, EndReason, Reason
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import READ, told
from tests.unit.api.gate_double import ANA, BO
from tests.unit.engine.playbook import request

EVENTS = "/v1/sessions/events"
ONE = "/v1/sessions/ses-0"
WAIT_SECONDS = 10.0


class Stream:
    """The events of an open stream, one after the other."""

    def __init__(self, response):
        self.response = response

    async def next(self):
        """Kind and document of the next event; None at the end."""
        kind = None
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in self.response.content:
                name, _, text = line.decode("ascii").rstrip("\n").partition(": ")
                if name == "event":
                    kind = text
                elif name == "data":
                    return kind, json.loads(text)
        return None

    async def until(self, kind):
        while (event := await self.next()) is not None:
            if event[0] == kind:
                return event[1]
        raise AssertionError(f"the stream ended without {kind}")


@contextlib.asynccontextmanager
async def plant(pki, **options):
    """A stage on which ana has the session ses-0, and bo may look on."""
    async with serving(pki, **options) as stage, stage.client() as ana, stage.client("bo", "token-bo") as bo:
        await told(await ana.post(READ, json={"points": ["fan"]}))
        yield stage, ana, bo


@contextlib.asynccontextmanager
async def watched(client, path=EVENTS):
    async with client.get(path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        stream = Stream(response)
        assert (await stream.next())[0] == "watching"
        yield stream


def live(stage):
    return next(iter(stage.gate.open_sessions.values()))


def see(stage):
    session = live(stage)
    session.observer(session, request(Action.VIEW), "done", "", (), ())


def test_a_session_is_shown_paused_resumed_and_ended_by_whom_the_policy_lets(pki, run):
    async def story():
        async with plant(pki) as (stage, _, bo):
            shown = await told(await bo.get(ONE))
            SessionEntry.model_validate(shown)
            assert (shown["state"], shown["ends_because"], shown["grants"]) == ("running", "window_closed", ["look"])
            assert str(shown["operations_per_second"]) == "2.5"
            paused = await told(await bo.post(f"{ONE}/pause", json={"why": "valve stuck"}))
            assert (paused["state"], paused["paused"]["why"]) == ("paused", "valve stuck")
            assert (await told(await bo.post(f"{ONE}/resume", json={})))["state"] == "running"
            ended = await told(await bo.post(f"{ONE}/end", json={}))
            assert (ended["state"], ended["ended_because"]) == ("ended", "ended_by_administrator")
            assert stage.gate.supervision.acts == [
                ("pause", "ses-0", BO.id, "valve stuck"),
                ("resume", "ses-0", BO.id, ""),
                ("end", "ses-0", BO.id, ""),
            ]
            assert (await told(await bo.get(ONE), 404))["code"] == "session_unknown"

    run(story())


@pytest.mark.parametrize("act", ["pause", "resume", "end"])
def test_without_permission_nothing_happens_and_the_policy_was_told_whose_session_it_is(act, pki, run):
    async def story():
        async with plant(pki) as (stage, _, bo):
            stage.gate.unpermitted = {f"sessions.{act}"}
            assert (await told(await bo.post(f"{ONE}/{act}", json={}), 403))["code"] == "permission_denied"
            assert stage.gate.asked[-1] == (
                BO.id,
                f"sessions.{act}",
                {
                    "kind": "session",
                    "id": "ses-0",
                    "subject": ANA.id,
                    "organisation": "acme",
                    "site": "plant",
                    "device": "ahu-1",
                    "listener": "https",
                },
            )
            other = f"/v1/sessions/ses-nothing/{act}"
            assert (await told(await bo.post(other, json={}), 403))["code"] == "permission_denied"
            assert stage.gate.supervision.acts == []

    run(story())


def test_an_act_takes_a_short_reason_and_nothing_else(pki, run):
    async def story():
        async with plant(pki) as (stage, _, bo):
            for body in ({"why": "x" * 201}, {"force": True}, {"why": 1}, []):
                assert (await told(await bo.post(f"{ONE}/end", json=body), 422))["code"] == "body_invalid"
            headers = {"Origin": "https://elsewhere.example"}
            await told(await bo.post(f"{ONE}/end", json={}, headers=headers), 403)
            assert stage.gate.supervision.acts == []

    run(story())


def test_operations_are_streamed_longer_than_a_call_may_take(pki, run):
    async def story():
        async with plant(pki, limits=Limits(call_seconds=0.2)) as (stage, _, bo), watched(bo) as stream:
            for _ in range(3):
                await asyncio.sleep(0.15)
                see(stage)
                event = await stream.until("operation")
                assert (event["session"], event["subject"], event["result"]) == ("ses-0", ANA.id, "done")
            assert stage.gate.views == [(BO.id, "watch all sessions")]

    run(story())


def test_who_supervises_is_told_something_every_few_seconds_and_who_may_not_supervise_only_watches(
    pki, run, monkeypatch
):
    monkeypatch.setattr(watching, "SUPERVISOR_HEARTBEAT_SECONDS", 0.1)

    async def story():
        async with serving(pki) as stage, stage.client("bo", "token-bo") as client:
            for allowed in (True, False):
                stage.gate.unpermitted = set() if allowed else {"sessions.supervise"}
                async with client.get("/v1/sessions/events") as response:
                    lines = [await asyncio.wait_for(response.content.readline(), 5) for _ in range(3)]
                    assert json.loads(lines[1].removeprefix(b"data: "))["supervises"] is allowed
                    if allowed:
                        assert await asyncio.wait_for(response.content.readline(), 5) == b": still here\n"
                    else:
                        with pytest.raises(TimeoutError):
                            await asyncio.wait_for(response.content.readline(), 0.5)
            assert {what for _, what, _ in stage.gate.supervision.left} == {"watch all sessions"}

    run(story())


def test_who_only_listens_is_not_idle(pki, run, monkeypatch):
    for name in ("HEARTBEAT_SECONDS", "SUPERVISOR_HEARTBEAT_SECONDS"):
        monkeypatch.setattr(watching, name, 0.1)
    monkeypatch.setattr(tls, "_SWEEP_SECONDS", 0.1)

    async def story():
        async with plant(pki, idle_seconds=0.5) as (_, _, bo), watched(bo) as stream:
            said = b""
            async with asyncio.timeout(WAIT_SECONDS):
                while said.count(b": still here\n\n") < 15:
                    chunk = await stream.response.content.readany()
                    assert chunk, f"the stream ended: {said!r}"
                    said += chunk

    run(story())


def test_watching_one_session_ends_with_it(pki, run):
    async def story():
        async with plant(pki) as (stage, _, bo), watched(bo, f"{ONE}/events") as stream:
            see(stage)
            await told(await bo.post(f"{ONE}/end", json={}))
            kinds = [(await stream.next()) for _ in range(3)]
            assert [kind for kind, _ in kinds] == ["operation", "session", "ending"]
            assert (kinds[2][1]["reason"], kinds[2][1]["own_access"]) == ("ended_by_administrator", False)
            assert await stream.next() is None
            assert stage.gate.views == [(BO.id, "watch session ses-0")]

    run(story())


def test_no_record_no_view(pki, run):
    async def story():
        async with plant(pki) as (stage, _, bo):
            stage.gate.unrecorded = True
            assert (await told(await bo.get(EVENTS), 503))["code"] == "ledger_closed"
            assert live(stage).observer is None

    run(story())


def proofs_end(stage):
    stage.gate.supervision.lost = EndReason.TOKEN_EXPIRED


def policy_denies(stage):
    stage.gate.supervision.policy = "policy-2"
    stage.gate.unpermitted = {"sessions.watch"}


def permission_ends(stage):
    stage.gate.unpermitted = {"sessions.watch"}


def is_locked(stage):
    stage.gate.denial = Reason.LOCKED
    stage.gate.unpermitted = {"sessions.watch"}


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (proofs_end, "token_expired"),
        (policy_denies, "policy_changed"),
        (permission_ends, "denied"),
        (is_locked, "locked"),
    ],
)
def test_the_stream_ends_with_the_watchers_own_access_and_says_why(cause, reason, pki, run):
    async def story():
        async with plant(pki) as (stage, _, bo), watched(bo) as stream:
            cause(stage)
            ending = await stream.until("ending")
            assert (ending["reason"], ending["own_access"]) == (reason, True)
            assert ending["text"]
            assert await stream.next() is None
            assert live(stage).observer is None

    run(story())


def test_who_watches_too_often_is_told_so_and_a_watcher_who_left_makes_room(pki, run):
    async def story():
        async with plant(pki) as (stage, _, bo):
            async with contextlib.AsyncExitStack() as streams:
                for _ in range(MAX_WATCHERS_OF_SUBJECT):
                    await streams.enter_async_context(watched(bo))
                assert (await told(await bo.get(EVENTS), 429))["code"] == "too_many_watchers"
            async with asyncio.timeout(WAIT_SECONDS):
                while live(stage).observer is not None:
                    await asyncio.sleep(0.01)
            async with watched(bo):
                pass

    run(story())


def test_who_does_not_read_misses_events_and_is_cut_all_the_same(pki, run):
    async def story():
        async with plant(pki) as (stage, _, _):
            octets = b"GET /v1/sessions/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-bo\r\n\r\n"
            context = pki.client_context(pki.bo)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", stage.port, ssl=context, server_hostname="127.0.0.1", limit=1024
            )
            writer.write(octets)
            await reader.readuntil(b"watching")
            (watcher,) = stage.gate.supervision.watchers._watchers
            standing_still = 0
            async with asyncio.timeout(WAIT_SECONDS):
                while standing_still < 20:
                    for _ in range(watching.BATCH):
                        see(stage)
                    full = len(watcher._waiting) == MAX_WAITING_EVENTS
                    await asyncio.sleep(0.001)
                    standing_still = standing_still + 1 if full and len(watcher._waiting) == MAX_WAITING_EVENTS else 0
                assert watcher._lost > 0
                proofs_end(stage)
                while live(stage).observer is not None:
                    await asyncio.sleep(0.01)
            writer.transport.abort()

    run(story())


def test_a_paused_session_is_a_denial_with_its_reason():
    from broker.api.problems import refusal
    from broker.model.decision import Decision

    problem = refusal((Reason.SESSION_PAUSED,), (Decision("dec-1", 1, False, (Reason.SESSION_PAUSED,)),))
    assert (problem.code, problem.status) == ("denied", 403)
    assert problem.document()["what_to_do"].startswith("Stay connected")
