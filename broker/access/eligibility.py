"""Whether access that was asked for may be had as things stand: organisation, contract, reach, devices and points."""

from collections.abc import Callable
from dataclasses import dataclass

from broker.access.locks import LocksInForce
from broker.model.access_request import Terms
from broker.model.place import Device, Organisation
from broker.model.vocabulary import Reason


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What eligibility is judged by: look-ups in the inventory in force, and the locks."""

    organisation: Callable[[str], Organisation | None]
    device: Callable[[str], Device | None]
    windows: frozenset[str]
    locks: LocksInForce


def ineligible_because(terms: Terms, around: Surroundings, now: float) -> tuple[Reason, ...]:
    """Everything that stands against it at `now`; nothing of it is about who approved."""
    organisation = around.organisation(terms.organisation)
    devices = [device for key in terms.devices if (device := around.device(key)) is not None]
    found = []
    if organisation is None or not _under_contract(organisation, now):
        found.append(Reason.CONTRACT_ENDED)
    if len(devices) < len(terms.devices):
        found.append(Reason.DEVICE_UNKNOWN)
    if organisation is not None and not all(organisation.may_ask_for(device) for device in devices):
        found.append(Reason.OUTSIDE_REACH)
    if not _points_there(terms, devices):
        found.append(Reason.POINT_UNKNOWN)
    if terms.window and terms.window not in around.windows:
        found.append(Reason.WINDOW_CLOSED)
    if around.locks.on_request(terms.subject, terms.organisation, devices) is not None:
        found.append(Reason.LOCKED)
    return tuple(found)


def _under_contract(organisation: Organisation, now: float) -> bool:
    begins, ends = organisation.contract_from, organisation.contract_until
    return (begins is None or begins <= now) and (ends is None or now < ends)


def _points_there(terms: Terms, devices: list[Device]) -> bool:
    """Whether each point is on one of the devices, and what is planned on the very device."""
    on = {device.key: {point.id for point in device.points} for device in devices}
    anywhere = set().union(*on.values())
    planned = all(write.point in on.get(write.device, ()) for write in terms.plan)
    return planned and anywhere.issuperset(terms.points)
