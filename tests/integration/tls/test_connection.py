"""What a consumer is told and what it may do, on a connection that is in order."""

import asyncio
import contextlib
import ssl

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from broker.errors import ConfigError
from broker.listeners.tls import server_context
from broker.listeners.tls_connection import TURN_OCTETS
from tests.integration.tls.stage import Client, Echo, client_context, s_client, serving

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_knows_who_presented_what(run, pki, version):
    async def story():
        async with serving(pki) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client, version), "localhost")
            assert await client.echo(b"hello") == b"hello"
            connection = stage.consumers[0].connection
            assert connection.leaf == pki.leaf.der
            assert connection.intermediates == (pki.sub.der,)
            assert connection.sni == "localhost"
            assert connection.version == version.name.replace("_", ".")
            assert connection.peer == f"127.0.0.1:{client.writer.get_extra_info('sockname')[1]}"
            await client.close()
            assert await stage.consumers[0].gone == "peer_closed"

    run(story())


@pytest.mark.parametrize("version", VERSIONS)
def test_large_data_arrives_complete_both_ways(run, pki, version):
    data = bytes(range(256)) * 12_000

    async def story():
        async with serving(pki, write_limit=1 << 24) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client, version))
            sending = asyncio.create_task(client.write(data))
            assert await client.read(len(data)) == data
            await sending
            await client.close()

    run(story())


def test_writes_of_one_turn_leave_as_one_record(run, pki):
    class Many(Echo):
        def received(self, data):
            for octet in bytes(data):
                self.connection.write(bytes([octet]))

    class Later(Echo):
        def received(self, data):
            asyncio.get_running_loop().call_soon(self.answer, bytes(data))

        def answer(self, data):
            for octet in data:
                self.connection.write(bytes([octet]))

    async def story(kind):
        async with serving(pki, consumer=kind) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await client.write(b"0123456789")
            assert await client.drive(client.tls.read, 100) == b"0123456789"
            await client.close()

    run(story(Many))
    run(story(Later))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ["close_notify", "eof"])
def test_a_peer_that_has_ended_is_still_answered(run, pki, version, end):
    class Slow(Echo):
        def ended(self):
            self.events.append("ended")
            asyncio.get_running_loop().call_later(0.05, self.answer)

        def answer(self):
            self.connection.write(b"late answer")
            self.connection.close()

    async def story():
        async with serving(pki, consumer=Slow) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client, version))
            await client.write(b"request")
            if end == "eof":
                client.writer.write_eof()
            else:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.tls.unwrap()
                await client.send_pending()
            assert await client.read(18) == b"requestlate answer"
            await client.close()
            assert await stage.consumers[0].gone == "peer_closed"
            assert stage.consumers[0].events == ["ended"]

    run(story())


def test_close_sends_what_is_pending_then_close_notify_and_waits_for_the_peer(run, pki):
    class Last(Echo):
        def received(self, data):
            self.connection.write(b"x" * 300_000)
            self.connection.close()
            self.connection.write(b"never")

    async def story():
        async with serving(pki, consumer=Last) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await client.write(b"go")
            await client.write(b"more that nobody reads")
            assert await client.read(400_000) == b"x" * 300_000
            assert not stage.consumers[0].gone.done()
            await client.close()
            assert await stage.consumers[0].gone == "closed"

    run(story())


def test_close_does_not_wait_for_ever(run, pki):
    async def story():
        async with serving(pki, linger_seconds=0.2) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await client.echo(b"hello")
            stage.consumers[0].connection.close()
            assert await asyncio.wait_for(stage.consumers[0].gone, 2) == "closed"
            await client.close()

    run(story())


def test_nothing_is_received_after_close(run, pki):
    async def story():
        async with serving(pki, linger_seconds=0.3) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await client.echo(b"hello")
            stage.consumers[0].connection.close()
            await client.write(b"too late")
            await stage.consumers[0].gone
            assert bytes(stage.consumers[0].data) == b"hello"
            await client.close()

    run(story())


def test_a_paused_consumer_receives_nothing_until_it_resumes(run, pki):
    class Pausing(Echo):
        def received(self, data):
            super().received(data)
            self.connection.pause_reading()

    async def story():
        async with serving(pki, consumer=Pausing) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            client.tls.write(b"first")
            client.tls.write(b"second")
            await client.send_pending()
            assert await client.read(5) == b"first"
            await client.write(b"third")
            consumer = stage.consumers[0]
            for expected in (b"firstsecond", b"firstsecondthird"):
                assert bytes(consumer.data) + expected[len(consumer.data) :] == expected != bytes(consumer.data)
                consumer.connection.resume_reading()
                await stage.until(lambda expected=expected: bytes(consumer.data) == expected)
            await client.close()
            consumer.connection.resume_reading()

    run(story())


