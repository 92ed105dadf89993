"""RSA keys of a generator that is known to be broken prove nothing."""

from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from broker.identity.rsa_keys import given_away, sound_rsa_key

PRIMES = [p for p in range(2, 702) if all(p % q for q in range(2, p))]


def product() -> int:
    found = 1
    for prime in PRIMES:
        found *= prime
    return found


M = product()


@given(st.integers(0, 2**64), st.integers(0, 2**64), st.integers(0, 2**64))
def test_a_modulus_of_the_broken_generator_is_recognised(one: int, other: int, factor: int) -> None:
    p, q = factor * M + pow(65537, one, M), (factor + 1) * M + pow(65537, other, M)
    assert given_away(p * q)


def test_keys_of_a_sound_generator_are_believed() -> None:
    for _ in range(3):
        assert sound_rsa_key(rsa.generate_private_key(65537, 2048).public_key())


def test_a_key_that_is_too_small_is_not() -> None:
    assert not sound_rsa_key(rsa.generate_private_key(65537, 1024).public_key())
