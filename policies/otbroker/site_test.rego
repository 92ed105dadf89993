package otbroker.site_test

import data.otbroker.access
import data.otbroker.access_test as reviews
import data.otbroker.admin
import data.otbroker.admin_test as administering
import data.otbroker.fixtures_test as given
import data.otbroker.leave
import data.otbroker.leave_test as leaving
import data.otbroker.operation
import data.otbroker.session

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

test_reasons_must_be_words_wherever_a_site_adds_them if {
	anybody := administering.question("me.read", {}, {})
	undoing := leaving.asked(null, null)
	every said in ["role_missing", {"role_missing": true}, [1], {1}, 7, null, false, true] {
		session.decision.reasons == odd with input as given.session with data.site.session.reasons as said
		admin.decision.reasons == odd with input as anybody with data.site.admin.reasons as said
		leave.decision.reasons == odd with input as undoing with data.site.leave.reasons as said
		access.review.reasons == odd with input as reviews.asked({}, {}) with data.site.access.reasons as said
	}
}

test_nobody_approves_while_it_is_not_known_how_many_must if {
	every said in ["2", {2}, [2], {"needed": 2}, set(), null, true, 0, -1, 9, 1.5] {
		answer := access.review with input as reviews.asked({}, {}) with data.site.access.needed as said
		answer.reasons == odd
		answer.groups == []
		answer.needed == 1
	}
}

test_a_site_may_need_as_many_as_an_answer_can_say_and_never_fewer_than_the_library if {
	every said in [1, 2, 8] {
		answer := access.review with input as reviews.asked({}, {}) with data.site.access.needed as said
		answer.allow
		answer.needed == said
	}
	grave := access.review with input as reviews.asked({}, {"actions": ["config"]}) with data.site.access.needed as 1
	grave.needed == 2
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
