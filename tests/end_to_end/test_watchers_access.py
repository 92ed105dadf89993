"""Who watches the sessions of others: whatever ends the watcher's own access ends the stream within a second, says that
it is the watcher's access that ended and why, and does not let in again. What is watched goes on.
"""

import ssl
import time
from collections.abc import Callable, Iterator

import jwt
import pytest
from cryptography import x509

from broker.adapters.development_ca import OWNER
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, Persona, token_of
from tests.end_to_end.event_stream import EventStream
from tests.end_to_end.logging_out import log_out
from tests.end_to_end.modbus_caller import write_register
from tests.end_to_end.test_deadlines import CLOCKS_SECONDS, SOON_SECONDS, persona
from tests.end_to_end.test_locks import lift_all

pytestmark = pytest.mark.prompt

BO, CY, ELI = "bo@plant.example", "cy@plant.example", "eli@plant.example"
EVENTS = "/v1/sessions/events"
LEAD_SECONDS = 3
WRITE = write_register(10, 190)
Cause = Callable[[], float]


@pytest.fixture(scope="module")
def development(start_shared: Start) -> Development:
    return start_shared()


@pytest.fixture
def check(development: Development) -> Iterator[Callable[..., None]]:
    """While ana works and somebody watches all sessions, a cause comes; it gives its moment (monotonic)."""
    with development.modbus() as working:
        assert working.ask(WRITE) == WRITE

        def check(who: str | Persona, token: str, cause: Cause, reason: str, again: str) -> None:
            with EventStream(development, who, EVENTS, token) as stream:
                began = cause()
                at = stream.ended(15)
            assert -CLOCKS_SECONDS < at - began < SOON_SECONDS, f"{at - began:.2f} s"
            kind, told = stream.events[-1]
            assert (kind, told["reason"], told["own_access"]) == ("ending", reason, True)
            try:
                refused = development.api(who, token).get(EVENTS)
            except ssl.SSLError as alert:
                assert again.replace("_", " ") in str(alert).lower()
            else:
                assert again in (refused.body["code"], *refused.reasons)
                assert len(refused.body["detail"]) > 20
            assert working.ask(WRITE) == WRITE, "what was watched ended too"

        yield check


def token(development: Development, subject: str, seconds: int = 600, **claims: str) -> str:
    return token_of(development, subject, OWNER, seconds, claims=claims)


def lock(development: Development, kind: str, target: str) -> float:
    began = time.monotonic()
    body = {"kind": kind, "target": target, "message": "a test"}
    assert development.api("secops-bo").call("POST", "/v1/locks", body).status == 200
    return began


def wall(moment: float) -> float:
    return moment - time.time() + time.monotonic()


def test_the_certificate_expires(development: Development, check: Callable[..., None]) -> None:
    short = persona(development, LEAD_SECONDS, ELI, OWNER)
    expires = x509.load_pem_x509_certificate(short.certificate.read_bytes()).not_valid_after_utc
    moment = wall(expires.timestamp())
    check(short, token(development, ELI), lambda: moment, "certificate_expired", "certificate_expired")


def test_the_certificate_is_revoked(development: Development, check: Callable[..., None]) -> None:
    other = persona(development, 600, ELI, OWNER)
    serial = x509.load_pem_x509_certificate(other.certificate.read_bytes()).serial_number

    def cause() -> float:
        development.revoke(OWNER, serial)
        return time.monotonic()

    check(other, token(development, ELI), cause, "certificate_revoked", "certificate_revoked")


def test_the_token_expires(development: Development, check: Callable[..., None]) -> None:
    short = token(development, BO, LEAD_SECONDS)
    moment = wall(jwt.decode(short, options={"verify_signature": False})["exp"])
    check("secops-bo", short, lambda: moment, "token_expired", "token_expired")


def test_a_logout_at_the_issuer(development: Development, check: Callable[..., None]) -> None:
    logged_in = token(development, BO, sid="one-log-in")

    def cause() -> float:
        return log_out(development, OWNER, login="one-log-in")

    check("secops-bo", logged_in, cause, "logged_out", "token_logged_out")


def test_the_watcher_is_locked(development: Development, check: Callable[..., None]) -> None:
    try:
        check("auditor-cy", token(development, CY), lambda: lock(development, "subject", CY), "locked", "locked")
    finally:
        lift_all(development)


def test_the_role_is_taken_away(development: Development, check: Callable[..., None]) -> None:
    path = development.folder / "inventory" / "organisations.yaml"
    text = path.read_text()
    role = f'"{ELI}": ["operator"]'
    assert role in text

    def cause() -> float:
        path.write_text(text.replace(role, f'"{ELI}": []'))
        return time.monotonic()

    try:
        check("operator-eli", token(development, ELI), cause, "inventory_changed", "role_missing")
    finally:
        path.write_text(text)


def test_the_policy_changes(development: Development, check: Callable[..., None]) -> None:
    path = development.folder / "policies" / "site.rego"

    def cause() -> float:
        path.write_text(f'package site.admin\n\nreasons contains "no_grant" if input.subject.id == "{BO}"\n')
        return time.monotonic()

    try:
        check("secops-bo", token(development, BO), cause, "policy_changed", "no_grant")
    finally:
        path.unlink(missing_ok=True)
