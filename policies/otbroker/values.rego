# METADATA
# title: Values and priorities of writes
# description: |
#   Values and limits are decimal strings. Engines compare doubles, so at most 16 characters of a number count, and a
#   number with more than twelve digits before its point compares with nothing.
package otbroker.values

views if input.operation.writes == false

# Points whose value cannot be judged or is not in the list of allowed values.
unfit contains name if {
	not views
	is_array(input.operation.points)
	some point in input.operation.points
	not fit(point)
	name := point.name
}

too_low contains name if {
	not views
	is_array(input.operation.points)
	some point in input.operation.points
	number_of[point.value] < number_of[point.limits.minimum]
	not relinquishes(point)
	name := point.name
}

too_high contains name if {
	not views
	is_array(input.operation.points)
	some point in input.operation.points
	number_of[point.value] > number_of[point.limits.maximum]
	not relinquishes(point)
	name := point.name
}

# Part of a point has no engineering value; writing it is a matter of configuration.
fit(point) if {
	point.whole == false
	point.value == null
}

fit(point) if relinquishes(point)

fit(point) if {
	is_string(point.value)
	listed(point)
	comparable(point, point.limits.minimum)
	comparable(point, point.limits.maximum)
}

# Giving a BACnet priority back is not a value (ASHRAE 135, 19.2.1).
relinquishes(point) if {
	input.operation.protocol == "bacnet"
	point.value == "null"
	is_object(point.priority)
}

listed(point) if point.limits.allowed == []

listed(point) if point.value in point.limits.allowed

comparable(_, limit) if limit == null

comparable(point, limit) if {
	is_number(number_of[limit])
	is_number(number_of[point.value])
}

# Each number that matters, read once.
number_of := {text: number |
	is_array(input.operation.points)
	some point in input.operation.points
	some text in [point.value, point.limits.minimum, point.limits.maximum]
	number := decimal(text)
}

# METADATA
# description: The number that a plain decimal string stands for; undefined for anything else.
decimal(text) := to_number(substring(text, 0, 16)) if {
	is_string(text)
	parts := split(trim_prefix(text, "-"), ".")
	count(parts) <= 2
	trim(concat("", parts), "0123456789") == ""
	parts[count(parts) - 1] != ""
	count(parts[0]) <= 12
	plain(parts[0])
}

plain(digits) if digits == "0"

plain(digits) if {
	digits != ""
	not startswith(digits, "0")
}

# METADATA
# description: The BACnet priority at which the operation writes the point; null if it has none.
acts_at(point) := input.operation.priority if {
	not unnumbered(point)
}

acts_at(point) := least_urgent if unnumbered(point)

# A write without priority acts at 16 if the property is commandable (ASHRAE 135, 19.2).
unnumbered(point) if {
	input.operation.priority == null
	is_object(point.priority)
}

least_urgent := 16

# The device's own, for minimum on and off times (ASHRAE 135, 19.2.3).
minimum_on_off := 6

priority_allowed if views

priority_allowed if input.operation.protocol != "bacnet"

priority_allowed if {
	input.operation.priority != minimum_on_off
	every point in input.operation.points {
		priority_fits(input.operation.priority, point.priority)
	}
}

priority_fits(priority, bounds) if {
	priority == null
	bounds == null
}

priority_fits(priority, bounds) if {
	priority == null
	within(least_urgent, bounds)
}

priority_fits(priority, bounds) if {
	priority_class(priority)
	within(priority, bounds)
}

within(priority, bounds) if {
	is_number(bounds.lowest)
	is_number(bounds.highest)
	bounds.lowest <= priority
	priority <= bounds.highest
}

priority_class(priority) if {
	is_number(priority)
	priority >= 9
	priority <= 16
}

# Priorities 1 to 8 override automatic control; 6 belongs to minimum on/off times and is never written.
priority_class(priority) if {
	is_number(priority)
	priority >= 1
	priority <= 8
	priority != minimum_on_off
	input.operation.action == "override"
}
