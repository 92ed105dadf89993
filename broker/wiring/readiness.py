"""What readiness says of each part of the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.adapters.ledger_files import State
from broker.adapters.opa import OpaPolicyEngine

if TYPE_CHECKING:
    from broker.wiring.broker import Broker


def readiness(broker: Broker) -> dict[str, tuple[bool, str]]:
    """Parts of readiness: good or not, and in what state."""
    shut = ", ".join(sorted(broker.register.shut_for))
    failing = ", ".join(state.name for state in broker.export.states if state.failing)
    down = ", ".join(state.address for state in broker.upstreams.states() if state.down)
    keyless = ", ".join(state.issuer for state in broker.keys.states() if not state.usable)
    return {
        "ledger": (broker.ledger.state is State.OPEN, str(broker.ledger.state)),
        "debts": (not broker.debts.trouble, broker.debts.trouble or f"{len(broker.debts.debts)} kept"),
        "disclosures": (not broker.disclosures.trouble, broker.disclosures.trouble or "written"),
        "policy": _policy(broker),
        "state": broker.locks.readiness,
        "requests": broker.requests.readiness,
        "break_glass": broker.break_glass.readiness,
        "files": (not broker.reload.invalid, broker.reload.state),
        "host_commands": broker.host_commands.readiness,
        "listeners": (not broker.modbus.faults, "; ".join(broker.modbus.faults.values()) or "open"),
        "sessions": (not shut, shut or "accepted"),
        "issuers": (not keyless, f"no usable keys: {keyless}" if keyless else "keys are there"),
        "exports": (not failing, f"failing: {failing}" if failing else "sent"),
        "notices": broker.notices.readiness,
        "upstreams": (not down, f"down: {down}" if down else "there"),
    }


def ledger_words(state: State, detail: str) -> str:
    """A state of the ledger with its detail, which may begin with the state itself."""
    return detail if detail.startswith(state) else f"{state}: {detail}" if detail else str(state)


def _policy(broker: Broker) -> tuple[bool, str]:
    if not broker.policy.revision:
        return False, broker.policies.trouble
    if isinstance(broker.policy, OpaPolicyEngine) and not broker.policy.well:
        return False, "the OPA server does not answer as it should"
    return True, broker.policy.revision
