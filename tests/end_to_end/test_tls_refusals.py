"""Who is refused before anything is asked, and in which words of TLS."""

import json
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from broker.adapters.development_ca import create_authority, issue_client
from broker.cli.building import ANA, BMS
from tests.end_to_end.development import OWNER, VENDOR, Development, Persona, token_of
from tests.end_to_end.modbus_caller import ModbusCaller, read_registers
from tests.end_to_end.peers import program

ALERTS = {"-tls1_3": "SSL alert number 116", "-tls1_2": "SSL alert number 40"}


def s_client(development: Development, *options: str) -> str:
    """What openssl says until the broker has closed."""
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{development.modbus_port}", "-ign_eof"]
    command += ["-CAfile", str(development.folder / "ca.pem"), "-servername", "ahu-1.plant"]
    done = subprocess.run(
        [*command, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", ALERTS)
def test_without_a_certificate_openssl_is_told_so_by_a_fatal_alert(building: Development, version: str) -> None:
    assert ALERTS[version] in s_client(building, version)
    building.eventually("identity_refused", code="certificate_missing", listener="modbus_tls")


@pytest.mark.parametrize("version", ALERTS)
def test_a_certificate_of_an_unknown_authority_is_refused_by_an_alert(
    building: Development, version: str, tmp_path: Path
) -> None:
    foreign = create_authority(tmp_path / "ca", VENDOR, time.time())
    mine = issue_client(foreign, ANA, tmp_path / "ana", time.time())
    said = s_client(building, version, "-cert", str(mine.certificate), "-key", str(mine.key))
    assert "SSL alert number 48" in said, said
    building.eventually("identity_refused", listener="modbus_tls", code="certificate_untrusted")


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_versions_before_1_2_are_refused(building: Development, version: str) -> None:
    said = s_client(building, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_never_resumed(building: Development, version: ssl.TLSVersion) -> None:
    context = building.tls("vendor-ana", version)
    with ModbusCaller(building.modbus_port, context, "ahu-1.plant") as caller:
        caller.ask(read_registers(0))
        session = caller.socket.session
        assert not caller.socket.session_reused
        assert session is None or not session.has_ticket
    with ModbusCaller(building.modbus_port, context, "ahu-1.plant", session=session) as caller:
        caller.ask(read_registers(0))
        assert not caller.socket.session_reused


def test_a_name_of_no_device_leads_nowhere_whatever_the_unit(building: Development) -> None:
    for name in ("ahu-9.plant", "vav-1.plant"):
        with building.modbus(sni=name) as caller:
            assert caller.ask(read_registers(0)) == b"\x83\x01"
    with building.modbus(sni="localhost") as caller:
        assert caller.ask(read_registers(1)) == b"\x03\x02\x00\xeb"


def test_a_revoked_certificate_is_cut_within_a_second_and_refused_afterwards(building: Development) -> None:
    target = building.folder / "personas" / "ana-revoked"
    mine = issue_client(building.authority(VENDOR), ANA, target, time.time())
    persona = Persona("ana-revoked", mine.certificate, mine.key, Path())
    with building.modbus(persona) as caller, building.modbus("bms-sync") as bystander, building.modbus() as same_person:
        caller.ask(read_registers(0))
        bystander.ask(read_registers(0))
        same_person.ask(read_registers(0))
        session = building.eventually("session_opened", peer=f"127.0.0.1:{caller.local_port}")["session"]
        building.revoke(VENDOR, mine.serial)
        assert caller.closed_within(3) < 1.0
        bystander.ask(read_registers(0))
        same_person.ask(read_registers(0))
    closed = building.eventually("session_closed", session=session)
    assert closed["reason"] == "certificate_revoked"
    chain = ["-cert", str(mine.certificate), "-cert_chain", str(mine.certificate), "-key", str(mine.key)]
    assert "SSL alert number 42" in s_client(building, *chain)
    building.eventually("identity_refused", code="certificate_revoked")


def test_curl_needs_both_proofs_of_one_subject(building: Development) -> None:
    curl = shutil.which("curl") or program("curl")

    def call(certificate_of: str | None, token_of: str | None) -> tuple[int, str]:
        command = [curl, "-sS", "--cacert", str(building.folder / "ca.pem"), "-w", "\n%{http_code}"]
        if certificate_of:
            persona = building.persona(certificate_of)
            command += ["--cert", str(persona.certificate), "--key", str(persona.key)]
        given = f'header = "Authorization: Bearer {building.token(token_of)}"' if token_of else ""
        done = subprocess.run(
            [*command, "-K", "-", f"{building.facts['api']}/v1/me"],
            input=given,
            capture_output=True,
            text=True,
            timeout=20,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body).get("id") or json.loads(body)["code"]

    assert call("vendor-ana", "vendor-ana") == (200, ANA)
    assert call("vendor-ana", None) == (401, "credentials_missing")
    assert call(None, None) == (401, "credentials_missing")
    assert call(None, "vendor-ana")[0] == 401
    assert call("vendor-ana", "bms-sync")[0] == 401, "that token is bound to another certificate"
    free = token_of(building, BMS, OWNER, 600)
    assert building.api().get("/v1/me", token=free).status == 403
    assert building.api().get("/v1/me", token=free[:-6] + "AAAAAA").status == 401
    assert building.api().get("/v1/me", token=token_of(building, ANA, VENDOR, 600, "bms-sync")).status == 401


def test_a_handshake_that_is_never_finished_is_closed_in_time(
    building: Development, unfinished_handshake: tuple[socket.socket, float]
) -> None:
    connection, began = unfinished_handshake
    connection.settimeout(14)
    while connection.recv(100):
        pass
    refused = building.eventually("identity_refused", listener="modbus_tls", code="handshake_late")
    assert refused["count"] == 1
    assert time.monotonic() - began < 13 or not connection.recv(1)
