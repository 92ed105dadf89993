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
	decided("config.apply", {}, owner).reasons == ["duties_conflict", "role_missing"]
}

test_security_and_operators if {
	decided("sessions.read", {}, object.union(owner, {"roles": ["security"]})).rule == "role/security"
	decided("ledger.read", {}, object.union(owner, {"roles": ["security"]})).allow
	decided("config.apply", {}, object.union(owner, {"roles": ["operator"]})).allow
}

invitation := {
	"kind": "invitation",
	"organisation": "northwind",
	"sponsor": given.session.subject.id,
	"invitee": "eve@northwind.example",
}

test_whoever_answers_for_an_organisation_invites_and_revokes_its_people if {
	every permission in {"invitation.create", "invitation.read", "invitation.revoke", "people.read", "people.revoke"} {
		decided(permission, invitation, object.union(owner, {"roles": []})).rule == "sponsor"
		another := object.union(invitation, {"sponsor": "di@owner.example"})
		decided(permission, another, object.union(owner, {"roles": []})).reasons == ["role_missing"]
		decided(permission, object.remove(invitation, ["sponsor"]), object.union(owner, {"roles": []})).reasons == ["role_missing"]
		decided(permission, another, object.union(owner, {"roles": ["security"]})).rule == "role/security"
	}
}

test_a_sponsor_is_somebody_of_the_owner if {
	decided("invitation.create", invitation, {"roles": ["security"]}).reasons == ["role_missing"]
}

test_auditors_see_who_was_invited_and_invite_nobody if {
	auditor := object.union(owner, {"roles": ["auditor"]})
	decided("people.read", {}, auditor).allow
	decided("invitation.read", {}, auditor).allow
	not decided("invitation.create", invitation, auditor).allow
	not decided("people.revoke", invitation, auditor).allow
}

