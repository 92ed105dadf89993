# METADATA
# title: Services of the protocols, by what they can do
# description: |
#   A service that is not known to be read-only never passes as a view, and a service that is not known to write plain
#   values never passes as an adjustment. Device control, files, backup, time and identity are in none of the tables: they
#   need a grant for `config`, `install` or `auth`.
package otbroker.services

reading_values := {
	"audit-log-query",
	"get-alarm-summary",
	"get-enrollment-summary",
	"get-event-information",
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
	"subscribe-cov",
	"subscribe-cov-property",
	"subscribe-cov-property-multiple",
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

# METADATA
# description: |
#   Commands without a value: to an object or to people, so they touch no point. Whoever has a grant for all points of the
#   device may give them.
commanding := {
	"control": {
		"acknowledge-alarm",
		"confirmed-text-message",
		"unconfirmed-text-message",
	},
	"override": {"life-safety-operation"},
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
	input.operation.writes == true
	commands
}

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

commands if input.operation.service in commanding[input.operation.action]

# METADATA
# description: |
#   Reading what a device is and how it is called: BACnet tools begin with that, whatever they are to do then. Which objects
#   it has is not among it: of those the broker tells the ones that may be looked at.
asking_what_a_device_is if {
	input.operation.protocol == "bacnet"
	input.operation.action == "view"
	input.operation.writes == false
	input.operation.service in {"read-property", "read-property-multiple"}
	input.operation.address.object_type == "device"
	input.operation.address.property in telling_what_a_device_is
}

telling_what_a_device_is := {
	"apdu-segment-timeout",
	"apdu-timeout",
	"application-software-version",
	"database-revision",
	"description",
	"firmware-revision",
	"max-apdu-length-accepted",
	"max-segments-accepted",
	"model-name",
	"number-of-apdu-retries",
	"object-identifier",
	"object-name",
	"object-type",
	"property-list",
	"protocol-object-types-supported",
	"protocol-revision",
	"protocol-services-supported",
	"protocol-version",
	"segmentation-supported",
	"system-status",
	"vendor-identifier",
	"vendor-name",
}
