"""Asking an engine from a test."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from broker.authz.question import encode
from broker.engine.ports import PolicyEngine
from broker.errors import PolicyUnavailableError
from broker.model.decision import EntryPoint
from tests.unit.authz import given

Reply = bytes | PolicyUnavailableError


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        # Not cancelled: whatever hangs when it is told to end could take that for its end.
        done, _ = await asyncio.wait({asyncio.ensure_future(scenario())}, timeout=60)
        assert done, "it hangs"
        done.pop().result()

    asyncio.run(bounded())


def submit(engine: PolicyEngine, entry_point: EntryPoint, question: dict[str, Any]) -> "asyncio.Future[Reply]":
    """Ask; the future has what the engine calls back with. It must not call back before it has returned."""
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    engine.decide(entry_point, encode(question), reply.set_result)
    assert not reply.done(), "called back before it had returned"
    return reply


async def ask(engine: PolicyEngine, entry_point: EntryPoint, question: dict[str, Any]) -> Reply:
    return await asyncio.wait_for(submit(engine, entry_point, question), 10)


async def allowed(engine: PolicyEngine, question: dict[str, Any]) -> bool:
    """Whether an operation is allowed; anything but an answer is not."""
    reply = await ask(engine, EntryPoint.OPERATION, question)
    return isinstance(reply, bytes) and reply != b"" and json.loads(reply)["allow"] is True


async def until_allowed(engine: PolicyEngine) -> None:
    while not await allowed(engine, given.operation_question()):
        await asyncio.sleep(0.01)


def code(reply: Reply) -> str:
    """`policy_late`, `policy_unavailable`, or "" for an answer."""
    return reply.code if isinstance(reply, PolicyUnavailableError) else ""