test_nobody_invites_himself if {
	himself := object.union(invitation, {"invitee": given.session.subject.id})
	decided("invitation.create", himself, object.union(owner, {"roles": ["security"]})).reasons == ["second_person_needed"]
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
		decided(permission, live, owner).reasons == ["duties_conflict", "role_missing"]
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

test_ticket_systems_of_the_owner_tell_of_tickets_and_do_nothing_else if {
	ticket := {"kind": "ticket", "ticket": "CHG-4711"}
	decided("ticket.update", ticket, object.union(owner, {"roles": ["ticket-system"]})).rule == "role/ticket-system"
	decided("ticket.update", ticket, {"roles": ["ticket-system"]}).reasons == ["role_missing"]
	decided("ticket.update", ticket, object.union(owner, {"roles": ["security"]})).reasons == ["role_missing"]
	decided("request.revoke", {"kind": "request"}, object.union(owner, {"roles": ["ticket-system"]})).allow == false
}

test_roles_of_other_organisations_count_for_nothing if {
	decided("ledger.read", {}, {}).reasons == ["role_missing"]
}

test_what_was_left_is_seen_by_auditors_and_taken_note_of_by_security_and_operators if {
	every role in ["operator", "security"] {
		every permission in {"leave.read", "leave.acknowledge"} {
			decided(permission, {"kind": "leave"}, object.union(owner, {"roles": [role]})).allow
		}
	}
	decided("leave.read", {}, owner).rule == "role/auditor"
	decided("leave.acknowledge", {}, owner).reasons == ["duties_conflict", "role_missing"]
	there := object.union(owner, {"roles": ["operator@plant"]})
	decided("leave.acknowledge", {"kind": "leave", "site": "plant"}, there).allow
	decided("leave.acknowledge", {"kind": "leave", "site": "mill"}, there).reasons == ["role_missing"]
}

test_locks_are_set_and_lifted_by_security_and_operators if {
	every role in {"operator", "security"} {
		every permission in {"lock.read", "lock.set", "lock.lift", "site.isolate"} {
			decided(permission, {"kind": "lock"}, object.union(owner, {"roles": [role]})).allow
		}
	}
	decided("lock.read", {}, owner).rule == "role/auditor"
	decided("lock.set", {}, owner).reasons == ["duties_conflict", "role_missing"]
	decided("lock.set", {}, {"roles": ["security"]}).reasons == ["role_missing"]
}

test_an_isolation_is_lifted_by_a_second_person if {
	security := object.union(owner, {"roles": ["security"]})
	isolation := {"kind": "lock", "isolation": "yes", "set_by": given.session.subject.id}
	decided("lock.lift", isolation, security).reasons == ["second_person_needed"]
	decided("lock.lift", object.union(isolation, {"set_by": "bo@owner.example"}), security).allow
	decided("lock.lift", object.remove(isolation, ["isolation"]), security).allow
}

test_machines_neither_sign_reviews_nor_open_what_was_isolated if {
	every role in ["operator", "security"] {
		machine := object.union(owner, {"roles": [role], "kind": "service"})
		isolation := {"kind": "lock", "isolation": "yes", "set_by": "bo@owner.example"}
		decided("lock.lift", isolation, machine).reasons == ["second_person_needed"]
		decided("lock.lift", object.remove(isolation, ["isolation"]), machine).allow
		emergency := {"kind": "emergency", "site": "plant", "opened_by": "bo@owner.example"}
		decided("break_glass.review", emergency, machine).reasons == ["second_person_needed"]
		decided("break_glass.close", emergency, machine).allow
	}
}

test_an_isolation_spares_whom_the_policy_names if {
	plant := {"kind": "site", "site": "plant"}
	decided("isolation.pass", plant, object.union(owner, {"roles": ["emergency"]})).rule == "role/emergency"
	decided("isolation.pass", plant, object.union(owner, {"roles": ["operator"]})).reasons == ["role_missing"]
	decided("isolation.pass", plant, {"roles": ["emergency"]}).reasons == ["role_missing"]
	named := {"plant": [given.session.subject.id]}
	spared := admin.decision with input as question("isolation.pass", plant, {})
		with data.site.admin.emergency as named
	spared.rule == "emergency"
	elsewhere := admin.decision with input as question("isolation.pass", {"kind": "site", "site": "mill"}, {})
		with data.site.admin.emergency as named
	elsewhere.reasons == ["role_missing"]
}

test_unknown_permission if decided("ledger.erase", {}, object.union(owner, {"roles": ["security"]})).reasons == ["role_missing"]

test_contract if {
	ended := {"organisation": {"contract_until": given.now}}
	decided("me.read", {}, ended).reasons == ["contract_ended"]
}

test_a_site_adds_its_own_reasons if {
	answer := admin.decision with input as question("me.read", {}, {})
		with data.site.admin.reasons as {"freeze_active"}
	answer.reasons == ["freeze_active"]
}

waiting := {"kind": "approval", "id": "arm-a", "subject": "ana@acme.example", "site": "plant", "device": "ahu-1"}

test_a_second_person_of_the_owner_approves_and_supervises if {
	every permission in {"operation.approve", "sessions.supervise"} {
		every role in {"operator", "security"} {
			decided(permission, waiting, object.union(owner, {"roles": [role]})).allow
			decided(permission, waiting, {"roles": [role]}).reasons == ["role_missing"]
		}
		decided(permission, waiting, owner).reasons == ["duties_conflict", "role_missing"]
	}
	author := object.union(owner, {"roles": ["operator", "policy-author"]})
	decided("operation.approve", waiting, author).reasons == ["duties_conflict"]
}

test_nobody_is_his_own_second_person if {
	security := object.union(owner, {"roles": ["security"]})
	mine := object.union(waiting, {"subject": given.session.subject.id})
	every permission in {"operation.approve", "sessions.supervise"} {
		decided(permission, mine, security).reasons == ["second_person_needed"]
		decided(permission, waiting, object.union(security, {"kind": "service"})).reasons == ["second_person_needed"]
	}
}

test_only_who_asked_steps_up if {
	mine := object.union(waiting, {"subject": given.session.subject.id})
	decided("operation.step-up", mine, {}).rule == "own"
	decided("operation.step-up", waiting, object.union(owner, {"roles": ["security"]})).reasons == ["role_missing"]
	decided("approvals.read", mine, {}).rule == "own"
	decided("approvals.read", waiting, owner).rule == "role/auditor"
}

test_requests_are_made_by_anybody_and_handled_by_whose_they_are if {
	decided("request.create", {"kind": "request"}, {"roles": []}).allow
	own := {"kind": "request", "subject": given.session.subject.id}
	every permission in {"requests.read", "request.submit", "request.withdraw", "request.close"} {
		decided(permission, own, {"roles": []}).rule == "own"
		decided(permission, {"subject": "bo@owner.example"}, {"roles": []}).reasons == ["role_missing"]
	}
}

test_requests_are_reviewed_and_revoked_by_security_and_operators if {
	every role in {"operator", "security"} {
		every permission in {"requests.read", "request.review", "request.revoke"} {
			decided(permission, {"kind": "request"}, object.union(owner, {"roles": [role]})).allow
		}
	}
	decided("requests.read", {"kind": "requests"}, owner).rule == "role/auditor"
	both := object.union(owner, {"roles": ["security", "policy-author"]})
	decided("request.review", {"kind": "request"}, both).reasons == ["duties_conflict"]
}

test_a_sponsor_sees_and_revokes_what_its_organisation_asks_for if {
	answered_for := {"kind": "request", "sponsor": given.session.subject.id}
	nobody := object.union(owner, {"roles": []})
	decided("request.revoke", answered_for, nobody).rule == "sponsor"
	decided("requests.read", answered_for, nobody).rule == "sponsor"
	decided("request.review", answered_for, nobody).reasons == ["role_missing"]
	decided("request.revoke", answered_for, {"roles": []}).reasons == ["role_missing"]
	decided("request.revoke", {"kind": "request", "sponsor": ""}, nobody).reasons == ["role_missing"]
}

test_emergencies_are_seen_closed_and_reviewed_by_the_owner if {
	of_another := {"kind": "emergency", "id": "emg-a", "site": "plant", "opened_by": "di@owner.example"}
	every role in {"security", "operator"} {
		every permission in {"break_glass.read", "break_glass.close", "break_glass.review"} {
			decided(permission, of_another, object.union(owner, {"roles": [role]})).allow
		}
	}
	decided("break_glass.read", of_another, owner).rule == "role/auditor"
	"duties_conflict" in decided("break_glass.review", of_another, owner).reasons
	decided("break_glass.close", of_another, {"roles": ["security"]}).reasons == ["role_missing"]
}

test_people_see_their_own_emergencies if {
	decided("break_glass.read", {"kind": "emergencies", "subject": given.session.subject.id}, {}).rule == "own"
	decided("break_glass.read", {"kind": "emergencies"}, {}).reasons == ["role_missing"]
}

approvals(people) := {"kind": "policy", "id": "r", "approved_by": people}

test_nobody_activates_a_policy_alone if {
	security := object.union(owner, {"roles": ["security"]})
	ana := given.session.subject.id
	decided("policy.approve", approvals([]), security).allow
	decided("policy.approve", approvals(["bo@owner.example"]), security).allow
	decided("policy.approve", approvals([ana]), security).reasons == ["second_person_needed"]
	every permission in {"policy.activate", "ca.issue", "ca.rotate", "ca.sign", "ca.approvers"} {
		decided(permission, approvals([]), security).reasons == ["second_person_needed"]
		decided(permission, {"kind": "policy"}, security).reasons == ["second_person_needed"]
		decided(permission, approvals([ana]), security).reasons == ["second_person_needed"]
		decided(permission, approvals([ana, ana]), security).reasons == ["second_person_needed"]
		decided(permission, approvals([ana, "bo@owner.example"]), security).allow
		decided(permission, approvals([ana, "bo@owner.example"]), {"roles": ["security"]}).reasons == ["role_missing"]
	}
}

test_who_proposed_does_not_approve if {
	operator := object.union(owner, {"roles": ["operator"]})
	proposal := {"kind": "proposal", "id": "prp-a", "act": "ca.issue"}
	decided("proposal.create", proposal, operator).allow
	asked := object.union(proposal, {"approved_by": [given.session.subject.id]})
	decided("proposal.approve", asked, operator).reasons == ["second_person_needed"]
	decided("proposal.approve", object.union(proposal, {"approved_by": ["bo@owner.example"]}), operator).allow
	decided("proposal.create", proposal, owner).reasons == ["duties_conflict", "role_missing"]
	decided("proposal.read", {}, owner).rule == "role/auditor"
}

test_machines_approve_nothing if {
	machine := object.union(owner, {"roles": ["operator"], "kind": "service"})
	every permission in {"policy.approve", "proposal.approve", "proposal.create"} {
		decided(permission, approvals([]), machine).reasons == ["second_person_needed"]
	}
}
