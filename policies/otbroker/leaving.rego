# METADATA
# title: What is undone when the access ends
# description: |
#   Writes to points that the inventory marks `on_leave: restore` or `release` oblige the broker to put back the value
#   before, or to release the priority, when the access of the subject ends. A site adds obligations of its own in
#   `data.site.leave.obligations`, and waives all by `data.site.leave.waived`.
package otbroker.leaving

words := {"release", "restore"}

obligations contains word if {
	input.operation.writes == true
	is_array(input.operation.points)
	some point in input.operation.points
	word := point.on_leave
	word in words
	not waived
}

obligations contains word if {
	input.operation.writes == true
	some word in data.site.leave.obligations
	word in words
}

waived if data.site.leave.waived == true
