"""What people are told of without asking: the words of notices; `ledger/notices` says which records make one."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from broker.model.vocabulary import RecordKind


class Severity(IntEnum):
    """How much a notice matters; channels ask for the least that they take."""

    INFO = 1
    WARNING = 2
    ALARM = 3

    @property
    def word(self) -> str:
        """Its name in settings and messages."""
        return self.name.lower()


class BrokerNotice(StrEnum):
    """Notices that no record is behind: what keeps the broker from recording must be told all the same."""

    PART_FAILED = "part_failed"
    PART_RECOVERED = "part_recovered"
    TEST = "test"


BROKER_NOTICES: dict[BrokerNotice, str] = {
    BrokerNotice.PART_FAILED: "A part of the broker is not as it should be.",
    BrokerNotice.PART_RECOVERED: "A part of the broker is as it should be again.",
    BrokerNotice.TEST: "Somebody tries whether notices arrive.",
}


ALWAYS_TOLD = frozenset({RecordKind.BREAK_GLASS_OPENED.value, BrokerNotice.TEST.value})
"""What every channel takes, whatever it chooses."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that people should know.

    `kind` is a word of `RecordKind` or `BrokerNotice`; `broker` the ledger's origin, `index` the record's place in it
    (None: there is no record), `time` epoch seconds. `details` hold nothing secret and nothing that shows as something
    else. `id` is the same whenever the same record is told of again.
    """

    id: str
    kind: str
    severity: Severity
    time: float
    broker: str
    text: str
    details: tuple[tuple[str, str], ...] = ()
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which notices a channel takes: these kinds, or without any all that matter enough, and what all are told."""

    severity: Severity = Severity.WARNING
    kinds: Collection[str] = ()

    def __contains__(self, notice: Notice) -> bool:
        if notice.kind in ALWAYS_TOLD:
            return True
        return notice.kind in self.kinds if self.kinds else notice.severity >= self.severity
