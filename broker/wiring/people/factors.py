"""Proving a second factor: codes of authenticator apps, and security keys.

A step or count is accepted once. Every try is counted as failed before it is looked at, so that nobody tries faster by
trying in parallel; after three failures in a row ever longer nothing is looked at.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from broker.adapters.sealing_key import SealingKey
from broker.adapters.security_keys import Challenge, SecurityKeys
from broker.adapters.state_factors import FactorRows
from broker.engine.ports import Clock, Ledger
from broker.errors import EnrolmentError, IntegrityError, LedgerUnavailableError
from broker.identity.enrolment_codes import enrolment_error
from broker.identity.second_factor import SECRET_OCTETS, accepted_step, otpauth_uri, wait_after
from broker.ledger import records
from broker.model.enrolment import Factor, FactorKind, ProvenFactor

log = logging.getLogger(__name__)
CHALLENGE_SECONDS = 120.0
MOST_CHALLENGES = 1024
MOST_CHALLENGES_OF_SUBJECT = 4
MOST_COUNTED = 1024
MOST_REMEMBERED = 4096
FLUSH_SECONDS = 1.0
UNCOUNTED = -(2**62)
"""Where the broker's own count begins of a security key that does not count: below all that a key can say."""


@dataclass(frozen=True, slots=True)
class NewFactor:
    """A factor that is about to be registered: what its holder is shown, and what his answer must fit."""

    kind: FactorKind
    secret: bytes = b""
    uri: str = ""
    challenge: Challenge | None = None

    @property
    def options(self) -> dict[str, Any] | None:
        """What a security key is asked."""
        return None if self.challenge is None else self.challenge.options


@dataclass(frozen=True, slots=True)
class _Asked:
    subject: str
    challenge: Challenge
    until: float


