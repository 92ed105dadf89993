"""`calendar`: what is ahead, as a file for calendar programs."""

import argparse
from pathlib import Path

from broker.cli.people.client import Client, odd_answer
from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.screen import Screen

MEDIA_TYPE = "text/calendar"


async def calendar(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Print or keep the calendar."""
    octets = await client.file("/v1/calendar.ics", MEDIA_TYPE, (("days", str(arguments.days)),))
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise odd_answer("the calendar is not text in UTF-8") from None
    screen.document({"calendar": text})
    if arguments.output:
        _keep(Path(arguments.output), octets)
        screen.say(f"The next {arguments.days} days are in {arguments.output}.")
        return Exit.DONE
    for line in text.splitlines():
        screen.say(line)
    return Exit.DONE


def _keep(path: Path, octets: bytes) -> None:
    try:
        path.write_bytes(octets)
    except OSError as error:
        raise CommandError("file_unwritable", f"{path} cannot be written: {error.strerror or error}.") from None
