"""Every code with which identity refuses, and the sentence that the caller is told; details go to the log only."""

from broker.errors import BindingError, CertificateError, TokenError

CERTIFICATE_CODES = {
    "certificate_missing": "A client certificate is required.",
    "certificate_malformed": "The client certificate or its chain cannot be read.",
    "certificate_expired": "The client certificate has expired.",
    "certificate_not_yet_valid": "The client certificate is not valid yet.",
    "certificate_untrusted": "The client certificate does not chain to a trusted authority.",
    "certificate_key_weak": "The key of the client certificate is too weak or of an unsupported kind.",
    "certificate_not_for_clients": "The certificate is not meant for client authentication.",
    "certificate_name_refused": "The name in the client certificate is not one that its organisation may use.",
    "certificate_revoked": "The client certificate, or an authority above it, was revoked.",
    "crl_stale": "The revocation list for the client certificate is out of date; nobody of that authority is let in.",
    "crl_missing": "There is no revocation list for the client certificate, and one is required.",
    "chain_too_long": "The chain of the client certificate is too long.",
    "role_malformed": "The Modbus role in the client certificate cannot be read.",
}

TOKEN_CODES = {
    "token_missing": "A token is required.",
    "token_malformed": "The token cannot be read.",
    "token_type_refused": "The token is of a type that is not accepted.",
    "token_algorithm_refused": "The token is signed with an algorithm that is not accepted.",
    "token_key_unknown": "The key that signed the token is not known.",
    "token_signature_invalid": "The signature of the token does not verify.",
    "token_issuer_unknown": "The issuer of the token is not accepted.",
    "token_audience_refused": "The token is meant for somebody else.",
    "token_expired": "The token has expired.",
    "token_not_yet_valid": "The token is not valid yet.",
    "token_lifetime_too_long": "The token was issued for longer than is accepted.",
    "token_claim_missing": "The token lacks a claim that is required.",
    "token_claim_malformed": "A claim of the token is not of the form that is required.",
    "token_subject_refused": "The token names a subject that its issuer may not name.",
    "token_client_refused": "The token was issued to an application that is not accepted.",
    "token_acr_refused": "The token does not say that its subject logged in as is required.",
    "token_logged_out": "You have logged out since this token was issued: log in again.",
    "logout_replayed": "This logout has been told before.",
    "token_binding_missing": "The token is not bound to a client certificate as is required.",
}

BINDING_CODES = {
    "token_bound_to_other_certificate": "The token is bound to another client certificate.",
    "subjects_differ": "The client certificate and the token name different subjects.",
    "proof_missing": "A client certificate or a token is required.",
}


def certificate_error(code: str, detail: str = "") -> CertificateError:
    """The error for one of `CERTIFICATE_CODES`."""
    return CertificateError(code, CERTIFICATE_CODES[code], detail)


def token_error(code: str, detail: str = "") -> TokenError:
    """The error for one of `TOKEN_CODES`."""
    return TokenError(code, TOKEN_CODES[code], detail)


def binding_error(code: str, detail: str = "") -> BindingError:
    """The error for one of `BINDING_CODES`."""
    return BindingError(code, BINDING_CODES[code], detail)
