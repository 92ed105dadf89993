"""The kinds of values that settings and inventory are made of."""

import ipaddress
import re
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"


class Section(BaseModel):
    """A mapping of the YAML: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class PathKind(Enum):
    """What must be true of a path when settings are loaded."""

    FILE = "an existing file"
    SECRET_FILE = "an existing file that others cannot read"
    FOLDER = "an existing folder"
    MADE = "made by the broker if it is not there"


def _from_here(path: str, info: ValidationInfo) -> str:
    """A relative path continues from the folder of the file that names it."""
    folder = (info.context or {}).get("folder", "")
    if "\0" in path:
        raise ValueError("a path cannot contain a null character")
    return str(PurePath(folder) / path) if path else ""


def _visible(text: str) -> str:
    """Nothing that shows as something else: who approves a change must see what it says."""
    if not text.isprintable():
        raise ValueError("must not contain characters that cannot be seen or that turn writing round")
    return text


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    numbers_only = not re.search(r"[a-z]", text.lower())
    if numbers_only or len(text) > 253 or not re.fullmatch(r"(?i:[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*)", text):
        raise ValueError("must be an IP address or a host name")
    return text.lower()


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError("must be an IP address, such as 0.0.0.0 or 127.0.0.1") from None


def _hexadecimal(raw: object) -> object:
    if isinstance(raw, str) and re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", raw):
        return int(raw, 16)
    return raw


def is_loopback(host: str) -> bool:
    """Whether a host names this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def https_or_loopback(url: str) -> str:
    """An address that nobody on the way can read or change what goes to. Raises ValueError."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError("must not contain a user name or password; secrets are given as files")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))):
        raise ValueError("must be an https:// address (http:// only to this machine)")
    return url


def _wss(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme != "wss" or not parts.hostname or parts.username or parts.password or parts.fragment:
        raise ValueError("must be like wss://HOST:PORT/")
    return uri


DnsLabel = Annotated[str, StringConstraints(pattern=f"^{LABEL}$"), WithJsonSchema({"type": "string", "format": "id"})]
RoleName = Annotated[
    str,
    StringConstraints(pattern=f"^{LABEL}(?:@{LABEL})?$"),
    WithJsonSchema({"type": "string", "format": "role, or role@site"}),
]
DeviceKey = Annotated[
    str, StringConstraints(pattern=f"^{LABEL}/{LABEL}$"), WithJsonSchema({"type": "string", "format": "site/device"})
]
Text = Annotated[str, StringConstraints(max_length=500)]
Word = Annotated[
    str,
    StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00-\x20\x7f]+$"),
    AfterValidator(_visible),
]
WssUri = Annotated[Word, AfterValidator(_wss)]
LedgerKey = Annotated[
    str,
    StringConstraints(pattern=r"^[^\s+]{1,300}\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44,64}$"),
    WithJsonSchema({"type": "string", "format": "public key of a ledger"}),
]
Host = Annotated[str, AfterValidator(_host)]
IpAddress = Annotated[str, AfterValidator(_address)]
Port = Annotated[int, Field(ge=1, le=65535)]
OwnPort = Annotated[int, Field(ge=0, le=65535)]
Number = Annotated[Decimal, Field(max_digits=36, decimal_places=18), WithJsonSchema({"type": "number"})]
RegisterAddress = Annotated[int, BeforeValidator(_hexadecimal), Field(ge=0, le=65535)]
File = Annotated[str, AfterValidator(_from_here), PathKind.FILE, WithJsonSchema({"type": "string", "format": "file"})]
SecretFile = Annotated[
    str, AfterValidator(_from_here), PathKind.SECRET_FILE, WithJsonSchema({"type": "string", "format": "secret file"})
]
Folder = Annotated[
    str, AfterValidator(_from_here), PathKind.FOLDER, WithJsonSchema({"type": "string", "format": "folder"})
]
MadePath = Annotated[
    str, AfterValidator(_from_here), PathKind.MADE, WithJsonSchema({"type": "string", "format": "path"})
]
