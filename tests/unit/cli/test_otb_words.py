"""Refusals, decisions and records in sentences, and the exit status that goes with each."""

import asyncio
import ssl
from argparse import Namespace

import pytest

from broker.api.problems import KINDS
from broker.cli.people.access import Access
from broker.cli.people.devices import device_key, unknown_device, unknown_site
from broker.cli.people.exits import CommandError, Exit, ProblemError, exit_of
from broker.cli.people.look import frozen_devices, window_state
from broker.cli.people.problem_words import failure_line, or_not_there, sentences, worst
from broker.cli.people.record_words import operation_words, record_sentence
from broker.cli.people.request_words import done, facts, not_reviewer, waits_for
from broker.cli.people.requests import argument_of
from broker.cli.people.trouble import explained
from broker.cli.people.tunnel_events import event_lines
from broker.cli.people.why import explanation
from broker.identity.enrolment_codes import spent_error
from broker.model.enrolment import InvitationState
from broker.model.vocabulary import RecordKind

DENIED = {
    "title": "Denied; nothing was sent to the device.",
    "detail": "No window is open for this device now.",
    "code": "denied",
    "what_to_do": "Wait for the next window.",
    "reasons": [{"code": "window_closed", "text": "No window is open for this device now."}],
    "decision_id": "dec-1",
    "next_window": {"id": "saturday", "opens": "2026-11-28T08:00:00Z", "closes": "2026-11-28T16:00:00Z"},
}
QUESTION = {
    "subject": {"id": "ana@acme.example", "kind": "person", "organisation": {"id": "acme"}, "roles": [], "proofs": []},
    "device": {"id": "ahu-1", "site": "plant", "segment": "hvac", "criticality": "medium", "protocol": "modbus"},
    "operation": {
        "action": "adjust",
        "service": "write-single-register",
        "values": {"supply-temp-setpoint": "35"},
        "address": {"table": "holding-register", "start": 10, "count": 1},
        "points": [
            {
                "name": "supply-temp-setpoint",
                "value": "35",
                "engineering_unit": "°C",
                "limits": {"minimum": "16.0", "maximum": "22.0", "allowed": []},
            }
        ],
        "priority": None,
    },
    "windows": {"open": [], "next": {"id": "saturday", "opens": 1795852800, "closes": 1795881600}},
    "freezes": [],
    "grants": [{"id": "ana-adjust", "actions": ["adjust"], "points": ["supply-temp-setpoint"], "windows": []}],
    "session": {"listener": "https", "peer": "127.0.0.1:5"},
}
EXPLAINED = {
    "id": "dec-1",
    "index": 7,
    "allow": False,
    "reasons": [{"code": "value_above_limit", "text": "The value is above the highest that the point takes."}],
    "what_to_do": "Write a value within the limits.",
    "device": "plant/ahu-1",
    "record": {
        "entry_point": "operation.decision",
        "time": "2026-11-22T18:56:58Z",
        "session": "ses-1",
        "input": QUESTION,
        "answer": {"rule": "denied"},
        "revision": "abc",
    },
}


def test_why_names_what_was_wrong_with_an_answer_that_cannot_be_used():
    fault = 'unknown reason "contractor_priority"'
    record = EXPLAINED["record"] | {"answer": {"rule": "", "fault": fault}}
    assert ("", fault) in list(explanation(EXPLAINED | {"record": record}))


BACNET = {
    "action": "override",
    "service": "write-property",
    "values": {},
    "address": {"object_type": "analog-value", "instance": 1, "property": "present-value", "index": None},
    "points": [],
    "raw_values": ["21.5"],
    "priority": 8,
    "facts": {},
}


def test_an_operation_on_bacnet_tells_object_property_index_priority_value_and_facts():
    element = BACNET["address"] | {"property": "priority-array", "index": 8}
    created = {"object_type": "file", "instance": None, "property": None, "index": None}
    disabled = {"action": "config", "priority": None, "raw_values": [], "facts": {"enable-disable": "disable"}}
    device = {"object_type": "device", "instance": 7, "property": None, "index": None}
    assert operation_words(BACNET) == "override analog-value,1 present-value @8 = 21.5"
    assert operation_words(BACNET | {"address": element}) == "override analog-value,1 priority-array[8] @8 = 21.5"
    assert operation_words(BACNET | {"values": {"zone": "21.5"}}) == "override zone @8 = 21.5"
    part = {"protocol": "bacnet", "priority": None, "raw_values": [], "points": [{"name": "zone", "whole": False}]}
    assert operation_words(BACNET | part | {"action": "view"}) == "view analog-value,1 present-value of zone"
    assert operation_words(BACNET | disabled | {"address": created}) == "config file (enable-disable disable)"
    assert operation_words(BACNET | disabled | {"address": device}) == "config device,7 (enable-disable disable)"


