"""The state in a database: SQLite for one broker, PostgreSQL for several. Knows rows and nothing of their effect."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alembic.util import CommandError
from asyncpg import InterfaceError, PostgresError
from sqlalchemy import URL, Connection, Row, event, inspect, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from broker.adapters.state_migrations import head, upgrade
from broker.adapters.state_tables import LOCKS
from broker.errors import StateUnavailableError
from broker.model.lock import Lock, LockKind

CHANNEL = "otbroker_state"
ANSWER_SECONDS = 2.0
MIGRATION_LOCK = 0x07B_0CE7
_FAULTS = (SQLAlchemyError, PostgresError, InterfaceError, CommandError, OSError, TimeoutError, ValueError)


@dataclass(frozen=True, slots=True)
class StatePlace:
    """Where the state is. `tls` None: not encrypted, for this machine only (and for SQLite)."""

    url: URL
    tls: ssl.SSLContext | None = None

    @property
    def shared(self) -> bool:
        """Whether other brokers may change it."""
        return self.url.get_backend_name() == "postgresql"


def sqlite_place(path: Path) -> StatePlace:
    """A file of this broker alone."""
    return StatePlace(URL.create("sqlite+aiosqlite", database=str(path)))


class StateDatabase:
    """Every call has two seconds and raises StateUnavailableError; the next one connects anew.

    `changed` is called when another broker says that it changed something (PostgreSQL only). It is a hint: whoever
    must know asks again at his own pace.
    """

    def __init__(self, place: StatePlace, changed: Callable[[], None]) -> None:
        self.shared = place.shared
        self._changed = changed
        self._engine = _engine(place)
        self._head = head()
        self._watching: AsyncConnection | None = None
        self._tables_are_there = False

    async def locks(self, held: Collection[str], now: float) -> tuple[Lock, ...]:
        """The locks that hold, and whatever is known of those that the asker holds."""
        holding = LOCKS.c.lifted_at.is_(None) & or_(LOCKS.c.until.is_(None), LOCKS.c.until > now)
        query = select(LOCKS).where(or_(holding, LOCKS.c.id.in_(held)))
        async with self._asking(self._watch) as connection:
            rows = (await connection.execute(query)).all()
            await connection.rollback()
            return tuple(_lock(row) for row in rows)

    async def add(self, locks: Iterable[Lock]) -> None:
        """Store locks; those that are there already stay as they are."""
        async with self._asking(self._connect) as connection:
            await self._add(connection, locks)
            await connection.commit()

    async def lift(self, lock: Lock, by: str, at: float) -> bool:
        """Lift a lock; False if somebody has before."""
        lifting = update(LOCKS).where(LOCKS.c.id == lock.id, LOCKS.c.lifted_at.is_(None))
        async with self._asking(self._connect) as connection:
            await self._add(connection, (lock,))
            lifted = await connection.execute(lifting.values(lifted_by=by, lifted_at=at))
            await connection.commit()
        return bool(lifted.rowcount)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._forget()
        await self._engine.dispose()

    async def _add(self, connection: AsyncConnection, locks: Iterable[Lock]) -> None:
        insert = postgresql.insert if self.shared else sqlite.insert
        rows = [asdict(lock) | {"kind": lock.kind.value} for lock in locks]
        if rows:
            await connection.execute(insert(LOCKS).on_conflict_do_nothing(), rows)
        if self.shared:
            await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})

    @asynccontextmanager
    async def _asking(self, connect: Callable[[], Any]) -> AsyncIterator[AsyncConnection]:
        """A connection to tables as they must be. Raises StateUnavailableError."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._see_to_tables()
                async with connect() as connection:
                    yield connection
        except _FAULTS as error:
            await self._forget()
            raise StateUnavailableError("state_unavailable", "The state cannot be reached.", _told(error)) from None

    async def _see_to_tables(self) -> None:
        """After each new start of the database or of the broker: it may be another one, or an old one."""
        if not self._tables_are_there:
            async with self._connect() as connection, connection.begin():
                if self.shared:
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                if await connection.run_sync(_version) != self._head:
                    await connection.run_sync(upgrade)
            self._tables_are_there = True

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[AsyncConnection]:
        """With PostgreSQL one connection that stays and listens, so that whoever asks it proves that it would hear."""
        if not self.shared:
            async with self._connect() as connection:
                yield connection
            return
        if self._watching is None:
            self._watching = await self._engine.connect()
            raw = await self._watching.get_raw_connection()
            assert raw.driver_connection is not None
            await raw.driver_connection.add_listener(CHANNEL, lambda *_: self._changed())
        yield self._watching

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            try:
                yield connection
            except BaseException:
                await self._abandon(connection)
                raise

    async def _forget(self) -> None:
        self._tables_are_there = False
        watching, self._watching = self._watching, None
        if watching is not None:
            with suppress(*_FAULTS):
                await self._abandon(watching)
                await watching.close()

    async def _abandon(self, connection: AsyncConnection) -> None:
        """Close a connection without a word to the server, which may no longer answer any."""
        if self.shared and not connection.closed and not connection.invalidated:
            raw = await connection.get_raw_connection()
            assert raw.driver_connection is not None
            raw.driver_connection.terminate()
            await connection.invalidate()


def _engine(place: StatePlace) -> AsyncEngine:
    if place.shared:
        options = {"ssl": place.tls or False, "timeout": ANSWER_SECONDS, "command_timeout": ANSWER_SECONDS}
        return create_async_engine(place.url, poolclass=NullPool, connect_args=options)
    engine = create_async_engine(place.url, poolclass=NullPool, connect_args={"timeout": ANSWER_SECONDS})
    event.listen(engine.sync_engine, "connect", _durable)
    return engine


def _durable(connection: Any, _: object) -> None:
    """What was committed is on the disk, in one file."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _lock(row: Row[Any]) -> Lock:
    """Raises ValueError for a kind that this broker does not know."""
    fields = dict(row._mapping)
    return Lock(**fields | {"kind": LockKind(fields["kind"])})


def _told(error: BaseException) -> str:
    """The cause in one line; SQLAlchemy's own words go on with statement and parameters."""
    cause = getattr(error, "orig", None) or error
    return (str(cause) or type(cause).__name__).splitlines()[0]
