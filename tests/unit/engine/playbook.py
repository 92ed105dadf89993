"""Plays the engine's commands against scripted answers: no loop, no clock, every failure at every step."""

from collections.abc import Callable, Generator
from typing import Any

from broker.engine.commands import (
    AskApproval,
    ClaimUse,
    Command,
    CountDenial,
    Decide,
    GiveBackUse,
    LastLook,
    MarkUndoing,
    RecordDenial,
    RecordIntents,
    RecordOutcomes,
    Relay,
    SettleDebts,
    ShowBefore,
    UseArming,
)
from broker.engine.sessions import Session
from broker.model.decision import Arming, Decision, Obligation
from broker.model.operation import ModbusRange, Operation, Relayed, Request
from broker.model.place import Device, Protocol, Table
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import ModbusTcpWay

DEVICE = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502))
SUBJECT = Subject("ana@acme.example", SubjectKind.PERSON, "acme")


def session() -> Session:
    return Session("ses-1", SUBJECT, DEVICE, "modbus_tls", "127.0.0.1:1", 0.0)


def operation(action: Action) -> Operation:
    service = "read-holding-registers" if action is Action.VIEW else "write-single-register"
    return Operation("modbus", action, service, ModbusRange(Table.HOLDING_REGISTER, 10, 1))


def request(*actions: Action, before: bool = False) -> Request:
    read = Request((operation(Action.VIEW),), bytes.fromhex("03000a0001"), "read") if before else None
    return Request(tuple(operation(a) for a in actions), bytes.fromhex("06000a00c8"), "write", before=read)


def allow(*obligations: Obligation) -> Decision:
    return Decision("dec-1", 1, True, obligations=obligations)


def armed(*kinds: Obligation, obligations: tuple[Obligation, ...] = ()) -> Decision:
    """An allow that was told of these armings."""
    armings = tuple(Arming("arm-1", kind, "bo@plant.example", 1.0, 301.0) for kind in kinds)
    return Decision("dec-3", 3, True, obligations=obligations, armed=armings)


def deny(*reasons: Reason) -> Decision:
    return Decision("dec-2", 2, False, reasons or (Reason.NO_GRANT,))


DONE = Relayed(Result.DONE, bytes.fromhex("06000a00c8"))
READ = Relayed(Result.DONE, bytes.fromhex("030200c8"))


class Playbook:
    """Answers commands from functions by command type and keeps the trace."""

    def __init__(self, **answers: Callable[[Any], Any]) -> None:
        self.answers = answers
        self.trace: list[Command] = []
        self._next_index = 10

    def play(self, steps: Generator[Command, Any, Any]) -> Any:
        answer: Any = None
        try:
            while True:
                command = steps.send(answer)
                self.trace.append(command)
                answer = self._answer(command)
        except StopIteration as stop:
            return stop.value

    def names(self) -> list[str]:
        return [type(command).__name__ for command in self.trace]

    def _answer(self, command: Command) -> Any:
        script = self.answers.get(type(command).__name__)
        if script is not None:
            return script(command)
        if isinstance(command, RecordIntents):
            first = self._next_index
            self._next_index += len(command.request.operations)
            return first
        defaults: dict[type, Any] = {
            Decide: allow(),
            RecordDenial: None,
            CountDenial: None,
            AskApproval: None,
            ShowBefore: None,
            UseArming: "",
            ClaimUse: "",
            GiveBackUse: None,
            LastLook: "",
            Relay: DONE,
            RecordOutcomes: True,
            SettleDebts: None,
            MarkUndoing: True,
        }
        return defaults[type(command)]
