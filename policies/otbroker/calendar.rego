# METADATA
# title: Windows and freezes
# description: |
#   The broker computes the calendar and lists what is open and what is frozen at `input.now`; here is what follows
#   from it. A freeze wins over every window and grant.
package otbroker.calendar

# What may be done outside windows: looking, and asking a device what it is.
windowless_actions := {"view", "discover"}

window_suffices if window_for(input.operation.action)

thaw_suffices if thawed_for(input.operation.action)

open_windows contains id if {
	is_array(input.windows.open)
	some window in input.windows.open
	is_number(window.opens)
	is_number(window.closes)
	window.opens <= input.now
	input.now < window.closes
	id := window.id
}

thawed if input.freezes == []

# Viewing goes on in a freeze unless the freeze says otherwise.
views_thawed if {
	every freeze in input.freezes {
		freeze.views == true
	}
}

thawed_for("view") if views_thawed

thawed_for("discover") if {
	data.otbroker.services.finds
	views_thawed
}

thawed_for(action) if {
	thawed
	action != "view"
}

window_for(action) if action in windowless_actions

window_for(_) if count(open_windows) > 0
