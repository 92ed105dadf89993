"""A whole broker tells of its locks, shows how its channels do, and its operator can try them."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from broker.adapters.private_files import write_private
from broker.cli import otbroker
from broker.model.lock import LockKind
from tests.integration.notices.receiver import receiving, secret_file, until
from tests.integration.notices.test_webhooks import locks_told, running, webhook
from tests.integration.wiring.conftest import reviewed  # noqa: F401 - a fixture
from tests.integration.wiring.reviewing import built


def add_channels(folder: Path, *urls: str) -> None:
    """The settings with a webhook to each address, by name hook-0 and so on."""
    path = folder / "dev" / "broker.yaml"
    settings: dict[str, Any] = json.loads(path.read_text())
    secret = str(secret_file(folder))
    settings["notifications"] = [
        {"kind": "webhook", "name": f"hook-{place}", "url": url, "secret_file": secret}
        for place, url in enumerate(urls)
    ]
    write_private(path, json.dumps(settings).encode())


def test_a_lock_is_told_and_channels_are_shown_in_readiness_and_metrics(reviewed: Path) -> None:  # noqa: F811
    async def scene() -> None:
        async with receiving() as receiver:
            add_channels(reviewed, receiver.url)
            broker = built(reviewed)
            await broker.start()
            try:
                await broker.locks.set(
                    LockKind.SUBJECT, "ana@acme.example", message="laptop stolen", by="bo@plant.example"
                )
                await until(lambda: "lock_set" in receiver.kinds)
                told = receiver.bodies[receiver.kinds.index("lock_set")]["data"]
                assert told["details"]["lock.message"] == "laptop stolen"
                assert broker.readiness()["notices"] == (True, "sent")
                await until(lambda: broker.figures()["notices_sent"]["hook-0",] == len(receiver.bodies))
                assert broker.figures()["notices_waiting"] == {("hook-0",): 0}
                assert broker.figures()["notices_lost"] == {("hook-0",): 0}
            finally:
                await broker.stop()
            assert receiver.kinds[-1] == "broker_stopped"
            assert "part_failed" not in receiver.kinds

    asyncio.run(scene())


def test_an_alarm_survives_that_the_broker_is_killed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver:
            receiver.answer = lambda attempt: 503
            program = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.integration.notices.killed_program",
                str(tmp_path),
                receiver.url,
                stdout=subprocess.PIPE,
            )
            assert program.stdout is not None
            assert await program.stdout.readline() == b"recorded\n"
            await until(lambda: receiver.attempts)
            program.kill()
            await program.wait()
            receiver.answer = lambda attempt: 204
            async with running(tmp_path, webhook(tmp_path, receiver.url)):
                await until(lambda: locks_told(receiver))
            assert locks_told(receiver) == ["lck-1"]

    asyncio.run(scene())


def test_an_operator_tries_the_channels_and_sees_which_does_not_take_notices(
    reviewed: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def scene() -> int:
        async with receiving() as well, receiving() as ill:
            ill.answer = lambda attempt: 401
            add_channels(reviewed, well.url, ill.url)
            settings = str(reviewed / "dev" / "broker.yaml")
            status = await asyncio.to_thread(otbroker.main, ["notify", "test", "--settings", settings])
            assert well.kinds == ["test"]
            return status

    assert asyncio.run(scene()) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("hook-0: taken by webhook http://127.0.0.1:")
    assert lines[1].startswith("hook-1: NOT TAKEN by ")
    assert lines[1].endswith("it answered 401")


def test_where_a_new_channel_begins_is_kept_before_anything_is_recorded(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver, running(tmp_path, webhook(tmp_path, receiver.url)) as broker:
            (kept,) = tmp_path.rglob("notices.json")
            assert set(json.loads(kept.read_text()).values()) <= {broker.ledger.size, 0}
            assert receiver.bodies == []

    asyncio.run(scene())
