"""Faults of a body are told once, in words, and never in those of the library that finds them."""

import json

import pytest

from broker.api.models import ReadCall, WriteCall
from broker.api.problems import Problem
from broker.api.reception import parse_body
from broker.api.request_models import RequestCall, RevokeCall, WithdrawCall


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
