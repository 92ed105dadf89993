"""What goes between the broker and a policy worker over a stream socket.

Every message is its length (4 octets, big endian) and so many octets:

    first     {"modules": {file: text}, "data": {…}, "budget_seconds": number} → "" or what is wrong with it
    others    number of the entry point (1 octet), question (JSON)             → answer (JSON), "" if undefined

Answers come in the order of the questions.
"""

import struct
from typing import Final

from broker.model.decision import EntryPoint

LENGTH: Final = struct.Struct(">I")
ENTRY_POINTS: Final = tuple(EntryPoint)
MAX_LOAD_OCTETS: Final = 16 << 20


def framed(message: bytes) -> bytes:
    """A message with its length in front."""
    return LENGTH.pack(len(message)) + message
