# METADATA
# title: The shape of every answer
# description: |
#   The broker reads answers strictly: one key too many or one unknown word is a denial. Nothing but these functions
#   makes answers. `valid_until` is a wish; the broker cuts it to the earliest end it knows.
package otbroker.answer

lease_seconds := 60

denied(reasons) := {
	"allow": false,
	"reasons": sort(reasons),
	"obligations": [],
	"valid_until": input.now + lease_seconds,
	"rule": "denied",
}

allowed(rule, obligations) := allowed_until(rule, obligations, input.now + lease_seconds)

allowed_until(rule, obligations, until) := {
	"allow": true,
	"reasons": [],
	"obligations": sort(obligations),
	"valid_until": until,
	"rule": rule,
}

# Not to be reused: each time it is asked anew.
allowed_once(rule, obligations) := {
	"allow": true,
	"reasons": [],
	"obligations": sort(obligations),
	"rule": rule,
}
