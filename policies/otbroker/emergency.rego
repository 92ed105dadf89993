# METADATA
# title: What may be done in an emergency that sealed parts have opened
# description: |
#   The fixed policy: the broker asks the copy that comes with it, and no other policy, for sessions of an emergency. It
#   needs no window, heeds no freeze, and wants no token on critical devices: the sealed parts stand for all of these. What
#   protects the plant stays: limits of points, points that can only be read, services, priorities 1 to 8, and every action
#   but viewing, adjusting and commanding. `input.operation` is absent where a session is about to be opened.
# entrypoint: true
package otbroker.emergency

default decision := {"allow": false, "reasons": ["input_invalid"], "obligations": [], "rule": "default"}

decision := data.otbroker.answer.denied(reasons) if {
	is_number(input.now)
	count(reasons) > 0
}

decision := data.otbroker.answer.allowed(rule, data.otbroker.criticality.obligations) if {
	is_number(input.now)
	count(reasons) == 0
}

# What an emergency may give at most, whatever the settings say.
actions := {"view", "discover", "adjust", "control"}

# The record says where a freeze was overridden.
rule := concat("/", ["emergency", grant_used]) if not overridden

rule := concat("/", ["emergency", grant_used, "over-freeze"]) if overridden

overridden if {
	input.operation.writes == true
	count(input.freezes) > 0
}

overridden if not data.otbroker.calendar.views_thawed

grant_used := min({grant.id | some grant in data.otbroker.grants.current})

reasons contains "contract_ended" if not data.otbroker.contract.in_force

reasons contains "device_unknown" if not device_named

reasons contains "no_grant" if not data.otbroker.grants.current[0]

reasons contains "action_not_granted" if {
	input.operation
	not action_given
}

reasons contains "point_not_described" if {
	input.operation.writes == true
	not writes_described_points
}

reasons contains "point_read_only" if {
	input.operation.writes == true
	not writes_writable_points
}

reasons contains "service_not_allowed" if {
	input.operation
	not data.otbroker.services.fitting
}

reasons contains "value_below_limit" if count(data.otbroker.values.too_low) > 0

reasons contains "value_above_limit" if count(data.otbroker.values.too_high) > 0

reasons contains "value_not_allowed" if {
	input.operation
	count(data.otbroker.values.unfit) > 0
}

reasons contains "priority_not_allowed" if {
	input.operation
	not data.otbroker.values.priority_allowed
}

action_given if {
	every action in data.otbroker.grants.needed_actions {
		action in actions
	}
	data.otbroker.grants.covering_actions[0]
}

writes_described_points if {
	input.operation.described == true
	every point in input.operation.points {
		point.whole == true
	}
}

writes_writable_points if {
	every point in input.operation.points {
		is_string(point.class)
	}
}

device_named if is_string(input.device.id)
