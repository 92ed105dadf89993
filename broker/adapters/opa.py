"""Policies evaluated by an OPA server.

Questions wait for one of a few connections; from then on the answer has a deadline. The reply carries the revision
that the broker published; any other revision is no answer. After `failures` in a row, or a wrong revision, the breaker
opens: questions are refused at once while one task tries, ever less often, to find the server well, to publish again
and to close the breaker.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import aiohttp
import orjson

from broker.adapters.opa_bundle import OpaBundle, bring, holds, path_of, read_reply
from broker.adapters.opa_connection import (
    PUBLISH_SECONDS,
    EvaluationError,
    OddReplyError,
    OpaConnection,
    OpaServer,
    PolicyRejectedError,
)
from broker.adapters.rego_channel import MOST_WAITING, PATIENCE_SECONDS, check_policy
from broker.adapters.rego_framing import ENTRY_POINTS
from broker.authz.answer import MAX_ANSWER_OCTETS
from broker.errors import ConfigError, PolicyUnavailableError
from broker.model.decision import EntryPoint

Answered = Callable[[bytes | PolicyUnavailableError], None]
WRAPPING_OCTETS = 1024
NOT_WELL = "the OPA server is not well, or too many questions at one time"
FAULTS = (aiohttp.ClientError, OSError, OddReplyError, PolicyRejectedError, TimeoutError)


class OpaPolicyEngine:
    """A `PolicyEngine` on an OPA server that belongs to this broker.

    `deadline_seconds` for one answer of the server, `patience_seconds` for a question that waits for its turn on one of
    the server's connections, `queue` questions at most at one time; `failures` in a row open the breaker; recovery is
    tried after `pause_seconds`, then less and less often up to `longest_pause_seconds`; what the server holds is
    compared with what was published every `audit_seconds`.
    """

    def __init__(
        self,
        server: OpaServer,
        *,
        deadline_seconds: float = 0.25,
        patience_seconds: float = PATIENCE_SECONDS,
        queue: int = MOST_WAITING,
        failures: int = 5,
        pause_seconds: float = 0.5,
        longest_pause_seconds: float = 10.0,
        audit_seconds: float = 1.0,
    ) -> None:
        OpaConnection(server)
        self.revision = ""
        self.well = False
        self._server = server
        self._deadline_seconds = deadline_seconds
        self._patience_seconds = patience_seconds
        self._turns = asyncio.Semaphore(server.connections)
        self._queue = queue
        self._failures = failures
        self._pauses = (pause_seconds, longest_pause_seconds)
        self._audit_seconds = audit_seconds
        self._bundle: OpaBundle | None = None
        self._connection: OpaConnection | None = None
        self._failed = 0
        self._asking = 0
        self._ill = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._caring: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def decide(self, entry_point: EntryPoint, question: bytes, answered: Answered) -> None:
        """Ask; see the port."""
        if not self.well or entry_point not in ENTRY_POINTS or self._asking >= self._queue:
            asyncio.get_running_loop().call_soon(answered, _unavailable(NOT_WELL))
            return
        self._asking += 1
        self._begin(self._ask(path_of(entry_point), question, answered))

    async def publish(self, modules: dict[str, str], data: dict[str, object], revision: str) -> None:
        """Put a policy in force on the server. Raises ConfigError, leaving the old one in force.

        A server that cannot be reached is no reason to refuse a policy: nothing is decided until it is there.
        """
        await check_policy(modules, data)
        async with self._publishing:
            previous, bundle = self._bundle, OpaBundle(modules, data, revision)
            self.well = False
            try:
                await self._bring(bundle)
            except PolicyRejectedError as error:
                await self._restore(previous)
                raise ConfigError("policy_refused", "The policy cannot be used.", str(error)) from error
            except (*FAULTS, EvaluationError):
                self._fall_ill()
            self._bundle, self.revision = bundle, revision
        if self._caring is None:
            self._caring = asyncio.get_running_loop().create_task(self._care())

    async def close(self) -> None:
        """Refuse what is waiting and disconnect."""
        self.well = False
        self._bundle, self.revision = None, ""
        await asyncio.sleep(0)  # a task that has not begun would end without its last word
        for task in (*self._tasks, *([self._caring] if self._caring else ())):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._connection is not None:
            await self._connection.close_connection()
            self._connection = None

    async def _ask(self, path: str, question: bytes, answered: Answered) -> None:
        """Wait for a turn, ask, and answer whatever comes of it, a cancellation included."""
        answer: bytes | PolicyUnavailableError = _unavailable("the broker stops")
        try:
            async with asyncio.timeout(self._patience_seconds if self._turns.locked() else None):
                await self._turns.acquire()
            try:
                answer = await self._answer(path, question)
            finally:
                self._turns.release()
        except TimeoutError:
            answer = _late()
        finally:
            self._asking -= 1
            answered(answer)

    async def _answer(self, path: str, question: bytes) -> bytes | PolicyUnavailableError:
        connection = self._connection
        if not self.well or connection is None:
            return _unavailable(NOT_WELL)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                result = await connection.ask(path, question, MAX_ANSWER_OCTETS + WRAPPING_OCTETS)
            return self._checked(*read_reply(result))
        except EvaluationError:
            self._failed = 0
            return b""
        except TimeoutError:
            self._note_failure()
            return _late()
        except FAULTS as error:
            self._note_failure()
            return _unavailable(f"the OPA server failed: {type(error).__name__}")

    def _checked(self, revision: str, answer: list[Any]) -> bytes | PolicyUnavailableError:
        """The answer, if it comes from the policy that is in force here."""
        if not self.revision or revision != self.revision:
            self._fall_ill()
            return _unavailable("the OPA server answers from a policy that this broker did not publish")
        self._failed = 0
        return orjson.dumps(answer[0]) if answer else b""

    def _note_failure(self) -> None:
        self._failed += 1
        if self._failed >= self._failures:
            self._fall_ill()

    async def _care(self) -> None:
        """See to it that the server is well and holds what was published; without end."""
        shortest, longest = self._pauses
        pause = shortest
        while True:
            if self.well:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._audit_seconds):
                        await self._ill.wait()
            else:
                await asyncio.sleep(pause)
            async with self._publishing:
                cured = await self._examine()
            pause = shortest if cured else min(2 * pause, longest)

    async def _examine(self) -> bool:
        """Compare what the server holds with what was published, publish again if need be, and ask it something."""
        bundle = self._bundle
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                connection = self._connection if self.well else await self._reconnect()
                if bundle is None or connection is None or not await holds(connection, bundle):
                    self._fall_ill()
                    await self._bring(bundle)
                elif not self.well:
                    await self._probe(connection, bundle)
        except (*FAULTS, EvaluationError, ConfigError):
            self._fall_ill()
        return self.well

    async def _bring(self, bundle: OpaBundle | None) -> None:
        """Publish and ask first questions; well from then on. Raises one of FAULTS."""
        if bundle is None:
            return
        connection = await self._reconnect()
        async with asyncio.timeout(PUBLISH_SECONDS):
            await bring(connection, bundle)
            await self._ask_nothing(connection)  # the first question after a change costs the server its preparations
        await self._probe(connection, bundle)

    async def _probe(self, connection: OpaConnection, bundle: OpaBundle) -> None:
        """The question that half-opens the breaker: it must be answered in time and from the right revision."""
        async with asyncio.timeout(self._deadline_seconds):
            reply = await self._ask_nothing(connection)
        if read_reply(reply)[0] != bundle.revision:
            raise OddReplyError("revision")
        self._failed = 0
        self._ill.clear()
        self.well = True

    async def _ask_nothing(self, connection: OpaConnection) -> Any:
        return await connection.ask(path_of(EntryPoint.OPERATION), b"{}", MAX_ANSWER_OCTETS + WRAPPING_OCTETS)

    async def _reconnect(self) -> OpaConnection:
        """A fresh connection, with the files of certificate, key and token as they are now."""
        old, self._connection = self._connection, await OpaConnection(self._server).open()
        if old is not None:
            await old.close_connection()
        return self._connection

    def _fall_ill(self) -> None:
        self.well = False
        self._ill.set()

    async def _restore(self, previous: OpaBundle | None) -> None:
        if previous is not None:
            with suppress(*FAULTS):
                await self._bring(previous)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _late() -> PolicyUnavailableError:
    return PolicyUnavailableError("policy_late", "The policy took too long to decide.")


def _unavailable(detail: str) -> PolicyUnavailableError:
    return PolicyUnavailableError("policy_unavailable", "No policy decision can be had at the moment.", detail)
