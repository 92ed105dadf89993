# METADATA
# title: May this operation be done, by this subject, on this device, now?
# description: |
#   Deny by default. Every reason is the absence of a condition that must hold, so what is missing from the input denies.
#   All missing conditions are named. A site adds reasons of its own in `data.site.operation.reasons`, and says there
#   what takes a second person or a fresh proof (`persons.rego`).
# entrypoint: true
package otbroker.operation

default decision := {"allow": false, "reasons": ["input_invalid"], "obligations": [], "rule": "default"}

decision := data.otbroker.answer.denied(reasons) if {
	is_number(input.now)
	count(reasons) > 0
}

decision := data.otbroker.answer.allowed_until(concat("/", ["grant", grant_used]), obligations, reusable_until) if {
	is_number(input.now)
	count(reasons) == 0
	not spends
}

# What uses a grant up is decided each time anew.
decision := data.otbroker.answer.allowed_once(concat("/", ["grant", grant_used]), obligations) if {
	is_number(input.now)
	count(reasons) == 0
	spends
}

# A grant that can be used up only serves where no other does.
grant_used := min(lasting) if count(lasting) > 0

grant_used := min({grant.id | some grant in data.otbroker.grants.usable}) if count(lasting) == 0

lasting := {grant.id |
	some grant in data.otbroker.grants.usable
	grant.single_use == false
}

spends if {
	count(lasting) == 0
	not input.operation.writes == false
}

obligations := union({
	data.otbroker.criticality.obligations,
	data.otbroker.persons.obligations,
	data.otbroker.leaving.obligations,
})

reusable_until := min({input.now + data.otbroker.answer.lease_seconds} | data.otbroker.persons.fresh_until)

reasons contains "contract_ended" if not data.otbroker.contract.in_force

# Auditors change nothing, at devices neither.
reasons contains "duties_conflict" if {
	data.otbroker.duties.audits
	not data.otbroker.values.views
}

reasons contains "device_unknown" if not device_named

reasons contains "no_grant" if not data.otbroker.grants.current[0]

reasons contains "action_not_granted" if {
	data.otbroker.grants.current[0]
	not data.otbroker.grants.covering_actions[0]
}

reasons contains "point_not_granted" if {
	data.otbroker.grants.covering_actions[0]
	not data.otbroker.grants.covering_points[0]
	input.operation.described == true
}

# Only a grant for all points reaches an address that no point describes.
reasons contains "point_not_described" if {
	data.otbroker.grants.covering_actions[0]
	not data.otbroker.grants.covering_points[0]
	not input.operation.described == true
}

# Writing what no point describes, or part of a point, is configuration.
reasons contains "point_not_described" if {
	input.operation.action in {"adjust", "control", "override"}
	not data.otbroker.services.commands
	not writes_whole_points
}

reasons contains "point_read_only" if not writes_writable_points

reasons contains "window_closed" if not data.otbroker.calendar.window_suffices

reasons contains "outside_plan" if {
	data.otbroker.grants.covering_points[0]
	not data.otbroker.grants.covering_plans[0]
}

reasons contains "window_closed" if {
	data.otbroker.grants.covering_plans[0]
	not data.otbroker.grants.in_time[0]
}

reasons contains "supervisor_missing" if {
	data.otbroker.grants.in_time[0]
	not data.otbroker.grants.usable[0]
}

reasons contains "freeze_active" if not data.otbroker.calendar.thaw_suffices

reasons contains "service_not_allowed" if not data.otbroker.services.fitting

reasons contains "value_below_limit" if count(data.otbroker.values.too_low) > 0

reasons contains "value_above_limit" if count(data.otbroker.values.too_high) > 0

reasons contains "value_not_allowed" if count(data.otbroker.values.unfit) > 0

reasons contains "priority_not_allowed" if not data.otbroker.values.priority_allowed

reasons contains "criticality_needs_both_proofs" if not data.otbroker.criticality.proofs_suffice

reasons contains "site_policy_odd" if data.otbroker.site.reasons_odd

# Reading goes on: what a site says beyond its reasons is about writes.
reasons contains "site_policy_odd" if {
	data.otbroker.site.odd
	not input.operation.writes == false
}

reasons contains reason if {
	not data.otbroker.site.reasons_odd
	some reason in data.site.operation.reasons
}

writes_whole_points if {
	input.operation.described == true
	every point in input.operation.points {
		point.whole == true
	}
}

writes_writable_points if input.operation.writes == false

writes_writable_points if {
	every point in input.operation.points {
		is_string(point.class)
	}
}

device_named if is_string(input.device.id)
