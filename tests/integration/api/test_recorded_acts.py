"""Which test proves that a route leaves the records it declares: for every route and every kind there is one."""

import ast
from pathlib import Path

import pytest

from broker.api.route import Effect
from broker.api.routes import ROUTES
from tests.integration.api.stage import serving

TESTS = Path(__file__).parents[2]
DECLARED = {(r.name, kind.value) for r in ROUTES if r.effect is Effect.CHANGES for kind in r.recorded_as}
LIVE = "end_to_end/test_live_control.py::test_a_session_is_watched_paused_resumed_and_ended_and_the_ledger_says_by_whom"
ARMED = "integration/api/test_approvals.py::test_approving_asks_the_policy_with_whose_it_is_and_lets_it_pass_once"
LOCKED = "end_to_end/test_locks.py::test_a_lock_cuts_every_live_path_and_refuses_every_new_one_until_it_is_lifted"
ENROLLED = "integration/people/test_enrolment.py::test_who_was_invited_enrols_and_is_proven_by_certificate_and_factor"
UNINVITED = "integration/people/test_enrolment.py::test_what_somebody_invited_others_by_ends_with_him"
WORK = "end_to_end/test_requests.py::test_the_work_of_a_vendor_from_the_request_to_the_report"
EMERGENCY = "end_to_end/test_break_glass.py::check_records"
COUNTED = "integration/state/test_proposals.py::test_one_person_counts_once_however_often_and_wherever"
WARRANTED = "integration/state/test_proposals.py::test_of_two_last_approvals_at_one_time_one_warrants"
REFUSED = "integration/state/test_proposals.py::test_what_was_refused_is_not_warranted"
ACTIVATED = (
    "end_to_end/test_policy_activation.py::test_a_changed_policy_waits_for_two_people_and_for_exactly_what_they_saw"
)
PROOFS = {
    ("pause_session", "session_paused"): LIVE,
    ("resume_session", "session_resumed"): LIVE,
    ("end_session", "session_cut"): LIVE,
    ("approve", "operation_armed"): ARMED,
    ("refuse", "approval_ended"): ("end_to_end/test_approvals.py::test_a_call_that_waits_is_told_that_it_was_refused"),
    ("step_up", "operation_armed"): (
        "end_to_end/test_approvals.py::"
        "test_a_step_up_takes_a_fresh_token_of_the_one_who_asked_and_a_second_person_may_be_obliged_beside"
    ),
    ("lock", "lock_set"): LOCKED,
    ("lift", "lock_lifted"): LOCKED,
    ("lift", "lift_signed"): LOCKED,
    ("acknowledge_leave", "leave_acknowledged"): (
        "end_to_end/test_clean_leave.py::test_what_cannot_be_undone_is_alarmed_and_listed_until_somebody_takes_note"
    ),
    ("invite", "invitation_created"): ENROLLED,
    ("revoke_invitation", "invitation_revoked"): (
        "integration/people/test_enrolment.py::test_a_code_is_refused_when_it_is_wrong_and_when_it_is_over"
    ),
    ("revoke_person", "person_revoked"): UNINVITED,
    ("revoke_person", "invitation_revoked"): UNINVITED,
    ("revoke_person", "request_changed"): "end_to_end/test_enrolment.py::test_the_day_of_a_vendor_who_has_no_account",
    ("complete_enrolment", "person_enrolled"): ENROLLED,
    ("complete_enrolment", "certificate_issued"): ENROLLED,
    ("complete_renewal", "certificate_issued"): (
        "integration/people/test_renewal.py::test_of_many_renewals_with_one_code_one_succeeds"
    ),
    ("create_request", "request_changed"): WORK,
    ("review_request", "request_reviewed"): WORK,
    ("review_request", "request_changed"): WORK,
    ("close_request", "request_changed"): WORK,
    ("revoke_request", "request_changed"): (
        "integration/state/test_requests.py::"
        "test_without_the_state_nothing_new_is_given_and_a_revocation_holds_all_the_same"
    ),
    ("break_glass", "break_glass_opened"): EMERGENCY,
    ("break_glass", "break_glass_refused"): (
        "end_to_end/test_break_glass.py::test_parts_open_once_and_only_for_people_of_the_owner"
    ),
    ("close_emergency", "break_glass_ended"): EMERGENCY,
    ("review_emergency", "break_glass_reviewed"): EMERGENCY,
    (
        "isolate",
        "lock_set",
    ): "end_to_end/test_locks.py::test_an_isolation_spares_whom_the_policy_names_and_takes_two_people_to_lift",
    ("renew_service", "certificate_issued"): "end_to_end/test_enrolment.py::test_a_service_renews_itself",
    ("submit_request", "request_changed"): (
        "end_to_end/test_requests.py::test_a_draft_is_nobodys_business_until_it_is_handed_in"
    ),
    ("withdraw_request", "request_changed"): (
        "end_to_end/test_requests.py::test_nobody_approves_what_he_asked_for_and_auditors_approve_nothing"
    ),
    ("extend_request", "request_changed"): (
        "end_to_end/test_requests.py::test_an_extension_leaves_the_connection_as_it_is"
    ),
    ("ticket_event", "request_changed"): (
        "integration/notices/test_tickets.py::test_when_a_ticket_is_over_so_is_everything_under_it_and_nothing_else"
    ),
    ("activate_policy", "proposal_created"): REFUSED,
    ("activate_policy", "proposal_approved"): COUNTED,
    ("activate_policy", "proposal_ended"): ACTIVATED,
    ("activate_policy", "policy_changed"): ACTIVATED,
    ("propose", "proposal_created"): REFUSED,
    ("propose", "proposal_approved"): COUNTED,
    ("propose", "proposal_ended"): WARRANTED,
    ("approve_proposal", "proposal_approved"): COUNTED,
    ("approve_proposal", "proposal_ended"): WARRANTED,
    ("refuse_proposal", "proposal_ended"): REFUSED,
}
HERE = {("ticket_event", "administered")}


def test_every_record_that_a_route_declares_is_looked_for_by_a_test():
    assert set(PROOFS) | HERE == DECLARED


@pytest.mark.parametrize(
    ("declared", "proof"), PROOFS.items(), ids=lambda each: "-".join(each) if each in PROOFS else ""
)
def test_what_proves_a_record_is_there_and_names_its_kind(declared, proof):
    place, _, name = proof.partition("::")
    text = (TESTS / place).read_text()
    found = [
        n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == name
    ]
    assert len(found) == 1
    kind = declared[1]
    source = ast.get_source_segment(text, found[0])
    assert kind in source or kind.upper() in source
    assert name.startswith("test_") or text.count(f"{name}(") > 1


def test_a_ticket_event_is_one_act_in_the_ledger(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            async with client.post("/v1/tickets/WO-4711/events", json={"state": "closed"}) as told:
                assert told.status == 200
            assert [outcome for *_, outcome in stage.gate.acts] == ["begun", "done"]

    run(story())
