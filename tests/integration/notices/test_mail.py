"""Notices leave as mail, through a real SMTP server that speaks TLS; nothing leaves without it."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broker.adapters.notice_email import EmailChannel, MailServer, compose_mail
from broker.adapters.notice_outbox import NotDeliveredError, Outbox, Patience
from broker.model.notice import Notice, Severity, Wanted
from broker.settings.notifying import EmailSection
from tests.integration.notices.authority import authority
from tests.integration.notices.receiver import until

ORIGIN = "broker-1.plant.example/ledger"
SENDER, DUTY = "broker@plant.example", "duty@plant.example"
USER, PASSWORD = "broker", "correct horse"


def notice(number: int = 1, severity: Severity = Severity.ALARM, **more: Any) -> Notice:
    details = more.pop("details", (("lock.message", "laptop stolen, ticket 4711 — dringend"),))
    return Notice(
        f"ntc-{number}", "lock_set", severity, time.time(), ORIGIN, "A lock took effect.", details, number, **more
    )


class Mailbox:
    """Takes mails; `refuse` is what it answers to what was handed in instead."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.under_tls: list[bool] = []
        self.refuse = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("gone"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuse:
            return self.refuse
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.under_tls.append(session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None)
        return "250 OK"


def check_login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


@asynccontextmanager
async def mail_server(context: ssl.SSLContext, tls: str, *, login: bool = False) -> AsyncIterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    options: dict[str, Any] = {"authenticator": check_login, "auth_required": True} if login else {}
    if tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    else:
        options |= {"auth_require_tls": False}
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(mailbox, hostname="mail", loop=asyncio.get_running_loop(), **options),
        "127.0.0.1",
        0,
        ssl=context if tls == "implicit" else None,
    )
    try:
        yield mailbox, server.sockets[0].getsockname()[1]
    finally:
        server.close()


def channel(
    port: int, ca_file: Path, tls: Any = "starttls", to: tuple[str, ...] = (DUTY,), **more: str
) -> EmailChannel:
    return EmailChannel("duty", MailServer("localhost", port, tls, str(ca_file), **more), SENDER, to)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_mail_arrives_under_tls_with_a_login(tmp_path: Path, tls: str) -> None:
    async def scene() -> None:
        ca_file, context = authority(tmp_path)
        password = tmp_path / "password"
        password.write_text(PASSWORD + "\n")
        async with mail_server(context, tls, login=True) as (mailbox, port):
            sending = channel(port, ca_file, tls, user=USER, password_file=str(password))
            said = await sending.send([notice()], 2)
            assert said == "the server took it for 1 of 1"
            mail = mailbox.mails[0]
            assert mailbox.under_tls == [True]
            assert mail["Subject"] == f"[alarm] {ORIGIN}: lock_set"
            assert (mail["From"], mail["To"], mail["Auto-Submitted"]) == (SENDER, DUTY, "auto-generated")
            text = mail.get_content()
            assert "lock.message: laptop stolen, ticket 4711 — dringend" in text
            assert "2 notices were lost" in text
            assert f"record 1 of {ORIGIN}" in text

    asyncio.run(scene())


def test_a_wrong_password_is_said_without_showing_it(tmp_path: Path) -> None:
    async def scene() -> None:
        ca_file, context = authority(tmp_path)
        (tmp_path / "password").write_text("wrong password")
        async with mail_server(context, "starttls", login=True) as (mailbox, port):
            sending = channel(port, ca_file, user=USER, password_file=str(tmp_path / "password"))
            with pytest.raises(NotDeliveredError, match="SMTPAuthenticationError 535") as caught:
                await sending.send([notice()], 0)
            assert not caught.value.final
            assert "wrong password" not in str(caught.value)
            assert not mailbox.mails

    asyncio.run(scene())


