"""The process in which policies are evaluated: it can be killed, so a policy can stall or crash nothing but itself.

Run as `python -m broker.adapters.rego_worker FD`, with a connected stream socket as file descriptor FD; the messages
are in `rego_framing`. An evaluation that uses more processor time than its budget is ended by the kernel (SIGPROF),
with the whole process: the engine holds the interpreter's lock and cannot be interrupted from within.
"""

import os
import resource
import signal
import socket
import sys
from typing import Any

import orjson
import regorus

from broker.adapters.rego_framing import ENTRY_POINTS, LENGTH, MAX_LOAD_OCTETS, framed
from broker.authz.answer import MAX_ANSWER_OCTETS
from broker.authz.walk import Problem, passed_over, problems
from broker.model.decision import EntryPoint

LOAD_SECONDS = 5.0
MEMORY_OCTETS = 512 << 20
RECEIVE_OCTETS = 1 << 16
UNDEFINED = '"<undefined>"'
RULES = tuple(f"data.otbroker.{entry_point.value}" for entry_point in ENTRY_POINTS)
# Undefined is a denial, and only the policy that comes with the broker is asked in an emergency.
NEED_NOT_BE_THERE = frozenset({f"data.otbroker.{EntryPoint.EMERGENCY.value}"})


class RefusedError(Exception):
    """A policy that will not be loaded; the text names every problem found."""


def load(modules: dict[str, str], data: dict[str, Any]) -> Any:
    """An engine with this policy, which has been walked and has answered an empty question with a denial.

    Raises RefusedError.
    """
    overlap = {"otbroker", "site"} & data.keys()
    if overlap:
        raise RefusedError(f"data: {', '.join(sorted(overlap))} is where policies are; data there would replace rules")
    engine = regorus.Engine()
    try:
        found = problems(_trees(engine, modules))
        engine.add_data_json(orjson.dumps(data).decode())
    except (RuntimeError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise RefusedError(_first_lines(error)) from error
    if found:
        raise RefusedError(_told(list(map(str, found))))
    for rule in RULES:
        _try_out(engine, rule, needed=rule not in NEED_NOT_BE_THERE)
    return engine


def _trees(engine: Any, modules: dict[str, str]) -> Any:
    """The syntax trees of modules that an engine takes in."""
    for file, text in sorted(modules.items()):
        engine.add_policy(file, text)
    return orjson.loads(engine.get_ast_as_json())


def slips(modules: dict[str, str]) -> tuple[Problem, ...]:
    """What of a site is passed over in a policy that was loaded before. Parsed here, never evaluated."""
    return passed_over(_trees(regorus.Engine(), modules))


def _try_out(engine: Any, rule: str, needed: bool) -> None:
    answer = evaluate(engine, rule, b"{}")
    try:
        allow = orjson.loads(answer)["allow"] if answer else None
    except (ValueError, TypeError, KeyError):
        allow = None
    if allow is not False and (needed or answer):
        raise RefusedError(f"{rule} does not deny an empty question")


def evaluate(engine: Any, rule: str, question: bytes) -> bytes:
    """The answer as JSON; b"" if it is undefined or if the evaluation failed."""
    try:
        engine.set_input_json(question.decode())
        answer: str = engine.eval_rule_as_json(rule)
    except (RuntimeError, ValueError):
        return b""
    return b"" if answer == UNDEFINED else answer.encode()[: MAX_ANSWER_OCTETS + 1]


def _told(problems: list[str]) -> str:
    """Problems line by line, as many as one message to the broker holds."""
    told: list[str] = []
    room = MAX_ANSWER_OCTETS // 2
    for place, problem in enumerate(problems):
        room -= len(problem.encode(errors="replace")) + 1
        if room < 0 and told:
            return "\n".join([*told, f"policy: there are {len(problems) - place} more problems"])
        told.append(problem)
    return "\n".join(told)


def _first_lines(error: Exception) -> str:
    """What the parser says, without the native stack it appends."""
    return str(error).split("Stack backtrace", 1)[0].strip()[:2000] or type(error).__name__


def _serve(channel: socket.socket) -> None:
    signal.setitimer(signal.ITIMER_PROF, LOAD_SECONDS)
    messages = _Messages(channel)
    order = orjson.loads(messages.next(MAX_LOAD_OCTETS))
    try:
        engine = load(order["modules"], order["data"])
    except RefusedError as refusal:
        messages.send(str(refusal).encode())
        return
    messages.send(b"")
    budget = order["budget_seconds"]
    while True:
        question = messages.next(MAX_LOAD_OCTETS)
        signal.setitimer(signal.ITIMER_PROF, budget)
        answer = evaluate(engine, RULES[question[0]], question[1:])
        signal.setitimer(signal.ITIMER_PROF, 0)
        messages.send(answer)


class _Messages:
    """Whole messages from and to the broker; its end is the end of this process."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._received = bytearray()

    def next(self, longest: int) -> bytes:
        (length,) = LENGTH.unpack(self._take(LENGTH.size))
        if length > longest:
            raise SystemExit("a message is too long")
        return self._take(length)

    def send(self, message: bytes) -> None:
        self._channel.sendall(framed(message))

    def _take(self, octets: int) -> bytes:
        while len(self._received) < octets:
            more = self._channel.recv(RECEIVE_OCTETS)
            if not more:
                raise SystemExit(0)
            self._received += more
        taken = bytes(self._received[:octets])
        del self._received[:octets]
        return taken


def main() -> None:
    """Serve until the broker closes the channel; a panic of the engine ends the process at once."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OCTETS, MEMORY_OCTETS))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
        _serve(socket.socket(fileno=int(sys.argv[1])))
    except SystemExit:
        raise
    except BaseException:
        os._exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    main()
