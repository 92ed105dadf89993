# METADATA
# title: Standing grants
# description: |
#   `input.grants` holds the grants that the broker found for this subject and device. An operation needs one grant that
#   covers all of it: every action, every touched point, and a window if the grant names windows.
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

usable := [grant |
	some grant in covering_points
	timely(grant)
]

# A write needs the class of every point that it writes, whatever the operation as a whole is called.
needed_actions := {input.operation.action} | {point.class |
	input.operation.action in {"adjust", "control"}
	is_array(input.operation.points)
	some point in input.operation.points
	point.whole == true
	is_string(point.class)
}

# No points named: all of them, and the addresses that no point describes.
covers_points(grant) if grant.points == []

covers_points(grant) if {
	input.operation.described == true
	input.operation.points != []
	every point in input.operation.points {
		point.name in grant.points
	}
}

# A grant that names windows holds only while one of them is open.
timely(grant) if grant.windows == []

timely(grant) if {
	is_array(grant.windows)
	some id in grant.windows
	id in data.otbroker.calendar.open_windows
}
