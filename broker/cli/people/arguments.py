"""The whole command line of `otb`. Commands are named, not imported: each is loaded when it is run."""

import argparse
import re
from dataclasses import dataclass
from typing import Any

import shtab

from broker.cli.completion import HELP, describe_completion
from broker.cli.people.administrator_arguments import add_policy, add_proposals
from broker.cli.people.break_glass_arguments import add_break_glass
from broker.cli.people.exits import MEANINGS
from broker.cli.people.login_arguments import add_login
from broker.cli.people.people_arguments import add_people
from broker.cli.people.request_arguments import add_requests
from broker.cli.program import ShowVersion
from broker.model.lock import LockKind
from broker.model.vocabulary import RecordKind

LONGEST_WAIT_SECONDS = 90
Commands = Any  # argparse names its own type privately
_DEVICE = "SITE/DEVICE, or DEVICE if only one site has it"


@dataclass(frozen=True, slots=True)
class Target:
    """A command's function as `module:function`; `online` ones get a client, `file` ones work with files alone."""

    place: str
    online: bool = True


def parser() -> argparse.ArgumentParser:
    """The command line."""
    statuses = "\n".join(f"  {status.value:<4} {meaning}" for status, meaning in MEANINGS.items())
    root = argparse.ArgumentParser(
        prog="otb",
        description="Work with OT devices through an access broker, and look at the evidence.",
        epilog=f"exit status:\n{statuses}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
    )
    root.add_argument("--version", action=ShowVersion)
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_looking(commands)
    _add_values(commands)
    _add_connect(commands)
    add_requests(commands, _command, _seconds)
    _add_approvals(commands)
    _add_locks(commands)
    _add_leaves(commands)
    add_people(commands, _command, _file, _seconds)
    add_break_glass(commands, _command, _file)
    add_policy(commands, _command)
    add_proposals(commands, _command, _file)
    _add_audit(commands)
    _add_profile(commands)
    add_login(commands, _command, _file, _seconds)
    describe_completion(_command(commands, "completion", "completion:completion", HELP, online=False), "otb")
    return root


