# METADATA
# title: What takes a person more than the one who asks
# description: |
#   `second_person`: somebody else arms exactly this operation first. `step_up`: the person who asks proves himself again
#   first. What `input.armed` holds is no longer obliged; the broker lets it be used once. By default persons step up for
#   commands and more on critical devices; a site names more in `data.site.operation`: `second_person` and `step_up`
#   (objects, see below), or `obligations` (a set) by rules of its own.
package otbroker.persons

obligations := wanted - met

met contains kind if {
	is_array(input.armed)
	some arming in input.armed
	is_number(arming.until)
	input.now < arming.until
	kind := arming.kind
}

wanted contains "second_person" if {
	input.operation.writes == true
	named(data.site.operation.second_person)
}

wanted contains "step_up" if {
	input.operation.writes == true
	input.subject.kind == "person"
	takes_fresh_proof
	not proven_lately
}

wanted contains kind if some kind in data.site.operation.obligations

# Until when a proof is fresh enough: an answer that rests on it is not reused for longer.
fresh_until contains moment if {
	input.operation.writes == true
	input.subject.kind == "person"
	takes_fresh_proof
	proven_lately
	moment := input.session.mfa_at + fresh_seconds
}

# A criticality that is none of the others counts as critical.
takes_fresh_proof if {
	input.operation.action in {"control", "override", "config", "install", "auth"}
	not less_than_critical
}

takes_fresh_proof if named(data.site.operation.step_up)

less_than_critical if input.device.criticality in {"low", "medium", "high"}

proven_lately if {
	is_number(input.session.mfa_at)
	input.now - input.session.mfa_at < fresh_seconds
}

default fresh_seconds := 900

fresh_seconds := data.site.operation.step_up.seconds if is_number(data.site.operation.step_up.seconds)

# What a site names: any of the actions, points, criticalities, or labels (values by label) that the operation has.
named(what) if input.operation.action in what.actions

named(what) if {
	is_array(input.operation.points)
	some point in input.operation.points
	point.name in what.points
}

named(what) if input.device.criticality in what.criticalities

named(what) if {
	is_object(input.device.labels)
	some label, value in input.device.labels
	value in what.labels[label]
}
