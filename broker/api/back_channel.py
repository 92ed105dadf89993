"""Where token issuers tell who logged out (OpenID Connect Back-Channel Logout 1.0): a form with a signed logout token.

The token is the whole proof: nobody logs in here, and what the form says besides is ignored. It is no route of the API.
"""

import re
import time
from collections.abc import Callable
from urllib.parse import parse_qsl

from aiohttp import web

from broker.api.call import LISTENER, path_of
from broker.api.ports import IdentityRefused, Logouts
from broker.api.problems import Problem
from broker.api.reception import refuse_encoding, whole_body
from broker.api.source_pace import SourcePace
from broker.errors import StateUnavailableError, TokenError

PATH = "/v1/backchannel-logout"
LARGEST_FORM = 16_384
FORM_SECONDS = 5.0
PER_SECOND = 50.0
BURST = 200.0
_FORM_TYPE = re.compile(r"application/x-www-form-urlencoded *(?:; *charset=[\"\w-]+ *)?", re.ASCII | re.IGNORECASE)


class BackChannel:
    """Takes logout tokens, so many a second from one address, and counts what is refused. Many addresses together are
    not held back: they would keep an issuer from being heard, and sessions open that it ends.
    """

    def __init__(
        self, logouts: Logouts, identity_refused: IdentityRefused, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._logouts = logouts
        self._identity_refused = identity_refused
        self._pace = SourcePace(BURST, PER_SECOND, monotonic, together=None)

    def is_meant(self, request: web.BaseRequest) -> bool:
        """Whether a request is for here."""
        return path_of(request) == PATH

    async def answer(self, request: web.BaseRequest, peer: str) -> web.Response:
        """200 once the logout has taken effect (2.8). Raises Problem."""
        if request.method != "POST":
            raise Problem("method_not_allowed", headers={"Allow": "POST"})
        if not self._pace.admits(peer):
            raise Problem("too_many_calls", headers={"Retry-After": "1"})
        raw_token = await _logout_token(request)
        try:
            await self._logouts.take(raw_token)
        except TokenError as error:
            self._identity_refused(LISTENER, peer, error.code)
            raise _refused(error.public, error.code) from None
        except StateUnavailableError:
            raise Problem("unavailable", "It holds on this broker, and is not stored yet.") from None
        return web.Response()


async def _logout_token(request: web.BaseRequest) -> str:
    """The one `logout_token` of the form. Raises Problem."""
    refuse_encoding(request, _FORM_TYPE)
    octets = await whole_body(request, LARGEST_FORM, FORM_SECONDS)
    try:
        form = parse_qsl(octets.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=16)
    except ValueError:
        raise _refused("The form cannot be read.") from None
    found = [value for name, value in form if name == "logout_token"]
    if len(found) != 1:
        raise _refused("The form needs one logout_token.")
    return found[0]


def _refused(detail: str, code: str = "") -> Problem:
    """2.8: 400, with OAuth's word for it beside ours."""
    reasons = [{"code": code, "text": detail}] if code else []
    members = {"error": "invalid_request", "error_description": detail}
    return Problem("logout_refused", detail, members=members | ({"reasons": reasons} if reasons else {}))