def _common() -> argparse.ArgumentParser:
    """Options that may stand before or after any command."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--format", choices=("text", "json"), help="text for people (default) or what the API said")
    access = common.add_argument_group("which broker, with which proofs (over what the profile says)")
    _file(access, "--profile", "FILE", "profile file (default: OTB_PROFILE, else ~/.config/otb/profile.toml)")
    access.add_argument("--api", metavar="URL", help="address of the API: https://HOST:PORT")
    _file(access, "--ca", "FILE", "authority that vouches for the broker (PEM)")
    _file(access, "--cert", "FILE", "your certificate with its chain (PEM)")
    _file(access, "--key", "FILE", "the private key of your certificate (PEM)")
    _file(access, "--token", "FILE", "file with your token; read anew for every call")
    access.add_argument(
        "--without-token",
        action="store_true",
        help="prove yourself by your certificate alone, as the broker lets you in an emergency",
    )
    access.add_argument("--system-trust", action="store_true", help="also believe the authorities of the system")
    development = access.add_argument("--dev", metavar="DIR", help="folder of a development broker")
    development.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    access.add_argument("--as", dest="persona", metavar="PERSONA", help="who to be in the development folder")
    return common


def _file(group: Any, option: str, metavar: str, help_text: str, **more: Any) -> None:
    group.add_argument(option, metavar=metavar, help=help_text, **more).complete = shtab.FILE


def _command(
    commands: Commands, name: str, place: str, help_text: str, online: bool = True, description: str = ""
) -> argparse.ArgumentParser:
    sentence = help_text[0].upper() + help_text[1:] + "."
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_text,
        description=f"{sentence} {description}".strip(),
        parents=[_common()],
    )
    made.set_defaults(target=Target(f"broker.cli.people.{place}", online))
    return made


def _add_looking(commands: Commands) -> None:
    _command(commands, "ls", "look:ls", "list your devices, with what is open now and next")
    points = _command(commands, "points", "look:points", "list the points of a device, with what a write of each needs")
    points.add_argument("device", metavar="DEVICE", help=_DEVICE)
    _command(commands, "windows", "look:windows", "list windows and freezes of your devices: open, frozen, next")
    ahead = _command(
        commands,
        "calendar",
        "agenda:calendar",
        "windows, freezes and ends of grants ahead, as an iCalendar file",
        description="For calendar programs; every time is in UTC. The file is printed, or kept with --output.",
    )
    ahead.add_argument("--days", type=_days, default=60, metavar="N", help="how far ahead, at most 366 (%(default)s)")
    _file(ahead, "--output", "FILE", "keep it there instead, in place of what was there")
    _add_sessions(commands)
    _command(commands, "me", "look:me", "show who you are to the broker, and what proved it")
    _command(commands, "status", "look:status", "show whether the broker answers, who you are and what is open")
    why = _command(commands, "why", "why:why", "explain a decision in words")
    why.add_argument("decision", metavar="DECISION_ID", help="the id that a denial, or a record, names")


def _add_sessions(commands: Commands) -> None:
    listing = "list open sessions: all, if you may see all, else your own"
    sessions = _command(commands, "sessions", "sessions:ls", "look at live sessions, watch, pause and end them")
    parts = sessions.add_subparsers(dest="sessions_command", metavar="COMMAND", title="commands (default: ls)")
    _command(parts, "ls", "sessions:ls", listing)
    show = _command(parts, "show", "sessions:show", "show one session: what it rests on, and what will end it")
    watch = _command(
        parts,
        "watch",
        "watching:watch",
        "show the operations of one session, or of all, as they happen",
        description="Who reads, and who writes what, until Ctrl-C, the session's end, or the end of your own access. "
        "Watching is recorded as a view of evidence.",
    )
    watch.add_argument("session", nargs="?", default="", metavar="SESSION", help="one session (default: all)")
    watch.add_argument("--site", default="", metavar="SITE", help="all sessions at this site, without SESSION")
    watch.add_argument(
        "--approve", action="store_true", help="ask at the terminal about each operation that waits for a second person"
    )
    pause = _command(parts, "pause", "sessions:pause", "refuse the operations of a session without cutting it")
    resume = _command(parts, "resume", "sessions:resume", "let a paused session go on")
    end = _command(parts, "end", "sessions:end", "cut a session")
    for command in (show, pause, resume, end):
        command.add_argument("session", metavar="SESSION", help="id of the session")
    for command in (pause, resume, end):
        command.add_argument("--why", default="", metavar="TEXT", help="the reason, for the ledger (200 characters)")


def _add_values(commands: Commands) -> None:
    read = _command(
        commands,
        "read",
        "values:read",
        "read points, or ranges of raw Modbus addresses",
        description="Points are read in their engineering units. If some could not be read, the exit status says why.",
    )
    read.add_argument("device", metavar="DEVICE", help=_DEVICE)
    read.add_argument("points", nargs="*", metavar="POINT", help="names of points")
    read.add_argument(
        "--raw", action="append", metavar="TABLE:ADDRESS:COUNT", help="zero-based, as on the wire; repeatable"
    )
    write = _command(
        commands,
        "write",
        "values:write",
        "write points, or ranges of raw Modbus addresses",
        description="The call is decided whole before anything is sent: one denial and nothing is written. "
        'Values are numbers, true, false, or texts; put a text that looks like a number in "quotes".',
    )
    write.add_argument("device", metavar="DEVICE", help=_DEVICE)
    write.add_argument(
        "values", nargs="*", metavar="POINT=VALUE", help="values in engineering units, written in this order"
    )
    write.add_argument(
        "--raw", action="append", metavar="TABLE:ADDRESS:VALUE,…", help="zero-based, as on the wire; repeatable"
    )
    write.add_argument(
        "--priority",
        type=int,
        choices=range(1, 17),
        metavar="N",
        help="BACnet priority, 1 to 16; without it, the least urgent one that the inventory allows for the point",
    )
    write.add_argument("--release", action="store_true", help="give points (without values) back at that priority")
    write.add_argument(
        "--wait", type=_wait, default=0, metavar="TIME", help="wait for a person if it takes one: up to 90s"
    )
    write.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="repeat an earlier call: get its answer, write nothing again (unless the broker has restarted since)",
    )


def _add_connect(commands: Commands) -> None:
    connect = _command(
        commands,
        "connect",
        "connect:connect",
        "open a local port for an ordinary Modbus master, or for BACnet explorers",
        description="Every request through the port is decided and recorded. Denials and ends are shown as they come. "
        "Ends with the reason when access is refused for good; else it reconnects. A Modbus device takes one master "
        "at a time; with --bacnet all BACnet devices of a site that you may see are reached through one UDP port, or "
        "one device, as if it were at that port.",
    )
    connect.add_argument("device", metavar="DEVICE", help=f"{_DEVICE}; with --bacnet a SITE, or SITE/DEVICE")
    connect.add_argument(
        "--bacnet",
        action="store_true",
        help="be a BACnet/IP port and BBMD for the BACnet devices of a site, or for one",
    )
    connect.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="local port (default: 127.0.0.1:1502, with --bacnet 127.0.0.1:47809; port 0: any)",
    )
    connect.add_argument(
        "--allow-remote", action="store_true", help="allow --listen on an address that others can reach"
    )


def _add_approvals(commands: Commands) -> None:
    listing = "list operations that wait for a person: all, if you may see all, else your own"
    approvals = _command(commands, "approvals", "approvals:ls", "look at operations that wait, approve and refuse them")
    parts = approvals.add_subparsers(dest="approvals_command", metavar="COMMAND", title="commands (default: ls)")
    _command(parts, "ls", "approvals:ls", listing)
    show = _command(parts, "show", "approvals:show", "show one: who asks, what is there now, what would be written")
    approve = _command(
        parts,
        "approve",
        "approvals:approve",
        "arm exactly this operation, once, for five minutes",
        description="Shows it first. The next identical operation of the same subject passes, if the policy allows it.",
    )
    refuse = _command(parts, "refuse", "approvals:refuse", "refuse exactly this operation")
    step_up = _command(
        commands,
        "step-up",
        "approvals:step_up",
        "arm an operation of your own by having just logged in again",
        description="Your token must say that you proved yourself since the refusal, or you give a code.",
    )
    step_up.add_argument("--code", action="store_true", help="ask for a code of your authenticator app instead")
    for command in (show, approve, refuse, step_up):
        command.add_argument("approval", metavar="APPROVAL", help="id of what waits: arm-…")
    approve.add_argument("--why", default="", metavar="TEXT", help="the reason, for the ledger (200 characters)")
    approve.add_argument(
        "--without-old", action="store_true", help="approve though what is there now could not be read, as it says"
    )
    refuse.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the ledger (200 characters)")


def _add_locks(commands: Commands) -> None:
    lock = _command(commands, "lock", "locks:ls", "set, list and lift locks")
    parts = lock.add_subparsers(dest="lock_command", metavar="COMMAND", title="commands (default: ls)")
    made = _command(
        parts,
        "set",
        "locks:set_lock",
        "refuse a subject, certificate, organisation, device, site, grant or session",
        description="Takes effect at once: sessions are cut, and reconnecting is refused until the lock is lifted.",
    )
    made.add_argument("kind", choices=[kind.value for kind in LockKind], help="what is locked")
    made.add_argument("lock_target", metavar="TARGET", help="its id; DEVICE or SITE/DEVICE; a certificate's SHA-256")
    _message(made)
    made.add_argument(
        "--for", dest="seconds", type=_seconds, metavar="TIME", help="30s, 15m, 2h or 3d (default: until it is lifted)"
    )
    _command(parts, "ls", "locks:ls", "list the locks that hold")
    lifted = _command(parts, "lift", "locks:lift", "lift a lock; of an isolation as a second person")
    lifted.add_argument("lock_id", metavar="LOCK_ID", help="the id that `otb lock ls` shows")
    isolate = _command(
        commands,
        "isolate",
        "locks:isolate",
        "end everything to a site, but for those named for emergencies",
        description="Holds until a second person lifts it with `otb lock lift`.",
    )
    isolate.add_argument("site", metavar="SITE", help="which site")
    _message(isolate)


def _add_leaves(commands: Commands) -> None:
    text = "see what is undone when somebody's access ends, and take note of what could not be"
    leave = _command(commands, "leave", "leaves:ls", text)
    parts = leave.add_subparsers(dest="leave_command", metavar="COMMAND", title="commands (default: ls)")
    _command(parts, "ls", "leaves:ls", "list what could not be undone, and what will have to be")
    noted = _command(parts, "ack", "leaves:acknowledge", "take note of what a leave could not undo")
    noted.add_argument("leave", metavar="LEAVE_ID", help="the id that `otb leave ls` shows")
    noted.add_argument("--why", default="", metavar="TEXT", help="what was done about it, for the ledger")


def _message(command: argparse.ArgumentParser) -> None:
    command.add_argument("--message", required=True, metavar="TEXT", help="why, for those who look at the locks")


def _add_audit(commands: Commands) -> None:
    audit = commands.add_parser(
        "audit", help="search, show and verify the evidence", description="Search, show and verify the evidence."
    )
    parts = audit.add_subparsers(dest="audit_command", metavar="{search,show,checkpoint,verify}", required=True)
    search = _command(parts, "search", "audit:search", "search the ledger; the search itself is recorded")
    search.add_argument(
        "--kind",
        action="append",
        choices=[kind.value for kind in RecordKind],
        metavar="KIND",
        help="kind of record; repeatable",
    )
    for name, what in (("subject", "whose"), ("device", "of which device"), ("session", "of which session")):
        search.add_argument(f"--{name}", default="", metavar=name.upper(), help=what)
    search.add_argument("--decision", default="", metavar="ID", help="around which decision")
    search.add_argument(
        "--from", dest="since", default="", metavar="TIME", help="not before (RFC 3339; local without offset)"
    )
    search.add_argument("--until", default="", metavar="TIME", help="before")
    search.add_argument("--oldest", action="store_true", help="oldest first")
    search.add_argument(
        "--limit", type=_limit, default=50, metavar="N", help="at most so many records (default: %(default)s)"
    )
    search.add_argument("--cursor", type=int, metavar="N", help="go on from where an earlier search stopped")
    show = _command(parts, "show", "audit:show", "show one record whole")
    show.add_argument("index", type=_index, metavar="INDEX", help="number of the record")
    show.add_argument("--proof", action="store_true", help="show instead the proof that it is in the signed tree")
    checkpoint = _command(parts, "checkpoint", "audit:checkpoint", "show the newest signed checkpoint")
    _file(checkpoint, "--save", "FILE", "keep it, for `otb audit verify --checkpoint FILE` later")
    _add_verify(parts)


def _add_verify(parts: Commands) -> None:
    verify = _command(
        parts,
        "verify",
        "verification:verify",
        "verify a ledger offline, from its files and a public key alone",
        online=False,
        description="Exit status 0 only if tree, checkpoints, signatures and all rules between records hold.",
    )
    verify.add_argument("directory", metavar="DIR", help="folder of the ledger").complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    verify.add_argument("--public-key", required=True, metavar="FILE", help="public key of the ledger (vkey)")
    verify.add_argument("--checkpoint", metavar="SAVED", help="a checkpoint saved earlier: finds a rewritten history")
    verify.add_argument("--witness", action="append", metavar="FILE", help="public key of a witness; repeatable")


def _add_profile(commands: Commands) -> None:
    profile = commands.add_parser(
        "profile", help="write and show the profile file", description="Write and show the profile file."
    )
    parts = profile.add_subparsers(dest="profile_command", metavar="{import,show}", required=True)
    place = "profile_commands"
    made = _command(
        parts, "import", f"{place}:import_profile", "write a profile for a development folder", online=False
    )
    made.add_argument("directory", metavar="DIR", help="folder of a development broker").complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    made.add_argument("--persona", dest="chosen_persona", metavar="NAME", help="who to be (default: the first)")
    made.add_argument("--force", action="store_true", help="replace the profile that is there")
    _command(parts, "show", f"{place}:show_profile", "show what is in force and whether the proofs hold", online=False)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,7})([smhd])", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30s, 15m, 2h or 3d")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 366:
        raise argparse.ArgumentTypeError("must be 1 to 366")
    return int(text)


def _wait(text: str) -> int:
    seconds = _seconds(text)
    if seconds > LONGEST_WAIT_SECONDS:
        raise argparse.ArgumentTypeError(f"must be at most {LONGEST_WAIT_SECONDS}s")
    return seconds


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a record")
    return int(text)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 100_000:
        raise argparse.ArgumentTypeError("must be 1 to 100000")
    return int(text)
