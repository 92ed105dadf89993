"""A hub whose streams are recorded, and nodes that are driven message by message and can misbehave."""

import asyncio
import contextlib
import os
import ssl
from functools import partial

from broker.engine.rate import Rate
from broker.errors import CertificateError
from broker.listeners.bacnet_sc import HUB_PROTOCOL, Floor, established
from broker.listeners.bacnet_shares import DATAGRAMS_PER_SECOND
from broker.listeners.tls import TlsListener, server_context
from broker.listeners.websocket import Opcode
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import EndReason
from broker.wire.bacnet.sc import decode_sc, encode_npdu_message, encode_sc
from broker.wire.bacnet.sc_message import Function, ScMessage
from broker.wire.bacnet.sc_payloads import Connect, decode_connect, encode_connect
from broker.wire.bacnet.sc_spoke import Hub
from tests.integration.tls.stage import client_context

HUB = Hub(bytes.fromhex("020000000001"), b"h" * 16, connect_seconds=5, heartbeat_seconds=60, disconnect_seconds=5)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class RecordedStream:
    """Remembers what arrives; answers every NPDU with itself when told to."""

    def __init__(self, stage, subject, site, peer, write, close):
        self.stage, self.subject, self.site, self.peer = stage, subject, site, peer
        self.write, self.close = write, close
        self.npdus = []
        self.ended = None
        self.sessions = ()
        self.rate = Rate(DATAGRAMS_PER_SECOND)

    def start(self, opened):
        opened(self.stage.denied)

    def received(self, mac, npdu):
        self.npdus.append((mac, npdu))
        if self.stage.echo:
            self.write(mac, npdu)
        self.stage.arrival.set()

    def lost(self, reason=EndReason.PEER_CLOSED, detail=""):
        self.ended = self.ended or reason
        self.stage.arrival.set()


class FrameRefusals:
    def __init__(self, stage):
        self.stage = stage

    def stream(self, session, code):
        self.stage.frames.append(code)
        self.stage.arrival.set()

    def pdu(self, session, device, code, octets, *, secret=False, service=""):
        if not secret:
            self.stage.digested.append(octets)
        self.stream(session, code)


class Authenticator:
    """Whoever has a certificate of our authority is called by its common name."""

    def __init__(self):
        self.refusing = ""

    def certificate_subject(self, leaf, intermediates):
        if self.refusing:
            raise CertificateError(self.refusing, "no")
        from cryptography import x509

        name = x509.load_der_x509_certificate(leaf).subject.rfc4514_string().removeprefix("CN=")
        return Subject(f"{name}@plant.example", SubjectKind.PERSON, "plant")


class HubStage:
    def __init__(self):
        self.streams, self.frames, self.refused, self.denied, self.echo = [], [], [], None, False
        self.digested = []
        self.arrival = asyncio.Event()
        self.authenticator = Authenticator()
        self.port = 0

    def open_stream(self, *arguments):
        self.streams.append(RecordedStream(self, *arguments))
        self.arrival.set()
        return self.streams[-1]

    def count(self, peer, code, detail=""):
        self.refused.append(code)
        self.arrival.set()

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                self.arrival.clear()
                await self.arrival.wait()


@contextlib.asynccontextmanager
async def serving_hub(pki, *, hub=HUB, upgrade_seconds=10.0, **options):
    stage = HubStage()
    floor = Floor(
        stage.authenticator,
        stage.open_stream,
        FrameRefusals(stage),
        stage.count,
        lambda name: name or "plant",
        hub,
        upgrade_seconds,
    )
    stage.floor = floor
    context = server_context(
        pki.server.certificate,
        pki.server.key,
        client_anchors_pem=[pki.root.pem],
        client_certificate="required",
        oldest=ssl.TLSVersion.TLSv1_3,
    )
    listener = TlsListener(context, established=partial(established, floor), refused=stage.count, **options)
    _, stage.port = await listener.start("127.0.0.1", 0)
    try:
        yield stage
    finally:
        await listener.stop()
        listener.close_all()
        async with asyncio.timeout(20):
            while listener.connections:
                await asyncio.sleep(0.01)
        assert not floor.callers
        assert not len(floor.spokes)


def request(protocol=HUB_PROTOCOL, **changes):
    headers = {
        "Host": "hub",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Protocol": protocol,
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("GET /hub HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()


def frame(payload, opcode=Opcode.BINARY, final=True):
    mask = os.urandom(4)
    head = bytes(((0x80 if final else 0) | opcode,))
    length = len(payload)
    size = bytes((0x80 | length,)) if length < 126 else bytes((0x80 | 126,)) + length.to_bytes(2, "big")
    return head + size + mask + bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))


class Node:
    """One BACnet/SC node by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, stage, context, name="localhost"):
        return cls(*await asyncio.open_connection("127.0.0.1", stage.port, ssl=context, server_hostname=name))

    @classmethod
    async def upgraded(cls, stage, context, protocol=HUB_PROTOCOL, name="localhost"):
        node = await cls.open(stage, context, name)
        node.writer.write(request(protocol))
        answer = await node.reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer, answer
        assert f"Sec-WebSocket-Protocol: {protocol}\r\n".encode() in answer
        return node

    @classmethod
    async def connected(cls, stage, context, vmac, uuid, name="localhost", protocol=HUB_PROTOCOL):
        node = await cls.upgraded(stage, context, protocol, name)
        accept = await node.connect(vmac, uuid)
        assert accept.function == Function.CONNECT_ACCEPT, accept
        assert decode_connect(accept.payload).vmac == HUB.vmac
        return node

    async def connect(self, vmac, uuid):
        self.send(Function.CONNECT_REQUEST, encode_connect(Connect(vmac, uuid, 1600, 1497)))
        return await self.message()

    def send(self, function, payload=b"", identifier=5, **fields):
        self.writer.write(frame(encode_sc(ScMessage(function, identifier, payload, **fields))))

    def send_npdu(self, npdu, **fields):
        self.writer.write(frame(encode_npdu_message(6, npdu, **fields)))

    async def frame(self):
        async with asyncio.timeout(20):
            first, second = await self.reader.readexactly(2)
            length = second if second < 126 else int.from_bytes(await self.reader.readexactly(2), "big")
            return Opcode(first & 0x0F), await self.reader.readexactly(length)

    async def message(self):
        opcode, payload = await self.frame()
        assert opcode is Opcode.BINARY, (opcode, payload)
        return decode_sc(payload)

    async def closed(self):
        """The close frame's code and reason, and then the end."""
        while (got := await self.frame())[0] is not Opcode.CLOSE:
            pass
        assert await self.end() == b""
        return int.from_bytes(got[1][:2], "big"), got[1][2:].decode()

    async def end(self):
        async with asyncio.timeout(20):
            return await self.reader.read()

    async def leave(self):
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()


def ana(pki):
    return client_context(pki, pki.client)


def bea(pki):
    return client_context(pki, pki.strong)
