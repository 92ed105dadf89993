"""Every kind of record is told of or expressly not, and nothing that is told can be a secret or look like another."""

import re
from dataclasses import fields

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ledger import operation_records, records
from broker.ledger.notices import NOTICES, notice_id, notice_of, visible
from broker.model.notice import BrokerNotice, Notice, Severity, Wanted
from broker.model.vocabulary import RecordKind

ORIGIN = "broker-1.plant.example/ledger"
LOCK = {
    "id": "lck-1",
    "kind": "subject",
    "target": "ana@acme.example",
    "message": "laptop stolen",
    "set_by": "bo@plant.example",
    "set_at": 1.0,
    "broker": ORIGIN,
    "until": None,
    "isolation": False,
}


def told(record: bytes, index: int = 7) -> Notice:
    notice = notice_of(ORIGIN, index, record)
    assert notice is not None
    return notice


@pytest.mark.parametrize("kind", RecordKind)
def test_every_kind_of_record_is_in_the_table(kind: RecordKind) -> None:
    assert kind in NOTICES, f"say in ledger/notices.py whether people are told of {kind.value} (None: never)"


def test_nothing_of_operations_is_told() -> None:
    for kind in (RecordKind.DECISION, RecordKind.INTENT, RecordKind.OUTCOME):
        assert NOTICES[kind] is None
    intent = operation_records.intent(1.0, session="s", decision=3, service="x", digest="d", values=("21.5",))
    outcome = operation_records.outcome(1.0, intent=4, result="done", after=(("a", "1"),))
    decision = records.decision(
        1.0,
        id="dec-1",
        session="s",
        entry_point="operation.decision",
        input={"operation": {"values": {"p": "secret"}}},
        answer={},
        revision="r",
        allow=True,
        reasons=(),
    )
    assert [notice_of(ORIGIN, 1, record) for record in (intent, outcome, decision)] == [None, None, None]
    assert decision.startswith(b'{"allow":'), "decisions are no longer told apart before they are parsed"


def test_a_lock_is_an_alarm_that_says_on_whom_by_whom_and_why() -> None:
    notice = told(records.lock_set(1764000000.25, lock=LOCK))
    assert (notice.kind, notice.severity, notice.index) == ("lock_set", Severity.ALARM, 7)
    assert notice.time == 1764000000.25
    assert dict(notice.details) == {
        "lock.id": "lck-1",
        "lock.kind": "subject",
        "lock.target": "ana@acme.example",
        "lock.message": "laptop stolen",
        "lock.set_by": "bo@plant.example",
    }


def test_a_lock_whose_words_look_like_a_record_of_an_operation_is_still_told() -> None:
    message = '","kind":"intent" {"allow": "kind":"outcome"'
    assert told(records.lock_set(1.0, lock={**LOCK, "message": message})).kind == "lock_set"


def test_the_same_record_has_the_same_id_and_another_in_its_place_has_not() -> None:
    lifted, other = (
        records.lock_lifted(1.0, lock="lck-1", by=by, at=1.0, broker=ORIGIN, index=6) for by in ("bo", "cy")
    )
    assert told(lifted) == told(lifted)
    assert len({told(lifted).id, told(other).id, told(lifted, 8).id}) == 3
    assert re.fullmatch(r"ntc-[A-Za-z0-9_-]{24}", told(lifted).id)


def test_a_kind_of_a_later_version_is_passed_over() -> None:
    assert notice_of(ORIGIN, 1, orjson.dumps({"kind": "of_tomorrow", "time": records.stamp(1.0)})) is None


def test_a_long_list_is_told_in_part() -> None:
    notice = told(records.reload_refused(1.0, what="inventory", problems=[f"p{n}" for n in range(9)]))
    assert dict(notice.details)["problems"] == "p0; p1; p2; p3; p4; and 4 more"


@given(st.text())
def test_what_is_told_is_one_visible_line(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert "\n" not in shown
    assert visible(text) == text or not text.isprintable() or len(text) > 300


@given(st.text(max_size=400), st.text(max_size=400))
def test_no_message_can_make_a_notice_that_breaks_lines_or_is_long(message: str, by: str) -> None:
    notice = told(records.session_act(RecordKind.SESSION_CUT, 1.0, session="ses-1", by=by, why=message))
    assert all(text.isprintable() and len(text) < 3100 for _, text in notice.details)


def test_a_channel_takes_what_matters_enough_or_the_kinds_it_names_and_every_emergency() -> None:
    lock, opened = told(records.lock_set(1.0, lock=LOCK)), told(records.broker_started(1.0, version="1", revisions={}))
    assert lock in Wanted()
    assert opened not in Wanted()
    assert opened in Wanted(Severity.INFO)
    assert opened in Wanted(Severity.ALARM, {"broker_started"})
    assert lock not in Wanted(Severity.INFO, {"broker_started"})
    emergency = Notice(notice_id("y"), RecordKind.BREAK_GLASS_OPENED.value, Severity.ALARM, 1.0, ORIGIN, "")
    assert emergency in Wanted(Severity.INFO, {"broker_started"})
    test = Notice(notice_id("x"), BrokerNotice.TEST.value, Severity.INFO, 1.0, ORIGIN, "")
    assert test in Wanted(Severity.ALARM, {"lock_set"})
    assert {field.name for field in fields(Notice)} >= {"id", "kind", "severity"}
