"""Which action a BACnet service is: one table, read from above, the first rule that fits decides.

The actions are modelled on the scopes of ASHRAE 135-2020cp. Policy authors put rules of their own in front of it
(`bacnet_action_classes.yaml` beside their policies); what no rule fits is `config`. Whatever a table says, priority 6
is never written (19.2.3), and what changes something never becomes `view` or `discover`.
"""

from collections.abc import Iterable
from dataclasses import replace

from broker.model.action_rule import CHANGING_SERVICES, LOOKING, LOOKING_SERVICES, NO_POINT, ActionRule
from broker.model.operation import LEAST_URGENT, BacnetProperty, Operation, commandable
from broker.model.vocabulary import Action
from broker.settings.bacnet_words import COMMANDABLE, OBJECT_TYPES

MINIMUM_ON_OFF_PRIORITY = 6
"""Kept for the device's own minimum on and off times (19.2.3): nobody writes or releases it."""

Facts = tuple[tuple[str, str], ...]

_WRITE = ("write-property", "write-property-multiple")
_CHANGE = (*_WRITE, "add-list-element", "remove-list-element", "create-object", "delete-object")
_VALUES = ("adjust", "control")

RULES: tuple[ActionRule, ...] = (
    # Who is there.
    ActionRule(Action.DISCOVER, ("who-is", "i-am", "who-has", "i-have", "who-am-i")),
    # Reading and being told. A COV subscription is the broker's own, and finite.
    ActionRule(
        Action.VIEW,
        (
            "read-property",
            "read-property-multiple",
            "read-range",
            "subscribe-cov",
            "subscribe-cov-property",
            "subscribe-cov-property-multiple",
            "get-alarm-summary",
            "get-enrollment-summary",
            "get-event-information",
            "audit-log-query",
        ),
    ),
    # Identities and keys.
    ActionRule(Action.AUTH, ("authenticate", "request-key")),
    ActionRule(
        Action.AUTH,
        _CHANGE,
        objects=("access-credential", "access-rights", "access-user", "credential-data-input", "network-security"),
    ),
    # Files, programs, backup and restore: what a device is made of.
    ActionRule(Action.INSTALL, ("atomic-read-file", "atomic-write-file")),
    ActionRule(Action.INSTALL, _CHANGE, objects=("file", "program")),
    ActionRule(
        Action.INSTALL,
        _CHANGE,
        objects=("device",),
        properties=("backup-preparation-time", "configuration-files", "restore-preparation-time"),
    ),
    ActionRule(
        Action.INSTALL,
        ("reinitialize-device",),
        facts=(
            (
                "reinitialized-state",
                ("start-backup", "end-backup", "start-restore", "end-restore", "abort-restore"),
            ),
        ),
    ),
    # Overruling the automatic program: life safety, priorities 1 to 8 (19.2), forcing.
    ActionRule(Action.OVERRIDE, ("life-safety-operation",)),
    ActionRule(Action.OVERRIDE, _WRITE, priorities=(1, 8), points=_VALUES),
    ActionRule(
        Action.OVERRIDE,
        _WRITE,
        properties=("out-of-service", "priority-array", "reliability", "reliability-evaluation-inhibit"),
        points=_VALUES,
    ),
    # Commands to people and from people.
    ActionRule(Action.CONTROL, ("acknowledge-alarm", "confirmed-text-message", "unconfirmed-text-message")),
    # Values of points, by the class that the inventory gives them; what it does not describe is configuration.
    ActionRule(Action.CONFIG, _WRITE, points=(NO_POINT,)),
    ActionRule(None, _WRITE),
    # Everything else changes how a device works, or pretends to be one.
    ActionRule(Action.CONFIG, tuple(sorted(CHANGING_SERVICES))),
)


class ActionTable:
    """Rules in their order, found by service."""

    def __init__(self, rules: Iterable[ActionRule]) -> None:
        self.rules = tuple(rules)
        self._by_service: dict[str, tuple[ActionRule, ...]] = {}
        for rule in self.rules:
            for service in rule.services:
                self._by_service[service] = (*self._by_service.get(service, ()), rule)

    def action_of(
        self, service: str, place: BacnetProperty, priority: int | None, point: Action | None, facts: Facts
    ) -> Action | None:
        """The action by the first rule that fits; None if none does.

        `point` is the class of the point that the operation touches whole; None if there is none, or it has none.
        """
        for rule in self._by_service.get(service, ()):
            if _fits(rule, place, priority, point, facts):
                return rule.action or point or Action.CONFIG
        return None


SHIPPED = ActionTable(RULES)
"""The table as it comes with the broker; it knows every service that the standard has."""


def action_of(
    service: str,
    place: BacnetProperty,
    priority: int | None = None,
    point: Action | None = None,
    facts: Facts = (),
) -> Action:
    """The action by the table as it comes with the broker."""
    return SHIPPED.action_of(service, place, priority, point, facts) or Action.CONFIG


def classed(table: ActionTable, operation: Operation) -> Operation:
    """The operation with the action by a table of policy authors, or as it is.

    A rule never makes a look of a change, or the other way round: what an operation is recorded and relayed as stays.
    """
    place = operation.address
    if not table.rules or not isinstance(place, BacnetProperty):
        return operation
    action = table.action_of(operation.service, place, _acts_at(operation), _point_class(operation), operation.facts)
    if action is None or (action in LOOKING) is not (operation.service in LOOKING_SERVICES):
        return operation
    return replace(operation, action=action)


def never_written(operation: Operation) -> bool:
    """Whether it would write or release priority 6, or have a schedule or loop write there, whatever anybody allows."""
    place = operation.address
    if not isinstance(place, BacnetProperty) or not operation.writes:
        return False
    slot = place.property == "priority-array" and place.index in (None, 0, MINIMUM_ON_OFF_PRIORITY)
    given_away = place.property == "priority-for-writing" and operation.raw_values == (str(MINIMUM_ON_OFF_PRIORITY),)
    return slot or given_away or operation.priority == MINIMUM_ON_OFF_PRIORITY


def maybe_commandable(place: BacnetProperty) -> bool:
    """Whether the standard lets a device have priorities for it (19.2); a vendor's object types may have them too."""
    kind = place.object_type
    return place.property == "present-value" and (kind in COMMANDABLE or kind not in OBJECT_TYPES)


def _acts_at(operation: Operation) -> int | None:
    """The priority that rules are about. Left out it is the least urgent one (19.2), also where the inventory gives the
    point none: the device may know better, and a rule is not to be passed by leaving something out.
    """
    place = operation.address
    if operation.priority is not None or operation.service not in _WRITE or not isinstance(place, BacnetProperty):
        return operation.priority
    numbered = maybe_commandable(place) or any(touch.whole and commandable(touch.point) for touch in operation.touches)
    return LEAST_URGENT if numbered else None


def _point_class(operation: Operation) -> Action | None:
    """The class of the one point that is touched whole."""
    if not operation.described or len(operation.touches) != 1 or not operation.touches[0].whole:
        return None
    return operation.touches[0].point.action


def _fits(rule: ActionRule, place: BacnetProperty, priority: int | None, point: Action | None, facts: Facts) -> bool:
    if rule.objects and place.object_type not in rule.objects:
        return False
    if rule.properties and place.property not in rule.properties:
        return False
    if rule.priorities is not None and (priority is None or not rule.priorities[0] <= priority <= rule.priorities[1]):
        return False
    if rule.points and (NO_POINT if point is None else point.value) not in rule.points:
        return False
    return not rule.facts or all(dict(facts).get(name) in values for name, values in rule.facts)
