package otbroker.site_test

import data.otbroker.fixtures_test as given
import data.otbroker.operation

writing := given.operation(given.adjust)

reading := given.operation(given.view)

odd := ["site_policy_odd"]

terms := [
	["boiler-on"],
	"boiler-on",
	false,
	null,
	{"points": "boiler-on"},
	{"points": {"boiler-on": true}},
	{"points": [7]},
	{"point": ["boiler-on"]},
	{"actions": ["adjusting"]},
	{"criticalities": "low"},
	{"labels": ["area"]},
	{"labels": {"area": "lab"}},
]

test_what_takes_a_person_must_be_readable_or_no_write_passes if {
	every said in terms {
		operation.decision.reasons == odd with input as writing with data.site.operation.second_person as said
		operation.decision.reasons == odd with input as writing with data.site.operation.step_up as said
		operation.decision.allow with input as reading with data.site.operation.second_person as said
	}
	late := {"seconds": "60"}
	operation.decision.reasons == odd with input as writing with data.site.operation.step_up as late
	operation.decision.reasons == odd with input as writing with data.site.operation.second_person as {"seconds": 60}
}

test_lists_of_words_must_be_lists_of_words if {
	every said in ["second_person", {"second_person": true}, [1], 7] {
		operation.decision.reasons == odd with input as writing with data.site.operation.obligations as said
		operation.decision.reasons == odd with input as writing with data.site.leave.obligations as said
	}
	every said in ["freeze_active", true, 7] {
		operation.decision.reasons == odd with input as writing with data.site.operation.reasons as said
		operation.decision.reasons == odd with input as reading with data.site.operation.reasons as said
	}
}

test_what_is_undone_must_be_known if {
	operation.decision.reasons == odd with input as writing with data.site.leave.obligations as {"restor"}
	operation.decision.reasons == odd with input as writing with data.site.leave.waived as "yes"
}

test_what_is_readable_is_read if {
	every said in [{}, {"actions": ["auth"], "points": set(), "criticalities": ["high"], "labels": {"area": {"lab"}}}] {
		operation.decision.allow with input as writing with data.site.operation.second_person as said
	}
	operation.decision.allow with input as writing with data.site.operation.reasons as []
}
