"""A PostgreSQL that asks for TLS and a password."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.adapters.development_ca import create_authority, issue_server
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_locks import LockRows
from broker.errors import ConfigError, StateUnavailableError
from broker.settings.broker_file import Settings
from broker.wiring.parts import state_place
from tests.postgresql import Postgresql, running

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def url(files: Path) -> Iterator[str]:
    now = time.time()
    authority = create_authority(files / "ca", "plant", now)
    create_authority(files / "other-ca", "other", now)
    server = issue_server(authority, ["localhost"], files / "server", now)
    (files / "password").write_text(PASSWORD + "\n")
    (files / "wrong-password").write_text("battery staple\n")
    (files / "ca.pem").write_bytes(authority.anchor.read_bytes())
    (files / "other-ca.pem").write_bytes((create_authority(files / "other-ca", "other", now)).anchor.read_bytes())
    started = running()
    postgresql: Postgresql = next(started)
    made = postgresql.make_database("protected")
    postgresql.require(server.certificate, server.key, PASSWORD)
    postgresql.stop()
    postgresql.start()
    yield made.replace("127.0.0.1", "localhost")
    started.close()


def read(state: dict[str, str]) -> int:
    listener = {"address": "127.0.0.1", "certificate_file": "c", "key_file": "k"}
    ledger = {"origin": "b/l", "key_file": "ledger.key"}
    given = {"inventory": "i", "modbus_tls": [listener], "ledger": ledger, "state": state}
    place = state_place(Settings.model_validate(given))

    async def run() -> int:
        database = StateDatabase(place)
        try:
            return len((await LockRows(database).locks((), 0.0))[0])
        finally:
            await database.close()

    return asyncio.run(run())


def test_the_right_authority_and_password_lead_in(url: str, files: Path) -> None:
    state = {"url": url, "ca_file": str(files / "ca.pem"), "password_file": str(files / "password")}
    assert read(state) == 0


@pytest.mark.parametrize(
    ("ca", "password"), [("other-ca.pem", "password"), ("ca.pem", "wrong-password"), ("", "password")]
)
def test_anything_else_does_not(url: str, files: Path, ca: str, password: str) -> None:
    state = {"url": url, "password_file": str(files / password)} | ({"ca_file": str(files / ca)} if ca else {})
    with pytest.raises(StateUnavailableError) as refused:
        read(state)
    assert PASSWORD not in str(refused.value)


def test_a_certificate_for_another_name_is_not_believed(url: str, files: Path) -> None:
    state = {"url": url.replace("localhost", "127.0.0.2"), "ca_file": str(files / "ca.pem")}
    with pytest.raises(StateUnavailableError):
        read(state)


def test_a_password_file_that_is_gone_is_told(url: str, files: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        read({"url": url, "password_file": str(files / "nowhere")})
