"""All parts about people of one broker, made from its settings."""

import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from broker.adapters.authority.online import OnlineAuthority
from broker.adapters.clock import random_id
from broker.adapters.sealing_key import SealingKey, load_sealing_key
from broker.adapters.security_keys import SecurityKeys
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_factors import FactorRows
from broker.adapters.state_invitations import InvitationRows
from broker.adapters.state_people import PersonRows
from broker.engine.ports import Clock, Ledger
from broker.errors import ConfigError
from broker.listeners.authentication import Authenticator
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.session_register import SessionRegister
from broker.model.vocabulary import EndReason
from broker.settings.broker_file import Settings
from broker.settings.enrolling import EnrolmentSection, IssuingAuthority
from broker.wiring.people.enrolment import DAY_SECONDS, Enrolment
from broker.wiring.people.factors import SecondFactors
from broker.wiring.people.inviters import Inviters
from broker.wiring.people.issuing import CertificateOffice
from broker.wiring.people.known import HEARTBEAT_SECONDS, KnownCertificates
from broker.wiring.people.membership import Membership
from broker.wiring.people.under_way import UnderWay
from broker.wiring.state_follower import StateFollower

log = logging.getLogger(__name__)
_LONGEST_SECRET = 1024


@dataclass(frozen=True, slots=True)
class FileSecrets:
    """What opens an authority's key, from files that the settings name."""

    passphrase_file: str
    pin_file: str

    def passphrase(self) -> bytes:
        """Of a key in a file. Raises ConfigError."""
        return _secret(self.passphrase_file).encode()

    def pin(self) -> str:
        """Of a token. Raises ConfigError."""
        return _secret(self.pin_file)


@dataclass(frozen=True, slots=True)
class People:
    """Vendors as people."""

    known: KnownCertificates
    office: CertificateOffice
    factors: SecondFactors
    enrolment: Enrolment
    membership: Membership
    following_up: StateFollower
    """Apart from `known`: it may wait for a folder or a key that somebody else holds, and what is revoked is learnt all
    the same.
    """

    async def start(self) -> None:
        """Know what was issued, and keep what follows from it in step."""
        for organisation in self.office.unanchored:
            log.error("no certificates for %s: its anchors in the inventory lack its authority's root", organisation)
        await self.known.start()
        self.following_up.start()

    async def stop(self) -> None:
        """Look no more; what was counted is recorded."""
        await self.known.stop()
        await self.following_up.stop()
        self.factors.flush()


def people(
    settings: Settings,
    clock: Clock,
    ledger: Ledger,
    desk: DecisionDesk,
    register: SessionRegister,
    authenticator: Authenticator,
    database: StateDatabase,
) -> People | None:
    """All parts together, None if the settings have none. Raises ConfigError for what cannot be used."""
    section = settings.enrolment
    if section is None:
        return None
    key = load_sealing_key(Path(section.key_file or Path(settings.state_dir) / "sealing-key"))
    examine = partial(register.examine_all, EndReason.CERTIFICATE_REVOKED)
    known = KnownCertificates(clock, database, key, examine, section.renewal_days * DAY_SECONDS)
    authenticator.known = known
    authorities = {place.organisation: authority(place) for place in section.authorities}
    office = CertificateOffice(clock, ledger, desk, authenticator, authorities, known)
    name = settings.ledger.origin.partition("/")[0]
    factors = SecondFactors(
        clock, ledger, random_id, os.urandom, FactorRows(database), key, _security_keys(section, name), name
    )
    inviters = Inviters(clock, desk, PersonRows(database), known, settings.ledger.origin)
    return _joined(section, clock, ledger, database, key, known, office, inviters, factors)


def _joined(
    section: EnrolmentSection,
    clock: Clock,
    ledger: Ledger,
    database: StateDatabase,
    key: SealingKey,
    known: KnownCertificates,
    office: CertificateOffice,
    inviters: Inviters,
    factors: SecondFactors,
) -> People:
    invitations, rows = InvitationRows(database), PersonRows(database)
    enrolment = Enrolment(
        clock,
        ledger,
        invitations,
        rows,
        key,
        factors,
        office,
        inviters,
        known,
        UnderWay(clock, os.urandom),
        section.certificate_seconds,
        section.renewal_days,
    )
    longest = section.invitation_seconds
    membership = Membership(clock, ledger, os.urandom, invitations, rows, key, office, inviters, known, longest)

    async def follow_up() -> None:
        factors.flush()
        await office.see_to_lists()

    complaint = "what follows from what was issued could not be done"
    following_up = StateFollower(database, HEARTBEAT_SECONDS, follow_up, complaint)
    return People(known, office, factors, enrolment, membership, following_up)


def authority(place: IssuingAuthority) -> OnlineAuthority:
    """An authority in use. Raises ConfigError."""
    try:
        return OnlineAuthority(Path(place.folder), FileSecrets(place.passphrase_file, place.pin_file))
    except OSError as error:
        public = f"The authority of {place.organisation} cannot be used."
        raise ConfigError("authority_unusable", public, f"{place.folder}: {error.strerror}") from None


def _security_keys(enrolment: EnrolmentSection, name: str) -> SecurityKeys | None:
    section = enrolment.security_keys
    return None if section is None else SecurityKeys(section.relying_party, name, frozenset(section.origins))


def _secret(path: str) -> str:
    """The one line of a file. Raises ConfigError, which never shows what is in it."""
    if not path:
        raise ConfigError("passphrase_missing", "The settings name no file with this secret of the authority.")
    try:
        return Path(path).read_bytes()[:_LONGEST_SECRET].decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError):
        raise ConfigError("passphrase_unreadable", "A secret of the authority cannot be read.", path) from None
