"""Live control: an administrator watches a native tool at work, pauses it, lets it go on and ends its session."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import OWNER, Development, Persona, token_of
from tests.end_to_end.modbus_caller import digest_of, read_registers, write_register
from tests.end_to_end.tunnel_caller import TunnelCaller

READ, SETPOINT = read_registers(10), write_register(10, 195)
BUSY = 0x06
SOON_SECONDS = 30.0


def otb(development: Development, *words: str, who: str = "secops-bo") -> list[str]:
    place = ["--dev", str(development.folder), "--as", who]
    return [sys.executable, "-m", "broker.cli.otb", *place, *words]


def run(development: Development, *words: str, who: str = "secops-bo") -> subprocess.CompletedProcess[str]:
    return subprocess.run(otb(development, *words, who=who), capture_output=True, text=True, timeout=60, check=False)


def asked(development: Development, *words: str) -> dict[str, Any]:
    done = run(development, *words, "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _heed_ctrl_c() -> None:
    """A test run in the background ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Watching:
    """`otb sessions watch --format json`, its events as they come."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c
        )
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.until(type="watching")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            assert line.isascii()
            self._events.put(json.loads(line))
        self._events.put(None)

    def until(self, **members: object) -> dict[str, Any]:
        """The next event with these members; others are passed over."""
        end = time.monotonic() + SOON_SECONDS
        while True:
            event = self._events.get(timeout=max(0.01, end - time.monotonic()))
            assert event is not None, f"no event {members}"
            if all(event.get(name) == value for name, value in members.items()):
                return event

    def status(self) -> int:
        return self.process.wait(SOON_SECONDS)


@contextmanager
def watching(development: Development, *words: str) -> Iterator[Watching]:
    watcher = Watching(otb(development, "sessions", "watch", *words, "--format", "json"))
    try:
        yield watcher
    finally:
        if watcher.process.poll() is None:
            watcher.process.kill()
        watcher.process.communicate()


@pytest.fixture(scope="module")
def plant(start_shared: Start) -> Development:
    return start_shared()


def session_of(development: Development, port: int) -> str:
    opened = development.eventually("session_opened", peer=f"127.0.0.1:{port}")
    return str(opened["session"])


def test_a_session_is_watched_paused_resumed_and_ended_and_the_ledger_says_by_whom(plant: Development) -> None:
    with watching(plant) as everything, plant.modbus() as caller:
        assert caller.ask(READ)[0] == 3
        session = session_of(plant, caller.local_port)
        assert caller.ask(SETPOINT) == SETPOINT
        everything.until(type="session", change="opened", session=session)
        read = everything.until(type="operation", session=session, action="view", result="done")
        assert read["subject"] == "ana@acme.example"
        assert all("value" not in point for point in read["points"])
        written = everything.until(type="operation", session=session, action="adjust", result="done")
        assert written["service"] == "write-single-register"
        assert [(point["value"], point["unit"]) for point in written["points"]] == [("19.5", "°C")]

        with watching(plant, session) as one:
            assert asked(plant, "sessions", "pause", session, "--why", "valve stuck")["state"] == "paused"
            one.until(type="session", change="paused", by="bo@plant.example")
            for pdu in (READ, SETPOINT, READ):
                assert caller.ask(pdu) == bytes((pdu[0] | 0x80, BUSY))
            denied = one.until(type="operation", result="denied", action="adjust")
            assert denied["reasons"] == ["session_paused"]
            shown = asked(plant, "sessions", "show", session)
            assert shown["paused"]["why"] == "valve stuck"
            assert shown["refusals"] == 3
            assert shown["grants"]
            assert shown["ends_because"] == "window_closed"

            assert asked(plant, "sessions", "resume", session)["state"] == "running"
            assert caller.ask(READ)[0] == 3
            one.until(type="operation", result="done", action="view")

            assert asked(plant, "sessions", "end", session)["ended_because"] == "ended_by_administrator"
            caller.closed_within(SOON_SECONDS)
            one.until(type="session", change="closed", reason="ended_by_administrator")
            one.until(type="ending", reason="ended_by_administrator", own_access=False)
            assert one.status() == 0
        everything.until(type="session", change="closed", session=session)
    acts = plant.records("session_paused", "session_resumed", "session_cut", session=session)
    assert [act["kind"] for act in acts] == ["session_paused", "session_resumed", "session_cut"]
    assert {act["by"] for act in acts} == {"bo@plant.example"}
    assert plant.eventually("session_closed", session=session)["reason"] == "ended_by_administrator"
    found = plant.api("auditor-cy").get("/v1/ledger/records?kind=session_cut&subject=bo%40plant.example")
    assert session in {entry["record"]["session"] for entry in found.body["records"]}
    views = {view["what"] for view in plant.records("evidence_viewed", subject="bo@plant.example")}
    assert {"watch all sessions", f"watch session {session}"} <= views
    assert [outcome["result"] for outcome in plant.outcomes_of(digest_of(SETPOINT))] == ["done", "denied"]


def test_a_tunnel_is_paused_and_ended_with_the_words_for_it(plant: Development) -> None:
    with TunnelCaller(plant, "vendor-ana", "plant/ahu-1") as tunnel:
        assert tunnel.ask(READ)[0] == 3
        live = asked(plant, "sessions", "ls")["sessions"]
        (session,) = [entry["id"] for entry in live if entry["listener"] == "tunnel"]
        asked(plant, "sessions", "pause", session)
        assert tunnel.ask(SETPOINT) == bytes((0x86, BUSY))
        assert [reason["code"] for reason in tunnel.tells("denied")["reasons"]] == ["session_paused"]
        asked(plant, "sessions", "resume", session)
        assert tunnel.ask(READ)[0] == 3
        asked(plant, "sessions", "end", session)
        assert tunnel.tells("ending")["reason"] == "ended_by_administrator"
        tunnel.ended()


def test_a_call_of_the_api_is_seen_with_the_name_of_who_made_it(plant: Development) -> None:
    with watching(plant) as watcher, plant.api("vendor-ana").kept() as caller:
        assert caller.write("plant/ahu-1", {"supply-temp-setpoint": 19}).status == 200
        seen = watcher.until(type="operation", listener="https", action="adjust", result="done")
        assert seen["subject"] == "ana@acme.example"
        asked(plant, "sessions", "pause", seen["session"])
        denied = caller.write("plant/ahu-1", {"supply-temp-setpoint": 18})
        assert (denied.status, denied.reasons) == (403, ["session_paused"])


def test_pausing_one_session_leaves_the_others_alone(plant: Development) -> None:
    with plant.modbus() as paused, plant.modbus() as other:
        for caller in (paused, other):
            assert caller.ask(READ)[0] == 3
        asked(plant, "sessions", "pause", session_of(plant, paused.local_port))
        assert paused.ask(READ) == bytes((0x83, BUSY))
        assert other.ask(READ)[0] == 3


def test_who_may_not_is_refused_and_changes_nothing(plant: Development) -> None:
    with plant.modbus() as caller:
        assert caller.ask(READ)[0] == 3
        session = session_of(plant, caller.local_port)
        for who in ("vendor-ana", "auditor-cy"):
            for act in ("pause", "resume", "end"):
                assert run(plant, "sessions", act, session, who=who).returncode == 3
        assert run(plant, "sessions", "watch", session, who="vendor-ana").returncode == 3
        assert caller.ask(READ)[0] == 3
    assert plant.records("session_paused", "session_cut", session=session) == []


def test_ctrl_c_ends_watching_in_order(plant: Development) -> None:
    with watching(plant) as watcher:
        watcher.process.send_signal(signal.SIGINT)
        assert watcher.status() == 0


def options_of(development: Development, persona: Persona, token: Path) -> list[str]:
    files = {"--ca": development.folder / development.facts["ca"], "--cert": persona.certificate, "--key": persona.key}
    given = [word for option, path in {**files, "--token": token}.items() for word in (option, str(path))]
    return [sys.executable, "-m", "broker.cli.otb", "--api", development.facts["api"], *given]


def test_a_watchers_own_access_ends_with_its_token(plant: Development, tmp_path: Path) -> None:
    token = tmp_path / "short.token"
    with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(token_of(plant, "cy@plant.example", OWNER, 6, "auditor-cy"))
    ends = time.time() + 6
    command = [*options_of(plant, plant.persona("auditor-cy"), token), "sessions", "watch", "--format", "json"]
    watcher = Watching(command)
    try:
        watcher.until(type="ending", reason="token_expired", own_access=True)
        assert time.time() >= int(ends) - 1
        assert watcher.status() == 4
    finally:
        watcher.process.kill()
        watcher.process.communicate()


def test_a_policy_that_takes_the_permission_away_ends_the_watching(start: Start) -> None:
    development = start()
    with watching(development) as watcher:
        path = development.folder / "policies" / "otbroker" / "admin.rego"
        text = path.read_text()
        path.write_text(text.replace('"sessions.watch"', '"sessions.gaze"'))
        watcher.until(type="ending", reason="policy_changed", own_access=True)
        assert watcher.status() == 3
        refused = run(development, "sessions", "watch")
        assert (refused.returncode, "role_missing" in refused.stderr) == (3, True)
