"""How an authority stands: what ends when, whether its lists are fresh, and what somebody has to do next."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from broker.adapters.authority.folder import AuthorityFolder, Issuing
from broker.adapters.authority.register import Issued, Revoked
from broker.adapters.authority.root import ISSUING_LIFETIME
from broker.identity.revocation import RevocationList

_DAY = 86_400.0
ROTATE_BEFORE_SECONDS = 180 * _DAY
ROOT_LIST_BEFORE_SECONDS = 30 * _DAY
SOON_SECONDS = 14 * _DAY


class Stage(StrEnum):
    """Where an issuing authority is in its life."""

    AWAITED = "awaited"
    WAITING = "waiting"
    IN_USE = "in use"
    REPLACED = "replaced"
    DONE = "done"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class AuthorityStanding:
    """One authority; times in epoch seconds, 0 for never."""

    number: int
    stage: Stage
    serial: str
    key: str
    not_after: float
    issues_from: float
    last_certificate_ends: float
    crl_next_update: float


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do; `overdue` if somebody is locked out, or nothing can be issued, until it is done."""

    text: str
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """The whole authority."""

    organisation: str
    namespaces: tuple[str, ...]
    root_not_after: float
    root_crl_next_update: float
    root_key_here: bool
    issuing: tuple[AuthorityStanding, ...]
    valid: int
    revoked: int
    ending_soon: tuple[Issued, ...]
    register_head: str
    steps: tuple[Step, ...]


def standing(authority: AuthorityFolder, now: float) -> Standing:
    """How the authority stands."""
    entries = authority.register.entries
    revoked = {entry.serial for entry in entries if isinstance(entry, Revoked)}
    valid = [e for e in entries if isinstance(e, Issued) and now < e.not_after and e.serial not in revoked]
    root_list = next((crl for crl in authority.lists if crl.issued_by(authority.root)), None)
    issuing = tuple(_standing_of(authority, one, now) for one in authority.issuing)
    here = any(authority.folder.rglob("root.key"))
    soon = (entry for entry in valid if _ends_soon(entry, now))
    return Standing(
        organisation=authority.facts.organisation,
        namespaces=authority.facts.namespaces,
        root_not_after=authority.root.not_valid_after_utc.timestamp(),
        root_crl_next_update=_next_update(root_list),
        root_key_here=here,
        issuing=issuing,
        valid=len(valid),
        revoked=sum(isinstance(entry, Revoked) for entry in entries),
        ending_soon=tuple(sorted(soon, key=lambda entry: entry.not_after)),
        register_head=authority.register.head,
        steps=tuple(_steps(authority, issuing, root_list, here, now)),
    )


def _ends_soon(entry: Issued, now: float) -> bool:
    """Certificates that live for hours are renewed daily: nobody has to be told of them."""
    return entry.not_after - entry.at > _DAY and entry.not_after < now + SOON_SECONDS


def _standing_of(authority: AuthorityFolder, issuing: Issuing, now: float) -> AuthorityStanding:
    key = issuing.facts.key
    return AuthorityStanding(
        number=issuing.number,
        stage=_stage(authority, issuing, now),
        serial=issuing.serial,
        key=key.kind if key.kind == "file" else f"pkcs11 {key.token}/{key.label}",
        not_after=issuing.certificate.not_valid_after_utc.timestamp() if issuing.certificate else 0.0,
        issues_from=issuing.facts.issues_from or 0.0,
        last_certificate_ends=authority.last_end(issuing),
        crl_next_update=_next_update(authority.newest_list(issuing)),
    )


def _stage(authority: AuthorityFolder, issuing: Issuing, now: float) -> Stage:
    if issuing.facts.issues_from is None:
        return Stage.AWAITED
    if authority.is_revoked(issuing):
        return Stage.REVOKED
    if not authority.needs_list(issuing, now):
        return Stage.DONE
    if now < issuing.facts.issues_from:
        return Stage.WAITING
    newer = any(later.number > issuing.number and later.issues_at(now) for later in authority.issuing)
    return Stage.REPLACED if newer else Stage.IN_USE


def _next_update(crl: RevocationList | None) -> float:
    return crl.next_update if crl else 0.0


def _steps(
    authority: AuthorityFolder,
    issuing: tuple[AuthorityStanding, ...],
    root_list: RevocationList | None,
    root_key_here: bool,
    now: float,
) -> Iterator[Step]:
    if root_key_here:
        yield Step("move the folder of the root to a medium that is kept offline, and delete it here")
    yield from _root_steps(authority, root_list, now)
    yield from _list_steps(authority, issuing, now)
    for one in issuing:
        if one.stage is Stage.AWAITED:
            yield Step(f"let the root sign the request of issuing authority {one.number}: otbroker ca sign")
        if one.stage is Stage.DONE:
            yield Step(f"issuing authority {one.number} has no certificates left: its key can be destroyed")
    in_use = [one for one in issuing if one.stage is Stage.IN_USE]
    if not in_use:
        yield Step("no issuing authority is in use: otbroker ca rotate", overdue=True)
    newer_is_coming = any(one.stage in {Stage.WAITING, Stage.AWAITED} for one in issuing)
    if in_use and not newer_is_coming and in_use[-1].not_after < now + ROTATE_BEFORE_SECONDS:
        yield Step("the issuing authority ends within 180 days: otbroker ca rotate")


def _root_steps(authority: AuthorityFolder, root_list: RevocationList | None, now: float) -> Iterator[Step]:
    ends = _next_update(root_list)
    if ends < now + ROOT_LIST_BEFORE_SECONDS:
        run_out = ends <= now
        state = "has run out" if run_out else "runs out within 30 days"
        yield Step(f"the root's revocation list {state}: otbroker ca root-crl, then otbroker ca crl", run_out)
    if authority.root.not_valid_after_utc.timestamp() < now + ISSUING_LIFETIME.total_seconds():
        yield Step("the root ends before a new issuing authority would: make a new one, and trust both for a while")


def _list_steps(authority: AuthorityFolder, issuing: tuple[AuthorityStanding, ...], now: float) -> Iterator[Step]:
    listed = [one for one in issuing if one.stage in {Stage.IN_USE, Stage.WAITING, Stage.REPLACED}]
    if any(one.crl_next_update <= now for one in listed):
        yield Step("a revocation list has run out: otbroker ca crl", overdue=True)
    elif any(one.crl_next_update < now + authority.facts.crl_seconds / 2 for one in listed):
        yield Step("a revocation list is in the second half of its time: otbroker ca crl")
