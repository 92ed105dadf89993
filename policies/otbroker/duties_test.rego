package otbroker.duties_test

import data.otbroker.admin
import data.otbroker.fixtures_test as given
import data.otbroker.operation

reasons(permission, resource, roles) := r if {
	answer := admin.decision with input as question(permission, resource, roles, true)
	r := answer.reasons
}

question(permission, resource, roles, owner) := {
	"version": 1,
	"now": given.now,
	"subject": object.union(given.session.subject, {"roles": roles, "organisation": {"owner": owner}}),
	"session": given.session.session,
	"permission": permission,
	"resource": resource,
}

plant := {"kind": "session", "site": "plant"}

mill := {"kind": "session", "site": "mill"}

test_a_role_at_a_site_gives_its_permissions_there_alone if {
	reasons("sessions.end", plant, ["operator@plant"]) == []
	reasons("sessions.end", mill, ["operator@plant"]) == ["role_missing"]
	reasons("sessions.end", {"kind": "session"}, ["operator@plant"]) == ["role_missing"]
	reasons("sessions.end", mill, ["operator@plant", "security@mill"]) == []
}

test_a_role_without_site_holds_everywhere if {
	every resource in [plant, mill, {"kind": "session"}] {
		reasons("sessions.end", resource, ["operator"]) == []
	}
}

test_a_role_that_is_not_one_gives_nothing if {
	every role in ["operator@", "@plant", "operator@plant@plant", "operator@plant ", "operator@*", "@", "Operator"] {
		reasons("sessions.end", plant, [role]) == ["role_missing"]
		reasons("sessions.end", {"kind": "session", "site": ""}, [role]) == ["role_missing"]
	}
}

test_roles_of_other_organisations_hold_nowhere if {
	answer := admin.decision with input as question("sessions.end", plant, ["operator@plant"], false)
	answer.reasons == ["role_missing"]
}

test_an_auditor_changes_nothing_whatever_else_it_is if {
	every permission in {"sessions.end", "lock.set", "config.apply", "isolation.pass", "some.future_act"} {
		"duties_conflict" in reasons(permission, plant, ["auditor", "operator", "security", "emergency"])
	}
	reasons("sessions.watch", plant, ["auditor", "operator"]) == []
	reasons("ledger.read", {}, ["auditor", "security"]) == []
}

test_an_auditor_of_a_site_changes_nothing_there_nor_what_is_of_no_site if {
	roles := ["auditor@plant", "operator"]
	reasons("sessions.end", plant, roles) == ["duties_conflict"]
	reasons("sessions.end", mill, roles) == []
	reasons("lock.set", {"kind": "subject", "id": "x"}, roles) == ["duties_conflict"]
	reasons("ledger.read", {}, ["auditor@plant"]) == ["role_missing"]
	reasons("ledger.read", {"site": "plant"}, ["auditor@plant"]) == []
}

test_other_organisations_may_have_auditors_of_their_own if {
	answer := admin.decision with input as question("devices.read", {}, ["auditor"], false)
	answer.allow
}

test_an_auditor_writes_to_no_device if {
	audits := {"subject": {"roles": ["auditor"], "organisation": {"owner": true}}}
	of_write := operation.decision with input as given.changed(given.operation(given.adjust), audits)
	of_write.reasons == ["duties_conflict"]
	of_view := operation.decision with input as given.changed(given.operation(given.view), audits)
	of_view.allow
	at := {"subject": {"roles": ["auditor@elsewhere"], "organisation": {"owner": true}}}
	of_other := operation.decision with input as given.changed(given.operation(given.adjust), at)
	of_other.allow
}

test_whoever_writes_the_policy_approves_nothing if {
	every permission in data.otbroker.duties.approving {
		every role in ["policy-author", "policy-author@plant"] {
			"duties_conflict" in reasons(permission, plant, [role, "security", "operator"])
		}
	}
	reasons("sessions.end", plant, ["policy-author", "security"]) == []
	reasons("proposal.create", {"kind": "proposal"}, ["policy-author", "operator"]) == ["duties_conflict"]
}
