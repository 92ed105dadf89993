"""Empty places for the state: a SQLite file and a PostgreSQL database."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from broker.adapters.state_database import StatePlace, sqlite_place
from tests.postgresql import Postgresql, running

_NUMBERS = itertools.count()


@pytest.fixture(scope="package")
def postgresql() -> Iterator[Postgresql]:
    yield from running()


@pytest.fixture
def postgresql_place(postgresql: Postgresql) -> StatePlace:
    url = make_url(postgresql.make_database(f"state{next(_NUMBERS)}"))
    return StatePlace(url.set(drivername="postgresql+asyncpg"))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StatePlace:
    if request.param == "sqlite":
        return sqlite_place(tmp_path / "broker.db")
    found: StatePlace = request.getfixturevalue("postgresql_place")
    return found
