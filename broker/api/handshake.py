"""The WebSocket handshake (RFC 6455, 4.2.1), read strictly."""

import base64
import binascii

from aiohttp import web

from broker.api.problems import Problem


def verify_handshake(request: web.BaseRequest, subprotocol: str) -> None:
    """Check that a request asks properly for a tunnel of that subprotocol. Raises Problem."""
    headers = request.headers
    if headers.get("Upgrade", "").strip().lower() != "websocket" or "upgrade" not in _tokens(
        headers.get("Connection", "")
    ):
        raise Problem("upgrade_required", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    if headers.get("Sec-WebSocket-Version", "") != "13":
        raise Problem("handshake_invalid", "The version must be 13.", headers={"Sec-WebSocket-Version": "13"})
    if subprotocol not in _exact_tokens(headers.get("Sec-WebSocket-Protocol", "")):
        raise Problem("handshake_invalid", f"The subprotocol {subprotocol} must be offered.")
    if not _is_nonce(headers.get("Sec-WebSocket-Key", "")):
        raise Problem("handshake_invalid", "The key must be 16 octets in base64.")


def _is_nonce(key: str) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _exact_tokens(value: str) -> list[str]:
    return [token.strip() for token in value.split(",")]


def _tokens(value: str) -> list[str]:
    return [token.lower() for token in _exact_tokens(value)]
