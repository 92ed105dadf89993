"""Subscribing to several at once: all or none, whatever fails at whatever step, and nothing without intent."""

from functools import partial
from typing import Any

import pytest

from broker.engine.commands import Command, Decide, RecordDenial, RecordIntents, RecordOutcomes, Relay
from broker.engine.events import Answered, Refused
from broker.engine.subscribing import all_in_one, subscribe_each
from broker.model.decision import Decision, Obligation
from broker.model.operation import BacnetProperty, Operation, Relayed, Request
from broker.model.vocabulary import Action, Reason, Result
from tests.unit.engine.playbook import Playbook, allow, deny, session

ASKED_OCTETS = "001e 0901 1900 293c 3905 4e 0c00800001 1e 0e0955 0f2900 0e0975 0f2900 0e096f 0f2900 1f 4f"
NAMES = ("present-value", "units", "status-flags")
DONE = Relayed(Result.DONE, b"\x20\x1c")
ERROR = Relayed(Result.DEVICE_REFUSED, bytes.fromhex("501c91029120"), code="property/unknown-property")


def operation(name: str, service: str) -> Operation:
    return Operation("bacnet", Action.VIEW, service, BacnetProperty("analog-value", 1, name))


ASKED = Request(
    tuple(operation(name, "subscribe-cov-property-multiple") for name in NAMES),
    bytes.fromhex(ASKED_OCTETS.replace(" ", "")),
    "asked",
)
PARTS = tuple(
    Request((operation(name, "subscribe-cov-property"),), b"\x00\x1c", name, part_of="asked") for name in NAMES
)


class Play(Playbook):
    """Answers well but for what is said of the so-many-th command of a kind."""

    def __init__(self, **unusual: object) -> None:
        kinds = {"Decide": allow(), "RecordIntents": 5, "LastLook": "", "Relay": DONE, "RecordOutcomes": True}
        super().__init__(**{kind: partial(self._say, unusual, usual) for kind, usual in kinds.items()})
        self.finding = all_in_one(ASKED, self.play(subscribe_each(session(), ASKED, PARTS)))

    def _say(self, unusual: dict[str, object], usual: object, command: Command) -> object:
        return unusual.get(f"{type(command).__name__}_{len(self.of(type(command))) - 1}", usual)

    def of(self, kind: type) -> list[Any]:
        return [command for command in self.trace if type(command) is kind]


def test_all_are_decided_as_they_are_asked_and_as_they_are_sent_before_the_first_is_sent() -> None:
    play = Play()
    kinds = [type(command) for command in play.trace]
    assert kinds[:3] == [Decide] * 3 and kinds.index(RecordIntents) == 7 and kinds[:7].count(Decide) == 6
    assert [command.request for command in play.of(Relay)] == list(PARTS)
    assert isinstance(play.finding, Answered)
    assert (play.finding.done, play.finding.relayed.payload) == (True, b"\x20\x1e")


@pytest.mark.parametrize("nth", range(6))
def test_one_denial_at_whatever_step_denies_all_and_says_which(nth: int) -> None:
    play = Play(**{f"Decide_{nth}": deny(Reason.NO_GRANT)})
    assert isinstance(play.finding, Refused)
    assert (play.finding.reasons, play.finding.denied_places) == ((Reason.NO_GRANT,), (nth % 3,))
    assert play.of(RecordDenial) and not play.of(RecordIntents) and not play.of(Relay)


@pytest.mark.parametrize("nth", range(3))
def test_what_is_obliged_cannot_be_met_for_several_at_once(nth: int) -> None:
    play = Play(**{f"Decide_{nth}": Decision("dec-9", 9, True, obligations=(Obligation.STEP_UP,))})
    assert isinstance(play.finding, Refused)
    assert play.finding.reasons == (Reason.OBLIGATION_UNMET,)
    assert play.of(RecordDenial) and not play.of(Relay)


@pytest.mark.parametrize("nth", range(3))
def test_the_device_s_error_about_one_is_told_as_one_about_several_and_the_rest_is_not_asked_for(nth: int) -> None:
    play = Play(**{f"Relay_{nth}": ERROR})
    assert isinstance(play.finding, Answered)
    number = ("55", "75", "6f")[nth]
    expected = f"501e 1e 0c00800001 1e09{number}1f 2e910291202f 1f".replace(" ", "")
    assert (play.finding.done, play.finding.relayed.payload.hex()) == (False, expected)
    assert len(play.of(Relay)) == len(play.of(RecordIntents)) == len(play.of(RecordOutcomes)) == nth + 1


@pytest.mark.parametrize("nth", range(3))
@pytest.mark.parametrize(
    ("step", "answer"), [("RecordIntents", Reason.LEDGER_CLOSED), ("LastLook", Reason.SESSION_ENDED)]
)
def test_what_comes_between_keeps_back_the_rest_and_says_why(step: str, answer: Reason, nth: int) -> None:
    # The first last look is at what was asked.
    play = Play(**{f"{step}_{nth + (step == 'LastLook')}": answer})
    assert isinstance(play.finding, Refused)
    assert (play.finding.reasons, play.finding.denied_places) == ((answer,), ())
    assert len(play.of(Relay)) == nth


def test_access_that_changes_before_anything_is_intended_refuses_all() -> None:
    play = Play(LastLook_0=Reason.SESSION_ENDED)
    assert isinstance(play.finding, Refused)
    assert play.finding.reasons == (Reason.SESSION_ENDED,)
    assert not play.of(RecordIntents)


@pytest.mark.parametrize("nth", range(3))
def test_an_outcome_that_is_not_recorded_is_no_success(nth: int) -> None:
    play = Play(**{f"RecordOutcomes_{nth}": False})
    assert isinstance(play.finding, Answered)
    assert not play.finding.recorded and not play.finding.done


def test_a_fault_of_ours_is_passed_on_as_it_is() -> None:
    fault = Refused((Reason.SESSION_ENDED,))
    assert all_in_one(ASKED, fault) is fault
