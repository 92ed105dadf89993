"""The API as it is served: our own TLS layer, aiohttp's HTTP, a broker in memory behind it."""

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass, field

import aiohttp

from broker.adapters.development_ca import create_authority, issue_client, issue_server
from broker.api.application import Api
from broker.api.call import Limits
from broker.identity.codes import binding_error, certificate_error, token_error
from broker.listeners.https import HttpsListener
from broker.listeners.tls import TlsListener, server_context
from broker.listeners.tls_transport import protocol_established
from broker.listeners.tunnel import TunnelListener
from broker.model.trust import Requirement
from tests.unit.api.gate_double import ANA, BO, GateDouble

TOKENS = {"token-ana": ANA, "token-ana-fresh": ANA, "token-bo": BO}


class Pki:
    """A server, and two clients of two subjects."""

    def __init__(self, folder):
        now = time.time()
        self.authority = create_authority(folder / "ca", "acme", now)
        self.server = issue_server(self.authority, ["api.plant.example"], folder / "server", now)
        self.ana = issue_client(self.authority, ANA.id, folder / "ana", now)
        self.bo = issue_client(self.authority, BO.id, folder / "bo", now)

    def client_context(self, credential):
        context = ssl.create_default_context(cafile=str(self.authority.anchor))
        if credential is not None:
            context.load_cert_chain(credential.certificate, credential.key)
        return context


class AuthenticatorDouble:
    """Knows two certificates and three tokens."""

    def __init__(self, pki):
        self.certificates = {_leaf(pki.ana): ANA, _leaf(pki.bo): BO}
        self.presented = []

    def certificate_subject(self, leaf, intermediates):
        return self.certificates[leaf]

    async def authenticate(self, requirement, leaf, intermediates, raw_token):
        self.presented.append((leaf is not None, raw_token))
        if leaf is None:
            raise certificate_error("certificate_missing")
        if raw_token is None:
            raise token_error("token_missing")
        if raw_token not in TOKENS:
            raise token_error("token_signature_invalid")
        if self.certificates[leaf].id != TOKENS[raw_token].id:
            raise binding_error("subjects_differ")
        return TOKENS[raw_token]


class LogoutsDouble:
    """Takes every logout, or fails as it is told to."""

    def __init__(self):
        self.taken = []
        self.fails = None

    async def take(self, raw_token):
        if self.fails is not None:
            raise self.fails
        self.taken.append(raw_token)


@dataclass
class Stage:
    port: int
    pki: Pki
    gate: GateDouble
    api: Api
    https: HttpsListener
    tunnels: TunnelListener
    authenticator: AuthenticatorDouble
    logouts: LogoutsDouble
    refusals: list = field(default_factory=list)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def client(self, credential="ana", token="token-ana", **options):
        context = self.pki.client_context(getattr(self.pki, credential) if credential else None)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession(
            self.url, connector=aiohttp.TCPConnector(ssl=context, limit=0), headers=headers, **options
        ) as session:
            yield session

    async def raw(self, octets, *, credential="ana", seconds=5.0, silence=0.4):
        """Everything the server says to these octets until it closes or, having spoken, falls silent for a moment."""
        context = self.pki.client_context(getattr(self.pki, credential))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname="127.0.0.1")
        writer.write(octets)
        said = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while chunk := await asyncio.wait_for(reader.read(65_536), silence if said else seconds):
                said += chunk
        writer.close()
        with contextlib.suppress(Exception):
            await writer.wait_closed()
        return said


@contextlib.asynccontextmanager
async def serving(pki, *, limits=None, origins=frozenset(), idle_seconds=600.0):
    gate, refusals = GateDouble(), []
    authenticator = AuthenticatorDouble(pki)

    async def prove(connection, token):
        return await authenticator.authenticate(Requirement.BOTH, connection.leaf, connection.intermediates, token)

    def refused(*refusal):
        refusals.append(refusal)

    tunnels = TunnelListener(gate, prove, refused)
    logouts = LogoutsDouble()
    api = Api(
        gate, authenticator, tunnels, logouts, identity_refused=refused, limits=limits or Limits(), origins=origins
    )
    https = HttpsListener(api.handle, api.refuse, gate.leave)
    context = server_context(
        pki.server.certificate,
        pki.server.key,
        client_anchors_pem=[pki.authority.anchor.read_text()],
        client_certificate="optional",
    )
    established = protocol_established(https.protocol)
    listener = TlsListener(context, established=established, refused=refused, idle_seconds=idle_seconds)
    _, port = await listener.start("127.0.0.1", 0)
    try:
        yield Stage(port, pki, gate, api, https, tunnels, authenticator, logouts, refusals)
    finally:
        await listener.stop()
        await https.close(2.0)
        listener.close_all()


def _leaf(credential):
    pem = credential.certificate.read_text()
    return ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 26])
