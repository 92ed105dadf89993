"""Policies evaluated by the embedded Rego engine, in a worker process beside the broker.

One worker answers, one waits with the policy already loaded to take its place. A worker whose evaluation exceeds its
budget of processor time is ended by the kernel; one that makes no progress at all for `wait_seconds` is killed. The
question it was at is answered `policy_late`, the others are asked again: deciding twice harms nothing. When a plant's
masters all come back at once, they wait for their turn: a moment that their own time limits allow.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from broker.adapters.rego_channel import MOST_WAITING, PATIENCE_SECONDS, Answered, Question, RegoChannel
from broker.adapters.rego_framing import ENTRY_POINTS
from broker.errors import ConfigError, PolicyUnavailableError
from broker.model.decision import EntryPoint

RESPAWN_PAUSE_SECONDS = 1.0


class EmbeddedPolicyEngine:
    """A `PolicyEngine` with nothing to install.

    `budget_seconds` of processor time and `wait_seconds` on the clock for one evaluation, `patience_seconds` for a
    question from asking to answer, `queue` questions at most at one time.
    """

    def __init__(
        self,
        *,
        budget_seconds: float = 0.05,
        wait_seconds: float = 0.25,
        patience_seconds: float = PATIENCE_SECONDS,
        queue: int = MOST_WAITING,
        most_tries: int = 3,
    ) -> None:
        self.revision = ""
        self.workers_lost = 0
        self._budget_seconds = budget_seconds
        self._wait_seconds = wait_seconds
        self._patience_seconds = patience_seconds
        self._queue = queue
        self._most_tries = most_tries
        self._policy: tuple[dict[str, str], dict[str, object]] | None = None
        self._active: RegoChannel | None = None
        self._spare: RegoChannel | None = None
        self._waiting: deque[Question] = deque()
        self._open = 0
        self._watch: asyncio.TimerHandle | None = None
        self._publishing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replenishing = False

    @property
    def worker_pid(self) -> int | None:
        """The process that answers now."""
        return self._active.pid if self._active is not None else None

    def decide(self, entry_point: EntryPoint, question: bytes, answered: Answered) -> None:
        """Ask; see the port."""
        loop = asyncio.get_running_loop()
        if self._policy is None or entry_point not in ENTRY_POINTS or self._outstanding() >= self._queue:
            loop.call_soon(answered, _unavailable("no policy in force, or too many questions at one time"))
            return
        self._submit(Question(ENTRY_POINTS.index(entry_point), question, answered, loop.time()))
        if self._watch is None:
            self._watch = loop.call_later(self._wait_seconds, self._look)

    async def publish(self, modules: dict[str, str], data: dict[str, object], revision: str) -> None:
        """Put a policy in force once a worker has it ready. Raises ConfigError, leaving the old one in force."""
        async with self._publishing:
            fresh = await self._start(modules, data)
            retired = [channel for channel in (self._active, self._spare) if channel is not None]
            self._active, self._spare = fresh, None
            self._policy, self.revision = (modules, data), revision
            for channel in retired:
                self._resubmit(channel.in_flight)
            self._drain()
            self._replenish()
            for channel in retired:
                await channel.end()

    async def close(self) -> None:
        """Refuse what is waiting and end the workers."""
        self._policy, self.revision = None, ""
        channels = [channel for channel in (self._active, self._spare) if channel is not None]
        self._active = self._spare = None
        if self._watch is not None:
            self._watch.cancel()
        for questions in (self._waiting, *(channel.in_flight for channel in channels)):
            while questions:
                questions.popleft().answer(_unavailable("the broker stops"))
        for channel in channels:
            await channel.end()
        for task in tuple(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _outstanding(self) -> int:
        return len(self._waiting) + (len(self._active.in_flight) if self._active is not None else 0)

    def _submit(self, question: Question) -> None:
        if self._active is not None and self._active.alive and not self._waiting:
            self._active.ask(question)
        else:
            self._waiting.append(question)

    def _drain(self) -> None:
        """Ask what waits, oldest first."""
        while self._waiting and self._active is not None and self._active.alive:
            question = self._waiting.popleft()
            if question.answered is not None:
                self._active.ask(question)

    def _resubmit(self, questions: deque[Question]) -> None:
        """Put questions that a lost worker held in front of those that wait; they are older."""
        while questions:
            question = questions.pop()
            if question.tries >= self._most_tries:
                question.answer(_unavailable("the policy worker ended again and again"))
            elif question.answered is not None:
                self._waiting.appendleft(question)

    def _look(self) -> None:
        """Answer what has waited too long; kill a worker that makes no progress."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        active = self._active
        waited = (*(active.in_flight if active is not None else ()), *self._waiting)
        # Gathered first: whoever gets an answer may ask the next question in the same call.
        for question in [each for each in waited if now - each.asked >= self._patience_seconds]:
            question.answer(PolicyUnavailableError("policy_late", "The policy took too long to decide."))
        while self._waiting and self._waiting[0].answered is None:
            self._waiting.popleft()
        if active is not None and active.in_flight and now - active.progressed >= self._wait_seconds:
            active.late = True
            active.kill()
        self._watch = loop.call_later(self._wait_seconds / 8, self._look) if self._outstanding() else None

    async def _start(self, modules: dict[str, str], data: dict[str, object]) -> RegoChannel:
        channel = RegoChannel(self._lost)
        await channel.start(modules, data, self._budget_seconds)
        return channel

    def _lost(self, channel: RegoChannel) -> None:
        """A worker has ended: the spare takes its place at once."""
        if channel is self._spare:
            self._spare = None
        elif channel is self._active:
            self._active, self._spare = self._spare, None
            culprit = channel.in_flight.popleft() if channel.in_flight else None
            self._resubmit(channel.in_flight)
            self._drain()
            self._begin(self._account(channel, culprit))
        else:
            return
        self.workers_lost += 1
        self._replenish()

    async def _account(self, channel: RegoChannel, culprit: Question | None) -> None:
        """Reap a worker and answer the question it was at."""
        late = channel.was_late(await channel.exit_code())
        if culprit is not None and late:
            culprit.answer(PolicyUnavailableError("policy_late", "The policy took too long to decide."))
        elif culprit is not None:
            culprit.answer(_unavailable("the policy worker ended"))

    def _replenish(self) -> None:
        if not self._replenishing:
            self._replenishing = True
            self._begin(self._refill())

    async def _refill(self) -> None:
        """Start workers until one answers and one waits."""
        try:
            while self._policy is not None and (self._active is None or self._spare is None):
                await self._add_worker(self._policy)
        finally:
            self._replenishing = False

    async def _add_worker(self, policy: tuple[dict[str, str], dict[str, object]]) -> None:
        try:
            channel = await self._start(*policy)
        except (ConfigError, OSError):
            await asyncio.sleep(RESPAWN_PAUSE_SECONDS)
            return
        if self._policy is not policy:
            await channel.end()
        elif self._active is None:
            self._active = channel
            self._drain()
        else:
            self._spare = channel

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _unavailable(detail: str) -> PolicyUnavailableError:
    return PolicyUnavailableError("policy_unavailable", "No policy decision can be had at the moment.", detail)
