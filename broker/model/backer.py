"""Who stands behind what outlives his session: an invitation, an approval."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backer:
    """Somebody on whose word something rests, as proven when he gave it.

    `roles` are those that the inventory did not give, `certificate` is the fingerprint of the one that proved him ("":
    none did).
    """

    id: str
    kind: str
    organisation: str
    roles: tuple[str, ...] = ()
    certificate: str = ""
