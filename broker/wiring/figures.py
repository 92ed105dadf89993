"""Collects what the parts of the broker count, by the names of `listeners/figures`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from broker.adapters.ledger_files import State
from broker.listeners.bacnet_sc import LISTENER as BACNET_SC
from broker.listeners.modbus_tls import LISTENER as MODBUS_TLS
from broker.wiring.https_api import LISTENER as HTTPS

if TYPE_CHECKING:
    from broker.listeners.figures import Figures
    from broker.wiring.broker import Broker


def figures(broker: Broker) -> Figures:
    """All figures now; called when somebody asks for the metrics."""
    ledger = broker.ledger.metrics()
    sessions: Counter[tuple[str, ...]] = Counter((session.listener,) for session in broker.register.sessions())
    connections: Counter[tuple[str, ...]] = Counter()
    refused: Counter[tuple[str, ...]] = Counter()
    for name, listener in ((MODBUS_TLS, broker.modbus), (BACNET_SC, broker.hubs), (HTTPS, broker.https)):
        connections[name,] += listener.connections
        refused.update({(name, code): count for code, count in listener.refusals.items()})
    return {
        "sessions_open": dict(sessions),
        "sessions_opened": {(): broker.register.opened},
        "connections_open": dict(connections),
        "connections_refused": dict(refused),
        "identity_refused": {(): broker.identity_refusals.total},
        "frames_refused": {(): broker.frame_refusals.count},
        "decisions": {(): broker.desk.taken},
        "decisions_leased": {(): broker.desk.leased},
        "exchanges_running": {(): broker.driver.running},
        "operations": {(str(result),): count for result, count in broker.driver.results.items()},
        "http_answers": {(route, str(status)): count for (route, status), count in broker.https.answers.items()},
        "tunnels_open": {(): len(broker.tunnels.tunnels)},
        "upstream_up": {(state.address,): float(not state.down) for state in broker.upstreams.states()},
        "upstream_queue": {(state.address,): state.queued for state in broker.upstreams.states()},
        "ledger_records": {(): ledger["size"]},
        "ledger_closed": {(): float(broker.ledger.state is State.CLOSED)},
        "ledger_paused": {(): float(broker.ledger.state is State.PAUSED)},
        "ledger_checkpoint_age_seconds": {(): broker.checkpoint_age_seconds()},
        "ledger_disk_days": {(): ledger["days_of_disk"]},
        "notices_sent": {(state.name,): state.sent for state in broker.notices.states},
        "notices_lost": {(state.name,): state.lost for state in broker.notices.states},
        "notices_waiting": {(name,): count for name, count in broker.notices.waiting.items()},
        "audit_log_told": {(site,): outbox.told for site, outbox in broker.audits.outboxes.items()},
        "audit_log_lost": {(site,): outbox.lost for site, outbox in broker.audits.outboxes.items()},
        "audit_log_waiting": {(site,): outbox.waiting for site, outbox in broker.audits.outboxes.items()},
        "debts": {(): len(broker.debts.debts)},
        "leaves_unsettled": {(): len(broker.leaves.unsettled)},
        "undone": {(result,): count for result, count in broker.leaves.results.items()},
        "locks": {(): len(broker.locks.locks())},
        "state_age_seconds": {(): broker.locks.state_age_seconds},
        "break_glass_open": {(): len(broker.break_glass.holding)},
        "break_glass_reviews_open": {(): sum(not found.reviewed for found in broker.break_glass.emergencies)},
        "break_glass_parts_left": {(): broker.break_glass.parts_left},
        "break_glass_refused": {(): broker.break_glass.refusals.total},
        "gains_waiting": {(): float(bool(broker.reload.waiting_revision))},
        "policy_age_seconds": {(): broker.clock.monotonic() - broker.policies.since},
        "inventory_age_seconds": {(): broker.clock.monotonic() - broker.reload.inventory_since},
    }
