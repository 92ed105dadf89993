# METADATA
# title: The contract of the subject's organisation
# description: Nobody works here for an organisation before its contract begins or after it ended.
package otbroker.contract

in_force if {
	begun(input.subject.organisation.contract_from)
	lasting(input.subject.organisation.contract_until)
}

begun(time) if time == null

begun(time) if {
	is_number(time)
	time <= input.now
}

lasting(time) if time == null

lasting(time) if {
	is_number(time)
	input.now < time
}
