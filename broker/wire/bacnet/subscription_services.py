"""Change of value: subscriptions and notifications (ASHRAE 135-2020, 13.1, 13.6, 13.7, 13.14 to 13.18)."""

from broker.wire.bacnet.items import Contents, Fact, Item
from broker.wire.bacnet.parameters import ParameterError, Parameters, out_of_range
from broker.wire.bacnet.property_services import date_time, property_values
from broker.wire.bacnet.standard import WILDCARDS

MOST_SUBSCRIBED = 100
"""Properties that one message may subscribe to, or tell of."""


def subscribe_cov(taken: Parameters) -> Contents:
    """SubscribeCOV (13.14); without lifetime and choice of confirmation it ends a subscription."""
    process = _process(taken)
    item = Item(*taken.object(1))
    return (item,), (process, *_terms(taken, 2))


def subscribe_cov_property(taken: Parameters) -> Contents:
    """SubscribeCOVProperty (13.15)."""
    process = _process(taken)
    object_type, instance = taken.object(1)
    terms = _terms(taken, 2)
    item = Item(object_type, instance, *_reference(taken, 4))
    increment = (("cov-increment", taken.real(5)),) if taken.comes(5) else ()
    return (item,), (process, *terms, *increment)


def subscribe_cov_property_multiple(taken: Parameters) -> Contents:
    """SubscribeCOVPropertyMultiple (13.16): one item for each property; without lifetime they end, without any all."""
    process = _process(taken)
    # Earlier editions let it be left out; a cancellation without it is of both forms.
    confirmed = (("confirmed", str(taken.boolean(1)).lower()),) if taken.comes(1) else ()
    lifetime, delay = taken.optional_unsigned(2), taken.optional_unsigned(3)
    items: list[Item] = []
    taken.opening(4)
    while taken.comes(0) or not (items or lifetime is None):
        object_type, instance = taken.object(0)
        items += _references(taken, object_type, instance)
        _require_few(items)
    taken.closing(4)
    if lifetime is None and delay is not None:
        raise ParameterError("inconsistent-parameters", "a delay of what is cancelled")
    if lifetime is None:
        return tuple(items), (process, ("cancels", "true"), *confirmed)
    delays = () if delay is None else (("max-notification-delay", str(delay)),)
    return tuple(items), (process, *(confirmed or (("confirmed", "false"),)), ("lifetime", str(lifetime)), *delays)


def _references(taken: Parameters, object_type: str, instance: int) -> list[Item]:
    items: list[Item] = []
    taken.opening(1)
    while not items or taken.comes(0, "opening"):
        reference = _reference(taken, 0)
        increment = (("cov-increment", taken.real(1)),) if taken.comes(1) else ()
        # PyPI's bac-py leaves it out, which cannot mean yes.
        stamped = taken.boolean(2) if taken.comes(2) else False
        facts = (*increment, ("timestamped", str(stamped).lower()))
        items.append(Item(object_type, instance, *reference, facts=facts))
    taken.closing(1)
    return items


def _process(taken: Parameters) -> Fact:
    return "process-identifier", str(taken.unsigned(0))


def _terms(taken: Parameters, number: int) -> tuple[Fact, ...]:
    """Confirmation and lifetime, from the tag of this number on; neither: the subscription ends (13.14.1.1.3)."""
    confirmed = taken.boolean(number) if taken.comes(number) else None
    lifetime = taken.optional_unsigned(number + 1)
    if confirmed is None:
        if lifetime is not None:
            raise ParameterError("missing-required-parameter", "a lifetime without choice of confirmation")
        return (("cancels", "true"),)
    # 13.14.1.1.4: no lifetime, or 0, is one without end. 13.15.1.1.4 has neither, but npm's @bacnet-js/client always
    # asks so; at the device a lifetime is finite anyway.
    return ("confirmed", str(confirmed).lower()), ("lifetime", str(lifetime or "unlimited"))


def _reference(taken: Parameters, number: int) -> tuple[str, int | None]:
    """A BACnetPropertyReference (clause 21) between an opening and its closing tag."""
    taken.opening(number)
    name, index = taken.property(0), taken.optional_unsigned(1)
    if name in WILDCARDS:
        raise out_of_range(f"{name!r} is no single property")
    taken.closing(number)
    return name, index


def cov_notification(taken: Parameters) -> Contents:
    """ConfirmedCOVNotification and UnconfirmedCOVNotification (13.6, 13.7): one item for each value."""
    process = _process(taken)
    device = taken.object(1)
    object_type, instance = taken.object(2)
    remaining = taken.unsigned(3)
    items = property_values(taken, 4, object_type, instance)
    _require_few(items)
    return tuple(items), (process, _initiator(device), ("time-remaining", str(remaining)))


def cov_notification_multiple(taken: Parameters) -> Contents:
    """ConfirmedCOVNotificationMultiple and UnconfirmedCOVNotificationMultiple (13.17, 13.18)."""
    process = _process(taken)
    device = taken.object(1)
    remaining = taken.unsigned(2)
    moment: tuple[Fact, ...] = ()
    if taken.comes(3, "opening"):
        taken.opening(3)
        moment = (("timestamp", date_time(taken)),)
        taken.closing(3)
    items: list[Item] = []
    taken.opening(4)
    while not items or taken.comes(0):
        object_type, instance = taken.object(0)
        items += _told(taken, object_type, instance)
        _require_few(items)
    taken.closing(4)
    return tuple(items), (process, _initiator(device), ("time-remaining", str(remaining)), *moment)


def _told(taken: Parameters, object_type: str, instance: int) -> list[Item]:
    items: list[Item] = []
    taken.opening(1)
    while not items or taken.comes(0):
        name, index = taken.property(0), taken.optional_unsigned(1)
        items.append(Item(object_type, instance, name, index, taken.values(2)))
        if taken.comes(3):
            taken.time_in(3)
    taken.closing(1)
    return items


def _initiator(device: tuple[str, int]) -> Fact:
    if device[0] != "device":
        raise out_of_range(f"a device is no {device[0]}")
    return "initiating-device", str(device[1])


def _require_few(items: list[Item]) -> None:
    if len(items) > MOST_SUBSCRIBED:
        raise ParameterError("too-many-arguments", f"more than {MOST_SUBSCRIBED} properties")
