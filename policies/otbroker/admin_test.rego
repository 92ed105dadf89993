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

live := {"kind": "session", "id": "ses-a", "subject": "ana@acme.example", "site": "plant", "device": "ahu-1"}

test_live_control_is_for_operators_and_security if {
	every permission in {"sessions.watch", "sessions.pause", "sessions.resume", "sessions.end"} {
		every role in {"operator", "security"} {
			decided(permission, live, object.union(owner, {"roles": [role]})).rule == concat("/", ["role", role])
		}
		decided(permission, live, {"roles": ["operator", "security"]}).reasons == ["role_missing"]
	}
}

test_auditors_watch_and_change_nothing if {
	decided("sessions.watch", live, owner).rule == "role/auditor"
	every permission in {"sessions.pause", "sessions.resume", "sessions.end"} {
		decided(permission, live, owner).reasons == ["role_missing"]
	}
}

test_nobody_steers_sessions_for_being_their_subject if {
	every permission in {"sessions.watch", "sessions.pause", "sessions.resume", "sessions.end"} {
		decided(permission, own, {}).reasons == ["role_missing"]
	}
}

test_a_site_narrows_live_control if {
	answer := admin.decision with input as question("sessions.end", live, object.union(owner, {"roles": ["security"]}))
		with data.site.admin.reasons as {"device_unknown"}
	answer.reasons == ["device_unknown"]
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
