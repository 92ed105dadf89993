"""The documents of the API; the OpenAPI description is generated from them."""

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from broker.model.place import Table
from broker.model.vocabulary import RecordKind

MAX_POINTS = 256
MAX_RANGES = 32
LONGEST_WAIT_SECONDS = 90
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Word = Annotated[str, StringConstraints(max_length=256)]
Cursor = Annotated[int, Field(ge=0, le=2**53)]


VALUE_SCHEMA: dict[str, Any] = {"type": ["number", "boolean", "string", "null"]}
LONGEST_TEXT = 1024


def _plain_value(value: object) -> object:
    if isinstance(value, bool | int | Decimal | None) or (isinstance(value, str) and len(value) <= LONGEST_TEXT):
        return value
    raise ValueError("must be a number, true, false, null or a text of at most 1024 characters")


def _bare(value: object) -> object:
    """A value alone means the same as an object with nothing but it."""
    return value if isinstance(value, dict) else {"value": value}


class Asked(BaseModel):
    """What a caller sends: nothing but what is described. Only texts of the fields in `lines` may have line breaks."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    lines: ClassVar[frozenset[str]] = frozenset()


class Told(BaseModel):
    """What the broker answers."""

    model_config = ConfigDict(extra="forbid")


Plain = bool | int | Decimal | str | None
Value = Annotated[Plain, PlainValidator(_plain_value), WithJsonSchema(VALUE_SCHEMA)]


class ReadRange(Asked):
    """A range of a Modbus table; the address is zero-based, as on the wire."""

    table: Table
    address: StrictInt = Field(ge=0, le=65535)
    count: StrictInt = Field(ge=1, le=2000)


class WriteRange(Asked):
    """Registers (0 to 65535) or coils (0 or 1) to write in order from a zero-based address."""

    table: Table
    address: StrictInt = Field(ge=0, le=65535)
    values: tuple[Annotated[StrictInt, Field(ge=0, le=65535)], ...] = Field(min_length=1, max_length=1968)


class WriteValue(Asked):
    """A value with a BACnet priority; null releases what was written at that priority."""

    value: Value
    priority: StrictInt | None = Field(default=None, ge=1, le=16)


WriteItem = Annotated[
    WriteValue,
    BeforeValidator(_bare),
    WithJsonSchema({"anyOf": [{"$ref": "#/components/schemas/WriteValue"}, VALUE_SCHEMA]}),
]


class ReadCall(Asked):
    """Points by name, or ranges of raw addresses: one of both."""

    points: tuple[Name, ...] | None = Field(default=None, min_length=1, max_length=MAX_POINTS)
    raw: tuple[ReadRange, ...] | None = Field(default=None, min_length=1, max_length=MAX_RANGES)

    @model_validator(mode="after")
    def _one_of_both(self) -> "ReadCall":
        _either(self.points, self.raw)
        if self.points and len(set(self.points)) != len(self.points):
            raise ValueError("a point is named twice")
        return self


class WriteCall(Asked):
    """Values by name of point, written in this order, or ranges of raw addresses: one of both.

    `wait_seconds`: how long the call waits for a person, should the policy oblige one; then it goes on.
    """

    points: dict[Name, WriteItem] | None = Field(default=None, min_length=1, max_length=MAX_POINTS)
    raw: tuple[WriteRange, ...] | None = Field(default=None, min_length=1, max_length=MAX_RANGES)
    wait_seconds: StrictInt = Field(default=0, ge=0, le=LONGEST_WAIT_SECONDS)

    @model_validator(mode="after")
    def _one_of_both(self) -> "WriteCall":
        _either(self.points, self.raw)
        return self


def _either(points: object, raw: object) -> None:
    if (points is None) == (raw is None):
        raise ValueError("give either points or raw")


class SearchQuery(Asked):
    """Which records to look for; times are RFC 3339 with offset."""

    kind: tuple[RecordKind, ...] = Field(default=(), max_length=20)
    subject: Word = ""
    device: Word = ""
    session: Word = ""
    decision: Word = ""
    since: Annotated[str, StringConstraints(max_length=40)] = Field(default="", alias="from")
    until: Annotated[str, StringConstraints(max_length=40)] = ""
    order: Literal["newest", "oldest"] = "newest"
    cursor: Cursor | None = None
    limit: int = Field(default=50, ge=1, le=500)


class Reason(Told):
    """A word and its sentence."""

    code: str
    text: str


class Window(Told):
    """A window or freeze; times are RFC 3339 in UTC."""

    id: str
    opens: str
    closes: str


class Fault(Told):
    """A place in a body or query that does not fit."""

    at: str
    problem: str


class ProblemDocument(BaseModel):
    """RFC 9457; `code` is constant, `detail` is for people."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    what_to_do: str
    reasons: list[Reason] | None = None
    decision_id: str | None = None
    next_window: Window | None = None
    errors: list[Fault] | None = None
    outcome: Literal["unknown"] | None = None


