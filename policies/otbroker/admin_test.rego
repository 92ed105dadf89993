package otbroker.admin_test

import data.otbroker.admin
import data.otbroker.fixtures_test as given

decided(permission, resource, subject) := answer if {
	answer := admin.decision with input as question(permission, resource, subject)
}

question(permission, resource, subject) := {
	"version": 1,
	"now": given.now,
	"subject": object.union(given.session.subject, subject),
	"session": given.session.session,
	"permission": permission,
	"resource": resource,
}

own := {"kind": "decision", "subject": given.session.subject.id}

owner := {"organisation": {"owner": true}}

test_everybody_sees_what_is_open_to_it if {
	every permission in {"me.read", "devices.read", "windows.read"} {
		decided(permission, {}, {}).rule == "everybody"
	}
}

test_people_see_their_own if {
	decided("decision.explain", own, {}).rule == "own"
	decided("sessions.read", own, {}).rule == "own"
	decided("decision.explain", {"subject": "bo@owner.example"}, {}).reasons == ["role_missing"]
	decided("decision.explain", {}, {}).reasons == ["role_missing"]
	decided("ledger.read", own, {}).reasons == ["role_missing"]
}

test_auditors_see_the_evidence if {
	every permission in {"ledger.read", "sessions.read", "decision.explain"} {
		decided(permission, {}, owner).rule == "role/auditor"
	}
	decided("config.apply", {}, owner).reasons == ["role_missing"]
}

test_security_and_operators if {
	decided("sessions.read", {}, object.union(owner, {"roles": ["security"]})).rule == "role/security"
	decided("ledger.read", {}, object.union(owner, {"roles": ["security"]})).allow
	decided("config.apply", {}, object.union(owner, {"roles": ["operator"]})).allow
}

test_roles_of_other_organisations_count_for_nothing if {
	decided("ledger.read", {}, {}).reasons == ["role_missing"]
}

test_unknown_permission if decided("ledger.erase", {}, owner).reasons == ["role_missing"]

test_contract if {
	ended := {"organisation": {"contract_until": given.now}}
	decided("me.read", {}, ended).reasons == ["contract_ended"]
}

test_a_site_adds_its_own_reasons if {
	answer := admin.decision with input as question("me.read", {}, {})
		with data.site.admin.reasons as {"freeze_active"}
	answer.reasons == ["freeze_active"]
}
