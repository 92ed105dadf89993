"""Where the policies of a broker are, and everything that is wrong with them, by file and line."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from broker.adapters.rego_channel import check_policy
from broker.cli.policy_folder import read_policy_folder
from broker.errors import ConfigError, Problem
from broker.settings.broker_file import Settings

# The engine names a place either in front of what it says, or above a drawing of the line and its last words.
_DRAWN = re.compile(r"--> ([^\n]+\.rego):([0-9]+):([0-9]+)\n(?:.*\n)*?error: ([^\n]+)")
_NAMED = re.compile(r"([^:\n]+\.rego):([0-9]+):(?:([0-9]+):)? ([^\n]+)")


def policy_folder(settings: Settings) -> Path:
    """The folder of the policies: the one in the settings, or the library that comes with the broker."""
    return Path(settings.policy.folder) if settings.policy.folder else shipped_policies()


def shipped_policies() -> Path:
    """The library that comes with the broker: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_policies"
    return inside if inside.is_dir() else package.parent / "policies"


def policy_problems(folder: Path) -> tuple[Problem, ...]:
    """Load the policies as a broker would; what it would refuse them for, else what in them goes unheard."""
    from broker.adapters.rego_worker import slips

    try:
        files = read_policy_folder(folder)
        asyncio.run(check_policy(files.modules, files.data))
    except ConfigError as error:
        return error.problems or tuple(refusal_problems(folder, error.detail or error.public))
    return tuple(Problem(str(folder / p.file), p.line, 1, p.text, warning=True) for p in slips(files.modules))


def refusal_problems(folder: Path, refusal: str) -> Iterator[Problem]:
    """The engine's refusal, which names files as they lie in the folder, as problems."""
    for file, line, column, message in _DRAWN.findall(refusal):
        yield Problem(str(folder / file), int(line), int(column), message)
    for line_text in filter(None, _DRAWN.sub("", refusal).splitlines()):
        named = _NAMED.fullmatch(line_text)
        if named:
            yield Problem(str(folder / named[1]), int(named[2]), int(named[3] or 1), named[4])
        else:
            yield Problem(str(folder), 0, 0, line_text.removeprefix("policy: "))
