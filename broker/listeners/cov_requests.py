"""What COV subscriptions are in requests: the client's terms, what the device is asked, what a notification shows."""

from collections.abc import Hashable

from broker.engine.sessions import NEVER, Session
from broker.engine.subscription import Monitored, Subscription
from broker.engine.subscriptions import Errand
from broker.listeners.interpreters import Interpreters
from broker.model.operation import BacnetProperty, Operation, Request
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.cov import encode_cov_subscription
from broker.wire.bacnet.cov_reports import reported_properties
from broker.wire.bacnet.property_requests import encode_read_property_multiple
from broker.wire.bacnet.references import reference_of

MULTIPLE = "subscribe-cov-property-multiple"
SERVICES = frozenset(("subscribe-cov", "subscribe-cov-property", MULTIPLE))
_READ_MULTIPLE = 14  # clause 21


def context_of(operation: Operation) -> tuple[int, Monitored]:
    """The client's process id, and what it monitors (13.14.1.1)."""
    facts, at = dict(operation.facts), operation.address
    assert isinstance(at, BacnetProperty)
    assert at.instance is not None
    increment = facts.get("cov-increment")
    return int(facts["process-identifier"]), Monitored(at.object_type, at.instance, at.property, at.index, increment)


def place_of(monitored: Monitored) -> BacnetProperty:
    """The object or property that is monitored."""
    return BacnetProperty(monitored.object_type, monitored.instance, monitored.property, monitored.index)


def subscription_of(
    interpreters: Interpreters, session: Session, client: Hashable, operation: Operation, now: float
) -> Subscription:
    """What a client wants by one operation."""
    process, monitored = context_of(operation)
    facts, multiple = dict(operation.facts), operation.service == MULTIPLE
    lifetime = facts.get("lifetime", "")
    return Subscription(
        session,
        client,
        process,
        monitored,
        _shown(interpreters, session, monitored, multiple),
        decision=-1,
        since=now,
        confirmed=facts.get("confirmed") == "true",
        ends=now + int(lifetime) if lifetime.isdigit() else NEVER,
        multiple=multiple,
        held_back=multiple,
    )


def asked_by(interpreters: Interpreters, session: Session, errand: Errand) -> Request:
    """What the device is asked."""
    bare = encode_cov_subscription(
        errand.process,
        place_of(errand.monitored),
        confirmed=errand.confirmed,
        lifetime_seconds=errand.lifetime_seconds,
        increment=errand.monitored.increment,
    )
    return interpreters.bacnet(session.device).interpret(bare)


def _shown(interpreters: Interpreters, session: Session, monitored: Monitored, multiple: bool) -> Request:
    """The read of what a notification tells: of several that were subscribed at once each alone (13.16)."""
    places = reported_properties(monitored.object_type, monitored.property, monitored.index)
    references = [
        reference_of(BacnetProperty(monitored.object_type, monitored.instance, name, index))
        for name, index in (places[:1] if multiple else places)
    ]
    bare = bytes((Kind.CONFIRMED_REQUEST, _READ_MULTIPLE)) + encode_read_property_multiple(references)
    return interpreters.bacnet(session.device).interpret(bare)
