"""The broker's end of one policy worker: a process of its own and the messages to and from it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

import orjson

import broker
from broker.adapters.rego_framing import LENGTH, MAX_LOAD_OCTETS, framed
from broker.authz.answer import MAX_ANSWER_OCTETS
from broker.errors import ConfigError, PolicyUnavailableError

Answered = Callable[[bytes | PolicyUnavailableError], None]
LOAD_WAIT_SECONDS = 15.0
# For every engine: how long a question may wait for its turn, and how many may.
PATIENCE_SECONDS = 2.0
MOST_WAITING = 4096
# The engine's allocator would reserve a gibibyte of address space, more than the worker may have (KiB).
ALLOCATOR = {"MIMALLOC_ARENA_RESERVE": "65536"}
LOST = "the policy worker ended while it read the policy"


class Question:
    """One question on its way; `answered` is None once it has been answered, for instance as late."""

    __slots__ = ("answered", "asked", "frame", "tries")

    def __init__(self, number: int, question: bytes, answered: Answered, asked: float) -> None:
        self.frame = framed(bytes((number,)) + question)
        self.answered: Answered | None = answered
        self.asked = asked
        self.tries = 0

    def answer(self, answer: bytes | PolicyUnavailableError) -> None:
        """Call back, the first time only."""
        answered, self.answered = self.answered, None
        if answered is not None:
            answered(answer)


class RegoChannel(asyncio.Protocol):
    """One worker, from its start to its end; `in_flight` are the questions it holds, the first being evaluated."""

    def __init__(self, ended: Callable[["RegoChannel"], None]) -> None:
        self.in_flight: deque[Question] = deque()
        self.progressed = 0.0
        self.late = False
        self._ended = ended
        self._received = bytearray()
        self._unsent: list[bytes] = []
        self._loaded: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._process: subprocess.Popen[bytes]

    async def start(self, modules: dict[str, str], data: dict[str, object], budget_seconds: float) -> None:
        """Start the process and load the policy. Raises ConfigError if the policy is refused."""
        order = orjson.dumps({"modules": modules, "data": data, "budget_seconds": budget_seconds})
        if len(order) > MAX_LOAD_OCTETS:
            raise ConfigError("policy_refused", "The policy cannot be used.", "it is too large")
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _spawn(theirs.fileno())
        await self._loop.create_connection(lambda: self, sock=ours)
        self._transport.write(framed(order))
        try:
            refusal = await asyncio.wait_for(self._loaded, LOAD_WAIT_SECONDS)
        except TimeoutError:
            refusal = "reading the policy took too long"
        if refusal:
            await self.end()
            raise ConfigError("policy_refused", "The policy cannot be used.", refusal)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._transport.is_closing()

    def ask(self, question: Question) -> None:
        """Send a question, together with all that are asked in this turn of the loop; its answer comes in its turn."""
        if not self.in_flight:
            self.progressed = self._loop.time()
        question.tries += 1
        self.in_flight.append(question)
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(question.frame)

    def _send(self) -> None:
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def kill(self) -> None:
        """End the process now, whatever it does; `ended` follows when the channel has closed."""
        self._process.kill()

    async def end(self) -> None:
        """Kill, close and wait until nothing of it is left."""
        self.kill()
        self._transport.abort()
        await self.exit_code()

    async def exit_code(self) -> int:
        """Wait for the process; a negative number is the signal that ended it."""
        return await asyncio.to_thread(self._process.wait)

    def was_late(self, exit_code: int) -> bool:
        """Whether it was ended for taking too long, by the kernel or by us."""
        return self.late or exit_code == -signal.SIGPROF

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The channel is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Take whole messages off the stream."""
        self._received += data
        while len(self._received) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._received)
            if length > MAX_ANSWER_OCTETS + 1:
                self.kill()
                return
            if len(self._received) < LENGTH.size + length:
                return
            message = bytes(self._received[LENGTH.size : LENGTH.size + length])
            del self._received[: LENGTH.size + length]
            self._take(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended, or is about to."""
        if not self._loaded.done():
            self._loaded.set_result(LOST)
        else:
            self._ended(self)

    def _take(self, message: bytes) -> None:
        if not self._loaded.done():
            self._loaded.set_result(message.decode(errors="replace"))
        elif self.in_flight:
            self.progressed = self._loop.time()
            self.in_flight.popleft().answer(message)
        else:
            self.kill()


def _spawn(descriptor: int) -> subprocess.Popen[bytes]:
    """A worker with nothing of the broker's environment, so that no secret is there for a policy's process to hold."""
    environment = {"PYTHONPATH": str(Path(broker.__file__).parent.parent), "PATH": os.defpath, **ALLOCATOR}
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", "broker.adapters.rego_worker", str(descriptor)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        env=environment,
        cwd="/",
        start_new_session=True,
    )


async def check_policy(modules: dict[str, str], data: dict[str, object]) -> None:
    """Load a policy in a worker and throw it away. Raises ConfigError with every problem found, by file and line."""
    channel = RegoChannel(lambda _: None)
    await channel.start(modules, data, 0.05)
    await channel.end()
