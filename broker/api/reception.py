"""What arrives as HTTP, read strictly before anything is made of it: headers, credentials, body, query."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from aiohttp import HttpVersion11, web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from broker.api.json_text import JsonError, decode_json
from broker.api.models import Asked
from broker.api.problems import Problem
from broker.errors import TokenError

M = TypeVar("M", bound=Asked)
_ONCE = (
    "Authorization",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Expect",
    "Host",
    "Idempotency-Key",
    "Origin",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Transfer-Encoding",
    "Upgrade",
)
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.ASCII | re.IGNORECASE)
_JSON_TYPE = re.compile(r'application/json *(?:; *charset="?utf-8"? *)?', re.ASCII | re.IGNORECASE)
_LISTS: dict[tuple[int | str, ...], str] = {
    ("points",): "must be a list of names",
    ("raw",): "must be a list of ranges",
}
_FAULTS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this body",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object of names and values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be a text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
}
_UNSEEN = "must not contain line breaks or characters that cannot be seen or that turn writing round"
_MAX_PARAMETERS = 32
_LONGEST_PLACE = 200
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def check_headers(request: web.BaseRequest) -> None:
    """Refuse what two readers could read differently. Raises Problem."""
    for name in _ONCE:
        if len(request.headers.getall(name, ())) > 1:
            raise Problem("header_repeated", f"{name} is there more than once.")
    if request.version >= HttpVersion11 and "Host" not in request.headers:
        raise Problem("request_malformed", "Host is missing.")


def bearer_token(request: web.BaseRequest) -> str | None:
    """The raw token, None if there is no Authorization at all. Raises TokenError for anything but a bearer token."""
    value = request.headers.get("Authorization")
    if value is None:
        return None
    match = _BEARER.fullmatch(value)
    if match is None:
        raise TokenError("token_malformed", "The Authorization header holds no bearer token.")
    return match.group(1)


async def read_body(request: web.BaseRequest, most_octets: int, seconds: float) -> bytes:
    """The whole body. Raises Problem if it is too large, too slow or not plain JSON."""
    refuse_encoding(request, _JSON_TYPE)
    return await whole_body(request, most_octets, seconds)


def refuse_encoding(request: web.BaseRequest, wanted: re.Pattern[str]) -> None:
    """Refuse a body of another media type, or one that is packed. Raises Problem."""
    content_type = request.headers.get("Content-Type", "")
    if wanted.fullmatch(content_type) is None or "Content-Encoding" in request.headers:
        raise Problem("media_type_unsupported")


async def whole_body(request: web.BaseRequest, most_octets: int, seconds: float) -> bytes:
    """The octets of a body. Raises Problem if they are too many or too slow."""
    if (request.content_length or 0) > most_octets:
        raise Problem("body_too_large", f"At most {most_octets} octets.")
    try:
        async with asyncio.timeout(seconds):
            return await _collect(request, most_octets)
    except TimeoutError:
        raise Problem("request_timeout", headers={"Connection": "close"}) from None
    except web.RequestPayloadError:
        raise Problem("request_malformed", "The body is not properly framed.") from None


async def _collect(request: web.BaseRequest, limit: int) -> bytes:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > limit:
            raise Problem("body_too_large", f"At most {limit} octets.")
    return bytes(body)


def refuse_body(request: web.BaseRequest) -> None:
    """Refuse a body where none is taken. Raises Problem."""
    if request.content_length or "Transfer-Encoding" in request.headers:
        raise Problem("request_malformed", "This route takes no body.")


def parse_body(octets: bytes, model: type[M]) -> M:
    """The body as its model. Raises Problem that names every place that does not fit."""
    try:
        value = decode_json(octets)
    except JsonError as error:
        where = f"line {error.line}, column {error.column}" if error.line else "body"
        errors = [{"at": where, "problem": error.public}]
        raise Problem("json_invalid", f"{where}: {error.public}", members={"errors": errors}) from None
    return _validated(value, model, "body_invalid")


def parse_query(request: web.BaseRequest, model: type[M] | None) -> M | None:
    """The query string as its model; without a model there must be none. Raises Problem."""
    text = request.raw_path.partition("?")[2]
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError:
        raise Problem("query_invalid") from None
    if model is None:
        if pairs:
            raise Problem("query_invalid", "This route takes no parameters.")
        return None
    return _validated(_gathered(pairs, model), model, "query_invalid")


def _gathered(pairs: Sequence[tuple[str, str]], model: type[Asked]) -> dict[str, Any]:
    """Parameters by name; only those whose model is a tuple may come several times."""
    several = {
        name for name, field in model.model_fields.items() if getattr(field.annotation, "__origin__", None) is tuple
    }
    gathered: dict[str, Any] = {}
    for name, value in pairs:
        if name in several:
            gathered.setdefault(name, []).append(value)
        elif name in gathered:
            raise Problem("query_invalid", members={"errors": [{"at": _place((name,)), "problem": "is given twice"}]})
        else:
            gathered[name] = value
    return gathered


def _validated(value: Any, model: type[M], code: str) -> M:
    """What a caller wrote as its model; no text of his goes on with characters that deceive whoever reads it."""
    try:
        asked = model.model_validate(value)
    except ValidationError as error:
        found = _own_faults(error.errors(include_url=False, include_input=False))
        raise _unfit(code, [{"at": _place(fault["loc"]), "problem": fault_text(fault)} for fault in found]) from None
    unseen = [{"at": _place(place), "problem": _UNSEEN} for place in _unseen(value, model.lines)]
    if unseen:
        raise _unfit(code, unseen)
    return asked


def _unfit(code: str, errors: list[dict[str, str]]) -> Problem:
    detail = "; ".join(f"{fault['at']}: {fault['problem']}" for fault in errors[:5])
    return Problem(code, detail, members={"errors": errors[:20]})


def _unseen(value: Any, lines: frozenset[str], place: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    """The places of texts and names with characters that cannot be seen; `lines` names fields of several lines."""
    if isinstance(value, str):
        text = value.replace("\r\n", "").replace("\n", "") if place[:1] and place[0] in lines else value
        if not text.isprintable():
            yield place
    elif isinstance(value, dict):
        for name, inner in value.items():
            here = (*place, name)
            yield from _unseen(inner, lines, here) if name.isprintable() else (here,)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _unseen(inner, lines, (*place, number))


def _place(location: tuple[int | str, ...]) -> str:
    """Where in a body: `points.zone-setpoint.priority`; names are the caller's, so they are shortened and escaped."""
    text = ".".join(str(part) for part in location)[:_LONGEST_PLACE] or "body"
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)


def _own_faults(found: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that only seem to be empty because what is in them does not fit."""
    inner = {fault["loc"][:length] for fault in found for length in range(len(fault["loc"]))}
    return [fault for fault in found if fault["type"] != "too_short" or fault["loc"] not in inner]


def fault_text(fault: ErrorDetails) -> str:
    """A fault that the model found, in the words of people who read JSON."""
    context = fault.get("ctx", {})
    if fault["type"] == "value_error":
        return str(context.get("error", "is not acceptable"))
    if fault["type"] == "string_too_short" and context.get("min_length") == 1:
        return _FAULTS["too_short"]
    if fault["type"] == "tuple_type" and fault["loc"] in _LISTS:
        return _LISTS[fault["loc"]]
    return _FAULTS.get(fault["type"], "is not acceptable").format_map(context)
