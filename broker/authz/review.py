"""What is asked of a policy about somebody who reviews an access request, and the strict reading of its answer."""

from dataclasses import asdict, replace
from typing import Any

import orjson

from broker.authz.answer import MAX_ANSWER_OCTETS, distinct_words, rule_text
from broker.authz.question import Document, compose, device_part, organisation_part
from broker.authz.reason_words import known_reason
from broker.model.access_request import Reviewer, Terms
from broker.model.decision import ReviewAnswer
from broker.model.place import Device, Organisation
from broker.model.vocabulary import Reason

KEYS = frozenset({"allow", "reasons", "groups", "needed", "rule"})
APPROVERS = "approvers"
MOST_GROUPS = 8
LONGEST_GROUP = 64
UNDEFINED = ReviewAnswer(False, (Reason.POLICY_UNDEFINED,))
ODD = ReviewAnswer(False, (Reason.POLICY_ODD,))


def review_question(
    *,
    now: float,
    terms: Terms,
    organisation: Organisation | None,
    devices: tuple[Device, ...],
    reviewer: Reviewer,
    reviewer_organisation: Organisation | None,
) -> Document:
    """For what may this reviewer stand, and how many are needed? `organisation` is the requester's."""
    return compose(
        now,
        {"request": _request(terms, organisation, devices)},
        {
            "reviewer": {
                "id": reviewer.id,
                "kind": reviewer.kind,
                "organisation": organisation_part(reviewer.organisation, reviewer_organisation),
                "roles": list(reviewer.roles),
                "proofs": list(reviewer.proofs),
                "authenticated_at": reviewer.authenticated_at,
            }
        },
    )


def read_review_answer(raw: bytes) -> ReviewAnswer:
    """The answer that an engine gave as JSON; b"" (nothing was defined) and anything odd: nobody may approve."""
    if not raw:
        return UNDEFINED
    if len(raw) > MAX_ANSWER_OCTETS:
        return replace(ODD, fault="the answer is too long")
    try:
        return _read(orjson.loads(raw))
    except (ValueError, TypeError) as error:
        return replace(ODD, fault="the answer is not JSON" if isinstance(error, orjson.JSONDecodeError) else str(error))


def review_document(answer: ReviewAnswer) -> dict[str, Any]:
    """The answer as it goes into a record."""
    told = {"fault": answer.fault} if answer.fault else {}
    return {
        "allow": answer.allow,
        "reasons": list(answer.reasons),
        "groups": list(answer.groups),
        "needed": answer.needed,
        "rule": answer.rule,
        APPROVERS: list(answer.approvers),
        **told,
    }


def _read(document: Any) -> ReviewAnswer:
    """Raises ValueError or TypeError for what is not an answer."""
    if not isinstance(document, dict) or document.keys() - {APPROVERS} != KEYS:
        raise ValueError("the answer has other keys than it must have")
    allow, needed = document["allow"], document["needed"]
    reasons = tuple(known_reason(word) for word in distinct_words(document["reasons"]))
    groups = tuple(distinct_words(document["groups"]))
    approvers = tuple(distinct_words(document.get(APPROVERS, [])))
    if not isinstance(allow, bool) or allow is bool(reasons) or allow is not bool(groups):
        raise ValueError("`allow`, its reasons and its groups contradict each other")
    if type(needed) is not int or not 1 <= needed <= MOST_GROUPS or max(len(groups), len(approvers)) > MOST_GROUPS:
        raise ValueError("`needed` is no number from 1 to 8, or there are too many groups")
    if not all(0 < len(group) <= LONGEST_GROUP and group.isprintable() for group in (*groups, *approvers)):
        raise ValueError("a group is no short text")
    return ReviewAnswer(allow, reasons, groups, needed, rule_text(document["rule"]), approvers)


def _request(terms: Terms, organisation: Organisation | None, devices: tuple[Device, ...]) -> Document:
    plan = [asdict(write) for write in terms.plan]
    return {
        "id": terms.id,
        "subject": terms.subject,
        "organisation": organisation_part(terms.organisation, organisation),
        "sponsor": "" if organisation is None else organisation.sponsor,
        "devices": [device_part(device)["device"] for device in devices],
        "points": list(terms.points),
        "actions": [action.value for action in terms.actions],
        "plan": plan or None,
        "single_use": terms.single_use,
        "supervised": terms.supervised,
        "window": terms.window,
        "starts": terms.starts,
        "ends": terms.ends,
        "ticket": terms.ticket,
        "extends": terms.extends,
    }
