"""A listener with a recording consumer, and clients: OpenSSL's own and one made of buffers that can misbehave."""

import asyncio
import contextlib
import re
import ssl

from broker.listeners.tls import TlsListener, server_context


class Echo:
    """Sends back what it receives; remembers everything."""

    def __init__(self, connection):
        self.connection = connection
        self.data = bytearray()
        self.events = []
        self.reason = None
        self.gone = asyncio.get_running_loop().create_future()

    def received(self, data):
        self.data += data
        self.connection.write(bytes(data))

    def ended(self):
        self.events.append("ended")
        self.connection.close()

    def writable(self):
        self.events.append("writable")

    def congested(self):
        self.events.append("congested")

    def lost(self, reason):
        assert self.reason is None
        self.reason = reason
        self.gone.set_result(reason)


class Stage:
    def __init__(self, listener, port, consumers, refusals, arrival):
        self.listener = listener
        self.port = port
        self.consumers = consumers
        self.refusals = refusals
        self.arrival = arrival

    async def until(self, condition, seconds=10.0):
        """Wait for a condition that follows a refusal, an arrival or the passing of time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            left = deadline - asyncio.get_running_loop().time()
            assert left > 0, (condition, self.refusals, [consumer.reason for consumer in self.consumers])
            self.arrival.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.arrival.wait(), min(left, 0.05))

    async def consumer(self, place=0):
        """The consumer made for the connection at this place; in TLS 1.3 the client is ready before the server."""
        await self.until(lambda: len(self.consumers) > place)
        return self.consumers[place]

    @property
    def codes(self):
        return [code for _peer, code, _detail in self.refusals]


@contextlib.asynccontextmanager
async def serving(pki, *, consumer=Echo, established=None, client_certificate="required", **options):
    consumers, refusals, arrival = [], [], asyncio.Event()

    def arrived(connection):
        made = (established or consumer)(connection)
        consumers.append(made)
        arrival.set()
        return made

    def refused(*refusal):
        refusals.append(refusal)
        arrival.set()

    context = server_context(
        pki.server.certificate,
        pki.server.key,
        client_anchors_pem=[pki.root.pem],
        client_certificate=client_certificate,
    )
    listener = TlsListener(context, established=arrived, refused=refused, **options)
    _host, port = await listener.start("127.0.0.1", 0)
    stage = Stage(listener, port, consumers, refusals, arrival)
    try:
        yield stage
    finally:
        await listener.stop()
        listener.close_all()
        await stage.until(lambda: listener.connections == 0)


def client_context(pki, files=None, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki.root_file)
    if files:
        context.load_cert_chain(files.certificate, files.key)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Client:
    """TLS on memory buffers over plain streams, so that every octet can be held back or forged."""

    def __init__(self, reader, writer, context, name="localhost", session=None):
        self.reader, self.writer = reader, writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)

    @classmethod
    async def connect(cls, stage, context, name="localhost", session=None):
        client = cls(*await asyncio.open_connection("127.0.0.1", stage.port), context, name, session)
        await client.drive(client.tls.do_handshake)
        return client

    async def send_pending(self):
        if self.outgoing.pending:
            self.writer.write(self.outgoing.read())
        await self.writer.drain()

    async def drive(self, step, *arguments):
        """Repeat a step of TLS, moving octets, until it has a result."""
        while True:
            try:
                result = step(*arguments)
            except ssl.SSLWantReadError:
                await self.send_pending()
                arrived = await self.reader.read(65536)
                if arrived:
                    self.incoming.write(arrived)
                else:
                    self.incoming.write_eof()
                continue
            await self.send_pending()
            return result

    async def write(self, data):
        self.tls.write(data)
        await self.send_pending()

    async def read(self, count):
        data = b""
        while len(data) < count:
            part = await self.drive(self.tls.read, count - len(data))
            if not part:
                break
            data += part
        return data

    async def echo(self, data):
        await self.write(data)
        return await self.read(len(data))

    async def close(self):
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def s_client(stage, pki, *options, files=None, said=b"", until=None):
    """Run `openssl s_client` until it ends by itself, or `until` is in its output; its output."""
    credentials = ["-cert", files.certificate, "-cert_chain", pki.sub_file, "-key", files.key] if files else []
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{stage.port}", "-CAfile", pki.root_file),
        *map(str, credentials),
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    if said:
        process.stdin.write(said)
    output = b""
    while part := await process.stdout.read(65536):
        output += part
        if until and until in output:
            process.stdin.close()
    await process.wait()
    return output.decode(errors="replace")


def alert_number(output):
    """The alert that OpenSSL's client received, or None."""
    found = re.search(r"SSL alert number (\d+)", output)
    return int(found[1]) if found else None
