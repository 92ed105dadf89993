"""The authorities in use: what must hold of a subject, and what is recorded and stored before he gets a certificate."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from broker.adapters.authority.online import NewCertificate, OnlineAuthority
from broker.adapters.authority.register import Issued
from broker.engine.ports import Clock, Ledger
from broker.errors import BrokerError, ConfigError, EnrolmentError, IntegrityError
from broker.identity.enrolment_codes import enrolment_error, spent_error
from broker.identity.issuance import Terms, decode_terms, verify_request
from broker.identity.names import decode_subject_id
from broker.ledger import records
from broker.listeners.authentication import Authenticator
from broker.listeners.decision_desk import DecisionDesk
from broker.model.enrolment import EnrolledCertificate, Invitation, InvitationState, IssuedCertificate, ProvenFactor
from broker.model.place import Organisation
from broker.model.subject import Proof, ProofKind, Subject
from broker.model.vocabulary import Reason
from broker.model.words import REASONS
from broker.wiring.people.authority_turns import AuthorityTurns
from broker.wiring.people.known import KnownCertificates
from broker.wiring.recording import record_durably

log = logging.getLogger(__name__)
T = TypeVar("T")
Authorities = Mapping[str, OnlineAuthority]
LISTS_SECONDS = 3600.0
AFTER_TROUBLE_SECONDS = 15.0
_UNUSABLE = (OSError, ConfigError, IntegrityError)


class CertificateOffice:
    """Issues for organisations whose authority is in use here."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        desk: DecisionDesk,
        authenticator: Authenticator,
        authorities: Authorities,
        known: KnownCertificates,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._authenticator = authenticator
        self._authorities = authorities
        self._known = known
        self._turns: dict[str, AuthorityTurns] = {}
        self._unwanted: dict[str, str] = {}
        self._listed: set[str] = set()
        self._spent: dict[str, str] = {}
        self._fresh_until = self._quiet_until = 0.0

    @property
    def organisations(self) -> tuple[Organisation, ...]:
        """Those that it issues for, as the inventory in force has them."""
        known = self._desk.in_force.inventory.organisations
        return tuple(organisation for organisation in known if organisation.id in self._authorities)

    @property
    def unanchored(self) -> tuple[str, ...]:
        """Organisations that it cannot issue for, because the inventory does not name the authority's root."""
        domains = ((name, self._authenticator.trust.domain(name)) for name in self._authorities)
        return tuple(
            name for name, domain in domains if domain is None or self._authorities[name].anchor not in domain.anchors
        )

    def require_eligible(self, subject: str, organisation: str, fingerprint: str = "") -> Organisation:
        """That a subject may be given a certificate now: its name, its contract, no lock. Raises EnrolmentError."""
        found = next((known for known in self.organisations if known.id == organisation), None)
        domain = self._authenticator.trust.domain(organisation)
        if found is None or domain is None:
            raise enrolment_error("enrolment_unavailable")
        name = decode_subject_id(subject)
        if not domain.holds(name):
            held = ", ".join(sorted(found.namespaces))
            raise enrolment_error(
                "invitation_refused", f"{subject} lies outside the namespaces of {organisation}: {held}."
            )
        now = self._clock.now()
        begins, ends = found.contract_from, found.contract_until
        if (begins is not None and now < begins) or (ends is not None and now >= ends):
            raise _denied(Reason.CONTRACT_ENDED)
        proof = Proof(ProofKind.CERTIFICATE, "", subject, fingerprint, now, now)
        if self._desk.locks.on_subject(Subject(subject, name.kind, organisation, proofs=(proof,))) is not None:
            raise _denied(Reason.LOCKED)
        return found

    def terms(
        self, profile: str, subject: str, organisation: str, seconds: int | None = None, role: str | None = None
    ) -> Terms:
        """What a certificate of the subject will say. Raises EnrolmentError or IssuanceError."""
        authority = self._authority(organisation)
        return decode_terms(profile, authority.namespaces, (subject,), lifetime_seconds=seconds, modbus_role=role)

    async def good(self, fingerprint: str, organisation: str) -> Issued:
        """The authority's own word on a certificate. Raises EnrolmentError `renewal_refused` if it is not good."""
        authority = self._authority(organisation)
        entry = await self._used(organisation, partial(authority.good, fingerprint))
        if entry is None:
            raise enrolment_error("renewal_refused", "the authority did not issue it, or has revoked it")
        return entry

    async def issue(
        self,
        terms: Terms,
        raw_request: bytes,
        organisation: str,
        occasion: str,
        factor: ProvenFactor | None,
        invitation: str = "",
        renewed_from: str = "",
    ) -> IssuedCertificate:
        """Sign, check, record, store; only then is it handed out. Raises BrokerError.

        A person's rests on the invitation by which he enrolled; if that has ended meanwhile, he gets none. What is
        renewed from no other uses the invitation up.
        """
        public_key, subject = verify_request(raw_request, terms), terms.names[0].text
        sign = partial(
            self._authority(organisation).issue,
            terms,
            public_key,
            self._clock.now(),
            renewed_from=renewed_from,
            spends="" if renewed_from else invitation,
        )
        new = await self._used(organisation, sign, lambda late: self._leave(late, organisation))
        try:
            self._check(new, subject, organisation)
            certificate = self._certificate(new, subject, organisation, factor)
            told = {"serial": new.entry.serial, "profile": new.entry.profile, "not_after": new.entry.not_after}
            told |= {"fingerprint": new.entry.fingerprint} | _told_of(factor)
            told |= {"renewed_from": renewed_from} if renewed_from else {}
            record = records.certificate_issued(
                self._clock.now(), subject=subject, organisation=organisation, occasion=occasion, certificate=told
            )
            await record_durably(self._ledger, record)
            if not await self._known.add(certificate, invitation):
                raise enrolment_error("renewal_refused", "the person was revoked, or has enrolled anew")
        except BaseException:
            self._leave(new, organisation)
            with suppress(*_UNUSABLE, BrokerError):
                await self._take_back(organisation)
            raise
        return IssuedCertificate(new.chain.decode(), certificate)

    async def require_unspent(self, invitation: str, organisation: str) -> None:
        """That an invitation was not used or revoked before, by the authority's own word: what the state says of it,
        whoever has the database can set back. Raises EnrolmentError `code_used`.
        """
        if await self._used(organisation, partial(self._authority(organisation).spent, invitation)):
            log.error("the state says that invitation %s may be used, and it was used or revoked before", invitation)
            raise spent_error(InvitationState.USED)

    def spend(self, invitation: Invitation) -> None:
        """Have its authority know that an invitation is good for nothing any more, as soon as that can be noted."""
        self._spent[invitation.id] = invitation.organisation

    async def see_to_lists(self) -> None:
        """Publish what was revoked anywhere, and fresh lists before the old ones run out."""
        now, spent = self._clock.now(), dict(self._spent)
        waiting = {known.serial for known in self._known.revoked} - self._listed
        nothing = not waiting and not spent and not self._unwanted
        if now < self._quiet_until or (nothing and now < self._fresh_until):
            return
        for organisation, authority in self._authorities.items():
            try:
                run = self._turns_of(organisation).run
                await run(partial(authority.revoke, waiting, "privilege-withdrawn", now))
                await self._take_back(organisation)
                his = [invitation for invitation, of in spent.items() if of == organisation]
                await run(partial(authority.spend, his, now))
            except (*_UNUSABLE, BrokerError) as error:
                log.error("the list of revoked certificates of %s cannot be published: %s", organisation, error)
                self._quiet_until = now + AFTER_TROUBLE_SECONDS
        if now < self._quiet_until:
            return
        self._listed |= waiting
        self._spent = {invitation: of for invitation, of in self._spent.items() if invitation not in spent}
        self._fresh_until = now + LISTS_SECONDS

    def _authority(self, organisation: str) -> OnlineAuthority:
        if organisation not in self._authorities:
            raise enrolment_error("enrolment_unavailable")
        return self._authorities[organisation]

    def _check(self, new: NewCertificate, subject: str, organisation: str) -> None:
        """That this broker itself believes it, as the inventory is now. Raises CertificateError or EnrolmentError."""
        proven = self._authenticator.certificate_subject(new.leaf, new.intermediates)
        if (proven.id, proven.organisation) != (subject, organisation):
            raise enrolment_error("enrolment_unavailable", f"a certificate for {subject} would prove {proven.id}")

    def _certificate(
        self, new: NewCertificate, subject: str, organisation: str, factor: ProvenFactor | None
    ) -> EnrolledCertificate:
        entry = new.entry
        bare = EnrolledCertificate(
            fingerprint=entry.fingerprint,
            serial=entry.serial,
            subject=subject,
            organisation=organisation,
            profile=entry.profile,
            issued_at=entry.at,
            not_after=entry.not_after,
            factor_at=None if factor is None else factor.at,
            methods=() if factor is None else factor.methods,
            changed_at=self._clock.now(),
        )
        return replace(bare, seal=self._known.sealed(bare))

    def _leave(self, new: NewCertificate, organisation: str) -> None:
        """Nobody got it, and nobody shall: it is revoked as soon as the authority can be used."""
        self._unwanted[new.entry.serial] = organisation
        self._quiet_until = 0.0

    async def _take_back(self, organisation: str) -> None:
        serials = tuple(serial for serial, of in self._unwanted.items() if of == organisation)
        revoke = self._authority(organisation).revoke
        if serials:
            await self._turns_of(organisation).run(
                partial(revoke, serials, "cessation-of-operation", self._clock.now())
            )
            self._unwanted = {serial: of for serial, of in self._unwanted.items() if serial not in serials}

    def _turns_of(self, organisation: str) -> AuthorityTurns:
        return self._turns.setdefault(organisation, AuthorityTurns(organisation))

    async def _used(self, organisation: str, work: Callable[[], T], late: Callable[[T], None] | None = None) -> T:
        """Work on an authority's folder. Raises EnrolmentError `enrolment_unavailable` if that cannot be used."""
        try:
            return await self._turns_of(organisation).run(work, late)
        except _UNUSABLE as error:
            log.error("an authority cannot be used: %s", error)
            raise enrolment_error("enrolment_unavailable", str(error)) from None


def _told_of(factor: ProvenFactor | None) -> dict[str, object]:
    return {} if factor is None else {"factor_at": factor.at, "methods": list(factor.methods)}


def _denied(reason: Reason) -> EnrolmentError:
    """A refusal by one of the words that policies use."""
    return EnrolmentError(reason.value, REASONS[reason].text)
