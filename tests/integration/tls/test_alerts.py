"""Every refusal reaches the peer as the alert that fits, each time."""

import asyncio
import shutil
import ssl

import pytest

from broker.errors import CertificateError, LedgerUnavailableError
from broker.listeners.tls import certificate_error_alert
from tests.integration.tls.stage import Client, Echo, alert_number, client_context, s_client, serving

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is missing")

FAULTS = [
    ("-tls1_2", None, 40, "certificate_missing"),
    ("-tls1_3", None, 116, "certificate_missing"),
    ("-tls1_2", "foreign", 48, "certificate_untrusted"),
    ("-tls1_3", "foreign", 48, "certificate_untrusted"),
    ("-tls1_2", "expired", 45, "certificate_expired"),
    ("-tls1_3", "expired", 45, "certificate_expired"),
    ("-tls1_2", "not_for_clients", 43, "certificate_not_for_clients"),
    ("-tls1_3", "not_for_clients", 43, "certificate_not_for_clients"),
]


@pytest.mark.parametrize(("version", "who", "alert", "code"), FAULTS)
def test_openssl_sees_the_right_alert_fifty_times_in_a_row(run, pki, version, who, alert, code):
    async def story():
        plain_loop = type(asyncio.get_running_loop()).__module__.startswith("asyncio")
        rounds = 5 if plain_loop and who != "not_for_clients" else 1
        async with serving(pki) as stage:
            files = getattr(pki, who) if who else None
            alerts = []
            for _ in range(rounds):
                outputs = await asyncio.gather(*(s_client(stage, pki, version, files=files) for _ in range(10)))
                alerts += map(alert_number, outputs)
            assert alerts == [alert] * rounds * 10
            assert stage.codes == [code] * rounds * 10
            assert not stage.consumers

    run(story())


@pytest.mark.parametrize(
    ("code", "alert"),
    [
        ("certificate_revoked", 44),
        ("certificate_expired", 45),
        ("certificate_untrusted", 48),
        ("crl_stale", 48),
        ("certificate_name_refused", 49),
        ("role_malformed", 42),
        ("anything_else", 49),
    ],
)
def test_a_refusal_after_a_tls_1_2_handshake_carries_the_exact_alert(run, pki, code, alert):
    def refuse(_connection):
        raise CertificateError(code, "no", "why")

    async def story():
        async with serving(pki, established=refuse) as stage:
            output = await s_client(stage, pki, "-tls1_2", files=pki.client)
            assert alert_number(output) == alert == certificate_error_alert(code)
            assert [refusal[1:] for refusal in stage.refusals] == [(code, "why")]

    run(story())


@pytest.mark.parametrize(
    ("code", "alert"), [("certificate_revoked", 42), ("certificate_untrusted", 48), ("crl_stale", 48)]
)
def test_a_refusal_by_examine_reaches_a_tls_1_3_client_as_a_fatal_alert(run, pki, code, alert):
    seen = []

    def examine(leaf, intermediates):
        seen.append((leaf, intermediates))
        raise CertificateError(code, "no", "why")

    async def story():
        async with serving(pki, examine=examine) as stage:
            output = await s_client(stage, pki, "-tls1_3", files=pki.client)
            assert alert_number(output) == alert
            assert [refusal[1:] for refusal in stage.refusals] == [(code, "why")]
            assert not stage.consumers

    run(story())
    assert seen == [(pki.leaf.der, (pki.sub.der,))]


def test_a_key_too_strong_for_the_forced_alert_is_refused_all_the_same(run, pki):
    def examine(_leaf, _intermediates):
        raise CertificateError("certificate_revoked", "no")

    async def story():
        async with serving(pki, examine=examine) as stage:
            await s_client(stage, pki, "-tls1_3", files=pki.strong)
            assert stage.codes == ["certificate_revoked"]
            assert not stage.consumers

    run(story())


def test_a_refusal_by_established_closes_a_tls_1_3_connection_in_order(run, pki):
    def refuse(_connection):
        raise LedgerUnavailableError("ledger_closed", "no")

    async def story():
        async with serving(pki, established=refuse) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client, ssl.TLSVersion.TLSv1_3))
            assert await client.read(1) == b""
            await client.close()
            assert stage.codes == ["ledger_closed"]

    run(story())


def test_a_consumer_that_is_not_given_means_access_denied(run, pki):
    async def story():
        async with serving(pki, established=lambda _connection: None) as stage:
            assert alert_number(await s_client(stage, pki, "-tls1_2", files=pki.client)) == 49

    run(story())


def test_without_a_certificate_an_optional_listener_lets_in_and_a_bad_one_is_refused(run, pki):
    async def story():
        async with serving(pki, client_certificate="optional") as stage:
            client = await Client.connect(stage, client_context(pki))
            assert await client.echo(b"hello") == b"hello"
            assert stage.consumers[0].connection.leaf is None
            await client.close()
            assert alert_number(await s_client(stage, pki, "-tls1_3", files=pki.foreign)) == 48

    run(story())


@pytest.mark.parametrize("options", [("-tls1_1",), ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256")])
def test_old_versions_and_cbc_suites_are_refused_with_an_alert(run, pki, options):
    async def story():
        async with serving(pki) as stage:
            extra = ("-cipher", "ALL:@SECLEVEL=0") if options == ("-tls1_1",) else ()
            output = await s_client(stage, pki, *options, *extra, files=pki.client)
            assert alert_number(output) == (70 if options == ("-tls1_1",) else 40)
            assert stage.codes == ["tls_version" if options == ("-tls1_1",) else "tls_suite"]

    run(story())


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"])
def test_the_suites_of_the_specification_are_spoken(run, pki, suite):
    async def story():
        async with serving(pki) as stage:
            options = ("-tls1_2", "-cipher", f"ECDHE-ECDSA-{suite}")
            output = await s_client(stage, pki, *options, files=pki.client, said=b"hello\n", until=b"hello")
            assert f"Cipher is ECDHE-ECDSA-{suite}" in output
            assert bytes(stage.consumers[0].data) == b"hello\n"

    run(story())


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_an_invalid_or_unwanted_server_name_is_unrecognized(run, pki, version):
    def select(name):
        if name == "unwanted.plant":
            raise CertificateError("server_name", "no")

    async def story():
        async with serving(pki, select_context=select) as stage:
            for name in ("b!ad", "-a.plant", "a..plant", "unwanted.plant"):
                output = await s_client(stage, pki, version, "-servername", name, files=pki.client)
                assert alert_number(output) == 112, name
            assert stage.codes == ["server_name"] * 4

    run(story())


def test_another_consumer_type_is_not_reached_by_a_failed_handshake(run, pki):
    class Never(Echo):
        def __init__(self, connection):
            raise AssertionError

    async def story():
        async with serving(pki, consumer=Never) as stage:
            await s_client(stage, pki, "-tls1_3")
            assert stage.codes == ["certificate_missing"]

    run(story())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_name_outside_ascii_is_refused(run, pki):
    async def story():
        async with serving(pki) as stage:
            output = await s_client(stage, pki, "-tls1_3", "-servername", b"\xff\xfe", files=pki.client)
            assert alert_number(output) in (80, 112)
            assert len(stage.codes) == 1

    run(story())
