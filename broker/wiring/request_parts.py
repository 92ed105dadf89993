"""What the keepers of access requests share, and the proof of what the state says of approvals."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.access.eligibility import Surroundings
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_request_journal import RequestJournal
from broker.adapters.state_requests import RequestRows
from broker.adapters.state_use_journal import UseJournal
from broker.engine.ports import Clock, Ledger
from broker.errors import ConfigError, IntegrityError
from broker.ledger import request_records
from broker.ledger.notes import SIGNED_BY_OTHERS, Verifier, decode_vkey, verifier_of
from broker.ledger.reviews import verify_review
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.review_desk import ReviewDesk
from broker.listeners.session_register import SessionRegister
from broker.model.access_request import AccessRequest, Review, Reviewer, Terms, Verdict
from broker.settings.broker_file import Settings
from broker.wiring.doubts import Doubts
from broker.wiring.parts import ledger_key
from broker.wiring.recording import record_durably
from broker.wiring.tickets import TicketDesk

MOST_PROVEN = 4096


@dataclass(slots=True)
class RequestParts:
    """The parts of a running broker that access requests need; `verifiers` are the keys of all brokers."""

    clock: Clock
    ledger: Ledger
    desk: DecisionDesk
    register: SessionRegister
    review_desk: ReviewDesk
    chance: Callable[[str], str]
    database: StateDatabase
    journal: RequestJournal
    use_journal: UseJournal
    origin: str
    key: Ed25519PrivateKey
    verifiers: tuple[Verifier, ...]
    tickets: TicketDesk
    rows: RequestRows = field(init=False)
    trust: "ReviewTrust" = field(init=False)
    doubts: Doubts = field(init=False)

    def __post_init__(self) -> None:
        self.doubts = Doubts(self.ledger, "that verdict's broker")
        self.rows = RequestRows(self.database, self.distrust)
        self.trust = ReviewTrust(self.verifiers, self.distrust)

    @property
    def surroundings(self) -> Surroundings:
        """What eligibility is judged by now."""
        in_force = self.desk.in_force
        windows = frozenset(window.id for window in in_force.inventory.windows)
        return Surroundings(in_force.organisation_of, in_force.device, windows, self.desk.locks)

    def signing(self, reviewer: Reviewer) -> Reviewer:
        """What a verdict keeps of its reviewer: without the roles that the inventory gives, which may be looked up."""
        lasting = self.desk.in_force.roles_of(reviewer.organisation, reviewer.id)
        return replace(reviewer, roles=tuple(role for role in reviewer.roles if role not in lasting))

    def standing(self, reviewer: Reviewer) -> Reviewer:
        """Whoever signed, with the roles that a token gave him then and those that the inventory gives him now."""
        lasting = self.desk.in_force.roles_of(reviewer.organisation, reviewer.id)
        return replace(reviewer, roles=tuple(dict.fromkeys((*lasting, *reviewer.roles))))

    async def recorded(self, record: bytes) -> int:
        """The index of a record that is on the disk. Raises LedgerUnavailableError."""
        return await record_durably(self.ledger, record)

    def distrust(self, request: str, why: str) -> None:
        """Say once that the state cannot be believed about a request."""
        code, _, detail = why.partition(": ")
        self.doubts.say(
            request,
            why,
            f"the state says of request {request} what cannot be true: {why}",
            lambda: request_records.request_distrusted(self.clock.now(), request=request, code=code, detail=detail),
        )


def signing(settings: Settings) -> tuple[str, Ed25519PrivateKey, tuple[Verifier, ...]]:
    """By which name and key a broker signs what others read in the state, and the keys by which it believes others."""
    origin, key = settings.ledger.origin, ledger_key(settings.ledger)
    return origin, key, verifiers(origin, key, settings.state.brokers)


def verifiers(origin: str, key: Ed25519PrivateKey, brokers: Iterable[str]) -> tuple[Verifier, ...]:
    """The keys whose verdicts count here: this broker's own, which may be listed, and others'. Raises ConfigError."""
    own = verifier_of(origin, key)
    found = [own]
    for text in brokers:
        try:
            verifier = decode_vkey(text)
        except IntegrityError as error:
            raise ConfigError("broker_key", "A broker's public key cannot be used.", f"{text}: {error}") from None
        if verifier == own:
            continue
        if verifier.name == origin:  # a record is cited by origin and index: two ledgers of one name would be one
            raise ConfigError("broker_key", "Another broker has the same ledger.origin.", text)
        found.append(verifier)
    return tuple(found)


class ReviewTrust:
    """Which verdicts are proven; what was looked at once is remembered by everything that its proof rests on."""

    def __init__(self, verifiers: tuple[Verifier, ...], distrust: Callable[[str, str], None]) -> None:
        self._verifiers = verifiers
        self._distrust = distrust
        self._proven: dict[tuple[Terms, bytes], Review | IntegrityError] = {}

    def proven(self, request: AccessRequest) -> tuple[Review, ...]:
        """The verdicts on just these terms that a known broker signed; others are said to be none, once.

        Nobody has two: that the table takes one of each reviewer is a promise of whoever administers the database.
        """
        found: dict[str, Review] = {}
        for reviewer, note in request.notes:
            try:
                review = self._verified(request, note)
                if review.reviewer.id != reviewer:
                    raise IntegrityError("review_of_another", "the verdict is another reviewer's")
                if reviewer in found:
                    self._distrust(request.id, f"review_twice: there are two verdicts of {reviewer}")
                if reviewer not in found or review.verdict is not Verdict.APPROVE:
                    found[reviewer] = review
            except IntegrityError as error:
                self._distrust(request.id, f"{error.code}: a verdict said to be of {reviewer}{_signer(error)}")
        return tuple(found.values())

    def approvals(self, request: AccessRequest) -> tuple[Review, ...]:
        """The proven approvals; none if somebody denied it."""
        reviews = self.proven(request)
        return reviews if all(review.verdict is Verdict.APPROVE for review in reviews) else ()

    def _verified(self, request: AccessRequest, note: str) -> Review:
        key = request.terms, hashlib.sha256(note.encode(errors="replace")).digest()
        known = self._proven.get(key)
        if known is None:
            if len(self._proven) >= MOST_PROVEN:
                self._proven.clear()
            known = self._proven[key] = self._looked_at(request.terms, note)
        if isinstance(known, IntegrityError):
            raise known
        return known

    def _looked_at(self, terms: Terms, note: str) -> Review | IntegrityError:
        try:
            return verify_review(note, terms, self._verifiers)
        except IntegrityError as error:
            return error.with_traceback(None)


def _signer(error: IntegrityError) -> str:
    """What to say of who signed, where that is no broker that is known here."""
    return f", {error.detail}" if error.code == SIGNED_BY_OTHERS else ""
