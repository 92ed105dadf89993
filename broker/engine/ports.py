"""What the driver needs of the world, named by role; adapters are named by technology.

Answers come through a callback on the event loop, never before the call has returned, so that an operation costs no
task.
"""

from collections.abc import Callable, Container, Iterable
from typing import Protocol

from broker.engine.audit_reporting import Fared
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError, PolicyUnavailableError
from broker.model.decision import EntryPoint
from broker.model.leave import Debt, Place
from broker.model.operation import Operation, Relayed, Request
from broker.model.place import Device
from broker.wire.bacnet.cov import CovNotification


class PolicyEngine(Protocol):
    """Evaluates the published policy; `revision` is the SHA-256 of the bundle it answers from ("" = none)."""

    revision: str

    def decide(
        self, entry_point: EntryPoint, question: bytes, answered: Callable[[bytes | PolicyUnavailableError], None]
    ) -> None:
        """Evaluate for a question (canonical JSON, already valid by schema).

        Calls `answered` once with the answer as JSON (b"" = undefined) or a `PolicyUnavailableError` whose code is
        `policy_late` or `policy_unavailable`, within the engine's own deadline.
        """

    async def publish(self, modules: dict[str, str], data: dict[str, object], revision: str) -> None:
        """Replace the policy (module text by file name). Raises ConfigError, leaving the old one in force."""

    async def close(self) -> None:
        """Let go of processes and connections."""


class Ledger(Protocol):
    """The append-only evidence; see docs/ledger.md for its rules."""

    def append(self, record: bytes, *, intent: bool = False) -> int:
        """Buffer one record (canonical JSON, at most 65,535 octets); its index.

        Raises LedgerUnavailableError `ledger_closed`; for intents also `ledger_paused` (disk low: room is kept for the
        outcomes of operations in flight).
        """

    def settle(self, durable: bool, settled: Callable[[LedgerUnavailableError | None], None]) -> bool:
        """Bring all that was appended so far to the file (`durable`: fsynced).

        True: it is there already, `settled` is not called. False: `settled` is called later, once, with None or the
        error.
        """


class Disclosures(Protocol):
    """Keeps the values behind commitments, apart from the records, so that they can be erased."""

    def commit_to(self, value: str) -> str:
        """A commitment whose value and salt the kernel has; on disk soon. Raises LedgerUnavailableError."""

    def commit_erased(self, value: str) -> str:
        """A commitment whose salt is forgotten at once: as if it had been erased."""


class Uses(Protocol):
    """Takes up the uses of grants for single use."""

    def claim(
        self, session: Session, operations: tuple[Operation, ...], grant: str, claimed: Callable[[str], None]
    ) -> None:
        """`claimed` is called later, once, with "" or the `Reason` word for which nothing may be sent."""

    def give_back(
        self, session: Session, operations: tuple[Operation, ...], grant: str, kept: tuple[Operation, ...] = ()
    ) -> None:
        """These were not carried out; what `kept` of the same request used stays used. Returns at once."""


class DebtBook(Protocol):
    """Keeps what has to be undone when an access ends, across a crash of the broker."""

    def note(self, debts: tuple[Debt, ...], noted: Callable[[bool], None]) -> bool:
        """Writes are about to be sent. True: `noted` is called later, once, with whether the debts are on disk; those
        that are not are forgotten. False: there is no room for them, and `noted` is not called.
        """

    def settle(self, debts: tuple[Debt, ...], result: str, intent: int) -> None:
        """What became of writes that were noted, by the outcome of their intent."""

    def written(
        self,
        by: str,
        device: Device,
        request: Request,
        relayed: Relayed,
        first_intent: int,
        met: Container[Place],
        kept: Callable[[bool], None],
    ) -> bool:
        """What became of anybody's write: where it was done or nobody knows, what others left is not undone any more.
        True if there is such: `kept` is called later, once, with whether that is on disk. `met` are the places of debts
        of which a write came out while this one was on its way.
        """

    def owed_still(self, debt: Debt) -> bool:
        """Whether a debt that is being undone is as it was: nobody is known to have written there since."""

    def mark(self, debt: Debt, undoing: bool, marked: Callable[[bool], None]) -> None:
        """A debt is about to be undone, or was not after all; `marked` is called later with whether that is on disk."""


class Audits(Protocol):
    """Tells others in OT who did what, once that is on record here; nothing waits for it."""

    def wants(self, session: Session, request: Request) -> bool:
        """Whether somebody is to be told of such a request."""

    def tell(
        self, session: Session, request: Request, fared: Iterable[Fared], before: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Operations came out so, or were denied. Returns at once, whatever happens."""


class Upstream(Protocol):
    """The way to one device."""

    def relay(
        self,
        request: Request,
        relayed: Callable[[Relayed], None],
        still_allowed: Callable[[], str] | None = None,
    ) -> None:
        """Send once; `relayed` is called once, within connect and response timeouts and queue limits.

        A view that nothing is heard of may be repeated within its time, anything else never.

        `still_allowed` is asked when a request that had to wait is about to be sent: "" or the `Reason` word of its
        NOT_SENT.
        """

    def notifications(self, told: Callable[[CovNotification], bool] | None) -> None:
        """Call `told` with each notification of a change that the device sends, or (None) not any more.

        It says whether it is about what was subscribed; a confirmed one is then acknowledged.
        """

    def own_mac(self) -> bytes:
        """The MAC by which a BACnet device hears the broker on its network, zero as far as that is not known."""

    def longest_apdu(self) -> int:
        """Octets that a BACnet device takes at a time, as far as the inventory or the device itself has said."""

    async def close(self) -> None:
        """Fail what is queued (`NOT_SENT`), end what is in flight (`UNKNOWN` or `NO_REPLY`) and disconnect."""


class Clock(Protocol):
    """Wall clock (epoch seconds, UTC) and monotonic clock (seconds)."""

    def now(self) -> float:
        """Epoch seconds."""

    def monotonic(self) -> float:
        """Monotonic seconds, not comparable across machines."""
