"""Numbers and addresses of BACnet, as the inventory writes them."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints


def _number(raw: object) -> object:
    return int(raw) if isinstance(raw, str) and raw.isascii() and raw.isdecimal() else raw


def _mac(text: str) -> str:
    """A decimal number of one octet, or the octets in hexadecimal (`0x0c`, `0a:14:00:1f:ba:c0`)."""
    if text.isascii() and text.isdecimal() and int(text) <= _LARGEST_OCTET:
        return f"{int(text):02x}"
    if re.fullmatch(r"0x([0-9a-f]{2}){1,7}|[0-9a-f]{2}(:[0-9a-f]{2}){1,6}", text.lower()):
        return text.lower().removeprefix("0x").replace(":", "")
    raise ValueError(
        "must be a number from 0 to 255, or 1 to 7 octets in hexadecimal, such as 0x0c or 0a:14:00:1f:ba:c0"
    )


def _virtual_mac(text: str) -> str:
    octets = _mac(text)
    if len(octets) > _LONGEST_VIRTUAL_MAC * 2:
        raise ValueError(f"must be at most {_LONGEST_VIRTUAL_MAC} octets")
    return octets


_LARGEST_OCTET = 255
_LONGEST_VIRTUAL_MAC = 6
NetworkNumber = Annotated[int, Field(ge=1, le=65534)]  # 6.2.2: 0 and 65535 name no single network
Mac = Annotated[str, StringConstraints(max_length=24), AfterValidator(_mac)]
VirtualMac = Annotated[str, StringConstraints(max_length=24), AfterValidator(_virtual_mac)]
MaxApdu = Annotated[Literal[50, 128, 206, 480, 1024, 1476], BeforeValidator(_number)]
Instance = Annotated[int, Field(ge=0, le=4194302)]
