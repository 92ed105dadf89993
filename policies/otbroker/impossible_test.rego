# METADATA
# description: |
#   Questions that are not of the schema. The broker asks none of them; if one came all the same, it would be denied.
#   All other tests ask what the broker may ask (`tests/policy_checks.py` sees to both).
package otbroker.impossible_test

import data.otbroker.access
import data.otbroker.admin
import data.otbroker.emergency
import data.otbroker.fixtures_test as given
import data.otbroker.leave
import data.otbroker.operation
import data.otbroker.session

test_nothing_is_denied_by_default if {
	every answer in [operation.decision, session.decision, admin.decision, leave.decision, emergency.decision] {
		answer.allow == false
		answer.rule == "default"
	} with input as {}
	review := access.review with input as {}
	review.allow == false
	review.rule == "default"
}

test_nothing_but_the_time_names_what_is_missing if {
	answer := operation.decision with input as {"now": given.now}
	answer.allow == false
	every reason in {"no_grant", "contract_ended", "window_closed", "freeze_active", "service_not_allowed"} {
		reason in answer.reasons
	}
}

test_without_a_device_there_is_nothing_to_decide if {
	of_operation := operation.decision with input as object.remove(given.operation(given.adjust), ["device"])
	"device_unknown" in of_operation.reasons
	of_session := session.decision with input as object.remove(given.session, ["device"])
	"device_unknown" in of_session.reasons
	of_emergency := emergency.decision with input as object.remove(given.session, ["device"])
	"device_unknown" in of_emergency.reasons
	of_leave := leave.decision with input as object.remove(given.session, ["device"])
	of_leave.reasons == ["device_unknown", "role_missing", "service_not_allowed", "value_not_allowed"]
}

test_a_priority_that_bacnet_does_not_have_is_not_allowed if {
	answer := operation.decision with input as given.priority({"priority": 17})
	answer.reasons == ["priority_not_allowed"]
}