def told(document):
    return "\n".join(text for text, _ in sentences(document))


def test_a_denial_says_why_what_to_do_when_it_will_be_possible_and_its_id():
    text = told(DENIED)
    for part in (
        "Denied",
        "No window is open",
        "window_closed",
        "Wait for the next window",
        "saturday",
        "08:00",
        "UTC",
    ):
        assert part in text
    assert "otb why dec-1" in text


def test_a_write_that_was_denied_names_each_point_and_its_outcome():
    text = told(DENIED | {"points": {"a": {"outcome": "denied"}, "b": {"outcome": "allowed"}}})
    assert "a: denied" in text
    assert "b: allowed" in text


@pytest.mark.parametrize("odd", [{}, {"reasons": 5}, {"reasons": [1, None]}, {"next_window": []}, {"points": {"a": 1}}])
def test_problems_of_odd_shape_are_told_without_failing(odd):
    assert told(odd)


def test_every_kind_of_problem_has_the_exit_status_of_its_family():
    expected = {403: {Exit.DENIED, Exit.NOT_AUTHENTICATED}, 401: {Exit.NOT_AUTHENTICATED}}
    for code, kind in KINDS.items():
        if kind.status in expected:
            assert exit_of(code) in expected[kind.status], code
        if kind.status in {502, 503, 504}:
            assert exit_of(code) in {Exit.DEVICE, Exit.UNKNOWN}, code
        if kind.status in {400, 404, 413, 415, 422, 500}:
            assert exit_of(code) is Exit.ERROR, code
    assert exit_of("outcome_unknown") is Exit.UNKNOWN
    assert exit_of("subjects_differ") is Exit.NOT_AUTHENTICATED
    assert exit_of(["no", "word"]) is Exit.ERROR


def test_of_several_failures_the_gravest_gives_the_exit_status():
    assert worst([]) is Exit.DONE
    assert worst(["no_reply", "denied"]) is Exit.DENIED
    assert worst(["point_unknown", "denied", "outcome_unknown"]) is Exit.UNKNOWN
    assert worst(["no_reply"]) is Exit.DEVICE


def test_a_decision_is_explained_by_who_what_where_when_rule_missing_conditions_and_next_window():
    rows = [(name, cell if isinstance(cell, str) else cell[0]) for name, cell in explanation(EXPLAINED)]
    facts = {}
    for name, text in rows:
        facts.setdefault(name, []).append(text)
    assert "ana@acme.example" in facts["who"][0]
    assert "adjust supply-temp-setpoint = 35" in facts["what"][0]
    assert facts["where"][0].startswith("plant/ahu-1")
    assert "2026-11-22" in facts["when"][0]
    assert facts["rule"] == ["denied"]
    assert "value_above_limit" in facts["missing"][0]
    assert "asked 35 °C" in facts[""][0]
    assert "highest 22.0" in facts[""][0]
    assert facts["windows open"] == ["none"]
    assert facts["next window"][0].startswith("saturday opens Sat 2026-11-28")
    assert "ana-adjust" in facts["grant"][0]


def test_a_decision_that_conceals_says_so_and_shows_the_limits():
    point = QUESTION["operation"]["points"][0] | {"value": None}
    operation = QUESTION["operation"] | {"points": [point], "values": {}, "raw_values": []}
    record = EXPLAINED["record"] | {"input": QUESTION | {"operation": operation}, "concealed": "sha256-x"}
    told_rows = explanation(EXPLAINED | {"record": record})
    rows = [(name, cell if isinstance(cell, str) else cell[0]) for name, cell in told_rows]
    text = "\n".join(f"{name} {cell}" for name, cell in rows)
    assert "adjust supply-temp-setpoint (holding" not in text
    assert "(value concealed)" in text
    assert "asked a value that is concealed; " in text
    assert "highest 22.0" in text
    assert "None" not in text
    assert "supply-temp-setpoint (value concealed)" in record_sentence(record | {"kind": "decision"})


def test_a_decision_of_odd_shape_is_explained_without_failing():
    assert list(explanation({"record": {"input": {"windows": 5, "grants": [None], "operation": {"points": 3}}}}))
    assert list(explanation({}))


@pytest.mark.parametrize("kind", [kind.value for kind in RecordKind])
def test_every_kind_of_record_has_a_sentence_even_if_its_members_are_missing(kind):
    assert isinstance(record_sentence({"kind": kind}), str)
    assert record_sentence({"kind": kind, "reason": "x", "version": "1", "previous": "a", "revision": "b"})


