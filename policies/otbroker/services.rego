# METADATA
# title: Services of the protocols, by what they can do
# description: |
#   A service that is not known to be read-only never passes as a view, and a service that is not known to write plain
#   values never passes as an adjustment. Life safety, device control, files, backup, time and identity are in none of the
#   tables: they need a grant for `config`, `install` or `auth`.
package otbroker.services

reading_values := {
	"read-coils",
	"read-discrete-inputs",
	"read-fifo-queue",
	"read-file-record",
	"read-holding-registers",
	"read-input-registers",
	"read-property",
	"read-property-multiple",
	"read-range",
	"read-write-multiple-registers",
}

# Asking who is there, answered by the broker alone: whoever may do anything at a device may find it.
finding := {
	"who-has",
	"who-is",
}

# What `diagnostics` asks for with this action only counts and echoes; its other sub-functions are `config`.
asking_what_it_is := {
	"diagnostics",
	"get-comm-event-counter",
	"get-comm-event-log",
	"read-device-identification",
	"read-exception-status",
	"report-server-id",
}

writing_values := {
	"mask-write-register",
	"read-write-multiple-registers",
	"write-multiple-coils",
	"write-multiple-registers",
	"write-property",
	"write-property-multiple",
	"write-single-coil",
	"write-single-register",
}

fitting if {
	input.operation.action == "view"
	input.operation.writes == false
	input.operation.service in reading_values
}

fitting if {
	input.operation.action == "discover"
	input.operation.writes == false
	input.operation.service in asking_what_it_is
}

fitting if finds

fitting if {
	input.operation.action in {"adjust", "control", "override"}
	input.operation.writes == true
	input.operation.service in writing_values
}

fitting if {
	input.operation.action in {"config", "install", "auth"}
	input.operation.writes == true
}

finds if {
	input.operation.action == "discover"
	input.operation.writes == false
	input.operation.service in finding
}
