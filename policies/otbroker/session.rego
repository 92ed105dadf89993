# METADATA
# title: May this subject open a session to this device now?
# description: |
#   A session needs one grant in force that could allow something now: looking at any time, anything else inside a
#   window. Each operation in the session is decided again on its own.
# entrypoint: true
package otbroker.session

default decision := {"allow": false, "reasons": ["input_invalid"], "obligations": [], "rule": "default"}

decision := data.otbroker.answer.denied(reasons) if {
	is_number(input.now)
	count(reasons) > 0
}

decision := data.otbroker.answer.allowed(concat("/", ["grant", min(useful)]), []) if {
	is_number(input.now)
	count(reasons) == 0
}

reasons contains "contract_ended" if not data.otbroker.contract.in_force

reasons contains "device_unknown" if not device_named

reasons contains "no_grant" if not data.otbroker.grants.current[0]

reasons contains "window_closed" if {
	data.otbroker.grants.current[0]
	count(in_time) == 0
}

reasons contains "freeze_active" if {
	count(in_time) > 0
	count(useful) == 0
}

reasons contains "site_policy_odd" if data.otbroker.site.session_odd

reasons contains reason if {
	not data.otbroker.site.session_odd
	some reason in data.site.session.reasons
}

# Pairs of a grant and an action that the calendar's windows let happen now.
in_time contains [id, action] if {
	some grant in data.otbroker.grants.current
	data.otbroker.grants.timely(grant)
	is_array(grant.actions)
	some action in grant.actions
	data.otbroker.calendar.window_for(action)
	id := grant.id
}

useful contains id if {
	some [id, action] in in_time
	data.otbroker.calendar.thawed_for(action)
}

device_named if is_string(input.device.id)
