"""The way to the state's database: SQLite for one broker, PostgreSQL for several. Rows are the business of others."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.util import CommandError
from asyncpg import InterfaceError, PostgresError
from sqlalchemy import URL, Column, Connection, Table, event, func, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from broker.adapters.state_migrations import head, upgrade
from broker.errors import StateUnavailableError

CHANNEL = "otbroker_state"
ANSWER_SECONDS = 2.0
MIGRATION_SECONDS = 60.0
MIGRATION_LOCK = 0x07B_0CE7
_MIGRATING_SHARED = text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
_MIGRATING_ALONE = text("BEGIN IMMEDIATE")
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
    """Every use has two seconds and raises StateUnavailableError; the next one connects anew. Only making or changing
    the tables, once, may take a minute, during which the others wait.

    `changed` are called when another broker says that it changed something (PostgreSQL only). That is a hint: whoever
    must know asks again at his own pace.
    """

    def __init__(self, place: StatePlace) -> None:
        self.shared = place.shared
        self.changed: list[Callable[[], None]] = []
        self._engine = _engine(place)
        self._head = head()
        self._watching: AsyncConnection | None = None
        self._watch_turn = asyncio.Lock()
        self._tables_are_there = False
        self._making: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection of its own to tables as they must be; what is not committed is undone."""
        async with self._asking(self._connect) as connection:
            yield connection

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncConnection]:
        """The connection that listens, for reading, one reader at a time: who got an answer would also have heard."""
        async with self._watch_turn, self._asking(self._listen) as connection:
            yield connection
            await connection.rollback()

    async def insert(self, connection: AsyncConnection, table: Table, rows: Iterable[Mapping[str, Any]]) -> int:
        """Add rows; those that are there already stay as they are. How many were added."""
        added, insert = 0, postgresql.insert if self.shared else sqlite.insert
        for row in rows:
            added += (await connection.execute(insert(table).values(**row).on_conflict_do_nothing())).rowcount
        return added

    async def stamp(self, connection: AsyncConnection, column: Column[float], now: float) -> float:
        """The moment to write into a column by which readers find what is new: never before one that is there already,
        so that a broker whose clock lags hides nothing. The last step before the commit: until then others wait here.
        """
        if self.shared:
            turn = {"turn": f"otbroker {column}"}
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:turn, 0))"), turn)
        latest = (await connection.execute(select(func.max(column)))).scalar_one()
        return now if latest is None else max(now, latest)

    async def commit(self, connection: AsyncConnection) -> None:
        """Commit, and tell the other brokers that something has changed."""
        if self.shared:
            await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
        await connection.commit()

    async def close(self) -> None:
        """Let go of all connections."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait([self._making])
        await self._forget()
        await self._engine.dispose()

    @asynccontextmanager
    async def _asking(self, connect: Callable[[], Any]) -> AsyncIterator[AsyncConnection]:
        """A connection to tables as they must be. Raises StateUnavailableError."""
        try:
            if not self._tables_are_there:
                await self._see_to_tables()
            async with asyncio.timeout(ANSWER_SECONDS), connect() as connection:
                yield connection
        except _FAULTS as error:
            await self._forget()
            raise StateUnavailableError("state_unavailable", "The state cannot be reached.", _told(error)) from None

    async def _see_to_tables(self) -> None:
        """After each new start of the database or of the broker: it may be another one, or an old one.

        Once for all who ask meanwhile: Alembic keeps what it is doing in variables of its module.
        """
        if self._making is None:
            self._making = asyncio.create_task(self._make_tables())
            self._making.add_done_callback(self._made)
        await asyncio.shield(self._making)

    async def _make_tables(self) -> None:
        async with asyncio.timeout(ANSWER_SECONDS) as limit, self._connect() as connection, connection.begin():
            # Another broker that is at it is waited for; and what is cut short, by a kill too, leaves nothing behind.
            await connection.execute(_MIGRATING_SHARED if self.shared else _MIGRATING_ALONE)
            if await connection.run_sync(_version) != self._head:
                limit.reschedule(asyncio.get_running_loop().time() + MIGRATION_SECONDS)
                await connection.run_sync(upgrade)
        self._tables_are_there = True

    def _made(self, making: asyncio.Task[None]) -> None:
        self._making = None
        if not making.cancelled():
            making.exception()  # those who waited have it, if any did

    @asynccontextmanager
    async def _listen(self) -> AsyncIterator[AsyncConnection]:
        """With PostgreSQL one connection that stays and listens, so that whoever asks it proves that it would hear."""
        if not self.shared:
            async with self._connect() as connection:
                yield connection
            return
        if self._watching is None:
            self._watching = await self._engine.connect()
            raw = await self._watching.get_raw_connection()
            assert raw.driver_connection is not None
            await raw.driver_connection.add_listener(CHANNEL, lambda *_: self._tell())
        yield self._watching

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            try:
                yield connection
            except BaseException:
                await self._abandon(connection)
                raise

    def _tell(self) -> None:
        for changed in self.changed:
            changed()

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


def _told(error: BaseException) -> str:
    """The cause in one line; SQLAlchemy's own words go on with statement and parameters."""
    cause = getattr(error, "orig", None) or error
    return (str(cause) or type(cause).__name__).splitlines()[0]
