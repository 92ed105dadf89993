"""Whether those on whose word something rests still may give it: it is worth no more than they are.

The policy is asked about each of them as when he gave his word, with the roles that the inventory gives today and those
that a token gave then, which nobody can look up without its bearer. Instead of his proofs there is this broker's seal.
"""

import asyncio
from collections.abc import Callable, Collection

from broker.adapters.state_people import PersonRows
from broker.authz.question import SessionFacts
from broker.listeners.decision_desk import DecisionDesk
from broker.model.backer import Backer
from broker.model.decision import Decision
from broker.model.enrolment import EnrolledCertificate
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import NO_ANSWER


class Backers:
    """`known` tells what is known of a certificate that brokers of this state issued themselves."""

    def __init__(
        self, desk: DecisionDesk, people: PersonRows, known: Callable[[str], EnrolledCertificate | None], origin: str
    ) -> None:
        self._desk = desk
        self._people = people
        self._known = known
        self._origin = origin

    def backer(self, subject: Subject) -> Backer:
        """What is kept of whoever gives his word."""
        proof = subject.proof(ProofKind.CERTIFICATE)
        lasting = self._desk.in_force.roles_of(subject.organisation, subject.id)
        roles = tuple(role for role in subject.roles if role not in lasting)
        certificate = "" if proof is None else proof.fingerprint
        return Backer(subject.id, subject.kind.value, subject.organisation, roles, certificate)

    async def revoked(self, backers: Collection[Backer]) -> frozenset[Backer]:
        """Who of them had enrolled himself and was revoked, or whose certificate was by which he was proven.

        Raises StateUnavailableError.
        """
        people = await self._people.revoked_among({backer.id for backer in backers})
        return frozenset(backer for backer in backers if backer.id in people or self._is_gone(backer.certificate))

    async def may(
        self, backer: Backer, permission: str, about: dict[str, object], started: float, seal: tuple[str, float, float]
    ) -> bool | None:
        """Whether the policy lets him do this, None while it does not answer; `seal` is of what, from when to when."""
        decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        facts = SessionFacts(id="", listener="https", peer="", started=started, mfa_at=None)
        self._desk.admin(self._subject(backer, seal), permission, about, facts, decided.set_result)
        decision = await asyncio.shield(decided)
        return decision.allow if NO_ANSWER.isdisjoint(decision.reasons) else None

    def _is_gone(self, certificate: str) -> bool:
        known = self._known(certificate)
        return known is not None and known.revoked_at is not None

    def _subject(self, backer: Backer, seal: tuple[str, float, float]) -> Subject:
        lasting = self._desk.in_force.roles_of(backer.organisation, backer.id)
        of_what, at, until = seal
        proof = Proof(ProofKind.BROKER, self._origin, of_what, backer.certificate, at, until)
        roles = tuple(dict.fromkeys((*lasting, *backer.roles)))
        return Subject(backer.id, SubjectKind(backer.kind), backer.organisation, roles, proofs=(proof,))
