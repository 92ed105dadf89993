"""An authority's folder as a running broker uses it: under its lock, read anew whenever another program changed it.

Every call reads and signs, so it belongs into a worker thread.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker.adapters.authority.folder import AuthorityFolder
from broker.adapters.authority.key_files import Secrets
from broker.adapters.authority.register import Issued, Revoked, Spent, locked
from broker.identity.enrolment_codes import enrolment_error, spent_error
from broker.identity.issuance import PublicKey, Terms
from broker.identity.names import Namespace
from broker.model.enrolment import InvitationState

PATIENCE_SECONDS = 2.0
START_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """What was issued: the register's entry, the chain as PEM, and as DER the leaf and what stands above it."""

    entry: Issued
    chain: bytes
    leaf: bytes
    intermediates: tuple[bytes, ...]


class OnlineAuthority:
    """Raises ConfigError or IntegrityError for a folder that cannot be used, here and later; that somebody else holds
    for two seconds too (for ten at the start).
    """

    def __init__(self, folder: Path, secrets: Secrets) -> None:
        self._folder = folder
        self._patience_seconds = START_PATIENCE_SECONDS
        self._secrets = secrets
        self._known: tuple[AuthorityFolder, tuple[tuple[int, int], ...]] | None = None
        with self._opened() as authority:
            self.anchor = authority.root
            self.namespaces: tuple[Namespace, ...] = authority.facts.spaces
            self._crl_seconds = authority.facts.crl_seconds
        self._patience_seconds = PATIENCE_SECONDS

    def issue(
        self, terms: Terms, public_key: PublicKey, now: float, *, renewed_from: str = "", spends: str = ""
    ) -> NewCertificate:
        """Sign a certificate, recorded in the authority's register before it is handed out: from which it is renewed,
        if that is still good, and which invitation it uses up, if that was not before. Raises BrokerError.
        """
        with self._opened() as authority:
            if renewed_from and renewed_from in _revoked(authority):
                raise enrolment_error("renewal_refused", "it was revoked meanwhile")
            if spends:
                _spend(authority, spends, now)
            chain = authority.issue(terms, public_key, now, renewed_from or None)
            entry = authority.register.entries[-1]
        assert isinstance(entry, Issued)
        leaf, *above = (c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(chain))
        return NewCertificate(entry, chain, leaf, tuple(above))

    def spent(self, invitation: str) -> bool:
        """Whether an invitation was used or revoked, as far as it is known here."""
        with self._opened() as authority:
            return invitation in _spent(authority)

    def spend(self, invitations: Iterable[str], now: float) -> None:
        """Note that invitations are good for nothing any more."""
        with self._opened() as authority:
            for invitation in sorted(set(invitations) - _spent(authority)):
                authority.register.append(Spent(now, invitation))

    def good(self, fingerprint: str) -> Issued | None:
        """The entry of a certificate that was issued here and never revoked."""
        with self._opened() as authority:
            entries, revoked = authority.register.entries, _revoked(authority)
        found = (e for e in entries if isinstance(e, Issued) and e.fingerprint == fingerprint)
        return next((entry for entry in found if entry.serial not in revoked), None)

    def revoke(self, serials: Iterable[str], reason: str, now: float) -> None:
        """Revoke those that are not yet, publish once, and see to it that the lists stay fresh."""
        with self._opened() as authority:
            known = {entry.serial for entry in authority.register.entries if isinstance(entry, Issued)}
            good = known - _revoked(authority)
            waiting = [serial for serial in serials if serial in good]
            for serial in waiting:
                authority.note_revoked(serial, reason, now)
            if waiting or self._runs_out(authority, now):
                authority.publish(now)

    def _runs_out(self, authority: AuthorityFolder, now: float) -> bool:
        """Whether half of a list's time is over."""
        ours = [crl for crl in authority.lists if not crl.issued_by(authority.root)]
        return any(crl.next_update - now < self._crl_seconds / 2 for crl in ours)

    @contextmanager
    def _opened(self) -> Iterator[AuthorityFolder]:
        with locked(self._folder, self._patience_seconds):
            if self._known is None or self._known[1] != self._marks():
                self._known = None
                authority = AuthorityFolder(self._folder, self._secrets)
            else:
                authority = self._known[0]
            yield authority
            self._known = authority, self._marks()

    def _marks(self) -> tuple[tuple[int, int], ...]:
        """What changes whenever another program changes the authority: its folder and its register."""
        found = (self._folder, self._folder / "register.jsonl")
        stats = (path.stat() for path in found if path.exists())
        return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


def _revoked(authority: AuthorityFolder) -> frozenset[str]:
    return frozenset(entry.serial for entry in authority.register.entries if isinstance(entry, Revoked))


def _spent(authority: AuthorityFolder) -> frozenset[str]:
    return frozenset(entry.invitation for entry in authority.register.entries if isinstance(entry, Spent))


def _spend(authority: AuthorityFolder, invitation: str, now: float) -> None:
    """Use an invitation up. Raises EnrolmentError if it was before."""
    if invitation in _spent(authority):
        raise spent_error(InvitationState.USED)
    authority.register.append(Spent(now, invitation))
