"""A ticket system is asked by a signed webhook, and only a clear answer in time counts."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from broker.adapters.clock import random_id
from broker.adapters.signed_post import SignedPost
from broker.adapters.ticket_webhook import WebhookTicketCheck, decode_ticket_answer
from broker.errors import UnavailableError
from broker.model.ticket import TicketAnswer
from tests.integration.notices.receiver import Receiver, secret_file


class TicketSystem:
    """Answers as it is told, and keeps what it was asked; `answer` None never does."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        self.answer: bytes | None = b'{"valid": true}'
        self.url = ""
        self._proofs = Receiver()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        assert self._proofs.proven(request, body)
        self.asked.append(json.loads(body))
        if self.answer is None:
            await asyncio.sleep(3600)
        return web.Response(status=self.status, body=self.answer, headers={"Location": "/tickets"})


@asynccontextmanager
async def ticket_system() -> AsyncIterator[TicketSystem]:
    system = TicketSystem()
    application = web.Application()
    application.router.add_post("/tickets", system.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    system.url = f"http://127.0.0.1:{runner.addresses[0][1]}/tickets"
    try:
        yield system
    finally:
        await runner.cleanup()


async def checked(folder: Path, url: str, seconds: float = 5.0) -> TicketAnswer:
    check = WebhookTicketCheck(SignedPost(url, secret_file(folder)), seconds, time.time, random_id)
    try:
        return await check.check("CHG-4711", "ana@acme.example", "acme", ["plant/ahu-1"])
    finally:
        await check.close()


def test_the_system_is_told_who_wants_what_under_which_ticket_and_its_word_counts(tmp_path: Path) -> None:
    async def scene() -> None:
        async with ticket_system() as system:
            assert await checked(tmp_path, system.url) == TicketAnswer(True)
            asked = system.asked[0]
            assert asked["type"] == "ticket.check"
            assert asked["data"] == {
                "ticket": "CHG-4711",
                "subject": "ana@acme.example",
                "organisation": "acme",
                "devices": ["plant/ahu-1"],
            }
            system.answer = b'{"valid": false, "reason": "it is not approved\\nyet"}'
            assert await checked(tmp_path, system.url) == TicketAnswer(False, "it is not approved\\u000ayet")

    asyncio.run(scene())


@pytest.mark.parametrize(("status", "answer"), [(500, b""), (204, b""), (401, b'{"valid": true}'), (302, b"")])
def test_any_other_status_is_no_answer(tmp_path: Path, status: int, answer: bytes) -> None:
    async def scene() -> None:
        async with ticket_system() as system:
            system.status, system.answer = status, answer
            with pytest.raises(UnavailableError, match="ticket_unchecked"):
                await checked(tmp_path, system.url)
            assert len(system.asked) == 1

    asyncio.run(scene())


def test_a_late_answer_is_none(tmp_path: Path) -> None:
    async def scene() -> None:
        async with ticket_system() as system:
            system.answer = None
            began = time.monotonic()
            with pytest.raises(UnavailableError, match="no answer in time"):
                await checked(tmp_path, system.url, 0.2)
            assert time.monotonic() - began < 3

    asyncio.run(scene())


def test_nobody_there_is_no_answer(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UnavailableError, match="ticket_unchecked"):
            asyncio.run(checked(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}/"))


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"true",
        b"[]",
        b"{}",
        b'{"valid": "true"}',
        b'{"valid": 1}',
        b'{"valid": null}',
        b'{"valid": true, "reason": 1}',
        b'{"valid": true, "state": "closed"}',
        b'{"valid": false, "valid": true}',
        b'{"valid": true',
        b'{"valid": true}' + b"\xff",
        b"[" * 60_000,
    ],
)
def test_an_odd_answer_is_none(octets: bytes) -> None:
    with pytest.raises(UnavailableError, match="ticket_unchecked"):
        decode_ticket_answer(octets)
