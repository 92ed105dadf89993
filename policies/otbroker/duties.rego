# METADATA
# title: Roles, where they hold, and duties that one person must not have together
# description: |
#   A role is given everywhere (`operator`) or at one site (`operator@plant`), by the organisation that owns the plant:
#   other organisations name their own roles. Every entry point may ask here.
package otbroker.duties

# What changes nothing, the evidence included: all that auditors may do. A permission that is not here changes something.
looking := {
	"approvals.read",
	"break_glass.read",
	"config.read",
	"decision.explain",
	"devices.read",
	"leave.read",
	"invitation.read",
	"ledger.read",
	"lock.read",
	"me.read",
	"people.read",
	"policy.read",
	"proposal.read",
	"requests.read",
	"sessions.read",
	"sessions.watch",
	"windows.read",
}

# What lets others do what they asked for: not for those who write the policy by which it is judged.
approving := {
	"operation.approve",
	"ca.approvers",
	"ca.issue",
	"ca.rotate",
	"ca.sign",
	"policy.activate",
	"policy.approve",
	"proposal.approve",
	"proposal.create",
	"request.review",
}

# METADATA
# description: The roles that count for what the question is about.
held contains role if some role in everywhere

held contains role if {
	some text in roles
	parts := split(text, "@")
	count(parts) == 2
	parts[1] == here
	here != ""
	role := parts[0]
}

# METADATA
# description: Whoever audits what the question is about. What is of no one site, auditors of every site audit.
audits if "auditor" in held

audits if {
	"auditor" in anywhere
	not sited
}

# METADATA
# description: Whoever writes the policy, wherever.
writes_policy if "policy-author" in anywhere

# METADATA
# description: The subject has a duty that bars it from this permission, whatever else its roles give.
conflict if {
	audits
	not looks
}

conflict if {
	writes_policy
	input.permission in approving
}

looks if input.permission in looking

# The site that the question is about; undefined where it is about none.
here := input.resource.site

here := input.device.site

sited if {
	is_string(here)
	here != ""
}

everywhere contains role if {
	some role in roles
	parts := split(role, "@")
	count(parts) == 1
}

anywhere contains role if {
	some text in roles
	parts := split(text, "@")
	role := parts[0]
}

roles contains role if {
	input.subject.organisation.owner == true
	is_array(input.subject.roles)
	some role in input.subject.roles
	is_string(role)
}
