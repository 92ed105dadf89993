"""Whether the proofs that a live session rests on still hold, and in what words they no longer do."""

from broker.errors import PeerError
from broker.listeners.authentication import Authenticator
from broker.model.subject import ProofKind, Subject
from broker.model.vocabulary import EndReason

_DOUBTS = {
    "certificate_revoked": EndReason.CERTIFICATE_REVOKED,
    "crl_stale": EndReason.CRL_STALE,
    "crl_missing": EndReason.CRL_STALE,
    "certificate_expired": EndReason.CERTIFICATE_EXPIRED,
    "token_key_unknown": EndReason.TOKEN_KEY_WITHDRAWN,
    "token_logged_out": EndReason.LOGGED_OUT,
}


def prove_again(authenticator: Authenticator, subject: Subject, now: float) -> Subject | EndReason:
    """A subject as its proofs hold now, or why they do not; the broker itself needs none."""
    if subject.proof(ProofKind.BROKER) is not None:
        return subject
    try:
        return authenticator.prove_again(subject, now)
    except PeerError as error:
        return _DOUBTS.get(error.code, EndReason.INVENTORY_CHANGED)