def test_a_refused_reload_names_the_first_problem_and_counts_them_rightly():
    first = "inventory/plant.yaml:12:3: unknown member"
    record = {"kind": "reload_refused", "what": "inventory", "problems": [first], "count": 1}
    assert record_sentence(record) == f"inventory: 1 problem, {first}"
    record |= {"problems": [first, "inventory/plant.yaml:14:1: twice"], "count": 2}
    assert record_sentence(record) == f"inventory: 2 problems, the first {first}"


def test_a_changed_inventory_tells_the_counts_and_the_first_change():
    detail = {"lost": 2, "gained": 0, "changes": ["- ana loses view", "- bo loses view"], "gains_waiting": 3}
    record = {"kind": "access_changed", "previous": "a", "revision": "b", "detail": detail}
    assert record_sentence(record) == "a became b: 2 losses, 0 gains (- ana loses view, …); 3 gains wait"
    assert record_sentence(record | {"kind": "inventory_changed"}) == "a became b"


def test_a_mistyped_device_is_answered_with_the_one_that_was_meant():
    assert "plant/ahu-1" in unknown_device("ahu1", ["plant/ahu-1", "plant/vav-1"]).what_to_do
    assert "plant/ahu-1" in unknown_device("plnt/ahu-1", ["plant/ahu-1"]).what_to_do
    assert "otb ls" in unknown_device("zzz", ["plant/ahu-1"]).what_to_do
    assert "otb connect plant --bacnet" in unknown_device("plant", ["plant/ahu-1"]).what_to_do


def test_a_mistyped_site_is_answered_with_the_one_that_was_meant_or_the_device():
    keys = ["plant/ahu-1", "plant/vav-1", "harbour/vav-1"]
    assert unknown_site("plnt", keys).what_to_do == "Did you mean plant?"
    assert "otb ls" in unknown_site("zzz", keys).what_to_do
    assert "write plant/vav-1 or harbour/vav-1 for it alone" in unknown_site("vav-1", keys).what_to_do


def test_whoever_opens_a_bacnet_network_is_told_how_explorers_find_it():
    event = {"type": "open", "site": "plant", "listen": "127.0.0.1:47809"}
    assert "foreign device" in event_lines(event)[1][0]
    assert (
        len(event_lines({**event, "again": True})) == len(event_lines({"type": "open", "device": "plant/vav-1"})) == 1
    )


def test_denials_in_a_tunnel_are_told_with_reason_remedy_window_and_id():
    event = {**DENIED, "type": "denied"}
    text = "\n".join(line for line, _ in event_lines(event))
    for part in ("No window is open", "Wait for the next window", "saturday", "otb why dec-1"):
        assert part in text


@pytest.mark.parametrize(
    "kind", ["open", "denied", "ending", "ended", "waiting", "renewed", "renew_refused", "busy", "odd"]
)
def test_every_event_of_a_tunnel_has_a_line(kind):
    assert event_lines({"type": kind})


def test_a_fault_of_the_request_is_told_once():
    problem = {"title": "No.", "detail": "points: is empty", "errors": [{"at": "points", "problem": "is empty"}]}
    assert told(problem).count("is empty") == 1


def test_the_exception_of_a_device_is_told_once():
    error = {"code": "device_refused", "text": "The device refused it: exception 02.", "device_code": "exception-2"}
    assert failure_line(error) == "The device refused it: exception 02. (device_refused)"


def test_a_window_of_frozen_devices_is_not_called_open():
    windows = [
        {"state": "open", "devices": ["p/a", "p/b"]},
        {"state": "open", "devices": ["p/a"]},
        {"state": "open", "devices": ["p/c"]},
        {"state": "frozen", "devices": ["p/a"]},
    ]
    told_states = [window_state(window, frozen_devices(windows))[0] for window in windows]
    assert told_states == ["open, but frozen for p/a", "frozen", "open", "frozen"]


def test_a_revoked_certificate_takes_a_new_invitation_and_no_renewal():
    error = ssl.SSLError(1, "[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED] sslv3 alert certificate revoked")
    told = explained(error, Access("https://broker.example"))
    assert told.code == "certificate_refused"
    assert "new invitation" in told.what_to_do


@pytest.mark.parametrize(
    ("missing", "still_needed", "told"),
    [
        (["security"], 1, "It waits for approval by security."),
        (["operator", "security"], 2, "It waits for approval by operator and security."),
        (["operator", "security"], 1, "It waits for approval by operator or security."),
        (["a", "b", "c"], 2, "It waits for approval by 2 of a, b, c."),
        ([], 1, ""),
        (["security"], 0, ""),
    ],
)
def test_who_is_still_to_approve_is_named(missing, still_needed, told):
    assert waits_for({"missing": missing, "still_needed": still_needed}) == told


