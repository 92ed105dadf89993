# METADATA
# title: May this subject use this function of the broker?
# description: |
#   Functions of the API and console that touch no device. `input.permission` is the word that the route declares;
#   `input.resource.subject`, if given, is whose thing it is about.
# entrypoint: true
package otbroker.admin

default decision := {"allow": false, "reasons": ["input_invalid"], "obligations": [], "rule": "default"}

# What every proven subject may do.
for_everybody := {
	"devices.read",
	"me.read",
	"request.create",
	"windows.read",
}

# What every proven subject may do with what is its own.
for_owners := {
	"approvals.read",
	"break_glass.read",
	"decision.explain",
	"operation.step-up",
	"request.close",
	"request.submit",
	"request.withdraw",
	"requests.read",
	"sessions.read",
}

# What whoever answers for an organisation may do about its people and what they ask for.
for_sponsors := {
	"invitation.create",
	"invitation.read",
	"invitation.revoke",
	"people.read",
	"people.revoke",
	"request.revoke",
	"requests.read",
}

# What roles add, for subjects of the organisation that owns the plant (`duties.rego`). A role at a site (`operator@plant`)
# gives it for what is of that site, a role without one everywhere. Of a live session `input.resource` has subject,
# organisation, site, device and listener.
for_roles := {
	"auditor": {
		"approvals.read",
		"break_glass.read",
		"config.read",
		"decision.explain",
		"invitation.read",
		"leave.read",
		"ledger.read",
		"lock.read",
		"people.read",
		"policy.read",
		"proposal.read",
		"requests.read",
		"sessions.read",
		"sessions.watch",
	},
	"emergency": {"isolation.pass"},
	"operator": {
		"approvals.read",
		"break_glass.close",
		"break_glass.read",
		"break_glass.review",
		"ca.approvers",
		"ca.issue",
		"ca.rotate",
		"ca.sign",
		"config.apply",
		"config.read",
		"leave.acknowledge",
		"leave.read",
		"lock.lift",
		"lock.read",
		"lock.set",
		"operation.approve",
		"policy.activate",
		"policy.approve",
		"policy.read",
		"proposal.approve",
		"proposal.create",
		"proposal.read",
		"proposal.refuse",
		"request.review",
		"request.revoke",
		"requests.read",
		"sessions.end",
		"sessions.pause",
		"sessions.read",
		"sessions.resume",
		"sessions.supervise",
		"sessions.watch",
		"site.isolate",
	},
	"policy-author": {
		"config.read",
		"policy.read",
		"proposal.read",
	},
	"security": {
		"approvals.read",
		"break_glass.close",
		"break_glass.read",
		"break_glass.review",
		"ca.approvers",
		"ca.issue",
		"ca.rotate",
		"ca.sign",
		"config.read",
		"decision.explain",
		"invitation.create",
		"invitation.read",
		"invitation.revoke",
		"leave.acknowledge",
		"leave.read",
		"ledger.read",
		"lock.lift",
		"lock.read",
		"lock.set",
		"operation.approve",
		"people.read",
		"people.revoke",
		"policy.activate",
		"policy.approve",
		"policy.read",
		"proposal.approve",
		"proposal.create",
		"proposal.read",
		"proposal.refuse",
		"request.review",
		"request.revoke",
		"requests.read",
		"sessions.end",
		"sessions.pause",
		"sessions.read",
		"sessions.resume",
		"sessions.supervise",
		"sessions.watch",
		"site.isolate",
	},
	"ticket-system": {"ticket.update"},
}

decision := data.otbroker.answer.denied(reasons) if {
	is_number(input.now)
	count(reasons) > 0
}

decision := data.otbroker.answer.allowed(min(rules), []) if {
	is_number(input.now)
	count(reasons) == 0
}

reasons contains "contract_ended" if not data.otbroker.contract.in_force

reasons contains "role_missing" if count(rules) == 0

# Auditors change nothing, and whoever writes the policy approves nothing.
reasons contains "duties_conflict" if data.otbroker.duties.conflict

# Whoever isolated a site cannot open it again alone.
reasons contains "second_person_needed" if {
	input.permission == "lock.lift"
	input.resource.isolation
	input.resource.set_by == input.subject.id
}

# Nobody approves his own operation or supervises himself, and no machine does either.
reasons contains "second_person_needed" if {
	input.permission in for_second_persons
	input.resource.subject == input.subject.id
}

reasons contains "second_person_needed" if {
	input.permission in for_second_persons
	input.subject.kind != "person"
}

for_second_persons := {"operation.approve", "sessions.supervise"}

# Machines neither sign reviews nor open what was isolated.
reasons contains "second_person_needed" if {
	input.permission == "break_glass.review"
	input.subject.kind != "person"
}

reasons contains "second_person_needed" if {
	input.permission == "lock.lift"
	input.resource.isolation
	input.subject.kind != "person"
}

# Whoever invited himself would hold a second key to his own name that nobody else has seen.
reasons contains "second_person_needed" if {
	input.permission == "invitation.create"
	input.resource.invitee == input.subject.id
}

# Whoever has proposed or approved something already is not one more who wants it.
reasons contains "second_person_needed" if {
	input.permission in {"policy.approve", "proposal.approve"}
	is_array(input.resource.approved_by)
	input.subject.id in input.resource.approved_by
}

# Machines are not people.
reasons contains "second_person_needed" if {
	input.permission in {"policy.approve", "proposal.approve", "proposal.create"}
	input.subject.kind != "person"
}

# How many people must want what no one does alone: their approvals are proven, and whoever proposed is one of them.
people_needed := {
	"ca.approvers": 2,
	"ca.issue": 2,
	"ca.rotate": 2,
	"ca.sign": 2,
	"policy.activate": 2,
}

reasons contains "second_person_needed" if {
	needed := people_needed[input.permission]
	count(people) < needed
}

people contains person if {
	is_array(input.resource.approved_by)
	some person in input.resource.approved_by
}

reasons contains "site_policy_odd" if data.otbroker.site.admin_odd

reasons contains reason if {
	not data.otbroker.site.admin_odd
	some reason in data.site.admin.reasons
}

rules contains "everybody" if input.permission in for_everybody

rules contains "own" if {
	input.permission in for_owners
	is_string(input.subject.id)
	input.resource.subject == input.subject.id
}

rules contains "sponsor" if {
	input.permission in for_sponsors
	input.subject.organisation.owner == true
	is_string(input.subject.id)
	input.resource.sponsor == input.subject.id
}

# A site names subjects of any organisation whom its isolation spares: `data.site.admin.emergency` by site.
rules contains "emergency" if {
	input.permission == "isolation.pass"
	input.subject.id in data.site.admin.emergency[input.resource.site]
}

rules contains rule if {
	some role in data.otbroker.duties.held
	input.permission in for_roles[role]
	rule := concat("/", ["role", role])
}
