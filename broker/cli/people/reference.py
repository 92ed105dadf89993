"""docs/reference/otb.md, made from the parser."""

import argparse
from collections.abc import Iterator

from broker.cli.people.arguments import parser
from broker.cli.people.exits import MEANINGS

_INTRODUCTION = """# `otb` reference

Generated from the command line itself; do not edit. `otb COMMAND --help` says the same.

`otb` is the command line for people who work on devices, and for auditors. It runs wherever Python 3.11 runs. Which
broker, and with which proofs, is found in this order: options; `--dev DIR --as PERSONA` for a development folder; the
profile file (`--profile`, else `OTB_PROFILE`, else `~/.config/otb/profile.toml`, on Windows
`%APPDATA%\\otb\\profile.toml`):

```toml
api = "https://broker.plant.example"
ca = "broker-ca.pem"            # paths are relative to this file
certificate = "me.pem"
key = "me.key"
token = "me.token"              # read anew for every call: another program may keep it fresh
```

A profile may name a development folder instead; it then follows the broker there to whatever port it has after its
next start, and `--as` chooses another persona for one call:

```toml
development = "plant-dev"       # folder of `otbroker dev`; relative to this file
persona = "vendor-ana"
```

Secrets are read from files only, never from arguments, and never printed. The broker's certificate is checked against
`--ca` alone, unless `--system-trust` is given. No proxy of the environment is used.

With `--format json` a command prints what the API said, or its problem document, on standard output; numbers are exact
decimals. `otb connect` and `otb sessions watch` print one document a line. With `--format text` everything that came
from outside is printed with control characters escaped, and colours are used at a terminal only (`NO_COLOR` turns them
off).
"""


def reference_markdown() -> str:
    """The page."""
    root = parser()
    lines = [_INTRODUCTION, "## Exit status\n", "| status | meaning |", "|---|---|"]
    lines += [f"| {status.value} | {meaning} |" for status, meaning in MEANINGS.items()]
    lines += ["\n## Options of every command\n", *_options(root, ("-h",)), ""]
    shared = {string for action in root._actions for string in action.option_strings}
    for name, command in _commands(root, "otb"):
        lines += [f"## `{name}`\n", f"{command.description}\n", f"```\n{_usage(name, command, shared)}\n```\n"]
        own = list(_options(command, shared))
        lines += [*own, ""] if own else []
        lines += [f"```\n{command.epilog}\n```\n"] if command.epilog else []
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that can be run, with its full name."""
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part, inner in action.choices.items():
                deeper = list(_commands(inner, f"{name} {part}"))
                yield from deeper or [(f"{name} {part}", inner)]


def _usage(name: str, command: argparse.ArgumentParser, shared: set[str]) -> str:
    parts = [name]
    for action in command._actions:
        if action.option_strings and not shared.intersection(action.option_strings):
            value = "" if action.nargs == 0 else f" {_metavar(action)}"
            told = f"{action.option_strings[-1]}{value}"
            parts.append(told if action.required else f"[{told}]")
        elif not action.option_strings:
            several = {"*": f"[{_metavar(action)} …]", "?": f"[{_metavar(action)}]"}
            parts.append(several.get(str(action.nargs), _metavar(action)))
    return " ".join(parts)


def _options(command: argparse.ArgumentParser, without: set[str] | tuple[str, ...]) -> Iterator[str]:
    rows = [
        (action, ", ".join(action.option_strings) or _metavar(action))
        for action in command._actions
        if not set(without).intersection(action.option_strings) and not isinstance(action, argparse._SubParsersAction)
    ]
    if rows:
        yield from ("| argument | meaning |", "|---|---|")
    for action, name in rows:
        value = f" {_metavar(action)}" if action.option_strings and action.nargs != 0 else ""
        meaning = (action.help or "").replace("%(default)s", str(action.default))
        choices = f" One of {', '.join(map(str, action.choices))}." if action.dest == "kind" and action.choices else ""
        yield f"| `{name}{value}` | {meaning}{choices} |".replace("\\", "\\\\")


def _metavar(action: argparse.Action) -> str:
    if action.metavar is None and action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())
