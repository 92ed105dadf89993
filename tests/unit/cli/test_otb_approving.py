"""`otb sessions watch --approve`: what is asked, what counts as an answer, and what `otb approvals` shows."""

import asyncio
from argparse import Namespace
from io import StringIO

import pytest

from broker.cli.people import approving
from broker.cli.people.approvals import _facts, _points, approval_path, approve, what
from broker.cli.people.approving import Questions
from broker.cli.people.exits import CommandError, ProblemError
from broker.cli.people.screen import Screen

APPROVAL = {
    "id": "arm-a",
    "state": "waiting",
    "missing": ["second_person"],
    "operations": [
        {
            "action": "adjust",
            "service": "write-single-register",
            "address": "holding-register 10",
            "points": [{"name": "setpoint", "old": "18.0", "new": "19.5", "unit": "°C"}],
            "raw_values": ["195"],
        }
    ],
}


class Broker:
    """Answers with one approval, and keeps what it was told."""

    def __init__(self, approval=APPROVAL):
        self.approval = approval
        self.told = []

    async def get(self, path):
        if self.approval is None:
            raise ProblemError({"code": "approval_unknown", "title": "There is no such approval."})
        return self.approval

    async def post(self, path, body):
        self.told.append((path, body))
        return self.approval


def played(broker, *answers, events=({"approval": "arm-a"},), early=()):
    """What was shown, with answers typed early, and one after each question."""
    out = StringIO()

    async def story():
        typed = asyncio.Queue()
        for line in early:
            typed.put_nowait(line)
        questions = Questions(broker, Screen(False, out, out), typed)
        for event in events:
            questions.notice(event)
        asking = asyncio.create_task(questions.ask_all())
        for answer in (None, *answers):
            if answer is not None:
                typed.put_nowait(answer)
            for _ in range(20):
                await asyncio.sleep(0)
        asking.cancel()

    asyncio.run(story())
    return out.getvalue()


@pytest.mark.parametrize(("answer", "act"), [("y\n", "approve"), ("YES\n", "approve"), ("r\n", "refuse")])
def test_the_whole_operation_is_shown_and_the_answer_taken(answer, act):
    broker = Broker()
    shown = played(broker, answer)
    assert "18.0" in shown
    assert "19.5" in shown
    assert broker.told == [(f"/v1/approvals/arm-a/{act}", {"why": "while watching"})]


def test_what_could_not_be_read_is_said_before_the_question_and_by_the_answer():
    broker = Broker(APPROVAL | {"old_values": "unreadable"})
    shown = played(broker, "y\n")
    assert "could not be read" in shown
    assert broker.told[0][1] == {"why": "while watching", "without_old": True}


def test_nothing_is_asked_before_what_is_there_now_was_read(monkeypatch):
    monkeypatch.setattr(approving, "LOOK_SECONDS", 0)
    broker = Broker(APPROVAL | {"old_values": "being_read", "operations": []})
    looks, get = [], broker.get

    async def read_later(path):
        looks.append(path)
        if len(looks) == 3:
            broker.approval = APPROVAL | {"old_values": "read"}
        return await get(path)

    broker.get = read_later
    assert "18.0" in played(broker, "y\n")
    assert len(looks) == 3


@pytest.mark.parametrize("without_old", [False, True])
def test_approving_shows_it_first(without_old):
    broker, out = Broker(APPROVAL | {"old_values": "unreadable"}), StringIO()
    arguments = Namespace(approval="arm-a", why="agreed", without_old=without_old)
    asyncio.run(approve(arguments, broker, Screen(False, out, out)))
    assert out.getvalue().index("could not be read") < out.getvalue().index("arm-a is ")
    assert broker.told == [("/v1/approvals/arm-a/approve", {"why": "agreed", "without_old": without_old})]


@pytest.mark.parametrize("answer", ["\n", "n\n", "yy\n", "approve arm-b\n"])
def test_anything_else_leaves_it_waiting(answer):
    broker = Broker()
    assert "goes on waiting" in played(broker, answer)
    assert broker.told == []


def test_what_was_typed_before_the_question_stood_there_answers_nothing():
    broker = Broker()
    played(broker, early=("y\n", "y\n"))
    assert broker.told == []


def test_the_same_is_asked_about_once_and_what_waits_for_nobody_else_not_at_all():
    broker = Broker()
    shown = played(broker, "n\n", events=({"approval": "arm-a"}, {"approval": "arm-a"}, {"result": "done"}))
    assert shown.count("y arms exactly this") == 1
    for state, missing in (("armed", []), ("refused", ["second_person"]), ("waiting", ["step_up"])):
        assert "y arms" not in played(Broker(APPROVAL | {"state": state, "missing": missing}))


def test_an_approval_that_is_over_is_said_and_the_next_is_asked_about():
    assert "There is no such approval." in played(Broker(None))


@pytest.mark.parametrize("text", ["", "ses-a", "arm-" + "a" * 80, "arm-é"])
def test_what_is_no_approvals_id_is_said_at_once(text):
    with pytest.raises(CommandError):
        approval_path(text)
    assert approval_path("arm-a/../x") == "/v1/approvals/arm-a%2F..%2Fx"


def test_what_would_be_done_is_told_in_a_line_with_what_is_there_now():
    assert what(APPROVAL) == "adjust setpoint = 18.0 -> 19.5 °C"
    blind = {"operations": [{"action": "config", "address": "coil 3", "points": [], "raw_values": ["1"]}]}
    assert what(blind) == "config coil 3 = 1"


def test_an_approval_of_odd_shape_is_shown_without_failing():
    assert dict(_facts({"armings": "x", "needs": 3}))["who"] == " of "
    assert next(iter(_points({"operations": [{"points": [{}]}]})))[1] == ("?", "dim")
