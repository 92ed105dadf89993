"""The API as one function from request to response: prove the caller, find the route, check, decide, answer."""

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from aiohttp import web

from broker.api import problems
from broker.api.back_channel import BackChannel
from broker.api.call import ALWAYS, DONE, LISTENER, Call, Limits, Shared, path_of
from broker.api.enrolment import refused
from broker.api.idempotency import IdempotencyStore
from broker.api.json_text import json_octets
from broker.api.openapi import openapi_octets
from broker.api.ports import Authenticator, Gate, IdentityRefused, Logouts, Tunnels
from broker.api.problems import Problem, timestamp
from broker.api.reception import bearer_token, check_headers, parse_body, parse_query, read_body, refuse_body
from broker.api.route import CertificateAlone, DecidedBy, Effect, Route
from broker.api.routes import ROUTES
from broker.api.strangers import Strangers
from broker.api.under_way import UnderWay
from broker.errors import BrokerError, LedgerUnavailableError, PeerError, UnavailableError
from broker.identity.binding import stands_for_both
from broker.identity.certificate import fingerprint
from broker.identity.codes import token_error
from broker.model.subject import Subject, SubjectKind
from broker.model.trust import Requirement
from broker.model.vocabulary import RecordKind
from broker.model.words import AFTER_REVOCATION

log = logging.getLogger(__name__)
ACCESS_ENDS = "Otbroker-Access-Ends"
_MISSING = frozenset({"certificate_missing", "token_missing", "proof_missing"})
_TOKEN_WANTED = (Requirement.TOKEN, Requirement.BOTH)
_ROUTE = web.RequestKey("route", str)
NOBODY = Subject("", SubjectKind.PERSON, "")
"""Who calls without being proven; of no organisation, so no policy lets him do anything."""
_PROVING = tuple(route for route in ROUTES if route.decided_by is DecidedBy.PROOF)
_RESOURCE = {"index": "id"}
_CLOSING = frozenset(
    {
        "body_too_large",
        "credentials_missing",
        "credentials_refused",
        "logout_refused",
        "request_malformed",
        "request_timeout",
    }
)


