"""What BVLC-SC messages of BACnet/SC are made of (ASHRAE 135-2020, Annex AB.2)."""

from enum import IntEnum
from typing import Final, NamedTuple

from broker.errors import FrameError

COMMUNICATION: Final = 7  # error class of all that Annex AB refuses
MAX_NPDU_OCTETS: Final = 61_327
MAX_BVLC_OCTETS: Final = 65_535
VMAC_OCTETS: Final = 6
BROADCAST: Final = b"\xff" * VMAC_OCTETS  # AB.1.5.2
NO_VMAC: Final = bytes(VMAC_OCTETS)
_MUST_UNDERSTAND, _HAS_DATA = 0x40, 0x20  # AB.2.3


class Function(IntEnum):
    """BVLC functions (AB.2.1)."""

    RESULT = 0x00
    ENCAPSULATED_NPDU = 0x01
    ADDRESS_RESOLUTION = 0x02
    ADDRESS_RESOLUTION_ACK = 0x03
    ADVERTISEMENT = 0x04
    ADVERTISEMENT_SOLICITATION = 0x05
    CONNECT_REQUEST = 0x06
    CONNECT_ACCEPT = 0x07
    DISCONNECT_REQUEST = 0x08
    DISCONNECT_ACK = 0x09
    HEARTBEAT_REQUEST = 0x0A
    HEARTBEAT_ACK = 0x0B
    PROPRIETARY = 0x0C


class ErrorCode(IntEnum):
    """Error codes of a NAK (AB.3.1.5, numbers of clause 21)."""

    INCONSISTENT_PARAMETERS = 7
    OPTIONAL_FUNCTIONALITY_NOT_SUPPORTED = 45
    PARAMETER_OUT_OF_RANGE = 80
    BVLC_FUNCTION_UNKNOWN = 143
    BVLC_PROPRIETARY_FUNCTION_UNKNOWN = 144
    HEADER_ENCODING_ERROR = 145
    HEADER_NOT_UNDERSTOOD = 146
    MESSAGE_INCOMPLETE = 147
    NOT_A_BACNET_SC_HUB = 148
    PAYLOAD_EXPECTED = 149
    UNEXPECTED_DATA = 150
    NODE_DUPLICATE_VMAC = 151


class OptionType(IntEnum):
    """Header options that the standard defines (AB.2.3)."""

    SECURE_PATH = 1
    PROPRIETARY = 31


class Option(NamedTuple):
    """One header option; `data` None: it has no data field at all."""

    type: int
    data: bytes | None = None
    must_understand: bool = False

    @property
    def marker(self) -> int:
        """Its header marker, without the bit that says that more follow."""
        has_data = 0 if self.data is None else _HAS_DATA
        return self.type | has_data | (_MUST_UNDERSTAND if self.must_understand else 0)


SECURE_PATH: Final = Option(OptionType.SECURE_PATH, must_understand=True)  # AB.2.3.1


class ScMessage(NamedTuple):
    """One message; an address of no octets is absent."""

    function: int
    id: int
    payload: bytes = b""
    origin: bytes = b""
    destination: bytes = b""
    destination_options: tuple[Option, ...] = ()
    data_options: tuple[Option, ...] = ()


class Nak(NamedTuple):
    """Why a message was refused; `marker` is that of the header option in question, 0 if there is none."""

    code: int
    error_class: int = COMMUNICATION
    marker: int = 0
    details: str = ""


class ScFrameError(FrameError):
    """Octets that are no message: `nak` says why, `head` is what could be made out, None if nothing could."""

    def __init__(self, nak: Nak, detail: str, head: ScMessage | None = None) -> None:
        super().__init__("malformed", "not a BACnet/SC message", detail)
        self.nak = nak
        self.head = head


def wrong(code: ErrorCode, detail: str, marker: int = 0) -> ScFrameError:
    """Octets that are not what Annex AB has."""
    return ScFrameError(Nak(code, marker=marker, details=detail), detail)
