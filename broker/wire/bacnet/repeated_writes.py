"""Writes that differ from an earlier one in the content of their value alone: of these only the value is looked at.

    00 0f  0c 00 80 00 01  19 55  3e  44    41 20 00 00    3f  49 0a
    before: where, and the tag's header       content      behind: the priority

Tags are read from the left, each as long as its header says (20.2.1), and WriteProperty says the same of a primitive
value whatever it is (15.9). So what begins and ends as a write that was decoded whole means the same, with another
value; and of one that was canonical the octets are canonical as well, for a primitive value is sent on as it came.
"""

from typing import NamedTuple

from broker.model.operation import Request
from broker.wire.bacnet.encoding import closing, context_unsigned
from broker.wire.bacnet.items import Decoded, Item, digest_of
from broker.wire.bacnet.places import Form, Places
from broker.wire.bacnet.tags import Tag
from broker.wire.recent import Recent

_MOST_KNOWN = 1024
_SERVICE = "write-property"
_WRITE = b"\x00\x0f"  # 20.1.2, clause 21: a confirmed request for it
_OPENING = 0x3E  # 15.9.1.1.4: what encloses the value
_LEAST_BEFORE = 9  # PDU type, service choice, object identifier, property
_LENGTH = 0x07


class _Known(NamedTuple):
    """A write but for the content of its value: what is about it in any case, and the number of the value's tag."""

    item: Item
    form: Form
    tag: int
    before: Request | None


class RepeatedWrites:
    """The writes that one device was asked for; of more than so many different ones the oldest are forgotten."""

    __slots__ = ("_known", "_places")

    def __init__(self, places: Places) -> None:
        self._places = places
        self._known: Recent[tuple[bytes, bytes], _Known] = Recent(_MOST_KNOWN)

    def recognised(self, bare: bytes) -> Request | None:
        """What a bare request asks if but for its value it was asked before. Raises FrameError for the value."""
        if bare[:2] != _WRITE:
            return None
        before, content, behind = _parted(bare)
        known = self._known.get((before, behind))
        if known is None:
            return None
        object_type, instance, name, index, _, priority, _ = known.item
        item = Item(object_type, instance, name, index, (Tag("application", known.tag, content),), priority)
        operation = self._places.filled(known.form, item)
        return Request((operation,), bare, digest_of(bare), before=known.before)

    def learn(self, bare: bytes, decoded: Decoded, request: Request) -> None:
        """Keep what a bare request asks, if it is a canonical write of a value that is where it was looked for."""
        if decoded.service != _SERVICE or request.payload != bare:
            return
        before, content, behind = _parted(bare)
        item = decoded.items[0]
        tags = item.value or ()
        number = tags[0].number if len(tags) == 1 else None
        if number is None or tags[0] != ("application", number, content) or behind != _behind(item.priority):
            return
        form = self._places.form(_SERVICE, item)
        self._known.keep((before, behind), _Known(item._replace(value=None), form, number, request.before))


def _parted(bare: bytes) -> tuple[bytes, bytes, bytes]:
    """Where the content of a short value is likely to be: what is before it, the content, what is behind it."""
    start = bare.find(_OPENING, _LEAST_BEFORE) + 2
    end = start + (bare[start - 1] & _LENGTH if start <= len(bare) else 0)
    return bare[:start], bare[start:end], bare[end:]


def _behind(priority: int | None) -> bytes:
    return closing(3) if priority is None else closing(3) + context_unsigned(4, priority)
