"""Who may open an emergency, what one gives while it holds, and who may sign its review."""

from collections.abc import Iterable
from dataclasses import replace

from broker.model.emergency import Emergency, EmergencyTerms, OpeningRefusal, Signature, SigningRefusal
from broker.model.place import Grant, GrantKind, Organisation
from broker.model.schedule import Scope
from broker.model.subject import Subject, SubjectKind


class EmergenciesInForce:
    """An index over emergencies; a changed set of them has a new one, so asking it costs look-ups."""

    def __init__(self, emergencies: Iterable[Emergency] = ()) -> None:
        self._by_id = {emergency.id: emergency for emergency in emergencies}
        self._by_holder: dict[tuple[str, str], list[Emergency]] = {}
        for emergency in self._by_id.values():
            self._by_holder.setdefault((emergency.subject, emergency.organisation), []).append(emergency)

    def of(self, subject: Subject, site: str, now: float) -> Emergency | None:
        """The emergency of a subject at a site that holds longest."""
        if not self._by_holder:
            return None
        return max(self._held(subject, site, now), key=lambda found: found.until, default=None)

    def anywhere(self, subject: Subject, now: float) -> bool:
        """Whether a subject holds an emergency at all."""
        return any(found.holds_at(now) for found in self._by_holder.get((subject.id, subject.organisation), ()))

    def holding(self, identifier: str, now: float) -> Emergency | None:
        """The emergency of that id, while it holds."""
        found = self._by_id.get(identifier)
        return found if found is not None and found.holds_at(now) else None

    def passes(self, identifier: str, isolation: str) -> bool:
        """Whether an emergency passes an isolation: those that it was opened in spite of, and no later one."""
        found = self._by_id.get(identifier)
        return found is not None and isolation in found.passes

    def _held(self, subject: Subject, site: str, now: float) -> Iterable[Emergency]:
        holder = self._by_holder.get((subject.id, subject.organisation), ())
        return (found for found in holder if found.site == site and found.holds_at(now))


def as_grant(emergency: Emergency) -> Grant:
    """What an emergency gives, in the form in which policies are told of grants."""
    return Grant(
        emergency.id,
        Scope(sites=(emergency.site,)),
        emergency.actions,
        subjects=(emergency.subject,),
        not_before=float(int(emergency.opened_at)),
        not_after=emergency.until,
        description=emergency.why,
        kind=GrantKind.EMERGENCY,
    )


def opening_refused(
    terms: EmergencyTerms, subject: Subject, organisation: Organisation | None, site: str, minutes: int, now: float
) -> OpeningRefusal | None:
    """Why this subject may not open an emergency of that length there, whatever parts it has."""
    if organisation is None or not _may_open(terms, subject, organisation, now):
        return OpeningRefusal.NOT_ALLOWED
    if site not in terms.sites:
        return OpeningRefusal.SITE_NOT_COVERED
    return OpeningRefusal.TOO_LONG if minutes > terms.longest_minutes else None


def signing_refused(emergency: Emergency, by: str, now: float) -> SigningRefusal | None:
    """Why this subject may not sign the review of an emergency: neither who opened it, nor anybody twice."""
    if emergency.reviewed:
        return SigningRefusal.REVIEWED
    if emergency.holds_at(now):
        return SigningRefusal.STILL_OPEN
    if by == emergency.subject:
        return SigningRefusal.OPENED_IT
    signed = by in {signature.by for signature in emergency.signatures}
    return SigningRefusal.SIGNED_BEFORE if signed else None


def signed(emergency: Emergency, signature: Signature) -> Emergency:
    """The same with one signature more."""
    return replace(emergency, signatures=(*emergency.signatures, signature))


def _may_open(terms: EmergencyTerms, subject: Subject, organisation: Organisation, now: float) -> bool:
    return (
        subject.kind is SubjectKind.PERSON
        and organisation.owner
        and (organisation.contract_from is None or organisation.contract_from <= now)
        and (organisation.contract_until is None or now < organisation.contract_until)
        and (not terms.organisations or organisation.id in terms.organisations)
        and (not terms.subjects or subject.id in terms.subjects)
    )
