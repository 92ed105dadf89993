# METADATA
# title: Grants
# description: |
#   `input.grants` holds the grants that the broker found for this subject and device: standing ones, and those that were
#   given for an approved request. An operation needs one grant that covers all of it: every action, every touched point,
#   its plan if it has one, a window if the grant names windows, and a supervisor who watches if it asks for one.
package otbroker.grants

current := [grant |
	is_array(input.grants)
	some grant in input.grants
	data.otbroker.contract.begun(grant.not_before)
	data.otbroker.contract.lasting(grant.not_after)
]

covering_actions := [grant |
	some grant in current
	every action in needed_actions {
		action in grant.actions
	}
]

covering_points := [grant |
	some grant in covering_actions
	covers_points(grant)
]

covering_plans := [grant |
	some grant in covering_points
	planned(grant)
]

in_time := [grant |
	some grant in covering_plans
	timely(grant)
]

usable := [grant |
	some grant in in_time
	attended(grant)
]

# To find a device needs no action of its own: any grant shows it.
needed_actions := set() if data.otbroker.services.finds

# A write needs the class of every point that it writes, whatever the operation as a whole is called.
needed_actions := actions if {
	not data.otbroker.services.finds
	actions := ({input.operation.action} | classes_written) | overriding
}

classes_written := {point.class |
	input.operation.action in {"adjust", "control"}
	is_array(input.operation.points)
	some point in input.operation.points
	point.whole == true
	is_string(point.class)
}

# What no point describes is configuration at any priority, and an override as well at 1 to 8.
overriding := {"override" |
	input.operation.writes == true
	not input.operation.described == true
	urgent
}

urgent if {
	is_number(input.operation.priority)
	input.operation.priority <= 8
}

# The index of a priority array is the priority; without one, or as its size, it is all of them.
urgent if {
	input.operation.address.property == "priority-array"
	input.operation.address.index == null
}

urgent if {
	input.operation.address.property == "priority-array"
	input.operation.address.index <= 8
}

covers_points(_) if data.otbroker.services.finds

# Whoever may look at anything of a device may read what it is.
covers_points(_) if data.otbroker.services.asking_what_a_device_is

# No points named: all of them, and the addresses that no point describes.
covers_points(grant) if grant.points == []

covers_points(grant) if {
	input.operation.described == true
	input.operation.points != []
	every point in input.operation.points {
		point.name in grant.points
	}
}

# With a plan only what it plans is written: these points as a whole, with these values, at these BACnet priorities.
# Reading is not planned. Values have one form (no exponent, no needless zeros), so they are compared as text, to the last
# character: as numbers they would be doubles.
planned(grant) if grant.plan == null

planned(_) if input.operation.writes == false

planned(grant) if {
	is_array(grant.plan)
	input.operation.described == true
	input.operation.points != []
	every point in input.operation.points {
		point.whole == true
		planned_value(grant, point)
	}
}

planned_value(grant, point) if {
	some write in grant.plan
	write.point == point.name
	write.priority == data.otbroker.values.acts_at(point)
	write.value == point.value
}

# A supervised grant holds only while somebody else watches the session.
attended(grant) if grant.supervised == false

attended(_) if count(supervisors) > 0

supervisors contains who if {
	is_array(input.session.watched_by)
	some who in input.session.watched_by
	who != input.subject.id
}

# A grant that names windows holds only while one of them is open.
timely(grant) if grant.windows == []

timely(grant) if {
	is_array(grant.windows)
	some id in grant.windows
	id in data.otbroker.calendar.open_windows
}