@pytest.mark.parametrize(
    ("codes", "told"),
    [(["review_of_oneself", "role_missing"], 0), (["duties_conflict", "role_missing"], 2)],
)
def test_who_asked_is_not_told_why_he_may_not_review_it(codes, told):
    assert len(not_reviewer({"reasons": [{"code": code, "text": "x"} for code in codes]})) == told


def test_a_refusal_to_show_one_thing_says_that_it_may_not_be_there():
    refused = {"code": "permission_denied", "title": "You may not do this.", "what_to_do": "Ask for the role."}
    told = or_not_there(ProblemError(refused), "otb sessions ls").document["what_to_do"]
    assert told == "Ask for the role. If it is yours, it is over or has another id: see `otb sessions ls`."
    other = ProblemError({"code": "state_unavailable"})
    assert or_not_there(other, "otb sessions ls") is other


def test_without_a_token_a_device_wants_its_site():
    class Client:
        async def get(self, path, query=()):
            raise ProblemError({"code": "credentials_missing"})

    with pytest.raises(CommandError, match="Without a token, a device is named with its site: SITE/ahu-1"):
        asyncio.run(device_key(Client(), "ahu-1"))


def test_what_a_master_did_is_counted_in_words():
    ((line, _),) = event_lines({"type": "ended", "text": "It left.", "requests": 2, "replies": 1, "denials": 1})
    assert line == "It left. 2 requests, 1 reply, 1 denial."


def test_a_code_that_was_used_is_told_in_one_sentence_and_what_to_do():
    kind, error = KINDS["code_used"], spent_error(InvitationState.USED)
    lines = [
        line
        for line, _ in sentences(
            {"code": "code_used", "title": kind.title, "detail": error.public, "what_to_do": kind.what_to_do}
        )
    ]
    assert lines == ["The code has been used.", "What to do: If that was not you, tell your sponsor at once."]


def test_faults_of_a_request_are_told_by_the_argument_they_are_about():
    given = Namespace(plan=["fan=1", "b=2"], devices=["ahu-1"], reason="x", window="foo", starts="", seconds=3600)
    told = {
        at: argument_of({"at": at}, given) for at in ("plan.1.value", "devices.0", "reason", "window", "from", "until")
    }
    assert told == {
        "plan.1.value": "--plan b=2",
        "devices.0": "ahu-1",
        "reason": "--reason",
        "window": "--window foo",
        "from": "--from",
        "until": "--for",
    }
    assert [argument_of({"at": at}, given) for at in ("body", "plan.7.value", "version")] == ["", "--plan", ""]
    problem = {"title": "The body does not fit this route.", "code": "body_invalid"}
    lines = [
        line for line, _ in sentences(problem | {"errors": [{"at": "reason", "argument": "--reason", "problem": "p"}]})
    ]
    assert lines[:2] == ["Something that was given is not as it must be.", "  - --reason: p"]


def test_planned_and_done_writes_are_told_with_their_priority():
    write = {"device": "plant/vav-1", "point": "zone", "value": 21, "priority": 12, "used": None}
    assert ("plan", "plant/vav-1 zone = 21 at priority 12") in list(facts({"plan": [write]}))
    ((_, (told, _)),) = done(
        {"done": [{"device": "plant/vav-1", "values": {"zone": "21"}, "priority": 12, "result": "done"}]}
    )
    assert told.startswith("plant/vav-1 zone = 21 at priority 12: done")


@pytest.mark.parametrize(
    ("writes", "begins"), [([], "nothing as one.example/ledger"), ([{"result": "done"}], "as one.example/ledger")]
)
def test_what_was_done_is_told_as_of_one_broker(writes, begins):
    *_, (name, (told, _)) = done({"ledger": "one.example/ledger", "done": writes})
    assert name == "done"
    assert told == f"{begins} recorded it; if there are several brokers, ask each"


@pytest.mark.parametrize(
    ("code", "word"), [("approval_needed", "Waiting for a person"), ("approval_refused", "Refused by a person")]
)
def test_what_a_person_refused_is_not_said_to_wait(code: str, word: str) -> None:
    problem = DENIED | {"reasons": [{"code": code, "text": "A person."}], "approvals": ["arm-1"]}
    lines = [line for line, _ in sentences(problem)]
    assert f"{word}: arm-1 (see `otb approvals show arm-1`)" in lines


def test_what_was_read_before_and_after_stands_beside_the_operation() -> None:
    intent = {"kind": "intent", "service": "write-property", "decision": 5, "session": "s", "before": {"zone": "20"}}
    assert record_sentence(intent).endswith("session s, before zone = 20")
    outcome = {"kind": "outcome", "intent": 6, "result": "done", "after": {"zone": "21.5"}}
    assert record_sentence(outcome) == "intent 6: done, after zone = 21.5"
