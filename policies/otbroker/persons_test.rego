package otbroker.persons_test

import data.otbroker.fixtures_test as given
import data.otbroker.operation

command := given.changed(given.adjust, {
	"action": "control",
	"points": [given.changed(given.point, {"class": "control"})],
})

grant := given.changed(given.grants[1], {"actions": ["adjust", "control"]})

critical(asked) := given.changed(given.operation(asked), {
	"device": {"criticality": "critical"},
	"subject": {"proofs": [given.certificate, given.token]},
	"grants": [grant],
})

proven(question, seconds_ago) := given.changed(question, {"session": {"mfa_at": given.now - seconds_ago}})

arming(kind) := {
	"approval": "arm-a",
	"kind": kind,
	"by": "bo@owner.example",
	"at": given.now - 5,
	"until": given.now + 100,
}

armed(question, kinds) := given.changed(question, {"armed": [arming(kind) | some kind in kinds]})

obligations(question) := obliged if {
	answer := operation.decision with input as question
	answer.allow
	obliged := answer.obligations
}

test_nothing_takes_a_person_by_default_that_is_not_critical if {
	every criticality in {"low", "medium"} {
		question := given.changed(critical(command), {"device": {"criticality": criticality}})
		obligations(question) == []
	}
	obligations(critical(given.adjust)) == ["before_value"]
}

test_commanding_a_critical_device_takes_a_fresh_proof if {
	obligations(critical(command)) == ["before_value", "step_up"]
	obligations(proven(critical(command), 900)) == ["before_value", "step_up"]
	obligations(proven(critical(command), 899)) == ["before_value"]
}

test_an_answer_that_rests_on_a_fresh_proof_is_not_reused_when_that_is_old if {
	answer := operation.decision with input as proven(critical(command), 890)
	answer.valid_until == given.now + 10
}

test_an_unknown_criticality_counts_as_critical if {
	odd := given.changed(critical(command), {"device": {"criticality": "severe"}})
	"step_up" in obligations(odd)
}

test_machines_have_nothing_to_step_up_with if {
	obligations(given.changed(critical(command), {"subject": {"kind": "service"}})) == ["before_value"]
}

test_what_is_armed_is_obliged_no_longer if {
	obligations(armed(critical(command), {"step_up"})) == ["before_value"]
	obligations(armed(critical(command), {"second_person"})) == ["before_value", "step_up"]
	late := given.changed(critical(command), {"armed": [given.changed(arming("step_up"), {"until": given.now})]})
	obligations(late) == ["before_value", "step_up"]
}

test_a_site_names_what_takes_a_second_person if {
	question := given.operation(given.adjust)
	every named in [
		{"actions": ["adjust"]},
		{"points": ["supply-temp-setpoint"]},
		{"criticalities": ["low"]},
	] {
		obligations(question) == ["second_person"] with data.site.operation.second_person as named
		obligations(armed(question, {"second_person"})) == [] with data.site.operation.second_person as named
		obligations(given.operation(given.view)) == [] with data.site.operation.second_person as named
	}
	other := {"actions": ["override"], "points": ["fan-speed"], "criticalities": ["critical"], "labels": {"area": ["lab"]}}
	obligations(question) == [] with data.site.operation.second_person as other
}

test_a_site_names_labels if {
	question := given.changed(given.operation(given.adjust), {"device": {"labels": {"area": "pharmacy"}}})
	pharmacy := {"labels": {"area": ["pharmacy", "lab"]}}
	obligations(question) == ["second_person"] with data.site.operation.second_person as pharmacy
	obligations(given.operation(given.adjust)) == [] with data.site.operation.second_person as pharmacy
}

test_a_site_names_what_takes_a_fresh_proof_and_how_fresh if {
	adjusting := {"actions": ["adjust"], "seconds": 60}
	question := given.operation(given.adjust)
	obligations(question) == ["step_up"] with data.site.operation.step_up as adjusting
	obligations(proven(question, 60)) == ["step_up"] with data.site.operation.step_up as adjusting
	obligations(proven(question, 59)) == [] with data.site.operation.step_up as adjusting
}

test_a_site_obliges_by_rules_of_its_own if {
	answer := operation.decision with input as given.operation(given.adjust)
		with data.site.operation.obligations as {"second_person", "step_up"}
	answer.obligations == ["second_person", "step_up"]
}

supervised(grants, watched_by) := given.changed(given.operation(given.adjust), {
	"grants": grants,
	"session": {"watched_by": watched_by},
})

test_a_supervised_grant_serves_only_while_somebody_else_watches if {
	grants := [given.changed(given.grants[1], {"supervised": true})]
	reasons(supervised(grants, [])) == ["supervisor_missing"]
	reasons(supervised(grants, [given.session.subject.id])) == ["supervisor_missing"]
	obligations(supervised(grants, ["bo@owner.example"])) == []
}

test_a_grant_without_supervision_serves_beside_one_with_it if {
	grants := [given.changed(given.grants[1], {"id": "a-watched", "supervised": true}), given.grants[1]]
	answer := operation.decision with input as supervised(grants, [])
	answer.rule == "grant/adjust"
}

test_a_supervised_grant_whose_window_is_closed_is_not_a_matter_of_supervision if {
	grants := [given.changed(given.grants[1], {"supervised": true, "windows": ["saturday"]})]
	reasons(supervised(grants, [])) == ["window_closed"]
}

reasons(question) := r if {
	answer := operation.decision with input as question
	not answer.allow
	r := answer.reasons
}
