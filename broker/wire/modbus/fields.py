"""The rules that all function codes share, and the two refusals in which they end."""

from broker.errors import FrameError

ADDRESSES = 65536


def illegal_value(public: str) -> FrameError:
    """The refusal of a request or reply that is malformed (exception 03 to a caller)."""
    return FrameError("illegal_value", public)


def illegal_function(public: str) -> FrameError:
    """The refusal of a function or sub-function that is not known (exception 01 to a caller)."""
    return FrameError("illegal_function", public)


def require_length(pdu: bytes, octets: int) -> None:
    """Refuse a PDU that is not exactly so long."""
    if len(pdu) != octets:
        raise illegal_value(f"function {pdu[0]}: {len(pdu)} octets instead of {octets}")


def require_byte_count(pdu: bytes, place: int, octets: int) -> None:
    """Refuse a PDU whose byte count at `place` is not `octets`, or that has more or fewer octets behind it."""
    require_length(pdu, place + 1 + octets)
    if pdu[place] != octets:
        raise illegal_value(f"function {pdu[0]}: byte count {pdu[place]} instead of {octets}")


def require_range(start: int, count: int, most: int) -> None:
    """Refuse a range that is empty, longer than the function allows, or leaves the address space (4.4)."""
    if not 1 <= count <= most:
        raise illegal_value(f"a quantity of {count} is outside 1 to {most}")
    if start < 0 or start + count > ADDRESSES:
        raise illegal_value(f"{count} from address {start} leave the address space 0 to 65535")


def require_between(name: str, value: int, least: int, most: int) -> None:
    """Refuse a field outside its limits."""
    if not least <= value <= most:
        raise illegal_value(f"{name} {value} is outside {least} to {most}")


def require_words(data: bytes, most: int) -> None:
    """Refuse register contents that are not 1 to `most` whole registers."""
    if len(data) % 2 or not 2 <= len(data) <= 2 * most:
        raise illegal_value(f"{len(data)} octets are not 1 to {most} registers")


def require_echo(reply: bytes, request: bytes) -> None:
    """Refuse a reply that should repeat its request and does not."""
    if reply != request:
        raise illegal_value(f"function {request[0]}: the reply does not repeat the request")
