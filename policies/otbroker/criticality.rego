# METADATA
# title: What critical devices ask for
# description: |
#   `critical` devices let nobody do more than view who was not proven by certificate and token. Writes of values to
#   `high` and `critical` devices are made with the value before on record.
package otbroker.criticality

proofs_suffice if input.operation.action == "view"

proofs_suffice if input.device.criticality in {"low", "medium", "high"}

proofs_suffice if {
	is_array(input.subject.proofs)
	kinds := {proof.kind | some proof in input.subject.proofs}
	"certificate" in kinds
	"token" in kinds
}

obligations contains "before_value" if {
	input.device.criticality in {"high", "critical"}
	input.operation.writes == true
	not without_value
}

# A file, an alarm, a restart: what is not about a property of an object has no value that could be read before.
without_value if {
	input.operation.protocol == "bacnet"
	input.operation.address.property == null
}
