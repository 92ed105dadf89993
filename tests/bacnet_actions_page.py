"""docs/reference/bacnet-actions.md: which action each BACnet service is, as the table says."""

from broker.model.action_rule import ActionRule
from broker.settings.action_class_file import CLASS_OF_POINT
from broker.settings.reference import markdown
from broker.wire.bacnet.action_classes import RULES

HEAD = f"""# Actions of BACnet services

Which [action](vocabulary.md) a service is, read from above: the first rule that fits decides. An empty cell fits
everything; `{CLASS_OF_POINT}` is the class that the inventory gives to the point; `none` under *points* is what the
inventory does not describe, describes as read-only, or only part of a point. Priority 6 is never written, whatever a
rule says. See [policies](../policy.md#bacnet-services).
"""
COLUMNS = ("action", "services", "object types", "properties", "priorities", "points", "facts")


def bacnet_actions_reference() -> str:
    """The page."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_row, RULES)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{HEAD}\n{table}\n\n{markdown('bacnet-actions')}"


def _row(rule: ActionRule) -> tuple[str, ...]:
    return (
        f"`{CLASS_OF_POINT if rule.action is None else rule.action.value}`",
        _words(rule.services),
        _words(rule.objects),
        _words(rule.properties),
        "" if rule.priorities is None else f"{rule.priorities[0]} to {rule.priorities[1]}",
        _words(rule.points),
        "; ".join(f"{name}: {', '.join(values)}" for name, values in rule.facts),
    )


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(words)
