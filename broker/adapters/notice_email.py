"""Notices as mails, through the SMTP server that the settings name, under TLS."""

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

from broker.adapters.notice_outbox import NotDeliveredError
from broker.adapters.own_thread import OwnThread
from broker.errors import ConfigError
from broker.ledger.record_forms import stamp
from broker.model.notice import Notice

# Of one socket operation; the outbox limits the attempt.
SOCKET_SECONDS = 10.0
MOST_IN_ONE = 50
PAUSE_SECONDS = 10.0
# RFC 5321, 4.2.1: the first digit says whether it is for good.
_PERMANENT = range(500, 600)
_FAULTS = (OSError, smtplib.SMTPException, ValueError)


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed in. `tls`: `implicit` (RFC 8314), `starttls`, or `none` on this machine only."""

    host: str
    port: int
    tls: Literal["implicit", "starttls", "none"] = "starttls"
    ca_file: str = ""
    user: str = ""
    password_file: str = ""


class EmailChannel:
    """One mail for what waits, at most every ten seconds, so that a storm becomes a list and not a flood of mails."""

    most = MOST_IN_ONE
    pause_seconds = PAUSE_SECONDS

    def __init__(self, name: str, server: MailServer, sender: str, recipients: Sequence[str]) -> None:
        """Raises ConfigError for files that cannot be used."""
        self.name = name
        self.place = f"mail through {server.host}:{server.port}"
        self._server = server
        self._sender = sender
        self._recipients = tuple(recipients)
        self._tls = _context(server.ca_file) if server.tls != "none" else None
        self._thread = OwnThread("mail")

    async def send(self, notices: Sequence[Notice], lost: int) -> str:
        """Delivered if the server took it for at least one recipient. Raises NotDeliveredError."""
        mail = compose_mail(notices, lost, self._sender, self._recipients)
        try:
            refused = await self._thread.run(lambda: self._hand_in(mail))
        except _FAULTS as error:
            raise NotDeliveredError(_told(error), final=_for_good(error)) from None
        told = f"the server took it for {len(self._recipients) - refused} of {len(self._recipients)}"
        return told

    async def close(self) -> None:
        """Nothing is kept open."""

    def _hand_in(self, mail: EmailMessage) -> int:
        """How many recipients the server refused."""
        smtp = self._connect()
        try:
            if self._server.user:
                password = Path(self._server.password_file).read_text(encoding="utf-8").strip()
                smtp.login(self._server.user, password)
            return len(smtp.send_message(mail, self._sender, self._recipients))
        finally:
            with suppress(*_FAULTS):
                smtp.quit()

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        if server.tls == "implicit":
            assert self._tls is not None
            return smtplib.SMTP_SSL(server.host, server.port, timeout=SOCKET_SECONDS, context=self._tls)
        smtp = smtplib.SMTP(server.host, server.port, timeout=SOCKET_SECONDS)
        if self._tls is not None:
            try:
                smtp.starttls(context=self._tls)
            except BaseException:
                smtp.close()
                raise
        return smtp


def compose_mail(notices: Sequence[Notice], lost: int, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """A mail in plain text; what is in it was made visible when the notices were made."""
    worst = max(notices, key=lambda notice: notice.severity)
    more = f" and {len(notices) - 1} more" if len(notices) > 1 else ""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = f"[{worst.severity.word}] {worst.broker}: {worst.kind}{more}"
    mail["From"] = _address(sender)
    mail["To"] = [_address(recipient) for recipient in recipients]
    mail["Date"] = format_datetime(datetime.fromtimestamp(notices[-1].time, UTC))
    mail["Message-ID"] = f"<{notices[0].id}.{len(notices)}@{sender.rpartition('@')[2]}>"
    # RFC 3834, 5: nobody's absence note answers it.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join((*_lost_lines(lost), *(line for notice in notices for line in _lines(notice)))))
    return mail


def _lines(notice: Notice) -> list[str]:
    where = f"record {notice.index} of {notice.broker}" if notice.index is not None else notice.broker
    head = f"{stamp(notice.time)}  {notice.severity.word.upper()}  {notice.kind}"
    return [head, notice.text, *(f"  {name}: {text}" for name, text in notice.details), f"  ({where})", ""]


def _lost_lines(lost: int) -> list[str]:
    return [f"Before these, {lost} notices were lost: look into the ledger.", ""] if lost else []


def _address(text: str) -> Address:
    return Address(addr_spec=text)


def _for_good(error: Exception) -> bool:
    """Whether the server refused what was handed in, for everybody; a login that fails may be put right."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code in _PERMANENT for code, _ in error.recipients.values())
    return isinstance(error, smtplib.SMTPDataError | smtplib.SMTPSenderRefused) and error.smtp_code in _PERMANENT


def _told(error: Exception) -> str:
    """The fault without what the server says at length: only its code."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"no recipient was taken: {sorted({code for code, _ in error.recipients.values()})}"
    return f"{type(error).__name__}: {error}"


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("mail_ca", "The authorities of a mail server cannot be used.", str(error)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
