"""Notices leave as signed webhooks: tried again, given up, found again after a crash, and never in anybody's way."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker.adapters.clock import SystemClock, random_id
from broker.adapters.notice_outbox import MOST_WAITING, NotDeliveredError, Outbox, Patience
from broker.adapters.notice_positions import NoticePositions
from broker.adapters.signed_post import SignedPost
from broker.errors import ConfigError
from broker.ledger import records
from broker.ledger.notices import notice_of
from broker.model.notice import Severity, Wanted
from broker.settings.notifying import WebhookSection
from broker.wiring.notices import Notices, try_channels
from tests.integration.ledger.running import KEY, ORIGIN, FileLedger, settled
from tests.integration.notices.authority import authority
from tests.integration.notices.receiver import OTHER_SECRET, SECRET, receiving, secret_file, until

QUICK = Patience(attempts=3, round_seconds=20.0, attempt_seconds=0.5, first_retry_seconds=0.01, pause_seconds=0.05)


def webhook(folder: Path, url: str, name: str = "hook", **more: Any) -> WebhookSection:
    return WebhookSection(kind="webhook", name=name, url=url, secret_file=str(secret_file(folder)), **more)


class Running:
    """A ledger and the notices of it."""

    def __init__(self, folder: Path, *channels: WebhookSection, patience: Patience = QUICK) -> None:
        self.parts: dict[str, tuple[bool, str]] = {"ledger": (True, "open"), "exports": (True, "sent")}
        self.ledger = FileLedger(
            folder / "ledger", ORIGIN, KEY, time.time, on_record=lambda *told: self.notices.recorded(*told)
        )
        positions = NoticePositions(folder / "notices.json")
        self.notices = Notices(
            channels,
            self.ledger,
            SystemClock(),
            random_id,
            ORIGIN,
            positions,
            lambda: self.parts,
            frozenset({"exports"}),
            patience,
        )

    def lift(self, lock: str) -> int:
        return self.ledger.append(lifted(lock, "bo@plant.example"))


def lifted(lock: str, by: str) -> bytes:
    return records.lock_lifted(time.time(), lock=lock, by=by, at=time.time(), broker=ORIGIN, index=0)


@asynccontextmanager
async def running(folder: Path, *channels: WebhookSection, patience: Patience = QUICK) -> AsyncIterator[Running]:
    made = Running(folder, *channels, patience=patience)
    await made.ledger.open()
    await made.notices.start()
    try:
        yield made
    finally:
        await made.ledger.close()
        await made.notices.close()


def locks_told(receiver: Any) -> list[str]:
    return [body["data"]["details"]["lock"] for body in receiver.bodies if body["type"] == "lock_lifted"]


def test_a_record_arrives_once_signed_and_in_plain_words(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver, running(tmp_path, webhook(tmp_path, receiver.url)) as broker:
            index = broker.lift("lck-1")
            broker.ledger.append(records.broker_started(time.time(), version="1", revisions={}))
            broker.lift("lck-2")
            await until(lambda: len(receiver.bodies) == 2)
            assert locks_told(receiver) == ["lck-1", "lck-2"]
            body = receiver.bodies[0]
            assert body["type"] == "lock_lifted"
            assert body["data"] == {
                "broker": ORIGIN,
                "index": index,
                "severity": "alarm",
                "text": "A lock was lifted, and no longer holds on this broker.",
                "details": {"lock": "lck-1", "by": "bo@plant.example"},
                "lost": 0,
            }
            assert broker.notices.readiness == (True, "sent")

    asyncio.run(scene())


@pytest.mark.parametrize("fault", [500, 503, 408, 429, 302])
def test_a_receiver_that_fails_for_now_is_tried_again_with_the_same_id(tmp_path: Path, fault: int) -> None:
    async def scene() -> None:
        async with receiving() as receiver, running(tmp_path, webhook(tmp_path, receiver.url)) as broker:
            receiver.answer = lambda attempt: fault if attempt < 6 else 200
            broker.lift("lck-1")
            await until(lambda: broker.notices.states[0].failing > 3)
            assert broker.notices.readiness == (False, "failing: hook")
            await until(lambda: receiver.bodies)
            await until(lambda: broker.notices.readiness[0])
            assert receiver.attempts == 6
            assert len(receiver.bodies) == 1
            assert broker.notices.states[0].lost == 0

    asyncio.run(scene())


@pytest.mark.parametrize("refusal", [400, 401, 404, 410])
def test_what_a_receiver_refuses_is_given_up_counted_and_told_with_the_next(tmp_path: Path, refusal: int) -> None:
    async def scene() -> None:
        async with receiving() as receiver, running(tmp_path, webhook(tmp_path, receiver.url)) as broker:
            receiver.answer = lambda attempt: refusal if attempt == 1 else 200
            broker.lift("lck-1")
            await until(lambda: broker.notices.states[0].lost == 1)
            broker.lift("lck-2")
            await until(lambda: receiver.bodies)
            assert (receiver.attempts, locks_told(receiver)) == (2, ["lck-2"])
            assert receiver.bodies[0]["data"]["lost"] == 1

    asyncio.run(scene())


def test_a_receiver_that_never_answers_holds_up_neither_the_ledger_nor_another_channel(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as dead, receiving() as well:
            dead.answer = lambda attempt: None
            channels = (webhook(tmp_path, dead.url, "dead"), webhook(tmp_path, well.url, "well"))
            async with running(tmp_path, *channels) as broker:
                broker.lift("lck-0")
                await until(lambda: dead.attempts)
                for number in range(1, 50):
                    began = time.monotonic()
                    broker.lift(f"lck-{number}")
                    assert await settled(broker.ledger) is None
                    assert time.monotonic() - began < 2.0
                await until(lambda: len(well.bodies) == 50)
                assert broker.notices.waiting["dead"] == 50
                await until(lambda: broker.notices.readiness == (False, "failing: dead"))

    asyncio.run(scene())


def test_a_queue_that_is_full_loses_the_oldest_of_what_matters_least(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver:
            receiver.answer = lambda attempt: 503
            channel = webhook(tmp_path, receiver.url, severity="info")
            async with running(tmp_path, channel, patience=Patience(1, 1.0, 1.0, 0.01, 0.05)) as broker:
                broker.lift("lck-1")
                for number in range(MOST_WAITING + 10):
                    broker.ledger.append(records.broker_started(time.time(), version=str(number), revisions={}))
                await until(lambda: broker.notices.states[0].lost == 11)
                assert broker.notices.waiting["hook"] == MOST_WAITING
                receiver.answer = lambda attempt: 200
                await until(lambda: len(receiver.bodies) == MOST_WAITING)
                assert locks_told(receiver) == ["lck-1"]
                versions = [body["data"]["details"]["version"] for body in receiver.bodies[1:]]
                assert versions == [str(number) for number in range(11, MOST_WAITING + 10)]
                assert receiver.bodies[0]["data"]["lost"] == 11

    asyncio.run(scene())


def test_what_was_not_delivered_is_delivered_by_the_next_run(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver:
            channel = webhook(tmp_path, receiver.url)
            async with running(tmp_path, channel) as broker:
                broker.lift("lck-1")
                await until(lambda: len(receiver.bodies) == 1)
                receiver.answer = lambda attempt: 503
                broker.lift("lck-2")
                broker.lift("lck-3")
                await until(lambda: broker.notices.states[0].failing)
            receiver.answer = lambda attempt: 200
            async with running(tmp_path, channel) as broker:
                broker.lift("lck-4")
                await until(lambda: len(receiver.bodies) == 4)
                assert locks_told(receiver) == ["lck-1", "lck-2", "lck-3", "lck-4"]

    asyncio.run(scene())


def test_a_broker_that_dies_before_it_wrote_its_position_still_tells(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver:
            channel = webhook(tmp_path, receiver.url)
            async with running(tmp_path, channel) as broker:
                broker.lift("lck-1")
                await until(lambda: len(receiver.bodies) == 1)
            kept = (tmp_path / "notices.json").read_bytes()
            # Of the next run only the record is left, as after SIGKILL.
            async with running(tmp_path, webhook(tmp_path, "http://127.0.0.1:9/hook")) as broker:
                broker.lift("lck-2")
            (tmp_path / "notices.json").write_bytes(kept)
            async with running(tmp_path, channel):
                await until(lambda: len(receiver.bodies) == 2)
                assert locks_told(receiver) == ["lck-1", "lck-2"]

    asyncio.run(scene())


def test_a_fault_of_ours_in_a_channel_is_tried_again_and_said(tmp_path: Path) -> None:
    class Faulty:
        name, place, most, pause_seconds = "faulty", "nowhere", 1, 0.0
        sent = 0

        async def send(self, notices: Any, lost: int) -> str:
            self.sent += 1
            if self.sent == 1:
                raise KeyError("a fault")
            return "taken"

        async def close(self) -> None:
            """Nothing is kept open."""

    async def scene() -> None:
        outbox = Outbox(Faulty(), Wanted(), time.time, QUICK)
        notice = notice_of(ORIGIN, 1, lifted("lck-1", "bo"))
        assert notice is not None
        outbox.offer(notice)
        task = asyncio.create_task(outbox.run())
        await until(lambda: outbox.state.failing)
        assert outbox.state.error == "a fault: KeyError"
        await until(lambda: outbox.state.sent == 1)
        task.cancel()

    asyncio.run(scene())


def test_an_alarm_waits_for_no_pause_of_a_receiver_that_was_down(tmp_path: Path) -> None:
    class Down:
        name, place, most, pause_seconds = "down", "nowhere", 5, 0.0
        down, taken, tried = True, 0, 0

        async def send(self, notices: Any, lost: int) -> str:
            self.tried += 1
            if self.down:
                raise NotDeliveredError("down")
            self.taken += len(notices)
            return "taken"

        async def close(self) -> None:
            """Nothing is kept open."""

    async def scene() -> None:
        channel = Down()
        outbox = Outbox(channel, Wanted(), time.time, Patience(1, 1.0, 1.0, 0.01, pause_seconds=3600.0))
        warning, *alarms = [notice_of(ORIGIN, i, lifted(f"lck-{i}", "bo")) for i in range(3)]
        assert warning is not None and None not in alarms
        outbox.offer(replace(warning, severity=Severity.WARNING))
        task = asyncio.create_task(outbox.run())
        await until(lambda: channel.tried == 1 and outbox.state.failing)
        outbox.offer(replace(warning, id="another", severity=Severity.WARNING))
        outbox.offer(alarms[0])
        await until(lambda: channel.tried == 2)
        channel.down = False
        outbox.offer(alarms[1])
        await until(lambda: channel.taken == 4)
        task.cancel()

    asyncio.run(scene())


def test_a_new_channel_does_not_tell_the_whole_past(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver:
            async with running(tmp_path) as broker:
                broker.lift("lck-1")
            async with running(tmp_path, webhook(tmp_path, receiver.url)) as broker:
                broker.lift("lck-2")
                await until(lambda: receiver.bodies)
            assert locks_told(receiver) == ["lck-2"]

    asyncio.run(scene())


def test_a_part_that_fails_is_an_alarm_and_told_when_it_is_well_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver, running(tmp_path, webhook(tmp_path, receiver.url)) as broker:
            broker.parts["ledger"] = (False, "closed: the disk")
            await until(lambda: receiver.bodies)
            broker.parts["ledger"] = (True, "open")
            await until(lambda: len(receiver.bodies) == 2)
            failed, recovered = (body["data"] for body in receiver.bodies)
            assert receiver.kinds == ["part_failed", "part_recovered"]
            assert failed["details"] == {"part": "ledger", "detail": "closed: the disk"}
            assert (failed["severity"], recovered["severity"]) == ("alarm", "warning")
            assert failed["index"] is None

    asyncio.run(scene())


def test_secrets_can_be_changed_in_two_steps(tmp_path: Path) -> None:
    async def scene() -> None:
        async with receiving() as receiver, running(tmp_path, webhook(tmp_path, receiver.url)) as broker:
            secret_file(tmp_path, SECRET, OTHER_SECRET)
            broker.lift("lck-1")
            await until(lambda: len(receiver.bodies) == 1)
            receiver.secret = OTHER_SECRET
            broker.lift("lck-2")
            await until(lambda: len(receiver.bodies) == 2)

    asyncio.run(scene())


@pytest.mark.parametrize("text", ["", "correct horse", "whsec_!!!", "whsec_c2hvcnQ=", "whsec_" + "A" * 200])
def test_a_secret_that_cannot_be_one_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        SignedPost("https://hook.example/", path)
    assert not text or text not in str(caught.value)


def test_an_answer_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            try:
                await writer.drain()
            except OSError:
                return

    async def scene() -> None:
        server = await asyncio.start_server(endless, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        post = SignedPost(f"http://127.0.0.1:{port}/", secret_file(tmp_path))
        async with asyncio.timeout(10):
            status, answer = await post.post("ntc-1", b"{}", time.time())
        assert (status, len(answer)) == (200, 65_536)
        await post.close()
        server.close()

    asyncio.run(scene())


NODE = """
const http = require('http'), crypto = require('crypto')
const secret = Buffer.from(process.argv[1].slice('whsec_'.length), 'base64')
const server = http.createServer((request, response) => {
  const parts = []
  request.on('data', part => parts.push(part))
  request.on('end', () => {
    const body = Buffer.concat(parts).toString()
    const id = request.headers['webhook-id'], at = request.headers['webhook-timestamp']
    const made = 'v1,' + crypto.createHmac('sha256', secret).update(`${id}.${at}.${body}`).digest('base64')
    const good = request.headers['webhook-signature'].split(' ').includes(made)
      && Math.abs(Date.now() / 1000 - at) < 300
    response.statusCode = good ? 204 : 401
    response.end(() => { console.log(JSON.stringify({good, type: JSON.parse(body).type})); process.exit() })
  })
}).listen(0, '127.0.0.1', () => console.log(server.address().port))
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_a_receiver_in_another_language_finds_the_signature_good(tmp_path: Path) -> None:
    secret = secret_file(tmp_path).read_text().strip()
    node = subprocess.Popen(["node", "-e", NODE, secret], stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    port = int(node.stdout.readline())
    settings = (webhook(tmp_path, f"http://127.0.0.1:{port}/hook"),)
    tried = asyncio.run(try_channels(settings, SystemClock(), random_id, ORIGIN, 20.0))
    assert tried == [("hook", f"webhook http://127.0.0.1:{port}", True, "it answered 204")]
    assert json.loads(node.stdout.readline()) == {"good": True, "type": "test"}
    node.wait(20)


def test_a_receiver_is_believed_only_under_the_authority_and_the_name_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ca_file, context = authority(tmp_path)
    other_ca, _ = authority(tmp_path / "other")

    async def scene() -> None:
        async with receiving(tls=context) as receiver:
            named = receiver.url.replace("127.0.0.1", "localhost")
            tries = [(named, ca_file), (named, other_ca), (receiver.url, ca_file)]
            settings = tuple(
                webhook(tmp_path, url, f"hook-{place}", ca_file=str(ca)) for place, (url, ca) in enumerate(tries)
            )
            tried = await try_channels(settings, SystemClock(), random_id, ORIGIN, 20.0)
            assert [taken for _, _, taken, _ in tried] == [True, False, False]
            assert all("CERTIFICATE_VERIFY_FAILED" in said for _, _, taken, said in tried if not taken)
            assert receiver.kinds == ["test"]

    asyncio.run(scene())


def test_nobody_there_is_said_by_the_test_of_channels(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/hook"
        tried = asyncio.run(try_channels((webhook(tmp_path, url),), SystemClock(), random_id, ORIGIN, 20.0))
    assert [taken for _, _, taken, _ in tried] == [False]
