"""Takes the logouts that token issuers tell: their sessions end here at once, and no broker believes their tokens.

What is remembered is in the state that brokers share, for as long as any token may live.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_logouts import LogoutRows
from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError, StateUnavailableError
from broker.identity.codes import token_error
from broker.identity.logout import MOST_REMEMBERED, REMEMBERED_SECONDS
from broker.ledger import records
from broker.listeners.authentication import Authenticator
from broker.listeners.session_register import LOGOUTS_UNREAD, SessionRegister
from broker.model.logout import Logout
from broker.model.subject import ProofKind
from broker.model.vocabulary import EndReason
from broker.wiring.state_follower import StateFollower

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
RETRY_SECONDS = 2.0
BATCH = 100
"""So many are stored in the time that one use of the state may take, however many wait."""
MOST_UNSTORED = 20_000
OVERLAP_SECONDS = 60.0
"""How far what was being stored while the newest was read may be behind it, with a statement that takes its time."""


class LogoutKeeper:
    """One per broker. Until the state has been read once, no session is opened but in emergencies."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        authenticator: Authenticator,
        register: SessionRegister,
        database: StateDatabase,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._authenticator = authenticator
        self._register = register
        self._shared = database.shared
        self._rows = LogoutRows(database)
        self._known: dict[str, float] = {}
        self._unstored: dict[str, Logout] = {}
        self._read_once = False
        self._latest = 0.0
        pace = LOOK_SECONDS if self._shared else RETRY_SECONDS
        self._reader = StateFollower(database, pace, self._learn, "logouts could not be looked at")
        self._writer = StateFollower(database, RETRY_SECONDS, self._store_waiting, "logouts could not be stored")

    async def start(self) -> None:
        """Take what the state remembers, then follow it."""
        self._register.shut_for.add(LOGOUTS_UNREAD)
        await self._learn()
        self._reader.start()
        self._writer.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._writer.stop()
        await self._reader.stop()

    async def take(self, raw_token: str) -> None:
        """Let a logout take effect, here first.

        Raises TokenError for what is no logout token or was told before; StateUnavailableError if the state did not
        take it: it holds here, is stored when the state is back, and may be told again.
        """
        logout = await self._authenticator.logout(raw_token)
        if logout.id in self._known and logout.id not in self._unstored:
            raise token_error("logout_replayed")
        if logout.id not in self._known:
            self._wait_for_state(logout)
            self._hold((logout,))
        await self._store((logout,))

    async def _learn(self) -> None:
        """Learn what other brokers took; a state of our own is read once."""
        try:
            if self._shared or not self._read_once:
                await self._read()
        except StateUnavailableError as error:
            log.debug("logouts cannot be read: %s", error)

    async def _store_waiting(self) -> None:
        """Store what the state did not take. It may take its time: what others took is learned meanwhile."""
        try:
            while self._unstored:
                await self._store(tuple(islice(self._unstored.values(), BATCH)))
        except StateUnavailableError as error:
            log.debug("logouts cannot be stored: %s", error)

    async def _read(self) -> None:
        now = self._clock.now()
        # By what is stored and not by this clock: the clock of who stored it may be another.
        since = max(min(self._latest, now) - OVERLAP_SECONDS, now - REMEMBERED_SECONDS)
        found, latest = await self._rows.logouts(since, MOST_REMEMBERED)
        new = [logout for logout in reversed(found) if logout.id not in self._known]
        self._hold(new, record=self._read_once)
        self._read_once, self._latest = True, max(self._latest, latest)
        self._register.shut_for.discard(LOGOUTS_UNREAD)

    def _wait_for_state(self, logout: Logout) -> None:
        """Keep it until it is stored. Of too many the oldest holds here alone, and may be told again like a new one."""
        self._unstored[logout.id] = logout
        if len(self._unstored) > MOST_UNSTORED:
            oldest = next(iter(self._unstored))
            del self._unstored[oldest]
            self._known.pop(oldest, None)
            log.error("logout %s is stored nowhere: too many wait for the state", oldest)

    async def _store(self, logouts: tuple[Logout, ...]) -> None:
        now = self._clock.now()
        await self._rows.add(logouts, now, now - REMEMBERED_SECONDS)
        for logout in logouts:
            self._unstored.pop(logout.id, None)

    def _hold(self, logouts: Iterable[Logout], *, record: bool = True) -> None:
        """Recorded or not, they take effect. What the state knew at the start was recorded where it was taken."""
        self._forget()
        for logout in logouts:
            self._known[logout.id] = self._clock.now()
            self._authenticator.logged_out.add(logout)
            if record:
                self._record(logout)
            self._end_sessions(logout)

    def _end_sessions(self, logout: Logout) -> None:
        for session in self._register.sessions():
            token = session.subject.proof(ProofKind.TOKEN)
            if token is not None and self._authenticator.logged_out.ends(token):
                self._register.end(session, EndReason.LOGGED_OUT, logout.id)

    def _forget(self) -> None:
        before = self._clock.now() - REMEMBERED_SECONDS
        while len(self._known) > MOST_REMEMBERED:
            del self._known[next(iter(self._known))]
        if self._known and next(iter(self._known.values())) < before:
            self._known = {key: at for key, at in self._known.items() if at >= before}
            self._authenticator.logged_out.forget(before)

    def _record(self, logout: Logout) -> None:
        log.info("logout %s of an account of %s", logout.id, logout.issuer)
        told = asdict(logout)
        try:
            self._ledger.append(records.logged_out(self._clock.now(), logout=told.pop("id"), **told))
            self._ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            log.error("a logout was not recorded: the ledger is closed")
