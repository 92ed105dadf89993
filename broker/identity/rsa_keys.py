"""Which RSA keys are believed: those of a sound size that no known broken generator has made."""

from cryptography.hazmat.primitives.asymmetric import rsa

SMALLEST_RSA_BITS = 2048
LARGEST_RSA_BITS = 8192
_GENERATOR = 65537
_LARGEST_PRIME = 701


def sound_rsa_key(key: rsa.RSAPublicKey) -> bool:
    """Whether a key has 2048 to 8192 bits and its modulus does not give it away."""
    return SMALLEST_RSA_BITS <= key.key_size <= LARGEST_RSA_BITS and not given_away(key.public_numbers().n)


def given_away(modulus: int) -> bool:
    """Whether a modulus has the mark of the Infineon library, whose keys can be factored (ROCA, CVE-2017-15361).

    It made primes as powers of 65537 modulo the product of the primes up to 701 (for keys of 2048 bits and more), so
    the modulus is such a power modulo each of them: an element of the subgroup that 65537 generates.
    """
    return all(pow(modulus, order, prime) == 1 for prime, order in _ORDERS.items())


def _order(prime: int) -> int:
    """The order of 65537 modulo a prime."""
    order, power = 1, _GENERATOR % prime
    while power != 1:
        order, power = order + 1, power * _GENERATOR % prime
    return order


_ORDERS = {
    prime: _order(prime)
    for prime in range(3, _LARGEST_PRIME + 1)
    if all(prime % smaller for smaller in range(2, int(prime**0.5) + 1))
}
