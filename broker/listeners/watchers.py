"""Who watches which sessions live. A watcher may be slow: it is told how much it missed, and nobody waits for it."""

import asyncio
from collections import deque

from broker.engine.events import Seen
from broker.engine.ports import Clock
from broker.engine.sessions import Session
from broker.model.operation import Request
from broker.model.vocabulary import EndReason

MAX_WATCHERS = 16
MAX_WATCHERS_OF_SUBJECT = 4
MAX_WAITING_EVENTS = 256


class Watcher:
    """One live view of one session, of those at a site, or of all. `ended` is why there is nothing more to come.

    `supervises`: the policy lets whoever watches supervise.
    """

    def __init__(self, subject: str, session: str, site: str = "") -> None:
        self.subject = subject
        self.supervises = False
        self.site = site
        self.session = session
        self.ended: EndReason | None = None
        self._waiting: deque[Seen] = deque()
        self._lost = 0
        self._news = asyncio.Event()

    @property
    def keeps_up(self) -> bool:
        """Whether it takes what it is told; who misses events supervises nothing."""
        return not self._lost

    def watches(self, session: Session) -> bool:
        """Whether it is told of that session."""
        return self.session in ("", session.id) and self.site in ("", session.device.site)

    def watches_over(self, session: Session) -> bool:
        """Whether it supervises that session, which is nobody's own."""
        return self.supervises and self.subject != session.subject.id and self.watches(session)

    def offer(self, seen: Seen) -> None:
        """Keep an event until it is taken; without room it is only counted."""
        if len(self._waiting) < MAX_WAITING_EVENTS:
            self._waiting.append(seen)
        else:
            self._lost += 1
        self._news.set()

    def end(self, reason: EndReason) -> None:
        """Nothing more will come; what is kept can still be taken."""
        self.ended = self.ended or reason
        self._news.set()

    async def take(self, most: int, seconds: float) -> tuple[list[Seen], int]:
        """The oldest events, and how many were lost after them; nothing if none came for so long, or it has ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return [], 0
        taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        lost = 0
        if not self._waiting:
            lost, self._lost = self._lost, 0
            if self.ended is None:
                self._news.clear()
        return taken, lost


class Watchers:
    """All of them. A session carries an observer only while somebody watches it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watchers: list[Watcher] = []

    def add(self, subject: str, session: str, site: str = "") -> Watcher | None:
        """A new watcher, None if there are too many, of this subject or of all."""
        of_subject = sum(watcher.subject == subject for watcher in self._watchers)
        if len(self._watchers) >= MAX_WATCHERS or of_subject >= MAX_WATCHERS_OF_SUBJECT:
            return None
        watcher = Watcher(subject, session, site)
        self._watchers.append(watcher)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """It watches no more."""
        self._watchers.remove(watcher)

    def follow(self, session: Session) -> None:
        """Give a session its observer and its supervisors, or take them away."""
        watched = session.ended is None and any(watcher.watches(session) for watcher in self._watchers)
        session.observer = self._saw if watched else None
        supervisors = {watcher.subject for watcher in self._watchers if watched and watcher.watches_over(session)}
        if supervisors != set(session.watched_by):
            session.watch_by(tuple(sorted(supervisors)))

    def tell(self, session: Session, change: str, by: str = "") -> None:
        """A session changed."""
        self._offer(Seen(self._clock.now(), session, change=change, by=by))

    def closed(self, session: Session) -> None:
        """A session ended, and so does the view of whoever watched nothing else."""
        self.tell(session, "closed")
        for watcher in self._watchers:
            if watcher.session == session.id:
                watcher.end(session.ended or EndReason.PEER_CLOSED)

    def end_all(self, reason: EndReason) -> None:
        """Nobody watches any more."""
        for watcher in self._watchers:
            watcher.end(reason)

    def _saw(
        self,
        session: Session,
        request: Request,
        result: str,
        code: str,
        reasons: tuple[str, ...],
        each: tuple[tuple[str, str], ...],
    ) -> None:
        """Called within an exchange: it only keeps what there is; the watcher's own task makes words of it."""
        self._offer(Seen(self._clock.now(), session, request, result, code, reasons, each=each))

    def _offer(self, seen: Seen) -> None:
        for watcher in self._watchers:
            if watcher.watches(seen.session):
                watcher.offer(seen)
