"""The command line of `otb request`: ask for access, review what others ask for, give it back."""

import argparse
from collections.abc import Callable

from broker.cli.people.people_arguments import AddCommand, Commands
from broker.model.access_request import RequestState
from broker.model.vocabulary import Action

_REQUEST = "id of the request, as `otb request ls` shows it"


def add_requests(commands: Commands, command: AddCommand, seconds: Callable[[str], int]) -> None:
    """Add the commands, with the means of the whole command line."""
    text = "ask for access, review what others ask for, and give access back"
    request = command(commands, "request", "requests:ls", text)
    parts = request.add_subparsers(dest="request_command", metavar="COMMAND", title="commands (default: ls)")
    for parser in (request, _listing(parts, command)):
        parser.add_argument(
            "--state",
            action="append",
            choices=[state.value for state in RequestState],
            metavar="STATE",
            help=f"only in this state, repeatable: {', '.join(state.value for state in RequestState)}",
        )
    _add_asking(parts, command, seconds)
    _add_deciding(parts, command)


def _listing(parts: Commands, command: AddCommand) -> argparse.ArgumentParser:
    return command(parts, "ls", "requests:ls", "list requests that you may see, first those that are not over")


def _add_asking(parts: Commands, command: AddCommand, seconds: Callable[[str], int]) -> None:
    made = command(
        parts,
        "create",
        "requests:create",
        "ask for access to devices",
        description="What is asked for never changes afterwards. With --plan nothing but the planned values may be "
        "written. Without --until or --for it is the next time of --window.",
    )
    made.add_argument("devices", nargs="+", metavar="DEVICE", help="SITE/DEVICE, or DEVICE if only one site has it")
    made.add_argument("--reason", required=True, metavar="TEXT", help="what the access is for; approvers read it")
    made.add_argument("--ticket", default="", metavar="ID", help="the ticket that the work belongs to")
    made.add_argument("--point", action="append", metavar="POINT", help="only this point; repeatable (default: all)")
    made.add_argument(
        "--action",
        action="append",
        choices=[action.value for action in Action],
        metavar="ACTION",
        help=f"what you will do, repeatable: {', '.join(action.value for action in Action)} "
        "(default: view, and what the plan needs)",
    )
    made.add_argument(
        "--plan",
        action="append",
        metavar="[DEVICE:]POINT=VALUE[@PRIORITY]",
        help="an exact write; repeatable, in engineering units",
    )
    made.add_argument("--from", dest="starts", default="", metavar="TIME", help="from when (default: now)")
    _add_end(made, seconds)
    made.add_argument("--window", default="", metavar="WINDOW", help="in this window; `otb windows` lists them")
    made.add_argument("--single-use", action="store_true", help="each planned write once")
    made.add_argument("--supervised", action="store_true", help="only while somebody watches")
    made.add_argument("--draft", action="store_true", help="keep it as a draft; `otb request submit` hands it in")
    _one(parts, command, "submit", "hand a draft in for review")
    extend = _one(parts, command, "extend", "ask for the same until later; sessions go on if it is approved in time")
    _add_end(extend, seconds, required=True)
    extend.add_argument("--reason", required=True, metavar="TEXT", help="why it takes longer")
    extend.add_argument("--ticket", default="", metavar="ID", help="another ticket (default: the same)")
    withdraw = _one(parts, command, "withdraw", "take a request back that is not active yet")
    withdraw.add_argument("--why", default="", metavar="TEXT", help="the reason, for the record")
    close = _one(parts, command, "close", "give access back with a report, or report when it is over")
    close.add_argument("--report", required=True, metavar="TEXT", help="what was done")


def _add_deciding(parts: Commands, command: AddCommand) -> None:
    _one(parts, command, "show", "show one request: what is asked for, who said what, planned against done")
    review = _one(parts, command, "review", "approve or deny a request, after showing it")
    verdict = review.add_mutually_exclusive_group()
    verdict.add_argument("--approve", dest="verdict", action="store_const", const="approve", help="say yes")
    verdict.add_argument("--deny", dest="verdict", action="store_const", const="deny", help="say no")
    review.add_argument("--comment", default="", metavar="TEXT", help="what you have to say; it is recorded")
    revoke = _one(parts, command, "revoke", "end what was approved, and cut its sessions")
    revoke.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the record")


def _one(parts: Commands, command: AddCommand, name: str, help_text: str) -> argparse.ArgumentParser:
    made = command(parts, name, f"requests:{name}", help_text)
    made.add_argument("request", metavar="REQUEST", help=_REQUEST)
    return made


def _add_end(parser: argparse.ArgumentParser, seconds: Callable[[str], int], required: bool = False) -> None:
    end = parser.add_mutually_exclusive_group(required=required)
    end.add_argument("--until", default="", metavar="TIME", help="until when (RFC 3339; local without offset)")
    end.add_argument("--for", dest="seconds", type=seconds, metavar="TIME", help="for so long: 30m, 4h or 2d")