class Api:
    """Serves the routes. Who calls is known only from the connection's certificate and the bearer token.

    `request.transport.get_extra_info("tls_connection")` gives `leaf`, `intermediates` and `peer`. Host, X-Forwarded-*
    and every other header that another hop may set are never looked at.
    """

    def __init__(
        self,
        gate: Gate,
        authenticator: Authenticator,
        tunnels: Tunnels,
        logouts: Logouts,
        *,
        identity_refused: IdentityRefused,
        requirement: Requirement = Requirement.BOTH,
        limits: Limits | None = None,
        origins: frozenset[str] = frozenset(),
    ) -> None:
        limits = limits or Limits()
        self._authenticator = authenticator
        self._identity_refused = identity_refused
        self._back_channel = BackChannel(logouts, identity_refused)
        self._requirement = requirement
        self._origins = origins
        self._limits = limits
        self._shared = Shared(
            gate=gate,
            tunnels=tunnels,
            idempotency=IdempotencyStore(time.monotonic),
            limits=limits,
            readers=asyncio.Semaphore(limits.evidence_readers),
            under_way=UnderWay(),
            description=openapi_octets(),
        )
        self._strangers, self._certified = Strangers(), Strangers()
        self._calls_of: Counter[str] = Counter()
        self._patterns = tuple((route, route.pattern) for route in ROUTES)
        self.answers: Counter[tuple[str, int]] = Counter()
        """How many answers by route name and status: for the figure `http_answers`."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever happens; nothing of our insides is shown."""
        try:
            response = await self._answer(request)
        except Problem as problem:
            response = problem.response()
            if problem.code in _CLOSING:
                response.force_close()
        except LedgerUnavailableError as error:
            known = error.code if error.code in problems.KINDS else "ledger_closed"
            response = Problem(known).response()
        except UnavailableError:
            response = Problem("unavailable").response()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("a call failed")
            response = Problem("internal_error").response()
        self.answers[request.get(_ROUTE, "none"), response.status] += 1
        if not response.prepared:
            response.headers.update(ALWAYS)
        return response

    def refuse(self, status: int) -> web.Response:
        """The answer to something that the HTTP layer could not even read."""
        response = problems.for_status(status).response()
        response.headers.update(ALWAYS)
        self.answers["none", response.status] += 1
        return response

    async def quiet(self, seconds: float) -> bool:
        """Wait until no write call is under way, at most that long; True if there is none."""
        return await self._shared.under_way.quiet(seconds)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        check_headers(request)
        connection = _connection(request)
        if self._back_channel.is_meant(request):
            request[_ROUTE] = "backchannel_logout"
            return await self._back_channel.answer(request, connection.peer)
        proving = self._proving(request)
        if proving is not None:
            request[_ROUTE] = proving.name
            return await self._answer_stranger(request, connection, proving)
        subject = await self._authenticate(request, connection, self._requirement)
        route, parameters = self._route(request)
        request[_ROUTE] = route.name
        self._check_origin(request, route)
        if self._calls_of[subject.id] >= self._limits.calls_of_subject:
            raise Problem("too_many_calls", headers={"Retry-After": "1"})
        self._calls_of[subject.id] += 1
        try:
            call = await self._call(request, connection, subject, route, parameters)
            self._require_still_sufficient(request, subject)
            async with asyncio.timeout(None if route.streams else self._limits.call_seconds + call.wait_seconds):
                return await self._handled(route, call)
        except TimeoutError:
            raise Problem("deadline_passed") from None
        finally:
            self._calls_of[subject.id] -= 1
            if not self._calls_of[subject.id]:
                del self._calls_of[subject.id]

    async def _answer_stranger(self, request: web.BaseRequest, connection: Any, route: Route) -> web.StreamResponse:
        """A call whose body is the proof: few at a time, small, and what proves nothing is counted like any other.

        Whoever has shown a certificate in the handshake waits for nobody who has none.
        """
        leaf = connection.leaf
        with self._strangers.admitted(connection.peer) if leaf is None else self._certified.admitted(fingerprint(leaf)):
            self._check_origin(request, route)
            subject = NOBODY
            if route.requirement is not None:
                subject = await self._authenticate(request, connection, route.requirement)
            try:
                async with asyncio.timeout(self._limits.call_seconds):
                    call = await self._call(request, connection, subject, route, {})
                    return await self._handled(route, call)
            except PeerError as error:
                self._identity_refused(LISTENER, connection.peer, error.code)
                raise refused(error) from None
            except TimeoutError:
                raise Problem("deadline_passed") from None

    def _proving(self, request: web.BaseRequest) -> Route | None:
        """The route of a call that needs no proof beside the one in it; all other paths are for the proven only."""
        path = path_of(request)
        return next((r for r in _PROVING if r.path == path and r.method == request.method), None)

    async def _authenticate(self, request: web.BaseRequest, connection: Any, requirement: Requirement) -> Subject:
        subject = None
        try:
            token = bearer_token(request)
            if token is None and connection.leaf is not None and requirement in _TOKEN_WANTED:
                subject = self._authenticator.certificate_subject(connection.leaf, connection.intermediates)
                if self._certificate_suffices(request, subject):
                    return subject
            return await self._authenticator.authenticate(requirement, connection.leaf, connection.intermediates, token)
        except PeerError as error:
            self._identity_refused(LISTENER, connection.peer, error.code)
            raise _unproven(error, self._over(subject)) from None

    def _over(self, subject: Subject | None) -> str:
        """The emergency that stood for the token of a subject until it ended; "" if there is none to review."""
        if subject is None:
            return ""
        book, who = self._shared.gate.break_glass, (subject.id, subject.organisation)
        held = [e for e in (*book.emergencies, *book.elsewhere) if (e.subject, e.organisation) == who]
        last = max(held, key=lambda emergency: emergency.opened_at, default=None)
        return "" if last is None or last.reviewed or last.holds_at(book.now()) else last.id

    def _certificate_suffices(self, request: web.BaseRequest, subject: Subject) -> bool:
        """Whether the route does without a token for this subject: to open an emergency, and in one that holds."""
        path = path_of(request)
        for route, pattern in self._patterns:
            match = pattern.fullmatch(path) if route.method == request.method else None
            if match and route.certificate_alone is CertificateAlone.IN_EMERGENCY:
                return self._shared.gate.break_glass.holds(subject, match.groupdict().get("site", ""))
            if match:
                return route.certificate_alone is CertificateAlone.ALWAYS
        return False

    def _require_still_sufficient(self, request: web.BaseRequest, subject: Subject) -> None:
        """A body may take its time to arrive, and the emergency that stood for a token be over. Raises Problem."""
        wanted = self._requirement in _TOKEN_WANTED and bearer_token(request) is None
        waived = wanted and not (self._requirement is Requirement.BOTH and stands_for_both(subject))
        if waived and not self._certificate_suffices(request, subject):
            raise _unproven(token_error("token_missing"), self._over(subject))

    def _route(self, request: web.BaseRequest) -> tuple[Route, dict[str, str]]:
        path = path_of(request)
        methods = []
        for route, pattern in self._patterns:
            match = pattern.fullmatch(path)
            if match and route.method == request.method:
                return route, match.groupdict()
            if match:
                methods.append(route.method)
        if methods:
            raise Problem("method_not_allowed", headers={"Allow": ", ".join(methods)})
        raise Problem("route_unknown")

    def _check_origin(self, request: web.BaseRequest, route: Route) -> None:
        """A browser sends its certificate for any page that asks: other pages may neither write nor open tunnels."""
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._origins and (route.subprotocol or route.body is not None):
            raise Problem("origin_refused")

    async def _call(
        self, request: web.BaseRequest, connection: Any, subject: Subject, route: Route, parameters: dict[str, str]
    ) -> Call:
        octets, body = b"", None
        query = parse_query(request, route.query)
        if route.body is None:
            refuse_body(request)
        else:
            proving = route.decided_by is DecidedBy.PROOF
            seconds = self._limits.stranger_seconds if proving else self._limits.body_seconds
            octets = await read_body(request, self._limits.body_octets, seconds)
            body = parse_body(octets, route.body)
        return Call(
            shared=self._shared,
            request=request,
            subject=subject,
            peer=connection.peer,
            parameters=parameters,
            administers=route.permission if RecordKind.ADMINISTERED in route.recorded_as else "",
            query=query,
            body=body,
            body_octets=octets,
        )

    async def _handled(self, route: Route, call: Call) -> web.StreamResponse:
        if route.decided_by is DecidedBy.ADMIN:
            await call.require(route.permission, _resource(route, call.parameters))
        answer = await _recorded(route, call)
        response: web.StreamResponse
        if isinstance(answer, web.StreamResponse):
            response = answer
        else:
            response = web.Response(body=json_octets(answer), headers={"Content-Type": "application/json"})
        if call.ends is not None and not response.prepared:
            response.headers[ACCESS_ENDS] = timestamp(call.ends[0])
        return response


