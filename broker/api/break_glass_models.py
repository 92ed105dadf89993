"""The documents of the API about break-glass."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StrictInt, StringConstraints

from broker.api.lock_models import Message
from broker.api.models import Asked, Told
from broker.model.vocabulary import Action

_LONGEST_PART = 200


def _short(part: SecretStr) -> SecretStr:
    if not 1 <= len(part.get_secret_value()) <= _LONGEST_PART:
        raise ValueError("must be a part as it was printed")
    return part


SealedPartText = Annotated[SecretStr, AfterValidator(_short)]
Site = Annotated[str, StringConstraints(min_length=1, max_length=63)]


class OpeningCall(Asked):
    """An emergency to open: where, why, for how long (without `minutes`: as long as the settings give), and the parts
    of the seal, as many as it needs. They are spent if they open it.
    """

    site: Site
    why: Message
    minutes: StrictInt | None = Field(default=None, ge=1, le=480)
    parts: tuple[SealedPartText, ...] = Field(min_length=1, max_length=16)


class ClosingCall(Asked):
    """Closing an emergency takes nothing but its id."""


class SigningCall(Asked):
    """What the reviewer found; it is recorded."""

    comment: Message


class SignatureEntry(Told):
    """Who signed, when, and what they found."""

    by: str
    at: str
    comment: str


class EmergencyEntry(Told):
    """An emergency. `state` is `open`, `to_review` or `reviewed`; `signatures_missing` of two people.

    `broker` is the ledger's origin of the broker where it was opened: there alone it holds, and there it is reviewed.
    `parts` are the numbers of the parts that opened it. `ended_by` null: its time ran out, or it is open.
    """

    id: str
    state: str
    site: str
    subject: str
    organisation: str
    why: str
    opened_at: str
    until: str
    ended_at: str | None
    ended_by: str | None
    actions: list[Action]
    parts: list[int]
    broker: str
    peer: str
    signatures: list[SignatureEntry]
    signatures_missing: int


class EmergencyAnswer(Told):
    """The emergency as it is now."""

    emergency: EmergencyEntry


class EmergencyEntries(Told):
    """Emergencies, the newest first: all; (`scope` `sites`) those of some sites; or (`own`) only the caller's."""

    scope: str
    emergencies: list[EmergencyEntry]
