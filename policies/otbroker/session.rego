# METADATA
# title: May this subject open a session to this device now?
# description: |
#   A session needs one grant in force that could allow something now: looking at any time, anything else inside a
#   window. Each operation in the session is decided again on its own.
# entrypoint: true
package otbroker.session

import data.otbroker.answer
import data.otbroker.calendar
import data.otbroker.contract
import data.otbroker.grants

default decision := {"allow": false, "reasons": ["input_invalid"], "obligations": [], "rule": "default"}

decision := answer.denied(reasons) if {
	is_number(input.now)
	count(reasons) > 0
}

decision := answer.allowed(concat("/", ["grant", min(useful)]), []) if {
	is_number(input.now)
	count(reasons) == 0
}

reasons contains "contract_ended" if not contract.in_force

reasons contains "no_grant" if not grants.current[0]

reasons contains "window_closed" if {
	grants.current[0]
	count(in_time) == 0
}

reasons contains "freeze_active" if {
	count(in_time) > 0
	count(useful) == 0
}

reasons contains reason if some reason in data.site.session.reasons

# Pairs of a grant and an action that the calendar's windows let happen now.
in_time contains [grant.id, action] if {
	some grant in grants.current
	grants.timely(grant)
	some action in grant.actions
	calendar.window_for(action)
}

useful contains id if {
	some [id, action] in in_time
	calendar.thawed_for(action)
}