async def _recorded(route: Route, call: Call) -> Any:
    """The handler's answer, with what the route promises to leave in the ledger: no view of evidence without."""
    try:
        answer = await route.handler(call)
    except BaseException as failure:
        with suppress(LedgerUnavailableError):
            call.ended(_cause(failure))
        raise
    call.ended(DONE)
    if route.effect is Effect.EVIDENCE and not call.viewed:
        raise BrokerError("view_unrecorded", "Evidence would be shown without a record of it.", route.name)
    return answer


def _cause(failure: BaseException) -> str:
    """How the ledger tells why an act did not come to its end."""
    if isinstance(failure, Problem | BrokerError):
        return failure.code
    return "unfinished" if isinstance(failure, asyncio.CancelledError) else "internal_error"


def _connection(request: web.BaseRequest) -> Any:
    """The TLS connection under a request; without one nothing is served."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the caller has left")
    connection = transport.get_extra_info("tls_connection")
    if connection is None:
        raise BrokerError("tls_missing", "The API is served over TLS only.")
    return connection


def _resource(route: Route, parameters: dict[str, str]) -> dict[str, Any]:
    """What the policy is told of the thing that the path names."""
    return {"kind": route.resource} | {_RESOURCE.get(name, name): value for name, value in parameters.items()}


def _unproven(error: PeerError, over: str = "") -> Problem:
    """What the caller is told of a proof that failed; `over` is the emergency that made up for it until it ended."""
    if error.code == "subjects_differ":
        return Problem("subjects_differ")
    code = "credentials_missing" if error.code in _MISSING else "credentials_refused"
    challenge = 'Bearer realm="otbroker"'
    if code == "credentials_refused":
        challenge += ', error="invalid_token"'
    members: dict[str, Any] = {"reasons": [{"code": error.code, "text": error.public}]}
    if error.code == "certificate_revoked":
        members["what_to_do"] = AFTER_REVOCATION
    elif over:
        members["what_to_do"] = f"Your emergency {over} is over: present a bearer token as well, as at other times."
    return Problem(code, error.public, members=members, headers={"WWW-Authenticate": challenge})
