"""Roles of a subject that hold everywhere (`operator`) or at one site (`operator@plant`)."""

from collections.abc import Iterable


def within(role: str, held: Iterable[str]) -> bool:
    """Whether whoever has these roles has this one too: everywhere includes each site."""
    return bool({role, role.partition("@")[0]} & set(held))


def met(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """The roles that both give."""
    some, others = tuple(some), tuple(others)
    common = [role for role in some if within(role, others)]
    return tuple(sorted({*common, *(role for role in others if within(role, some))}))
