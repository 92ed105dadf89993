"""Who looks for what, and what a device that fits says: from the inventory alone."""

import pytest
from bacpypes3.apdu import APDU as BacpypesApdu
from bacpypes3.apdu import IAmRequest, IHaveRequest, WhoHasObject, WhoHasRequest, WhoIsRequest
from bacpypes3.pdu import PDU
from bacpypes3.primitivedata import CharacterString, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.model.place import BacnetAddress, BacnetFace, Device, Point, Protocol
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay, ModbusTcpWay
from broker.wire.bacnet.discovery import Sought, announcement, compose_question, decode_sought, fits

SETPOINT = Point("setpoint", BacnetAddress("analog-value", 1))
VAV = Device(
    "plant",
    "vav-1",
    "hvac",
    Protocol.BACNET,
    BacnetIpWay("127.0.0.1", 47808, 1001),
    points=(SETPOINT,),
    bacnet=BacnetFace(vendor_identifier=999, name="VAV 1, east"),
)
AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502))
EVERYBODY = b"\x10\x08"


def as_asked(request: object) -> bytes:
    """The bare octets of what bacpypes3 asks."""
    return bytes(request.encode().encode().pduData)  # type: ignore[attr-defined]


def looked_for(bare: bytes) -> Sought:
    sought = decode_sought(bare)
    assert sought is not None
    return sought


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (WhoIsRequest(), True),
        (WhoIsRequest(deviceInstanceRangeLowLimit=1001, deviceInstanceRangeHighLimit=1001), True),
        (WhoIsRequest(deviceInstanceRangeLowLimit=1002, deviceInstanceRangeHighLimit=4194303), False),
        (WhoHasRequest(object=WhoHasObject(objectIdentifier=ObjectIdentifier(("analog-value", 1)))), True),
        (WhoHasRequest(object=WhoHasObject(objectIdentifier=ObjectIdentifier(("analog-value", 2)))), False),
        (WhoHasRequest(object=WhoHasObject(objectIdentifier=ObjectIdentifier(("device", 1001)))), True),
        (WhoHasRequest(object=WhoHasObject(objectName=CharacterString("setpoint"))), True),
        (WhoHasRequest(object=WhoHasObject(objectName=CharacterString("nothing"))), False),
    ],
)
def test_a_device_answers_what_it_fits(request_: object, expected: bool) -> None:
    assert fits(looked_for(as_asked(request_)), VAV) is expected


def test_to_look_for_a_device_is_to_discover_it_and_changes_nothing() -> None:
    (operation,) = compose_question(looked_for(EVERYBODY), VAV).operations
    assert (operation.action, operation.service, operation.writes) == (Action.DISCOVER, "who-is", False)


def test_to_look_for_an_object_is_to_look_at_its_point() -> None:
    sought = looked_for(as_asked(WhoHasRequest(object=WhoHasObject(objectName=CharacterString("setpoint")))))
    (operation,) = compose_question(sought, VAV).operations
    assert (operation.action, [touch.point for touch in operation.touches]) == (Action.VIEW, [SETPOINT])


def test_a_modbus_device_is_never_found() -> None:
    assert not fits(looked_for(EVERYBODY), AHU)


def test_i_am_says_what_the_broker_can_take_for_the_device() -> None:
    told = IAmRequest.decode(_bacpypes(announcement(looked_for(EVERYBODY), VAV)))
    assert str(told.iAmDeviceIdentifier) == "device,1001"
    assert (told.maxAPDULengthAccepted, str(told.segmentationSupported), told.vendorID) == (1476, "segmented-both", 999)


def test_i_have_names_the_object_that_was_looked_for() -> None:
    sought = looked_for(as_asked(WhoHasRequest(object=WhoHasObject(objectName=CharacterString("setpoint")))))
    told = IHaveRequest.decode(_bacpypes(announcement(sought, VAV)))
    assert [str(each) for each in (told.deviceIdentifier, told.objectIdentifier, told.objectName)] == [
        "device,1001",
        "analog-value,1",
        "setpoint",
    ]


@pytest.mark.parametrize(
    "octets",
    [
        "1008 0901",
        "1008 0902 1901",
        "1008 0900 1b400000",
        "1008 0900 1900 2900",
        "1007",
        "1007 2b002000",
        "1007 3d0000",
    ],
)
def test_half_limits_and_what_names_no_object_are_malformed(octets: str) -> None:
    with pytest.raises(FrameError):
        decode_sought(bytes.fromhex(octets))


@given(st.sampled_from((b"\x10\x07", b"\x10\x08")), st.binary(max_size=40))
def test_any_octets_are_a_question_or_refused(head: bytes, tail: bytes) -> None:
    try:
        sought = decode_sought(head + tail)
    except FrameError:
        return
    assert sought is not None
    assert 0 <= sought.low <= sought.high <= 0x3FFFFF


def test_other_requests_are_not_looked_at() -> None:
    assert decode_sought(b"\x10\x06\x00") is None
    assert decode_sought(b"\x00\x08") is None


def _bacpypes(bare: bytes) -> BacpypesApdu:
    return BacpypesApdu.decode(PDU(bare))


@pytest.mark.parametrize("octets", [b"", b"\x10", b"\x00"])
def test_what_is_too_short_to_be_a_request_looks_for_nothing(octets: bytes) -> None:
    assert decode_sought(octets) is None
