# METADATA
# title: May the broker itself undo what somebody left when the access ended?
# description: |
#   Asked when the broker opens a session of its own for it (`input.operation` is null), and for every step in that
#   session: to look at the place of `input.leave.debt`, and to put back exactly the value before, or release exactly
#   that priority; without a debt, to cancel a COV subscription that the broker held there. Never in a freeze. A site
#   adds reasons of its own in `data.site.leave.reasons`.
# entrypoint: true
package otbroker.leave

default decision := {"allow": false, "reasons": ["input_invalid"], "obligations": [], "rule": "default"}

decision := data.otbroker.answer.denied(reasons) if {
	is_number(input.now)
	count(reasons) > 0
}

decision := data.otbroker.answer.allowed(concat("/", ["leave", input.leave.why]), []) if {
	is_number(input.now)
	count(reasons) == 0
}

reasons contains "role_missing" if not broker_itself

reasons contains "device_unknown" if not is_device

reasons contains "freeze_active" if not data.otbroker.calendar.thawed

reasons contains "service_not_allowed" if not step

reasons contains "value_not_allowed" if not nothing_but_the_debt

reasons contains "site_policy_odd" if data.otbroker.site.leave_odd

reasons contains reason if {
	not data.otbroker.site.leave_odd
	some reason in data.site.leave.reasons
}

is_device if is_string(input.device.id)

broker_itself if {
	is_array(input.subject.proofs)
	some proof in input.subject.proofs
	proof.kind == "broker"
}

# Opening the session, looking, or writing one value.
step if input.operation == null

step if {
	input.operation.action == "view"
	data.otbroker.services.fitting
}

step if {
	input.operation.writes == true
	input.operation.service in data.otbroker.services.writing_values
}

nothing_but_the_debt if {
	input.operation == null
	input.leave.debt == null
}

nothing_but_the_debt if {
	input.operation.writes == false
	only_its_point
}

nothing_but_the_debt if {
	input.operation.writes == true
	only_its_point
	written == owed
}

nothing_but_the_debt if {
	input.leave.debt == null
	input.operation.writes == false
	input.operation.service in {"subscribe-cov", "subscribe-cov-property"}
	input.operation.facts.cancels == "true"
}

# Points that share a register with it are touched as well, with what its value means for them.
only_its_point if {
	is_array(input.operation.points)
	some point in input.operation.points
	point.name == input.leave.debt.point
}

written := {"value": object.get(input.operation.values, input.leave.debt.point, null), "priority": input.operation.priority}

owed := {"value": input.leave.debt.before, "priority": null} if {
	input.leave.debt.undo == "restore"
	is_string(input.leave.debt.before)
}

owed := {"value": "null", "priority": input.leave.debt.priority} if input.leave.debt.undo == "release"