def test_a_server_without_tls_gets_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        ca_file, context = authority(tmp_path)
        async with mail_server(context, "none") as (mailbox, port):
            with pytest.raises(NotDeliveredError, match="STARTTLS"):
                await channel(port, ca_file).send([notice()], 0)
            assert not mailbox.mails

    asyncio.run(scene())


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_that_cannot_prove_its_name_gets_nothing(tmp_path: Path, tls: str) -> None:
    async def scene() -> None:
        ca_file, context = authority(tmp_path, "another.example")
        async with mail_server(context, tls) as (mailbox, port):
            with pytest.raises(NotDeliveredError, match="CERTIFICATE_VERIFY_FAILED"):
                await channel(port, ca_file, tls).send([notice()], 0)
            assert not mailbox.mails

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("refuse", "to", "final"),
    [("554 no", (DUTY,), True), ("451 later", (DUTY,), False), ("", ("gone@plant.example",), True)],
)
def test_what_a_server_refuses_for_good_is_not_tried_again(
    tmp_path: Path, refuse: str, to: tuple[str, ...], final: bool
) -> None:
    async def scene() -> None:
        ca_file, context = authority(tmp_path)
        async with mail_server(context, "starttls") as (mailbox, port):
            mailbox.refuse = refuse
            with pytest.raises(NotDeliveredError) as caught:
                await channel(port, ca_file, to=to).send([notice()], 0)
            assert caught.value.final is final

    asyncio.run(scene())


def test_one_recipient_that_is_gone_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    async def scene() -> None:
        ca_file, context = authority(tmp_path)
        async with mail_server(context, "starttls") as (mailbox, port):
            said = await channel(port, ca_file, to=("gone@plant.example", DUTY)).send([notice()], 0)
            assert said == "the server took it for 1 of 2"
            assert len(mailbox.mails) == 1

    asyncio.run(scene())


def test_a_storm_becomes_a_few_mails(tmp_path: Path) -> None:
    async def scene() -> None:
        ca_file, context = authority(tmp_path)
        async with mail_server(context, "starttls") as (mailbox, port):
            sending = channel(port, ca_file)
            sending.pause_seconds = 0.05
            outbox = Outbox(sending, Wanted(), time.time, Patience())
            for number in range(120):
                outbox.offer(notice(number))
            task = asyncio.create_task(outbox.run())
            await until(lambda: outbox.state.sent == 120)
            assert [mail.get_content().count("A lock took effect.") for mail in mailbox.mails] == [50, 50, 20]
            assert mailbox.mails[0]["Subject"].endswith("lock_set and 49 more")
            task.cancel()

    asyncio.run(scene())


def test_a_server_that_hangs_holds_up_nobody_and_is_asked_once_at_a_time(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async def scene() -> None:
        ca_file, _ = authority(tmp_path)
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        sending = channel(server.sockets[0].getsockname()[1], ca_file)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await sending.send([notice()], 0)
        with pytest.raises(NotDeliveredError, match="has not come back"):
            await sending.send([notice()], 0)
        server.close()

    asyncio.run(scene())


@given(st.text(max_size=200), st.text(max_size=200))
def test_nothing_in_a_notice_makes_a_header(kind: str, text: str) -> None:
    from broker.ledger.notices import visible

    made = Notice("ntc-1", "lock_set", Severity.ALARM, 1.0, ORIGIN, "x", ((visible(kind), visible(text)),), 1)
    octets = compose_mail([made], 0, SENDER, [DUTY]).as_bytes()
    head, _, _ = octets.partition(b"\r\n\r\n")
    names = {line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")}
    assert names <= {
        b"Subject",
        b"From",
        b"To",
        b"Date",
        b"Message-ID",
        b"Auto-Submitted",
        b"Content-Type",
        b"Content-Transfer-Encoding",
        b"MIME-Version",
    }


def section(**more: Any) -> EmailSection:
    given = {"kind": "email", "name": "duty", "host": "mail.plant.example", "sender": SENDER, "recipients": [DUTY]}
    return EmailSection.model_validate(given | more)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tls": "none"},
        {"sender": "broker@plant.example\nBcc: x@evil.example"},
        {"recipients": ["Duty <duty@plant.example>"]},
        {"recipients": []},
        {"user": "broker"},
        {"kinds": ["lock_sat"]},
    ],
)
def test_settings_that_would_send_unprotected_or_to_nobody_are_refused(wrong: dict[str, Any]) -> None:
    assert section()
    with pytest.raises(ValidationError):
        section(**wrong)
