"""An authority that is not ours needs settings alone: one made with OpenSSL, another between its root and leaf."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, Persona, until
from tests.end_to_end.modbus_caller import read_registers

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

READ = read_registers(10)
SPIFFE_ID = "spiffe://foreign.example/collector"
CONFIGURATION = f"""
[ca]
default_ca = own
[own]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 7
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[issuing]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
subjectAltName = URI:{SPIFFE_ID}
1.3.6.1.4.1.50316.802.1 = ASN1:UTF8String:Operator
"""
INVENTORY = f"""
organisations:
  - id: foreign
    anchors: [{{folder}}/root.pem]
    crl_files: [{{folder}}/crl.pem]
    crl_required: true
    namespaces: ["spiffe://foreign.example/*"]
grants:
  - id: foreign-view
    subjects: ["{SPIFFE_ID}"]
    scope: {{{{devices: [plant/ahu-1]}}}}
    actions: [view]
"""
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]


class ForeignAuthority:
    """A root, an authority below it and a client, by the `openssl` program alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "openssl.cnf").write_text(CONFIGURATION)
        root = ["-extensions", "root", "-days", "30", "-subj", "/CN=foreign root", "-keyout", "root.key"]
        self._openssl("req", "-x509", "-config", "openssl.cnf", *NEW_KEY, *root, "-out", "root.pem")
        self._certify("issuing", "root")
        self._certify("client", "issuing")
        self.publish()

    def _certify(self, name: str, above: str) -> None:
        subject = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"]
        self._openssl("req", "-new", "-config", "openssl.cnf", *NEW_KEY, *subject)
        signer = ["-CA", f"{above}.pem", "-CAkey", f"{above}.key", "-CAcreateserial", "-days", "10"]
        profile = ["-extfile", "openssl.cnf", "-extensions", name]
        self._openssl("x509", "-req", "-in", f"{name}.csr", *signer, *profile, "-out", f"{name}.pem")

    def publish(self, *revoked: str) -> None:
        lists = b""
        for name, serials in (("root", ()), ("issuing", revoked)):
            (self.folder / "index.txt").write_text("")
            (self.folder / "crlnumber").write_text("1000\n")
            signer = ["-config", "openssl.cnf", "-keyfile", f"{name}.key", "-cert", f"{name}.pem"]
            for certificate in serials:
                self._openssl("ca", *signer, "-revoke", certificate)
            self._openssl("ca", *signer, "-gencrl", "-out", f"{name}.crl")
            lists += (self.folder / f"{name}.crl").read_bytes()
        (self.folder / "crl.new").write_bytes(lists)
        (self.folder / "crl.new").replace(self.folder / "crl.pem")

    def client(self) -> Persona:
        chain = self.folder / "chain.pem"
        chain.write_bytes(b"".join((self.folder / f"{name}.pem").read_bytes() for name in ("client", "issuing")))
        return Persona("client", chain, self.folder / "client.key", Path())

    def _openssl(self, *words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr.decode()


def gets_in(development: Development, persona: Persona) -> bool:
    try:
        with development.modbus(persona) as caller:
            return caller.ask(READ)[0] == 3
    except OSError:
        return False


def test_settings_alone_let_it_in_and_its_list_cuts(start: Start, tmp_path: Path) -> None:
    foreign, development = ForeignAuthority(tmp_path), start()
    client = foreign.client()
    assert not gets_in(development, client)
    inventory = development.folder / "inventory" / "foreign.yaml"
    inventory.write_text(INVENTORY.format(folder=tmp_path))
    until(lambda: gets_in(development, client), what="the foreign authority was not believed")
    with development.modbus(client) as caller:
        assert caller.ask(READ)[0] == 3
        peer = f"127.0.0.1:{caller.local_port}"
        opened = development.eventually("session_opened", peer=peer)
        asked = [record["input"]["subject"] for record in development.records("decision")]
        assert {subject["modbus_role"] for subject in asked if subject["id"] == SPIFFE_ID} == {"Operator"}
        foreign.publish("client.pem")
        assert caller.closed_within(3) < 1.0
        closed = development.eventually("session_closed", session=opened["session"])
        assert closed["reason"] == "certificate_revoked"
    assert not gets_in(development, client)
