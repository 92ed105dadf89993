"""Rules of policy authors for the actions of BACnet services: `bacnet_action_classes.yaml` beside their policies."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from broker.model.action_rule import LOOKING, LOOKING_SERVICES, SERVICES, ActionRule
from broker.model.vocabulary import Action
from broker.settings.bacnet_words import OBJECT_TYPES, PROPERTIES
from broker.settings.fields import Section, Text
from broker.settings.findings import Finding, did_you_mean
from broker.settings.inventory_points import Priority, pair

FILE_NAME = "bacnet_action_classes.yaml"
DATA_NAME = "bacnet_action_classes"
"""Where the rules stand in the data of a policy, so that its revision covers them."""

CLASS_OF_POINT = "point"
MOST_RULES = 500

Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
FactName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]
ActionWord = Literal["view", "adjust", "control", "override", "config", "install", "auth", "discover", "point"]
PointWord = Literal["none", "adjust", "control", "override", "config", "install"]


class ActionRuleEntry(Section):
    """What fits all conditions of a rule is the rule's action; an empty condition fits everything."""

    services: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Services in the standard's words, such as `write-property`."""
    objects: tuple[Word, ...] = ()
    """Object types in the standard's words; a number from 128 for proprietary types."""
    properties: tuple[Word, ...] = ()
    """Properties in the standard's words; a number from 512 for proprietary ones."""
    priorities: Annotated[tuple[Priority, Priority], BeforeValidator(pair)] | None = None
    """Priorities, least and greatest number, such as `[9, 16]`; a write that names none has 16 where there may be
    priorities, and what has none does not fit."""
    points: tuple[PointWord, ...] = ()
    """Classes that the inventory gives to points; `none` is what it does not describe, or describes as read-only."""
    facts: dict[FactName, tuple[Word, ...]] = Field(default_factory=dict, max_length=16)
    """What else the request says, by name, with the values that fit, such as `vendor-identifier: ["999"]`."""
    action: ActionWord
    """The action; `point` is the class that the inventory gives to the point."""
    description: Text = ""
    """What it is for, for people."""

    def to_model(self) -> ActionRule:
        """The rule as the rest of the broker knows it."""
        return ActionRule(
            action=None if self.action == CLASS_OF_POINT else Action(self.action),
            services=self.services,
            objects=self.objects,
            properties=self.properties,
            priorities=self.priorities,
            points=self.points,
            facts=tuple(sorted(self.facts.items())),
        )


class ActionClassFile(Section):
    """The rules of policy authors, in front of those that come with the broker; the first that fits decides."""

    rules: Annotated[tuple[ActionRuleEntry, ...], Field(max_length=MOST_RULES)] = ()
    """The rules, in their order."""

    def to_data(self) -> list[dict[str, Any]]:
        """The rules as they stand in the data of a policy."""
        return [entry.model_dump(mode="json", exclude_defaults=True) for entry in self.rules]


def action_rules(data: Mapping[str, object]) -> tuple[ActionRule, ...]:
    """The rules that stand in the data of a policy. Raises ValueError."""
    kept = ActionClassFile.model_validate({"rules": data.get(DATA_NAME, [])})
    return tuple(entry.to_model() for entry in kept.rules)


def action_class_findings(file: ActionClassFile) -> Iterator[Finding]:
    """What is wrong with rules that are well-formed."""
    for place, rule in enumerate(file.rules):
        yield from _rule_findings(place, rule)


def findings_besides(value: Any) -> Iterator[Finding]:
    """Of a file that is not well-formed: what is wrong with those of its rules that are, but for unknown keys."""
    rules = value.get("rules") if isinstance(value, dict) else None
    for place, rule in enumerate(rules[:MOST_RULES] if isinstance(rules, list) else ()):
        known = (
            {key: rule[key] for key in rule if key in ActionRuleEntry.model_fields} if isinstance(rule, dict) else {}
        )
        try:
            entry = ActionRuleEntry.model_validate(known)
        except ValidationError:
            continue
        yield from _rule_findings(place, entry)


def _rule_findings(place: int, rule: ActionRuleEntry) -> Iterator[Finding]:
    found = (*_word_findings(rule), *_action_findings(rule), *_priority_findings(rule))
    yield from (finding.under(("rules", place)) for finding in found)


def _word_findings(rule: ActionRuleEntry) -> Iterator[Finding]:
    yield from _unknown("services", rule.services, SERVICES, "service")
    yield from _unknown("objects", rule.objects, OBJECT_TYPES, "object type", range(128, 1024))
    yield from _unknown("properties", rule.properties, PROPERTIES, "property", range(512, 4194304))


def _unknown(
    key: str, words: Iterable[str], known: frozenset[str], kind: str, numbers: range = range(0)
) -> Iterator[Finding]:
    for place, word in enumerate(words):
        if word not in known and not (word.isascii() and word.isdecimal() and int(word) in numbers):
            yield Finding((key, place), f"'{word}' is no BACnet {kind}", did_you_mean(word, known))


def _action_findings(rule: ActionRuleEntry) -> Iterator[Finding]:
    """What changes something is never read-only, and what does not is recorded and relayed as a look."""
    looks = rule.action in LOOKING
    for place, service in enumerate(rule.services):
        if service in SERVICES and (service in LOOKING_SERVICES) is not looks:
            hint = "such as config" if looks else "view or discover, in a rule of its own"
            what = "changes something" if looks else "changes nothing"
            yield Finding(("services", place), f"{service} {what}, so it cannot be '{rule.action}'", hint)


def _priority_findings(rule: ActionRuleEntry) -> Iterator[Finding]:
    if rule.priorities is not None and rule.priorities[0] > rule.priorities[1]:
        lowest, highest = rule.priorities
        hint = f"[{highest}, {lowest}]"
        yield Finding(("priorities",), "priorities go from the least to the greatest number", hint)
