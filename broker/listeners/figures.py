"""ONE table of what the broker counts. Labels take few values: words of ours, or names from the inventory."""

from collections.abc import Mapping
from dataclasses import dataclass

MAX_SERIES = 500
Figures = Mapping[str, Mapping[tuple[str, ...], float]]
"""Values by name and labels, in the order of the table; without labels the key is ()."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric `otbroker_NAME`; a counter (`_total` is added) if it only grows, else a gauge."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    counts: bool = False


FIGURES = (
    Figure("sessions_open", "Open sessions.", ("listener",)),
    Figure("sessions_opened", "Sessions opened.", counts=True),
    Figure("connections_open", "Open connections.", ("listener",)),
    Figure("connections_refused", "Connections refused, by cause.", ("listener", "code"), counts=True),
    Figure("identity_refused", "Callers who proved nobody.", counts=True),
    Figure("frames_refused", "Frames that were not forwarded.", counts=True),
    Figure("decisions", "Decisions taken by the policy engine.", counts=True),
    Figure("decisions_leased", "Decisions answered from a lease.", counts=True),
    Figure("exchanges_running", "Operations under way."),
    Figure("operations", "Operations relayed or refused, by result.", ("result",), counts=True),
    Figure("http_answers", "Answers of the API, by route and status.", ("route", "status"), counts=True),
    Figure("tunnels_open", "Open tunnels."),
    Figure("upstream_up", "1 if the way to an endpoint was there last time.", ("endpoint",)),
    Figure("upstream_queue", "Requests waiting for an endpoint.", ("endpoint",)),
    Figure("ledger_records", "Records in the ledger."),
    Figure("ledger_closed", "1 if the ledger is closed after a failure."),
    Figure("ledger_paused", "1 if relays are paused because the disk is low."),
    Figure("ledger_checkpoint_age_seconds", "Age of the newest checkpoint."),
    Figure("ledger_disk_days", "Days until the disk of the ledger is full at the present rate."),
    Figure("notices_sent", "Notices that a channel took.", ("channel",), counts=True),
    Figure("notices_lost", "Notices that were refused, too many or too old.", ("channel",), counts=True),
    Figure("notices_waiting", "Notices that wait for a channel.", ("channel",)),
    Figure("audit_log_told", "Operations that the audit log of a site was told of.", ("site",), counts=True),
    Figure("audit_log_lost", "Operations that it could not be told of.", ("site",), counts=True),
    Figure("audit_log_waiting", "Operations that it is still to be told of.", ("site",)),
    Figure("debts", "Values that are undone when the access of whoever wrote them ends."),
    Figure("leaves_unsettled", "Leaves of which something could not be undone, and nobody has taken note yet."),
    Figure("undone", "Debts by what became of them when the access had ended.", ("result",), counts=True),
    Figure("locks", "Locks that hold."),
    Figure("state_age_seconds", "Time since the state was last read; at five all sessions end."),
    Figure("break_glass_open", "Emergencies that hold."),
    Figure("break_glass_reviews_open", "Emergencies, ended or not, whose review two people have not signed yet."),
    Figure("break_glass_parts_left", "Sealed parts that can still open an emergency."),
    Figure("break_glass_refused", "Attempts to open an emergency that were refused.", counts=True),
    Figure("gains_waiting", "1 if gains of the inventory wait for `otbroker config apply`."),
    Figure("policy_age_seconds", "Time since the policy in force was published."),
    Figure("inventory_age_seconds", "Time since the inventory in force was read."),
)


def figures_reference() -> str:
    """docs/reference/metrics.md, the table as Markdown."""
    head = "# Metrics\n\nServed as `/metrics` by the ops listener (loopback only), in Prometheus' text format.\n"
    rows = [f"| `{_shown(f)}` | {'counter' if f.counts else 'gauge'} | {_labels(f)} | {f.help} |" for f in FIGURES]
    return head + "\n| metric | kind | labels | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _shown(figure: Figure) -> str:
    return f"otbroker_{figure.name}" + ("_total" if figure.counts else "")


def _labels(figure: Figure) -> str:
    return ", ".join(f"`{label}`" for label in figure.labels)