class SecondFactors:
    """One per broker. Raises EnrolmentError for whoever does not prove, StateUnavailableError without the state."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        chance: Callable[[str], str],
        octets: Callable[[int], bytes],
        rows: FactorRows,
        sealing_key: SealingKey,
        security_keys: SecurityKeys | None,
        issuer: str,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._chance = chance
        self._octets = octets
        self._rows = rows
        self._sealing_key = sealing_key
        self._security_keys = security_keys
        self._issuer = issuer
        self._asked: dict[str, _Asked] = {}
        self._refused: dict[str, tuple[int, float, float]] = {}
        self._flushed_at = 0.0
        self._tried: dict[str, Factor] = {}

    # Proving

    async def verify(self, subject: str, raw_code: str) -> ProvenFactor:
        """Prove a person by a code of his authenticator app: when, and how."""
        factor = await self._factor(subject, FactorKind.TOTP)
        await self._begin_try(factor)
        now = self._clock.now()
        step = accepted_step(self._opened(factor), raw_code, now, factor.counter)
        if step is None or not await self._accept(factor, step):
            raise self._refusal(factor)
        return ProvenFactor(now, factor.kind.methods)

    async def challenge(self, subject: str) -> tuple[str, dict[str, Any]]:
        """Ask a person's security key: an id to answer with, once and within two minutes, and what the key is asked."""
        factor = await self._factor(subject, FactorKind.WEBAUTHN)
        keys = self._keys()
        self._forget_old(subject)
        identifier = self._chance("chl")
        asked = keys.assertion(self._opened(factor))
        self._asked[identifier] = _Asked(subject, asked, self._clock.monotonic() + CHALLENGE_SECONDS)
        return identifier, asked.options

    async def verify_assertion(self, subject: str, challenge: str, raw_response: dict[str, Any]) -> ProvenFactor:
        """Prove a person by what his security key answered to a challenge."""
        factor = await self._factor(subject, FactorKind.WEBAUTHN)
        await self._begin_try(factor)
        asked = self._asked.pop(challenge, None)
        if asked is None or asked.subject != subject or self._clock.monotonic() >= asked.until:
            raise self._refusal(factor)
        try:
            count = self._keys().asserted(asked.challenge, self._opened(factor), raw_response)
        except EnrolmentError as error:
            log.info("a security key of %s was refused: %s", subject, error.detail)
            raise self._refusal(factor) from None
        if not await self._accept(factor, count or _uncounted(factor)):
            raise self._refusal(factor)
        return ProvenFactor(self._clock.now(), factor.kind.methods)

    async def kind_of(self, subject: str) -> FactorKind | None:
        """Which kind of factor a person has."""
        factor = await self._rows.factor(subject)
        return None if factor is None else factor.kind

    # Registering

    def new(self, kind: FactorKind, subject: str) -> NewFactor:
        """A factor to be registered. Raises EnrolmentError `factor_unavailable`."""
        if kind is FactorKind.TOTP:
            secret = self._octets(SECRET_OCTETS)
            return NewFactor(kind, secret, otpauth_uri(secret, subject, self._issuer))
        return NewFactor(kind, challenge=self._keys().registration(subject))

    def confirmed(
        self, new: NewFactor, subject: str, raw_code: str, raw_response: dict[str, Any] | None
    ) -> tuple[Factor, ProvenFactor]:
        """The factor that its holder has shown to have. Raises EnrolmentError `factor_refused`."""
        now, identifier = self._clock.now(), self._chance("fac")
        if new.challenge is None:
            step = accepted_step(new.secret, raw_code, now, 0)
            if step is None:
                raise enrolment_error("factor_refused")
            secret, counter = new.secret, step
        elif raw_response is None:
            raise enrolment_error("factor_refused")
        else:
            secret, count = self._keys().registered(new.challenge, raw_response)
            counter = count or UNCOUNTED
        sealed = self._sealing_key.seal(_purpose(identifier, subject, new.kind), secret)
        return Factor(identifier, subject, new.kind, sealed, now, counter), ProvenFactor(now, new.kind.methods)

    def flush(self) -> None:
        """Record what was refused since the last time."""
        now = self._clock.now()
        if not self._refused or now < self._flushed_at + FLUSH_SECONDS:
            return
        self._flushed_at = now
        refused, self._refused = self._refused, {}
        try:
            for subject, (count, first, last) in refused.items():
                self._ledger.append(records.factor_refused(now, subject=subject, count=count, first=first, last=last))
        except LedgerUnavailableError:
            self._refused = {**refused, **self._refused}

    async def _factor(self, subject: str, kind: FactorKind) -> Factor:
        stored = await self._rows.factor(subject)
        if stored is None or stored.kind is not kind:
            raise enrolment_error("factor_missing")
        factor = self._as_tried(stored)
        left = factor.blocked_until - self._clock.now()
        if left > 0:
            raise enrolment_error("factor_blocked", wait_seconds=left)
        return factor

    async def _begin_try(self, factor: Factor) -> None:
        until = self._clock.now() + wait_after(factor.failures + 1)
        if not await self._rows.begin_try(factor, until):
            raise self._refusal(factor)
        self._remember(replace(factor, failures=factor.failures + 1, blocked_until=until))

    async def _accept(self, factor: Factor, counter: int) -> bool:
        if counter <= factor.counter or not await self._rows.accept(factor, counter):
            return False
        self._remember(replace(factor, counter=counter, failures=0, blocked_until=0.0))
        return True

    def _remember(self, factor: Factor) -> None:
        # Of two tries at one time the one that failed may have read the factor before the other was accepted.
        seen = self._tried.pop(factor.id, factor)
        self._tried[factor.id] = replace(factor, counter=max(factor.counter, seen.counter))
        if len(self._tried) > MOST_REMEMBERED:
            del self._tried[next(iter(self._tried))]

    def _as_tried(self, stored: Factor) -> Factor:
        """A row that was set back lets no code count again and nobody guess faster, as far as this broker has seen the
        factor tried; one that has gone on was accepted elsewhere.
        """
        seen = self._tried.get(stored.id, stored)
        if stored.counter > seen.counter:
            return stored
        failures, until = max(stored.failures, seen.failures), max(stored.blocked_until, seen.blocked_until)
        return replace(stored, counter=seen.counter, failures=failures, blocked_until=until)

    def _refusal(self, factor: Factor) -> EnrolmentError:
        now = self._clock.now()
        if factor.subject in self._refused or len(self._refused) < MOST_COUNTED:
            count, first, _ = self._refused.get(factor.subject, (0, now, now))
            self._refused[factor.subject] = (count + 1, first, now)
        return enrolment_error("factor_refused", wait_seconds=wait_after(factor.failures + 1))

    def _opened(self, factor: Factor) -> bytes:
        try:
            return self._sealing_key.open(_purpose(factor.id, factor.subject, factor.kind), factor.secret)
        except IntegrityError:
            log.error("the second factor of %s was not sealed by this broker's key", factor.subject)
            raise enrolment_error("factor_missing") from None

    def _keys(self) -> SecurityKeys:
        if self._security_keys is None:
            raise enrolment_error("factor_unavailable")
        return self._security_keys

    def _forget_old(self, subject: str) -> None:
        """Make room: what nobody answered in time, then the oldest of this person, then the oldest of all."""
        now = self._clock.monotonic()
        self._asked = {key: asked for key, asked in self._asked.items() if now < asked.until}
        mine = [key for key, asked in self._asked.items() if asked.subject == subject]
        for key in mine[: max(0, len(mine) - MOST_CHALLENGES_OF_SUBJECT + 1)]:
            del self._asked[key]
        if len(self._asked) >= MOST_CHALLENGES:
            del self._asked[next(iter(self._asked))]


def _uncounted(factor: Factor) -> int:
    """The next count of a key that says 0, as one without a counter always does; from one that has counted it is less
    than before, and not accepted (WebAuthn, 7.2, step 22).
    """
    return factor.counter + 1 if factor.counter < 0 else 0


def _purpose(identifier: str, subject: str, kind: FactorKind) -> str:
    """A sealed secret moved to another row does not open."""
    return f"factor {identifier} {kind.value} {subject}"
