# METADATA
# title: What critical devices ask for
# description: |
#   `critical` devices let nobody do more than view who was not proven by certificate and token. Writes to `high` and
#   `critical` devices are made with the value before on record.
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
}