@pytest.mark.parametrize("octets", [8, 16_384, 65_536], ids=["small records", "one record", "large records"])
def test_whoever_sends_much_at_once_lets_the_others_of_the_loop_come_in_between(run, pki, octets):
    records = [count.to_bytes(octets, "big") for count in range(max(1, 4800 // octets))]
    turns = []

    class Counting(Echo):
        def received(self, data):
            if not turns or turns[-1] is not None:
                turns.append(None)
                asyncio.get_running_loop().call_soon(self.turned)
            super().received(data)

        def turned(self):
            turns[-1] = len(self.data)

    async def story():
        async with serving(pki, consumer=Counting) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            for record in records:
                client.tls.write(record)
            await client.send_pending()
            client.writer.write_eof()
            assert await client.read(octets * len(records)) == b"".join(records)
            consumer = await stage.consumer()
            await stage.until(lambda: "ended" in consumer.events)
            assert len(turns) > 3
            assert turns[0] <= TURN_OCTETS
            await client.close()

    run(story())


@pytest.mark.parametrize("reason", ["aborted", "window"])
def test_abort_cuts_at_once(run, pki, reason):
    async def story():
        async with serving(pki) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await client.echo(b"hello")
            stage.consumers[0].connection.abort(reason)
            assert await asyncio.wait_for(stage.consumers[0].gone, 1) == reason
            assert stage.listener.connections == 0
            assert stage.consumers[0].connection.write_buffer_size == 0
            stage.consumers[0].connection.write(b"nothing happens")
            stage.consumers[0].connection.close()
            await client.close()

    run(story())


def test_a_server_name_can_choose_another_certificate(run, pki):
    other = server_context(
        pki.server.certificate, pki.server.key, client_anchors_pem=[pki.foreign_root.pem], client_certificate="required"
    )

    async def story():
        async with serving(pki, select_context=lambda name: other if name == "localhost" else None) as stage:
            client = await Client.connect(stage, client_context(pki, pki.foreign))
            assert await client.echo(b"trusted here") == b"trusted here"
            await client.close()
            context = client_context(pki, pki.foreign, ssl.TLSVersion.TLSv1_2)
            context.check_hostname = False
            with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                await Client.connect(stage, context, "other.plant")

    run(story())


def test_a_tls_1_2_session_is_not_resumed_by_id_or_ticket(run, pki):
    async def story():
        async with serving(pki) as stage:
            context = client_context(pki, pki.client, ssl.TLSVersion.TLSv1_2)
            first = await Client.connect(stage, context)
            assert not first.tls.session.has_ticket
            second = await Client.connect(stage, context, session=first.tls.session)
            assert await second.echo(b"hello") == b"hello"
            assert not second.tls.session_reused
            assert stage.listener.context.session_stats()["number"] == 0
            await first.close()
            await second.close()

    run(story())


def test_a_tls_1_3_server_sends_no_ticket(run, pki):
    async def story():
        async with serving(pki) as stage:
            output = await s_client(stage, pki, "-tls1_3", files=pki.client, said=b"hello\n", until=b"hello")
            assert "Post-Handshake New Session Ticket" not in output

    run(story())


def test_new_anchors_hold_from_the_next_handshake_on(run, pki):
    async def story():
        async with serving(pki) as stage:
            old = await Client.connect(stage, client_context(pki, pki.client))
            stage.listener.context = server_context(
                pki.server.certificate,
                pki.server.key,
                client_anchors_pem=[pki.foreign_root.pem],
                client_certificate="required",
            )
            new = await Client.connect(stage, client_context(pki, pki.foreign))
            assert await old.echo(b"goes on") == b"goes on"
            assert await new.echo(b"hello") == b"hello"
            await old.close()
            await new.close()

    run(story())


def test_a_fault_in_a_consumer_ends_its_connection_only(run, pki):
    class Faulty(Echo):
        def received(self, data):
            if bytes(data) == b"bug":
                raise ZeroDivisionError
            super().received(data)

    async def story():
        async with serving(pki, consumer=Faulty) as stage:
            one = await Client.connect(stage, client_context(pki, pki.client))
            two = await Client.connect(stage, client_context(pki, pki.client))
            await one.write(b"bug")
            assert await stage.consumers[0].gone == "fault"
            assert await two.echo(b"hello") == b"hello"
            await one.close()
            await two.close()

    run(story(), allow_reports=True)


def test_a_stopped_listener_takes_nobody_new_and_keeps_the_others(run, pki):
    async def story():
        async with serving(pki) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await stage.listener.stop()
            with pytest.raises(OSError):
                await Client.connect(stage, client_context(pki, pki.client))
            assert await client.echo(b"goes on") == b"goes on"
            stage.listener.close_all()
            assert await client.read(1) == b""
            await client.close()
            assert await stage.consumers[0].gone == "closed"

    run(story())


def test_files_that_cannot_be_used_are_a_settings_error(pki, tmp_path):
    encrypted = tmp_path / "encrypted.key"
    key = BestAvailableEncryption(b"secret")
    encrypted.write_bytes(pki.leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, key))
    good = (pki.server.certificate, pki.server.key)
    for certificate, key, anchor in (
        (tmp_path / "missing", good[1], pki.root.pem),
        (good[0], pki.client.key, pki.root.pem),
        (good[0], encrypted, pki.root.pem),
        (*good, "no certificate"),
    ):
        with pytest.raises(ConfigError) as caught:
            server_context(certificate, key, client_anchors_pem=[anchor], client_certificate="required")
        assert caught.value.code == "tls_files"
