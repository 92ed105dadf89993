"""Enrolment and renewal. Whoever calls is proven by what the call contains: a one-time code, or an old key."""

import base64
import binascii
import logging
from typing import Any

from broker.api.call import Call
from broker.api.people_models import CompleteCall, EnrolCall, RenewCall, RenewServiceCall
from broker.api.people_ports import Offer, People
from broker.api.problems import KINDS, Problem, timestamp
from broker.errors import EnrolmentError, IssuanceError, PeerError
from broker.model.enrolment import IssuedCertificate
from broker.model.vocabulary import Reason

log = logging.getLogger(__name__)
_REASONS = frozenset(reason.value for reason in Reason)
_OF_REQUESTS = frozenset({"request_malformed", "request_refused", "terms_refused"})


def people_of(call: Call) -> People:
    """The parts about people. Raises Problem if this broker has none."""
    if call.gate.people is None:
        raise Problem("enrolment_unavailable")
    return call.gate.people


async def begin(call: Call) -> dict[str, Any]:
    """The code is right: what the new factor is asked."""
    asked: EnrolCall = call.body
    return _offered(await people_of(call).enrolment.begin(asked.code, asked.request, asked.factor))


async def complete(call: Call) -> dict[str, Any]:
    """The new factor is there: the first certificate."""
    asked: CompleteCall = call.body
    return _issued(await people_of(call).enrolment.complete(asked.ticket, asked.code, asked.credential))


async def begin_renewal(call: Call) -> dict[str, Any]:
    """The old key is there: what the factor is asked."""
    asked: RenewCall = call.body
    try:
        signature = base64.b64decode(asked.signature, validate=True)
    except (binascii.Error, ValueError):
        raise Problem("renewal_refused", "The signature is not base64.") from None
    return _offered(await people_of(call).enrolment.begin_renewal(asked.certificate, asked.request, signature))


async def complete_renewal(call: Call) -> dict[str, Any]:
    """The factor is proven: the next certificate."""
    asked: CompleteCall = call.body
    return _issued(await people_of(call).enrolment.complete_renewal(asked.ticket, asked.code, asked.credential))


async def renew_service(call: Call) -> dict[str, Any]:
    """The next certificate of a service that has a good one."""
    asked: RenewServiceCall = call.body
    return _issued(await people_of(call).enrolment.renew_service(call.subject, asked.request))


def refused(error: PeerError) -> Problem:
    """What whoever asked for a certificate is told of a refusal; details go to the log."""
    log.info("no certificate: %s", error)
    if error.code in _REASONS:
        return Problem("permission_denied", reasons=(error.code,))
    if isinstance(error, IssuanceError):
        code = "certificate_request_refused" if error.code in _OF_REQUESTS else "enrolment_unavailable"
        return Problem(code, error.public)
    code = error.code if error.code in KINDS and isinstance(error, EnrolmentError) else "enrolment_unavailable"
    wait = error.wait_seconds if isinstance(error, EnrolmentError) else 0.0
    return Problem(code, error.public, headers={"Retry-After": str(int(wait) + 1)} if wait > 0 else {})


def _offered(offer: Offer) -> dict[str, Any]:
    return {
        "ticket": offer.ticket,
        "subject": offer.subject,
        "organisation": offer.organisation,
        "factor": offer.kind.value,
        "uri": offer.uri or None,
        "options": offer.options,
        "seconds": int(offer.seconds),
    }


def _issued(issued: IssuedCertificate) -> dict[str, Any]:
    certificate = issued.certificate
    return {
        "certificate": issued.chain,
        "subject": certificate.subject,
        "organisation": certificate.organisation,
        "serial": certificate.serial,
        "not_after": timestamp(certificate.not_after),
        "authenticated_at": None if certificate.factor_at is None else timestamp(certificate.factor_at),
    }
