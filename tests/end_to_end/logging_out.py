"""Who logs out at the issuers of a development broker: they tell the broker, as an OpenID Provider does."""

import time
from http.client import HTTPSConnection
from urllib.parse import urlencode

from broker.adapters.development_tokens import create_token_issuer, mint_logout_token
from broker.cli.development import ISSUERS
from tests.end_to_end.development import Development

PATH = "/v1/backchannel-logout"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def log_out(development: Development, organisation: str, *, account: str = "", login: str = "") -> float:
    """An account logs out, of one log-in (a token's `sid`) or of all; when that was told (monotonic)."""
    began = time.monotonic()
    status = tell(development, logout_token(development, organisation, account=account, login=login))
    assert status == 200, status
    return began


def logout_token(development: Development, organisation: str, *, account: str = "", login: str = "") -> str:
    issuer = create_token_issuer(development.folder / "issuers" / organisation, ISSUERS[organisation])
    return mint_logout_token(issuer, time.time(), account=account, login=login)


def tell(development: Development, raw_token: str) -> int:
    """The HTTP status that a logout token gets, told without any other proof."""
    connection = HTTPSConnection(*development.api_address, timeout=10, context=development.tls(None))
    try:
        connection.request("POST", PATH, urlencode({"logout_token": raw_token}), FORM)
        return connection.getresponse().status
    finally:
        connection.close()
