package otbroker.emergency_test

import data.otbroker.emergency
import data.otbroker.fixtures_test as given

grant := object.union(given.grant, {
	"id": "emg-a",
	"kind": "emergency",
	"actions": ["view", "adjust", "control"],
	"not_before": given.now,
	"not_after": given.now + 3600,
})

broken := {
	"grants": [grant],
	"windows": {"open": [], "next": null},
}

asked(question, changes) := answer if {
	answer := emergency.decision with input as object.union_n([question, broken, changes])
}

denied_for(question, changes, reason) if {
	answer := asked(question, changes)
	answer.allow == false
	answer.reasons == [reason]
}

test_a_session_is_there_while_the_emergency_holds if {
	asked(given.session, {}).rule == "emergency/emg-a"
	asked(given.session, {}).allow
	denied_for(given.session, {"grants": [object.union(grant, {"not_after": given.now})]}, "no_grant")
	denied_for(given.session, {"device": object.union(given.session.device, {"id": "x"}), "grants": []}, "no_grant")
}

test_what_it_gives_needs_no_window if {
	every operation in [given.view, given.adjust, given.bacnet] {
		asked(given.operation(operation), {}).allow
	}
}

test_a_freeze_is_overridden_and_the_record_says_so if {
	every views in [true, false] {
		asked(given.operation(given.adjust), {"freezes": [given.freeze(views)]}).rule == "emergency/emg-a/over-freeze"
	}
	asked(given.operation(given.view), {"freezes": [given.freeze(true)]}).rule == "emergency/emg-a"
	asked(given.operation(given.view), {"freezes": [given.freeze(false)]}).rule == "emergency/emg-a/over-freeze"
}

test_a_critical_device_asks_for_no_token_and_for_the_value_before if {
	critical := {"device": object.union(given.session.device, {"criticality": "critical"})}
	asked(given.operation(given.adjust), critical).obligations == ["before_value"]
}

test_limits_stay if {
	high := object.union(given.point, {"value": "22.5"})
	low := object.union(given.point, {"value": "15.5"})
	odd := object.union(given.point, {"value": "warm"})
	denied_for(given.write(high), {}, "value_above_limit")
	denied_for(given.write(low), {}, "value_below_limit")
	denied_for(given.write(odd), {}, "value_not_allowed")
}

test_points_that_can_only_be_read_stay_so if {
	denied_for(given.write({"class": null}), {}, "point_read_only")
}

test_parts_of_points_and_undescribed_addresses_are_not_written if {
	denied_for(given.write({"whole": false, "value": null}), {}, "point_not_described")
	undescribed := object.union(given.adjust, {"points": [], "described": false, "values": {}})
	denied_for(given.operation(undescribed), {}, "point_not_described")
}

test_priorities_one_to_eight_stay_refused if {
	every priority in numbers.range(1, 8) {
		answer := asked(given.priority({"priority": priority, "action": "override"}), {})
		not answer.allow
		"action_not_granted" in answer.reasons
	}
}

test_nothing_but_viewing_adjusting_and_commanding_whatever_the_grant_says if {
	everything := {"grants": [object.union(grant, {"actions": ["view", "adjust", "override", "config", "install", "auth"]})]}
	every action in {"override", "config", "install", "auth"} {
		answer := asked(given.operation(object.union(given.adjust, {"action": action})), everything)
		"action_not_granted" in answer.reasons
	}
}

test_actions_that_the_settings_leave_out_are_not_given if {
	denied_for(given.operation(given.adjust), {"grants": [object.union(grant, {"actions": ["view"]})]}, "action_not_granted")
}

test_services_must_fit if {
	denied_for(given.operation(object.union(given.view, {"service": "write-single-register"})), {}, "service_not_allowed")
}

test_a_contract_that_ended_ends_it if {
	subject := object.union(given.session.subject, {"organisation": {"contract_until": given.now}})
	denied_for(given.session, {"subject": subject}, "contract_ended")
}

test_conditions_of_a_site_do_not_apply if {
	answer := emergency.decision with input as object.union(given.session, broken)
		with data.site.session.reasons as {"role_missing"}
	answer.allow
}
