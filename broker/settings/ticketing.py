"""Whether access needs a ticket, and who says that it is a good one."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from broker.settings.fields import File, SecretFile, Section, https_or_loopback


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


Pattern = Annotated[str, Field(max_length=200), AfterValidator(_pattern)]


class TicketCheckSection(Section):
    """A ticket system that is asked by a signed webhook whenever access is asked for."""

    url: str
    """Address to post to; http only to this machine."""
    secret_file: SecretFile
    """File with the secret both sides have, `whsec_` and base64."""
    ca_file: File = ""
    """PEM certificates that the system must chain to; without it, those of the host."""
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 5.0
    """Time for its answer; later, or none, or an odd one, and nothing is asked for."""

    @field_validator("url")
    @classmethod
    def _protected(cls, url: str) -> str:
        return https_or_loopback(url)


class TicketsSection(Section):
    """Access is asked for under a ticket."""

    required_pattern: Pattern = ""
    """Regular expression that a whole ticket must match, such as `CHG-[0-9]{4,8}`; without it, any ticket."""
    check: TicketCheckSection | None = None
    """Who says whether the ticket is good; without it, its form is enough."""
