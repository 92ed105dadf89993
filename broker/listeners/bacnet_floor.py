"""What the streams of all native BACnet clients share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from broker.engine.in_force import InForce
from broker.listeners.bacnet_shares import SubjectShares
from broker.listeners.bacnet_subscriptions import CovDesk
from broker.listeners.driver import Driver
from broker.listeners.frame_refusals import FrameRefusals
from broker.listeners.interpreters import Interpreters
from broker.listeners.session_register import SessionRegister
from broker.model.place import Device
from broker.model.subject import Subject
from broker.wire.bacnet.device_said import LiveDevices


@dataclass(slots=True)
class BacnetFloor:
    """`has_grants` is whether a subject holds any grant or emergency at a device now, `points_granted` the points that
    its grants name there (None: all), `may_know_of` whether it may be told that the device is there.
    """

    driver: Driver
    register: SessionRegister
    interpreters: Interpreters
    frame_refusals: FrameRefusals
    cov: CovDesk
    in_force: Callable[[], InForce]
    has_grants: Callable[[Subject, Device], bool]
    points_granted: Callable[[Subject, Device], frozenset[str] | None]
    may_know_of: Callable[[Subject, Device], bool]
    shares: SubjectShares = field(default_factory=SubjectShares)
    live: LiveDevices = field(default_factory=LiveDevices)
