package otbroker.access_test

import data.otbroker.access
import data.otbroker.fixtures_test as given

vendor := {"id": "vendor", "owner": false, "contract_from": null, "contract_until": given.now + 100}

owner := {"id": "plant", "owner": true, "contract_from": null, "contract_until": null}

reviewer := {
	"id": "bo@plant.example",
	"kind": "person",
	"organisation": owner,
	"roles": ["security"],
	"proofs": ["certificate", "token"],
	"authenticated_at": null,
}

request := {
	"id": "req-1",
	"subject": "ana@vendor.example",
	"organisation": vendor,
	"sponsor": "bo@plant.example",
	"devices": [given.session.device],
	"points": ["supply-temp-setpoint"],
	"actions": ["view", "adjust"],
	"plan": [{"device": "plant/ahu-1", "point": "supply-temp-setpoint", "value": "21.5", "priority": null}],
	"single_use": false,
	"supervised": false,
	"window": "",
	"starts": given.now,
	"ends": given.now + 3600,
	"ticket": "",
	"extends": "",
}

asked(by, about) := {
	"version": 1,
	"now": given.now,
	"reviewer": object.union(reviewer, by),
	"request": object.union(request, about),
}

answered(by, about) := answer if {
	answer := access.review with input as asked(by, about)
}

reasons(by) := answered(by, {}).reasons

approvers := {"approvers": ["operator", "security"]}

test_one_suffices_for_an_ordinary_device if {
	answer := answered({}, {})
	answer == object.union(
		{"allow": true, "reasons": [], "groups": ["security"], "needed": 1, "rule": "one"},
		approvers,
	)
}

test_a_critical_device_needs_two_groups_unless_it_is_only_looked_at if {
	critical := {"devices": [given.changed(given.session.device, {"criticality": "critical"})]}
	answered({}, critical).needed == 2
	answered({}, given.changed(critical, {"actions": ["view", "discover"]})).needed == 1
}

test_grave_actions_need_two_groups if {
	every action in {"auth", "config", "install", "override"} {
		answered({}, {"actions": ["view", action]}).needed == 2
	}
}

test_whoever_has_several_roles_may_stand_for_each if {
	answered({"roles": ["security", "operator", "emergency"]}, {}).groups == ["operator", "security"]
}

test_a_role_at_a_site_is_for_requests_about_that_site_alone if {
	answered({"roles": ["operator@plant"]}, {}).groups == ["operator"]
	reasons({"roles": ["operator@mill"]}) == ["role_missing"]
	both := {"devices": [given.session.device, given.changed(given.session.device, {"site": "mill"})]}
	answered({"roles": ["operator@plant"]}, both).reasons == ["role_missing"]
	answered({"roles": ["security", "auditor@plant"]}, both).groups == ["security"]
}

test_nobody_reviews_his_own_request if {
	reasons({"id": request.subject}) == ["review_of_oneself"]
}

test_others_may_not if {
	reasons({"roles": ["emergency"]}) == ["role_missing"]
	reasons({"organisation": vendor}) == ["role_missing"]
	reasons({"kind": "service"}) == ["role_missing"]
	reasons({"roles": ["security", "policy-author"]}) == ["duties_conflict"]
	reasons({"roles": ["security", "policy-author@mill"]}) == ["duties_conflict"]
	reasons({"roles": ["security", "auditor@plant"]}) == ["duties_conflict"]
	reasons({"organisation": {"contract_until": given.now}}) == ["contract_ended"]
}

test_a_denial_says_how_many_are_needed if {
	answer := answered({"roles": []}, {"actions": ["config"]})
	answer == object.union(
		{"allow": false, "reasons": ["role_missing"], "groups": [], "needed": 2, "rule": "denied"},
		approvers,
	)
}

test_a_site_adds_its_own if {
	answer := access.review with input as asked({}, {})
		with data.site.access.reasons as {"role_missing"}
		with data.site.access.needed as 2
	answer.reasons == ["role_missing"]
	answer.needed == 2
}
