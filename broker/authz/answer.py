"""Strict reading of what a policy answered: anything unexpected is a denial, and says so."""

from dataclasses import replace
from typing import Any

import orjson

from broker.authz.reason_words import known_reason
from broker.model.decision import Answer, Obligation
from broker.model.vocabulary import Reason

MAX_ANSWER_OCTETS = 16_384
MAX_EPOCH_SECONDS = 1 << 40
MAX_RULE_CHARACTERS = 200
REQUIRED = frozenset({"allow", "reasons", "obligations", "rule"})
KNOWN = REQUIRED | {"valid_until"}
UNDEFINED = Answer(False, (Reason.POLICY_UNDEFINED,))
ODD = Answer(False, (Reason.POLICY_ODD,))


def read_answer(raw: bytes) -> Answer:
    """The answer that an engine gave as JSON; b"" (nothing was defined) and anything odd are denials."""
    if not raw:
        return UNDEFINED
    if len(raw) > MAX_ANSWER_OCTETS:
        return replace(ODD, fault="the answer is too long")
    try:
        document = orjson.loads(raw)
    except ValueError:
        return replace(ODD, fault="the answer is not JSON")
    try:
        return _read(document)
    except (ValueError, TypeError) as error:
        return replace(ODD, fault=str(error))


def as_document(answer: Answer) -> dict[str, Any]:
    """The answer as it goes into a record; times in whole epoch seconds, rounded down."""
    document: dict[str, Any] = {
        "allow": answer.allow,
        "reasons": list(answer.reasons),
        "obligations": [obligation.value for obligation in answer.obligations],
        "rule": answer.rule,
    }
    if answer.valid_until is not None:
        document["valid_until"] = int(answer.valid_until)
    if answer.fault:
        document["fault"] = answer.fault
    return document


def _read(document: Any) -> Answer:
    """Raises ValueError or TypeError for what is not an answer."""
    if not isinstance(document, dict) or not REQUIRED <= document.keys() <= KNOWN:
        raise ValueError("the answer has other keys than it must have")
    allow = document["allow"]
    reasons = tuple(known_reason(word) for word in distinct_words(document["reasons"]))
    obligations = tuple(_obligation(word) for word in distinct_words(document["obligations"]))
    if not isinstance(allow, bool) or allow is bool(reasons) or (obligations and not allow):
        raise ValueError("`allow` and its reasons or obligations contradict each other")
    return Answer(allow, reasons, obligations, _time(document.get("valid_until")), rule_text(document["rule"]))


def distinct_words(words: Any) -> list[str]:
    """A list of texts without doubles. Raises ValueError."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or len(set(words)) != len(words):
        raise ValueError("reasons, or what else is a list, are no list of different texts")
    return words


def _obligation(word: str) -> Obligation:
    if word not in list(Obligation):
        raise ValueError("there is an unknown obligation")
    return Obligation(word)


def _time(time: Any) -> float | None:
    if time is None:
        return None
    if type(time) is not int or not 0 < time < MAX_EPOCH_SECONDS:
        raise ValueError("`valid_until` is no time")
    return float(time)


def rule_text(rule: Any) -> str:
    """The name of a rule. Raises ValueError."""
    if not isinstance(rule, str) or len(rule) > MAX_RULE_CHARACTERS or not rule.isprintable():
        raise ValueError("`rule` is no short text")
    return rule