class Failure(Told):
    """Why one point has no value, or was not written."""

    code: str
    text: str
    reasons: list[Reason] | None = None
    decision_id: str | None = None
    device_code: str | None = None


class Reading(Told):
    """A value with its engineering unit, or why there is none. Numbers are exact: read them as decimals."""

    value: Value = None
    unit: str | None = None
    quality: Literal["good", "bad"]
    error: Failure | None = None


class RangeReading(Told):
    """Registers or bits of one range, or why there are none."""

    table: str
    address: int
    values: list[int] | None = None
    quality: Literal["good", "bad"]
    error: Failure | None = None


class ReadAnswer(Told):
    """What was read; points that could not be read say why."""

    device: str
    points: dict[str, Reading] | None = None
    raw: list[RangeReading] | None = None


class Outcome(Told):
    """What became of one write, and the BACnet priority at which it is one. `unattempted`: one before it failed, so it
    was not tried.
    """

    outcome: Literal["done", "device_refused", "not_sent", "unknown", "unattempted", "denied", "allowed"]
    priority: int | None = None
    error: Failure | None = None


class RangeOutcome(Outcome):
    """What became of the write of one range."""

    table: str
    address: int


class WriteAnswer(Told):
    """Everything was written."""

    device: str
    points: dict[str, Outcome] | None = None
    raw: list[RangeOutcome] | None = None


class ProofFact(Told):
    """One fact that proved the subject."""

    kind: str
    issuer: str
    identifier: str
    fingerprint: str
    proven_at: str
    not_after: str
    authenticated_at: str | None
    acr: str
    methods: list[str]


class Me(Told):
    """Who you are to the broker, and by what."""

    id: str
    kind: str
    organisation: str
    roles: list[str]
    proofs: list[ProofFact]


class Times(Told):
    """What is open and frozen now, and which window opens next."""

    open: list[Window]
    frozen: list[Window]
    next: Window | None


class BacnetPlace(Told):
    """Where BACnet tools find a device: its address (in hexadecimal) on the site's network.

    Without a network they cannot reach it.
    """

    instance: int
    network: int | None
    address: str


class DeviceEntry(Told):
    """A device that you may see."""

    id: str
    site: str
    device: str
    segment: str
    protocol: str
    criticality: str
    description: str
    labels: dict[str, str]
    unit_id: int | None
    bacnet: BacnetPlace | None
    windows: Times


class Devices(Told):
    """Your devices."""

    devices: list[DeviceEntry]


class PointEntry(Told):
    """A point: where it is, and what a write of it needs."""

    id: str
    description: str
    unit: str
    writable: bool
    action: str | None
    minimum: Value
    maximum: Value
    allowed: list[Value]
    confidential: Literal["secret", "personal"] | None
    modbus: dict[str, str | int] | None = None
    bacnet: dict[str, str | int | None] | None = None


class Points(Told):
    """The points of a device."""

    device: str
    protocol: str
    points: list[PointEntry]


class WindowEntry(Told):
    """A window or freeze of some of your devices: open now, or the next to open."""

    id: str
    description: str
    state: Literal["open", "next", "frozen"]
    opens: str
    closes: str
    devices: list[str]


class Windows(Told):
    """When work may be done on your devices."""

    now: str
    windows: list[WindowEntry]


class LedgerRecord(Told):
    """A record of the ledger with its index; see the reference of the ledger for the members of each kind."""

    index: int
    record: dict[str, Any]


class About(Told):
    """Whose operation a record cites, at which device, and what the operation was, as the decision has it."""

    subject: str
    device: str
    operation: dict[str, Any]


class FoundRecord(LedgerRecord):
    """A record; of an intent or outcome also what it is about, which its decision says."""

    about: About | None = None


class LedgerPage(Told):
    """Records that match; ask again with `cursor` for more, even after an empty page, until it is null."""

    size: int
    records: list[FoundRecord]
    cursor: int | None


class Checkpoint(Told):
    """The newest signed checkpoint, a C2SP signed note."""

    size: int
    checkpoint: str


class InclusionProof(Told):
    """Proof that a record is in the tree of the checkpoint; `stored` is the record octet for octet."""

    index: int
    stored: str
    leaf_hash: str
    hashes: list[str]
    checkpoint: str


class DecisionAnswer(Told):
    """One decision explained: `record` holds the whole question and answer."""

    id: str
    index: int
    allow: bool
    reasons: list[Reason]
    what_to_do: str
    subject: str
    device: str
    record: dict[str, Any]
