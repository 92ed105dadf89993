"""Faults of a body are told once, in words, and never in those of the library that finds them."""

import json

import pytest

from broker.api.approval_models import ApproveCall
from broker.api.models import ReadCall, WriteCall
from broker.api.people_models import CompleteCall, EnrolCall, InviteCall
from broker.api.problems import Problem
from broker.api.proposal_models import ProposeCall, RefuseProposalCall
from broker.api.reception import parse_body
from broker.api.request_models import RequestCall, RevokeCall, WithdrawCall
from broker.api.session_models import Act
from broker.api.tickets import TicketEvent


def faults(model, body):
    with pytest.raises(Problem) as caught:
        parse_body(json.dumps(body).encode(), model)
    return [(error["at"], error["problem"]) for error in caught.value.members["errors"]]


@pytest.mark.parametrize(
    ("model", "body", "found"),
    [
        (ReadCall, {"points": "supply-temp"}, [("points", "must be a list of names")]),
        (ReadCall, {"points": []}, [("points", "must not be empty")]),
        (WithdrawCall, {"version": 0}, [("version", "must be at least 1")]),
        (
            RevokeCall,
            {"why": "no"},
            [("why", "must have at least 3 characters: people go by it, and the ledger keeps it")],
        ),
        (
            RevokeCall,
            {"why": "    "},
            [("why", "must have at least 3 characters: people go by it, and the ledger keeps it")],
        ),
        (
            RequestCall,
            {"devices": ["x"], "reason": "why", "until": "soon"},
            [("devices.0", "must have at least 3 characters")],
        ),
        (ReadCall, {"points": [5]}, [("points.0", "must be a text")]),
        (ReadCall, {"raw": {}}, [("raw", "must be a list of ranges")]),
        (ReadCall, {"raw": [5]}, [("raw.0", "must be an object")]),
        (ReadCall, {}, [("body", "give either points or raw")]),
        (ReadCall, {"points": ["a"], "force": True}, [("force", "is not a field of this body")]),
        (WriteCall, {"points": ["a"]}, [("points", "must be an object of names and values")]),
        (WriteCall, {"points": {"a": {"priority": 3}}}, [("points.a.value", "is missing")]),
        (WriteCall, {"points": {"a": {"value": 1, "priority": 17}}}, [("points.a.priority", "must be at most 16")]),
        (
            WriteCall,
            {"raw": [{"table": "coil", "address": -1, "values": [1.5]}]},
            [("raw.0.address", "must be at least 0"), ("raw.0.values.0", "must be a whole number")],
        ),
    ],
)
def test_a_body_that_does_not_fit_is_told_in_words(model, body, found):
    assert faults(model, body) == found


def test_a_table_that_does_not_exist_is_answered_with_those_that_do():
    (fault,) = faults(ReadCall, {"raw": [{"table": "registers", "address": 0, "count": 1}]})
    assert "holding-register" in fault[1]


@pytest.mark.parametrize("text", ["a\x00", "a\nb", "a\x1b[2J", "a\u202eb", "a\u200b", "a\u2028b"])
@pytest.mark.parametrize(
    ("model", "body", "at"),
    [
        (ReadCall, lambda text: {"points": ["fan", text]}, "points.1"),
        (WriteCall, lambda text: {"points": {"fan": text}}, "points.fan"),
        (Act, lambda text: {"why": text}, "why"),
        (CompleteCall, lambda text: {"ticket": "t", "credential": {"id": [text]}}, "credential.id.0"),
        (EnrolCall, lambda text: {"code": text, "request": "one\nline after\r\nanother\n"}, "code"),
    ],
)
def test_no_text_of_a_caller_has_characters_that_cannot_be_seen(model, body, at, text):
    ((found, problem),) = faults(model, body(text))
    assert found == at
    assert "cannot be seen" in problem


def test_a_name_that_cannot_be_seen_is_told_escaped():
    ((at, _),) = faults(WriteCall, {"points": {"a\x1b\u202e": 1}})
    assert at == "points.a\\x1b\\u202e"


@pytest.mark.parametrize(
    ("model", "body", "at"),
    [
        (InviteCall, {"organisation": "acme", "subject": "\u0430na@acme.example"}, "subject"),
        (ApproveCall, {"why": "\u0430pproved"}, "why"),
        (TicketEvent, {"state": "closed", "message": "d\u043ene"}, "message"),
        (ProposeCall, {"act": "ca.issue", "parameters": {"subject": "\u0430na"}, "why": "why"}, "parameters.subject"),
        (RefuseProposalCall, {"why": "n\u043e"}, "why"),
    ],
)
def test_what_others_decide_by_has_no_look_alikes(model, body, at):
    ((found, problem),) = faults(model, body)
    assert found == at
    assert "several scripts" in problem


def test_a_text_that_is_too_long_is_not_looked_through():
    too_long = [("why", "must have at most 500 characters")]
    assert faults(WithdrawCall, {"why": "\u0430n " * 10_000}) == too_long
