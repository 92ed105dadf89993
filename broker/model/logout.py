"""An issuer's word that somebody has logged out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Logout:
    """What a logout token said: which of the issuer's accounts, which log-in of it ("" for all), and when (epoch
    seconds, by the issuer's clock). One of `account` and `login` may be empty. `id` stands for the token, once.
    """

    id: str
    issuer: str
    account: str
    login: str
    at: float
