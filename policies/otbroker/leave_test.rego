package otbroker.leave_test

import data.otbroker.fixtures_test as given
import data.otbroker.leave

decided(question) := answer if {
	answer := leave.decision with input as question
}

denied_for(question, reason) if decided(question).reasons == [reason]

debt := {
	"point": "supply-temp-setpoint",
	"undo": "restore",
	"priority": null,
	"before": "19.5",
	"own": ["21.5"],
	"session": "ses-1",
	"intent": 17,
}

at_priority := given.changed(debt, {"undo": "release", "priority": 12, "before": null})

broker := {
	"id": "otbroker:b/ledger",
	"kind": "service",
	"organisation": {"id": "broker.itself", "owner": true, "contract_from": null, "contract_until": null},
	"roles": [],
	"modbus_role": null,
	"proofs": [given.changed(given.certificate, {"kind": "broker"})],
}

asked(operation, owed) := object.union(object.remove(given.session, ["subject", "windows", "grants"]), {
	"subject": broker,
	"windows": {"open": [], "next": null},
	"grants": [],
	"operation": operation,
	"leave": {
		"id": "lve-1",
		"subject": "ana@vendor.example",
		"organisation": "vendor",
		"why": "window_closed",
		"debt": owed,
	},
})

put(value) := object.union(object.remove(given.adjust, ["values"]), {
	"points": [given.changed(given.point, {"value": value, "on_leave": "restore"})],
	"values": {"supply-temp-setpoint": value},
})

release(value, priority) := object.union(object.remove(given.bacnet, ["values"]), {
	"points": [given.changed(given.point, {"value": value, "on_leave": "release", "priority": {"lowest": 8, "highest": 16}})],
	"values": {"supply-temp-setpoint": value},
	"priority": priority,
})

test_the_broker_may_have_a_session_to_undo_with_every_window_closed if {
	answer := decided(asked(null, null))
	answer.allow
	answer.rule == "leave/window_closed"
	answer.obligations == []
}

test_it_may_look_at_the_point_of_the_debt_and_at_no_other if {
	decided(asked(given.view, debt)).allow
	denied_for(asked(given.view, given.changed(debt, {"point": "fan-speed"})), "value_not_allowed")
}

test_it_may_put_back_exactly_the_value_before if {
	decided(asked(put("19.5"), debt)).allow
	denied_for(asked(put("19.6"), debt), "value_not_allowed")
	denied_for(asked(put("21.5"), debt), "value_not_allowed")
}

test_the_value_before_may_lie_outside_the_limits_of_today if {
	decided(asked(put("30"), given.changed(debt, {"before": "30"}))).allow
}

test_it_may_release_exactly_the_priority if {
	decided(asked(release("null", 12), at_priority)).allow
	denied_for(asked(release("null", 11), at_priority), "value_not_allowed")
	denied_for(asked(release("21.5", 12), at_priority), "value_not_allowed")
}

test_it_writes_nothing_without_a_debt if {
	denied_for(asked(put("19.5"), null), "value_not_allowed")
	denied_for(asked(null, debt), "value_not_allowed")
}

test_other_services_are_not_for_undoing if {
	device := given.changed(put("19.5"), {"service": "reinitialize-device"})
	denied_for(asked(device, debt), "service_not_allowed")
	denied_for(asked(given.changed(given.view, {"service": "life-safety-operation"}), debt), "service_not_allowed")
}

test_without_a_debt_it_may_cancel_a_subscription_and_nothing_else if {
	decided(asked(subscription({"process-identifier": "700", "cancels": "true"}), null)).allow
	denied_for(asked(subscription({"process-identifier": "700", "confirmed": "false"}), null), "value_not_allowed")
	denied_for(asked(given.view, null), "value_not_allowed")
	denied_for(given.changed(asked(cancelling, null), {"freezes": [given.freeze(true)]}), "freeze_active")
}

cancelling := subscription({"process-identifier": "700", "cancels": "true"})

subscription(facts) := object.union(object.remove(given.view, ["facts"]), {"service": "subscribe-cov", "facts": facts})

test_nothing_is_undone_in_a_freeze if {
	denied_for(given.changed(asked(put("19.5"), debt), {"freezes": [given.freeze(true)]}), "freeze_active")
	denied_for(given.changed(asked(null, null), {"freezes": [given.freeze(false)]}), "freeze_active")
}

test_nobody_but_the_broker_itself_is_answered if {
	denied_for(given.changed(asked(put("19.5"), debt), {"subject": given.session.subject}), "role_missing")
}

test_a_site_adds_its_own_reasons if {
	answer := leave.decision with input as asked(null, null) with data.site.leave.reasons as {"access_changed"}
	answer.reasons == ["access_changed"]
}
