"""Records: canonical, small where they are made for every operation, and bounded everywhere."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ledger import emergency_records, operation_records, proposal_records, records, request_records
from broker.ledger.canonical import canonical
from broker.model.vocabulary import RecordKind

ANY_TEXT = st.text(max_size=60)
NAMES = st.text(st.characters(max_codepoint=0xD7FF), max_size=30)
NOW = 1_790_000_000.123456
IDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=36)


@given(
    st.floats(0, 4e9), IDS, st.integers(0, 2**40), st.lists(ANY_TEXT, max_size=130), st.dictionaries(NAMES, ANY_TEXT)
)
def test_intents_are_canonical_and_small(
    time: float, session: str, decision: int, values: list[str], before: dict[str, str]
) -> None:
    entry = operation_records.intent(
        time,
        session=session,
        decision=decision,
        service="read-write-multiple-registers",
        digest="x" * 43,
        values=tuple(values),
        before=tuple(before.items()),
    )
    record = orjson.loads(entry)
    assert canonical(record) == entry and len(entry) <= 300
    assert (record["session"], record["decision"], record["digest"]) == (session, decision, "x" * 43)
    kept = len(record.get("values", ())) + len(record.get("before", ()))
    assert kept + record.get("omitted", 0) >= len(values) + len(before) or record.get("omitted", 0) == 0


@given(st.integers(0, 2**40), ANY_TEXT, st.dictionaries(NAMES, ANY_TEXT))
def test_outcomes_are_canonical_and_small(intent: int, code: str, after: dict[str, str]) -> None:
    entry = operation_records.outcome(
        NOW,
        intent=intent,
        result="device_refused",
        code=code,
        after=tuple(after.items()),
    )
    record = orjson.loads(entry)
    assert canonical(record) == entry and len(entry) <= 300
    assert record["intent"] == intent and record["result"] == "device_refused"


@given(IDS, st.integers(0, 2**40), ANY_TEXT)
def test_what_is_concealed_is_canonical_small_and_whole(session: str, index: int, code: str) -> None:
    commitment = "sha256-" + "x" * 43
    service = "read-write-multiple-registers"
    entries = (
        operation_records.concealed_intent(NOW, session=session, decision=index, service=service, concealed=commitment),
        operation_records.concealed_outcome(
            NOW, intent=index, result="device_refused", code=code, concealed=commitment
        ),
    )
    for entry in entries:
        record = orjson.loads(entry)
        assert canonical(record) == entry
        assert len(entry) <= 300
        assert record["concealed"] == commitment


@given(st.integers(0, 2**40), st.integers(0, 65535))
def test_which_operation_of_which_request_it_is_always_fits(decision: int, place: int) -> None:
    words = {"session": "ses-" + "x" * 16, "service": "read-property-multiple", "digest": "d" * 43}
    entry = operation_records.intent(NOW, **words, decision=decision, place=place, part_of="p" * 43)
    record = orjson.loads(entry)
    assert canonical(record) == entry and len(entry) <= 300
    assert record == record | words | {"decision": decision, "place": place, "part_of": "p" * 43}
    with_values = operation_records.intent(
        NOW, **words, decision=decision, place=place, values=("1" * 40,) * 9, before=(("zone", "2" * 40),) * 9
    )
    record = orjson.loads(with_values)
    assert len(with_values) <= 300 and record == record | words | {"decision": decision, "place": place}


def test_what_fits_is_recorded_whole() -> None:
    entry = operation_records.intent(
        NOW,
        session="s",
        decision=7,
        service="write-single-register",
        digest="d" * 43,
        values=("205",),
        before=(("supply-temp-setpoint", "20.0"),),
    )
    assert orjson.loads(entry) == {
        "before": {"supply-temp-setpoint": "20.0"},
        "decision": 7,
        "digest": "d" * 43,
        "kind": "intent",
        "service": "write-single-register",
        "session": "s",
        "time": "2026-09-21T14:13:20.123456Z",
        "values": ["205"],
    }


def test_what_does_not_fit_is_counted() -> None:
    values = tuple(str(40_000 + i) for i in range(123))
    record = orjson.loads(
        operation_records.intent(NOW, session="s" * 22, decision=7, service="x", digest="d" * 43, values=values)
    )
    assert record["values"] == list(values[: len(record["values"])])
    assert len(record["values"]) + record["omitted"] == 123


@given(st.floats(0, 4e9))
def test_stamps_are_utc_with_microseconds_and_never_ahead(time: float) -> None:
    stamp = records.stamp(time)
    read = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    assert len(stamp) == 27 and read.tzinfo == UTC
    assert -1e-6 <= time - read.timestamp() <= 2e-6


def every_kind() -> dict[str, bytes]:
    question = {"windows": {"open": [], "next": None}, "grants": [{"id": "g"}], "now": 5}
    built = [
        records.broker_started(NOW, version="1", revisions={"policy": "a", "since": NOW}),
        records.broker_stopped(NOW, reason="sigterm"),
        records.session_opened(
            NOW,
            session="s",
            subject={"id": "ana", "roles": ("vendor",)},
            device="plant/ahu-1",
            listener="modbus_tls",
            peer="127.0.0.1:1",
            proofs=[{"kind": "certificate", "not_after": float("inf"), "proven_at": NOW}],
            decision=1,
        ),
        records.session_closed(NOW, session="s", reason="window_closed", operations=3, refusals=1, detail="w"),
        *[
            records.session_act(kind, NOW, session="s", by="bo", why="valve\nstuck")
            for kind in (RecordKind.SESSION_PAUSED, RecordKind.SESSION_RESUMED, RecordKind.SESSION_CUT)
        ],
        records.logged_out(NOW, logout="out-1", issuer="https://i", account="u-1", login="", at=NOW - 1),
        records.identity_refused(NOW, source="10.0.0.1", code="c", count=9, first=NOW, last=NOW, listener="https"),
        records.frame_refused(NOW, session="s", device="d", direction="caller", code="length", digest="x", size=300),
        records.frame_refused(
            NOW, session="s", device="d", direction="caller", code="malformed", digest="", size=3, service="vt-open"
        ),
        records.decision(
            NOW,
            id="d1",
            session="s",
            entry_point="operation.decision",
            input=question,
            answer={"allow": True, "valid_until": 5},
            revision="r",
            allow=True,
            reasons=(),
        ),
        operation_records.intent(NOW, session="s", decision=0, service="x", digest="y"),
        operation_records.outcome(NOW, intent=1, result="done"),
        records.denials_suppressed(NOW, subject="ana", count=5, first=NOW, last=NOW),
        records.audit_log_counted(NOW, site="plant", device="plant/bms", told=7, lost=0, since=NOW - 60),
        records.audit_log_counted(NOW, site="plant", device="plant/bms", told=7, lost=2, why="timeout", since=NOW - 60),
        records.cov_counted(
            NOW,
            session="s",
            decision=0,
            device="plant/vav-1",
            object="analog-value,1",
            property="present-value",
            passed=3,
            withheld=1,
            since=NOW,
            until=NOW,
        ),
        *[
            records.changed(kind, NOW, revision="b", previous="a", detail={"gained": ["x"]})
            for kind in RecordKind
            if kind.value.endswith("_changed") and kind is not RecordKind.REQUEST_CHANGED
        ],
        records.reload_refused(NOW, what="policy", problems=["bad\nline"] * 30),
        records.lock_set(NOW, lock={"id": "lck-1", "kind": "site", "until": NOW, "isolation": False}),
        records.lift_signed(NOW, lock="lck-1", digest="d", by="bo"),
        records.lock_lifted(NOW, lock="lck-1", by="bo", at=NOW, broker="b/ledger", index=5),
        records.lift_distrusted(NOW, lock="lck-1", by="eve", code="lift_unsigned"),
        records.approval_asked(
            NOW,
            approval="arm-1",
            session="s",
            subject="ana",
            device="plant/ahu-1",
            digest="d",
            needs=["second_person"],
            decisions=[7],
            until=NOW,
        ),
        records.operation_armed(
            NOW,
            approval="arm-1",
            session="s",
            obligation="second_person",
            by="bo",
            until=NOW,
            before=(("setpoint", "19"),),
            why="agreed",
        ),
        records.arming_used(NOW, approval="arm-1", session="s", decisions=[7]),
        records.approval_ended(NOW, approval="arm-1", session="s", reason="refused", by="bo", why="no"),
        *(
            records.leave_finished(
                NOW,
                leave="lve-1",
                subject="ana",
                device="plant/ahu-1",
                why="locked",
                ended=NOW,
                points=[{"point": "p", "undo": "restore", "priority": None, "result": "undone", "detail": ""}],
                unsettled=unsettled,
            )
            for unsettled in (0, 1)
        ),
        records.leave_acknowledged(NOW, leave="lve-1", by="bo", why="by hand"),
        records.leave_dropped(NOW, leave="lve-1", subject="ana", device="plant/ahu-1"),
        emergency_records.break_glass_sealed(NOW, seal="seal-1", parts=5, needed=3, sealed_at=NOW),
        emergency_records.break_glass_opened(NOW, emergency={"id": "emg-1", "until": NOW, "parts": (1, 2)}),
        emergency_records.break_glass_refused(NOW, subject="bo", code="too_soon", count=2, first=NOW, last=NOW),
        emergency_records.break_glass_ended(NOW, emergency="emg-1", by="bo"),
        emergency_records.break_glass_reviewed(NOW, emergency="emg-1", by="bo", comment="fire\nalarm", signatures=1),
        records.administered(NOW, by="b", permission="plant.tend", resource={"kind": "plant"}, outcome="done"),
        records.invitation_created(
            NOW, invitation="inv-a", subject="ana@acme.example", organisation="acme", by="bo", until=NOW
        ),
        records.invitation_revoked(NOW, invitation="inv-a", by="bo"),
        records.person_enrolled(
            NOW, subject="ana@acme.example", organisation="acme", invitation="inv-a", invited_by="bo", factor="totp"
        ),
        records.person_revoked(NOW, subject="ana@acme.example", organisation="acme", by="bo", why="left"),
        records.certificate_issued(
            NOW, subject="ana", organisation="acme", occasion="renewal", certificate={"serial": "1f", "not_after": NOW}
        ),
        records.factor_refused(NOW, subject="ana@acme.example", count=3, first=NOW, last=NOW),
        proposal_records.policy_proposed(NOW, revision="b", in_force="a"),
        proposal_records.proposal_created(
            NOW, proposal="prp-1", act="ca.sign", parameters={"csr": "x"}, by="bo", until=NOW, why="rotation"
        ),
        proposal_records.proposal_approved(NOW, proposal="prp-1", act="ca.sign", parameters={"csr": "x"}, by="cy"),
        proposal_records.proposal_ended(
            NOW, proposal="prp-1", act="ca.sign", ended_as="approved", by="cy", approved_by=("bo", "cy"), why=""
        ),
        records.host_command(
            NOW, id="cmd-1", at=NOW, command="ledger erase", about={"n": "1"}, outcome="done", claimed_by={"uid": "0"}
        ),
        request_records.request_changed(
            NOW, request="req-1", version=1, act="create", by="ana", previous="", state="pending", terms={"starts": 5}
        ),
        request_records.request_reviewed(
            NOW,
            request="req-1",
            version=2,
            terms="d",
            reviewer={"id": "bo", "roles": ("security",)},
            verdict="approve",
            groups=("security",),
            decision=4,
            comment="go",
        ),
        request_records.request_distrusted(NOW, request="req-1", code="revived", detail="x"),
        request_records.grant_given(
            NOW, grant="req-1", subject="ana", terms="d", reviews=[{"ledger": "b", "index": 3}]
        ),
        request_records.grant_withdrawn(NOW, grant="req-1", reasons=("locked",)),
        request_records.grant_used(NOW, grant="req-1", use="write", session="s", result="claimed"),
        records.device_disputed(NOW, device="plant/vav-1", nodes=("02:00:00:00:00:d1", "02:00:00:00:00:d2")),
        records.clock_stepped(NOW, step_seconds=-3.25),
        records.tail_healed(NOW, dropped_octets=5, orphans=1),
        records.evidence_viewed(NOW, subject="cy", what="records 0-5"),
        records.watching_ended(NOW, subject="bo", what="watch session s", reason="peer_closed"),
        records.evidence_pruned(NOW, minimum=256),
    ]
    return {orjson.loads(entry)["kind"]: entry for entry in built}


def test_there_is_a_builder_for_every_kind_and_each_is_canonical() -> None:
    built = every_kind()
    assert set(built) == {kind.value for kind in RecordKind}
    for entry in built.values():
        assert canonical(orjson.loads(entry)) == entry


def test_floats_of_ours_become_stamps() -> None:
    record = orjson.loads(every_kind()["session_opened"])
    assert record["proofs"] == [{"kind": "certificate", "not_after": "never", "proven_at": records.stamp(NOW)}]


def test_a_decision_too_long_keeps_what_is_small_and_the_digest_of_the_rest() -> None:
    question = {
        "windows": {"open": [{"id": "w", "opens": 1, "closes": 9}], "next": None},
        "grants": [],
        "now": 5,
        "operation": {"points": [{"name": f"point-{i}", "text": "x" * 40} for i in range(2000)]},
    }
    entry = records.decision(
        NOW,
        id="d",
        session="s",
        entry_point="operation.decision",
        input=question,
        answer={"allow": True},
        revision="r",
        allow=True,
        reasons=(),
    )
    record = orjson.loads(entry)
    assert len(entry) <= 65535
    assert record["input"]["windows"] == question["windows"] and record["input"]["now"] == 5
    assert record["input"]["operation"]["cut"]["octets"] == len(canonical(question["operation"]))


def test_long_texts_are_cut_visibly() -> None:
    record = orjson.loads(records.broker_stopped(NOW, reason="x" * 5000))
    assert len(record["reason"]) == 500 and record["reason"].endswith("\u2026")


def test_a_question_with_floats_is_refused() -> None:
    with pytest.raises(ValueError):
        records.decision(
            NOW,
            id="d",
            session="s",
            entry_point="x",
            input={"now": 1.5},
            answer={},
            revision="r",
            allow=False,
            reasons=(),
        )
