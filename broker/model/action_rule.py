"""A rule by which a BACnet service becomes an action, and the services that ASHRAE 135-2020 has (clauses 13 to 17)."""

from dataclasses import dataclass

from broker.model.vocabulary import Action


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LOOKING_SERVICES = _words(
    """
    who-is i-am who-has i-have who-am-i
    read-property read-property-multiple read-range subscribe-cov subscribe-cov-property
    subscribe-cov-property-multiple get-alarm-summary get-enrollment-summary get-event-information audit-log-query
    """
)
"""Services that change nothing in a device: a rule can make of them `view` and `discover`, and of no other service."""

CHANGING_SERVICES = _words(
    """
    write-property write-property-multiple write-group add-list-element remove-list-element create-object delete-object
    device-communication-control reinitialize-device time-synchronization utc-time-synchronization you-are
    life-safety-operation acknowledge-alarm confirmed-text-message unconfirmed-text-message
    atomic-read-file atomic-write-file confirmed-private-transfer unconfirmed-private-transfer
    confirmed-cov-notification confirmed-cov-notification-multiple unconfirmed-cov-notification
    unconfirmed-cov-notification-multiple confirmed-event-notification unconfirmed-event-notification
    confirmed-audit-notification unconfirmed-audit-notification
    vt-open vt-close vt-data authenticate request-key
    """
)
"""All others. A file that is read may hold the whole configuration of a device, so that is no view."""

SERVICES = LOOKING_SERVICES | CHANGING_SERVICES
LOOKING = frozenset((Action.VIEW, Action.DISCOVER))

NO_POINT = "none"
"""In `points` of a rule: what the inventory does not describe, or describes as read-only, or only part of a point."""


@dataclass(frozen=True, slots=True)
class ActionRule:
    """What fits all of its conditions is that action; an empty condition fits everything.

    `action` None is the class that the inventory gives the point (`config` if it gives none). `priorities` are the
    least and greatest number; what names none has 16 where there may be priorities, and fits nothing elsewhere.
    `points` are classes of points, or NO_POINT. `facts` are names with the values that fit.
    """

    action: Action | None
    services: tuple[str, ...]
    objects: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    priorities: tuple[int, int] | None = None
    points: tuple[str, ...] = ()
    facts: tuple[tuple[str, tuple[str, ...]], ...] = ()
