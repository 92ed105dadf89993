"""The built-in authority beside a running broker: let in, rotated without an outage, revoked within a second."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from broker.cli import otbroker
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, Persona, until
from tests.end_to_end.modbus_caller import ModbusCaller, read_registers

EVE = "eve@contractor.example"
READ = read_registers(10)
SOON_SECONDS = 1.0
ORGANISATION = """
organisations:
  - id: contractor
    anchors: [{ca}/root.pem]
    crl_files: [{ca}/crl.pem]
    crl_required: true
    namespaces: ["*@contractor.example"]
grants:
  - id: eve-view
    subjects: [eve@contractor.example]
    scope: {{devices: [plant/ahu-1]}}
    actions: [view]
"""


class Contractor:
    """An organisation that has its certificates from `otbroker ca`."""

    def __init__(self, folder: Path, development: Development) -> None:
        self.folder, self.ca, self._development = folder, folder / "ca", development
        for name in ("issuing.txt", "root.txt"):
            (folder / name).write_text("a passphrase beyond guessing\n")
            (folder / name).chmod(0o600)
        words = ["--organisation", "contractor", "--namespace", "*@contractor.example", "--root", folder / "root"]
        self.run("init", self.ca, *words, root=True)
        text = ORGANISATION.format(ca=self.ca)
        (development.folder / "inventory" / "contractor.yaml").write_text(text)

    def run(self, command: str, *words: object, root: bool = False) -> None:
        opening: list[object] = ["--root-passphrase-file", self.folder / "root.txt"] if root else []
        if command != "root-crl":
            opening += ["--passphrase-file", self.folder / "issuing.txt"]
        assert otbroker.main([str(word) for word in ("ca", command, *words, *opening)]) == 0

    def issue(self, name: str) -> Persona:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self.run("issue", self.ca, "--profile", "person", "--name", EVE, "--key-out", key, "--out", certificate)
        return Persona(name, certificate, key, Path())

    def gets_in(self, persona: Persona) -> bool:
        """One attempt."""
        try:
            with self._development.modbus(persona) as caller:
                return reads(caller)
        except OSError:
            return False


@pytest.fixture
def development(start: Start) -> Development:
    return start()


def reads(caller: ModbusCaller) -> bool:
    """Whether a read is answered. One that two new lists overtake on its way is not sent, and asked again."""
    return any(caller.ask(READ)[0] == 3 for _ in range(2))


def leaf_of(persona: Persona) -> x509.Certificate:
    return x509.load_pem_x509_certificate(persona.certificate.read_bytes())


def issuer_of(persona: Persona) -> str:
    return leaf_of(persona).issuer.rfc4514_string()


class Throughout:
    """Attempts one after another, in a thread, until the block ends; none of them may fail."""

    def __init__(self, attempt: Callable[[], bool]) -> None:
        self._attempt, self._ended, self.outcomes = attempt, threading.Event(), list[bool]()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.is_set():
            self.outcomes.append(self._attempt())

    def __enter__(self) -> "Throughout":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(15)


def test_rotation_stops_nobody_and_revocation_stops_at_once(development: Development, tmp_path: Path) -> None:
    contractor = Contractor(tmp_path, development)
    old = contractor.issue("old")
    until(lambda: contractor.gets_in(old), what="the contractor was not let in")

    with development.modbus(old) as kept, Throughout(lambda: contractor.gets_in(old)) as throughout:
        assert reads(kept)
        contractor.run("rotate", contractor.ca, "--root", contractor.folder / "root", "--issue-after", "5s", root=True)
        numbers = iter(range(1000))

        def rotated() -> Persona | None:
            """Every certificate that is issued meanwhile gets in at its first attempt."""
            persona = contractor.issue(f"new-{next(numbers)}")
            assert issuer_of(persona) == issuer_of(old) or contractor.gets_in(persona)
            return persona if issuer_of(persona) != issuer_of(old) else None

        new = until(rotated, seconds=15)
        contractor.run("crl", contractor.ca)
        assert contractor.gets_in(new)
        assert contractor.gets_in(old)
        assert reads(kept)
    assert len(throughout.outcomes) > 10
    assert all(throughout.outcomes)

    with development.modbus(old) as cut, development.modbus(new) as stays:
        assert reads(cut) and reads(stays)
        peer = f"127.0.0.1:{cut.local_port}"
        session = development.eventually("session_opened", peer=peer)["session"]
        contractor.run("revoke", contractor.ca, f"{leaf_of(old).serial_number:x}", "--reason", "key-compromise")
        assert cut.closed_within(3) < SOON_SECONDS
        assert development.eventually("session_closed", session=session)["reason"] == "certificate_revoked"
        assert reads(stays)
    assert not contractor.gets_in(old)


def test_the_root_ends_a_stolen_issuing_authority_with_all_it_issued(development: Development, tmp_path: Path) -> None:
    contractor = Contractor(tmp_path, development)
    old = contractor.issue("old")
    until(lambda: contractor.gets_in(old))
    contractor.run("rotate", contractor.ca, "--root", contractor.folder / "root", "--issue-after", "1s", root=True)
    stolen = x509.load_pem_x509_certificate((contractor.ca / "issuing-1.pem").read_bytes())
    root_list = contractor.folder / "root.crl"
    words = ["--revoke", f"{stolen.serial_number:x}", "--reason", "ca-compromise", "--out", root_list]
    with development.modbus(old) as cut:
        assert reads(cut)
        contractor.run("root-crl", contractor.folder / "root", *words, root=True)
        contractor.run("crl", contractor.ca, "--root-crl", root_list)
        assert cut.closed_within(3) < SOON_SECONDS
    assert not contractor.gets_in(old)

    def second_authority_issues() -> Persona | None:
        if otbroker.main(["ca", "status", str(contractor.ca)]) != 0:
            return None
        return contractor.issue("new")

    new = until(second_authority_issues)
    assert contractor.gets_in(new)
