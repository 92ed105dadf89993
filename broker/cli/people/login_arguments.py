"""The command line of `otb` about logging in and out."""

from collections.abc import Callable

from broker.cli.people.people_arguments import AddCommand, AddFile, Commands


def add_login(commands: Commands, command: AddCommand, file: AddFile, seconds: Callable[[str], int]) -> None:
    """Add the commands, with the means of the whole command line."""
    login = command(
        commands,
        "login",
        "login:log_in",
        "get a token from your OpenID Provider, and fresh ones from then on",
        online=False,
        description="With the browser of this machine or, where there is none, with a code for any other. "
        "What says where is kept in the profile.",
    )
    login.add_argument("--device", action="store_true", help="with a code, though there may be a browser here")
    login.add_argument("--fresh", action="store_true", help="let the provider ask again who you are")
    login.add_argument("--max-age", type=seconds, metavar="TIME", help="the same, unless that was not longer ago")
    login.add_argument("--acr", action="append", default=[], metavar="VALUE", help="log in in this way; repeatable")
    kept = login.add_argument_group("kept in the profile")
    kept.add_argument("--issuer", metavar="URL", help="the provider")
    kept.add_argument("--client-id", metavar="ID", help="as which of its clients")
    file(kept, "--issuer-ca", "FILE", "authority that vouches for the provider (default: those of the system)")
    kept.add_argument("--resource", metavar="URI", help="the broker, as the provider calls it (RFC 8707)")
    kept.add_argument("--scope", metavar="TEXT", help="what to ask for (default: openid)")
    file(kept, "--client-secret-file", "FILE", "secret of a service, which logs in by that alone")
    file(kept, "--client-key-file", "FILE", "private key (PEM) of a service, which logs in by what it signs")
    logout = command(
        commands, "logout", "login:log_out", "give the tokens back to the provider and delete them", online=False
    )
    logout.add_argument(
        "--everywhere", action="store_true", help="end the login at the provider too, with the browser of this machine"
    )
