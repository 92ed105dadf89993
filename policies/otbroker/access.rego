# METADATA
# title: Who may approve an access request, and how many must?
# description: |
#   Asked for each reviewer: when somebody approves, and again for every approval when the grant is to begin. `groups` is
#   what this reviewer may stand for, `needed` how many groups must be stood for, each by somebody else, `approvers` all
#   groups that there are. A site adds reasons of its own in `data.site.access.reasons`, and may need more in
#   `data.site.access.needed` (1 to 8); if it cannot be read, nobody may approve.
# entrypoint: true
package otbroker.access

default review := {"allow": false, "reasons": ["input_invalid"], "groups": [], "needed": 8, "rule": "default"}

# Roles of the owner's people who answer for the plant.
approving_roles := {"operator", "security"}

# Actions that change what a device is, or overrule its program.
grave_actions := {"auth", "config", "install", "override"}

review := answered(false, sort(reasons), [], "denied") if {
	is_number(input.now)
	count(reasons) > 0
}

review := answered(true, [], sort(groups), rule) if {
	is_number(input.now)
	count(reasons) == 0
}

answered(allow, because, may_stand_for, by) := {
	"allow": allow,
	"reasons": because,
	"groups": may_stand_for,
	"needed": needed,
	"rule": by,
	"approvers": sort(approving_roles),
}

rule := "two" if grave

rule := "one" if not grave

needed := max({least} | wanted_by_site)

least := 2 if grave

least := 1 if not grave

wanted_by_site contains least_of_site if {
	some least_of_site in data.otbroker.site.approvals_wanted
}

grave if {
	is_array(input.request.actions)
	some action in input.request.actions
	action in grave_actions
}

# Whoever only looks disturbs nothing, however critical the device is.
grave if {
	is_array(input.request.actions)
	some action in input.request.actions
	not action in {"view", "discover"}
	is_array(input.request.devices)
	some device in input.request.devices
	criticality := device.criticality
	not criticality in {"low", "medium"}
}

groups contains role if {
	some role in held
	role in approving_roles
}

# A role at a site (`operator@plant`) is one for requests that are about that site alone.
held contains role if {
	some [role, site] in roles
	site == ""
}

held contains role if {
	some [role, site] in roles
	sites == {site}
}

sites contains site if {
	is_array(input.request.devices)
	some device in input.request.devices
	site := device.site
}

roles contains [role, site] if {
	is_array(input.reviewer.roles)
	some text in input.reviewer.roles
	is_string(text)
	parts := split(concat("", [text, "@"]), "@")
	role := parts[0]
	site := parts[1]
}

reasons contains "review_of_oneself" if not of_somebody_else

# Only people of the organisation that owns the plant.
reasons contains "role_missing" if not input.reviewer.organisation.owner == true

reasons contains "role_missing" if not input.reviewer.kind == "person"

reasons contains "role_missing" if count(groups) == 0

# Whoever writes the policy does not also decide by it, and whoever audits changes nothing.
reasons contains "duties_conflict" if {
	some [role, _] in roles
	role == "policy-author"
}

reasons contains "duties_conflict" if {
	some role in held
	role == "auditor"
}

reasons contains "contract_ended" if not reviewer_contract_in_force

reasons contains "site_policy_odd" if data.otbroker.site.access_odd

reasons contains reason if {
	not data.otbroker.site.access_odd
	some reason in data.site.access.reasons
}

of_somebody_else if {
	is_string(input.reviewer.id)
	input.reviewer.id != input.request.subject
}

reviewer_contract_in_force if {
	data.otbroker.contract.begun(input.reviewer.organisation.contract_from)
	data.otbroker.contract.lasting(input.reviewer.organisation.contract_until)
}
