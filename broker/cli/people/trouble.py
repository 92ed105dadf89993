"""What kept a call from being answered, in words: the network, the broker's certificate, or one's own proofs."""

import base64
import json
import ssl
import time
from pathlib import Path

import aiohttp

from broker.cli.people.access import Access, read_text, read_token
from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.moments import distance, moment
from broker.model.words import AFTER_REVOCATION

_ALERTS = {
    "CERTIFICATE_REQUIRED": "The broker asks for a client certificate.",
    "CERTIFICATE_EXPIRED": "The broker refused your certificate: it has expired.",
    "CERTIFICATE_REVOKED": "The broker refused your certificate: it has been revoked.",
    "UNKNOWN_CA": "The broker refused your certificate: it does not know who issued it.",
    "BAD_CERTIFICATE": "The broker refused your certificate.",
    "UNSUPPORTED_CERTIFICATE": "The broker refused your certificate: it is not meant for clients.",
    "CERTIFICATE_UNKNOWN": "The broker refused your certificate.",
    "ACCESS_DENIED": "The broker refused your certificate.",
    "HANDSHAKE_FAILURE": "The broker refused the connection; it may ask for a client certificate.",
}


def explained(error: Exception, access: Access) -> CommandError:
    """What a failed call means for the caller."""
    alert = _alert_in(error)
    if alert is not None:
        revoked = AFTER_REVOCATION if alert == _ALERTS["CERTIFICATE_REVOKED"] else ""
        hint = revoked or own_proofs_fault(access) or "Check --cert and --key, or get a new certificate."
        return CommandError("certificate_refused", alert, hint, Exit.NOT_AUTHENTICATED)
    verification = _verification_in(error)
    if verification is not None:
        return _untrusted(verification, access)
    if isinstance(error, TimeoutError):
        public = f"The broker at {access.api} did not answer in time."
        return CommandError("broker_silent", public, "Try again in a moment.", Exit.DEVICE)
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = error.os_error.strerror or str(error.os_error)
        public = f"The broker at {access.api} cannot be reached: {reason}."
        return CommandError("broker_unreachable", public, "Check --api, the network, and that the broker runs.")
    public = f"The connection to the broker at {access.api} failed: {str(error) or type(error).__name__}."
    return CommandError("connection_failed", public, "Try again in a moment.")


def was_not_sent(error: Exception) -> bool:
    """Whether a call that failed so certainly did not reach the broker's application."""
    return isinstance(error, aiohttp.ClientConnectorError) or _alert_in(error) is not None


def own_proofs_fault(access: Access) -> str:
    """What is evidently wrong with the caller's own proofs; empty if nothing is."""
    if access.certificate is not None:
        end = certificate_end(access.certificate)
        if end is not None and end <= time.time():
            return f"Your certificate expired {distance(end)}, on {moment(end)}: renew it with `otb renew`."
    if access.token is not None:
        end = token_end(read_token(access.token))
        if end is not None and end <= time.time():
            return f"Your token expired {distance(end)}, on {moment(end)}: get a fresh one into {access.token}."
    return ""


def certificate_end(path: Path) -> float | None:
    """When the first certificate in a PEM file ends; None if it cannot be read."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(read_text(path, "certificate").encode()).not_valid_after_utc.timestamp()
    except ValueError:
        return None


def token_end(raw_token: str) -> float | None:
    """When a JWT says that it ends, unverified: good for knowing when to renew, for nothing else."""
    try:
        claimed = raw_token.split(".")[1]
        end = json.loads(base64.urlsafe_b64decode(claimed + "=" * (-len(claimed) % 4)))["exp"]
        return float(end)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def _untrusted(verification: ssl.SSLCertVerificationError, access: Access) -> CommandError:
    trusted = "the system's authorities" if access.system_trust else access.ca
    public = f"The broker at {access.api} could not prove who it is: {verification.verify_message}."
    return CommandError(
        "broker_untrusted", public, f"Check that --ca names the broker's authority (now: {trusted}) and --api its name."
    )


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found and len(found) < 10:
        found.append(following)
        inner = getattr(following, "certificate_error", None) or getattr(following, "os_error", None)
        following = inner if isinstance(inner, BaseException) else following.__cause__ or following.__context__
    return found


def _alert_in(error: Exception) -> str | None:
    """The sentence for the TLS alert that the broker sent, if it sent one."""
    for found in _chain(error):
        text = str(found).upper().replace(" ", "_")
        if "_ALERT_" in text:
            named = next((words for name, words in _ALERTS.items() if name in text), None)
            return named or "The broker refused the connection while the proofs were checked."
    return None


def _verification_in(error: Exception) -> ssl.SSLCertVerificationError | None:
    return next(
        (f for f in _chain(error) if isinstance(f, ssl.SSLCertVerificationError) and hasattr(f, "verify_message")), None
    )
