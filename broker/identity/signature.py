"""Who signed a token: its issuer by the settings' own list, then the signature by one of that issuer's keys.

PyJWT verifies the signature; which issuer, type, algorithm and key may be at all is decided here (RFC 8725).
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from jwt import PyJWS, PyJWTError

from broker.identity.codes import token_error
from broker.identity.compact import ClaimedToken
from broker.identity.json_object import JsonObject, is_text
from broker.identity.keys import ALGORITHMS, LONGEST_KEY_ID, VerificationKey
from broker.model.trust import Issuer

KeyLookup = Callable[[str, str], Sequence[VerificationKey]]
_SIGNATURES = PyJWS(algorithms=sorted(ALGORITHMS))


def pinned_issuer(claims: JsonObject, issuers: Mapping[str, Issuer]) -> Issuer:
    """The issuer that the token names, if it is one of these, by their exact `iss`. Raises TokenError."""
    claimed = claims.get("iss")
    issuer = issuers.get(claimed) if isinstance(claimed, str) else None
    if issuer is None:
        raise token_error("token_issuer_unknown")
    return issuer


def verify_signature(token: ClaimedToken, issuer: Issuer, types: Collection[str], keys: KeyLookup) -> None:
    """RFC 8725, 3.1, 3.2 and 3.11: type and algorithm by list, the algorithm one that the key itself allows.

    `types` are the accepted `typ` headers in lower case, "" for none; `keys` answers (issuer, kid). Raises TokenError.
    """
    _check_type(token.header, types)
    algorithm, key_id = token.header.get("alg"), token.header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms or algorithm not in ALGORITHMS:
        raise token_error("token_algorithm_refused")
    if not isinstance(key_id, str) or not is_text(key_id, LONGEST_KEY_ID):
        raise token_error("token_key_unknown", "no key id")
    known = keys(issuer.issuer, key_id)
    if not known:
        raise token_error("token_key_unknown")
    fitting = [key for key in known if algorithm in key.algorithms]
    if not fitting:
        raise token_error("token_algorithm_refused", "not an algorithm of that key")
    if not any(_signed(token, key, algorithm) for key in fitting):
        raise token_error("token_signature_invalid")


def _check_type(header: JsonObject, types: Collection[str]) -> None:
    claimed = header.get("typ", "")
    # RFC 7515, 4.1.9: not case-sensitive, and `application/` may be left out.
    if not isinstance(claimed, str) or claimed.lower().removeprefix("application/") not in types:
        raise token_error("token_type_refused")


def _signed(token: ClaimedToken, key: VerificationKey, algorithm: str) -> bool:
    try:
        _SIGNATURES.decode(
            token.raw, key.key, [algorithm], {"verify_signature": True, "enforce_minimum_key_length": True}
        )
    except (PyJWTError, ValueError, TypeError):
        return False
    return True
