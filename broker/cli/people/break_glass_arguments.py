"""The command line of `otb break-glass`."""

from typing import Any


def add_break_glass(commands: Any, command_of: Any, file_of: Any) -> None:
    """Add `break-glass`; `command_of` and `file_of` add a command and an option as everywhere in `otb`."""
    place = "break_glass"
    text = "open an emergency with sealed parts, look at emergencies, close and review them"
    glass = command_of(commands, "break-glass", f"{place}:ls", text)
    parts = glass.add_subparsers(dest="break_glass_command", metavar="COMMAND", title="commands (default: ls)")
    opened = command_of(
        parts,
        "open",
        f"{place}:open_emergency",
        "open an emergency at a site, with as many parts as the seal needs",
        description="Your certificate proves you, without a token. The parts are asked for, not shown, and spent if "
        "they open it. It alarms at once, and must be reviewed by two others.",
    )
    opened.set_defaults(without_token=True)
    opened.add_argument("--site", required=True, metavar="SITE", help="at which site")
    opened.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the ledger and everybody alarmed")
    opened.add_argument(
        "--minutes", type=int, choices=range(1, 481), metavar="N", help="for how long (default: as long as may be)"
    )
    file_of(opened, "--part-file", "FILE", "take a part from a file instead; repeatable", action="append")
    command_of(parts, "ls", f"{place}:ls", "list emergencies and their reviews")
    closed = command_of(parts, "close", f"{place}:close", "end an emergency before its time")
    reviewed = command_of(parts, "review", f"{place}:review", "sign the review of an emergency, as one of two")
    for command in (closed, reviewed):
        command.add_argument("emergency", metavar="EMERGENCY", help="the id that `otb break-glass ls` shows")
    reviewed.add_argument("--comment", required=True, metavar="TEXT", help="what you found, for the ledger")
