"""`completion`: what makes a shell complete the words of a program, and where each shell looks for it."""

import argparse
import sys

import shtab

# The file for it, and what makes the shell read that file.
_INSTALLATION = {
    "bash": ("~/.local/share/bash-completion/completions/{program}", "read by the package bash-completion"),
    "zsh": ("~/.zfunc/_{program}", "in ~/.zshrc, before compinit: fpath+=~/.zfunc"),
    "tcsh": ("~/.{program}.tcsh", "in ~/.tcshrc: source ~/.{program}.tcsh"),
    "fish": ("~/.config/fish/completions/{program}.fish", "read by fish itself"),
    "powershell": ("$HOME/{program}.ps1", "in the file $PROFILE: . $HOME/{program}.ps1"),
}
SHELLS = tuple(_INSTALLATION)
HELP = f"print completion for {', '.join(SHELLS[:-1])} or {SHELLS[-1]}"


def describe_completion(command: argparse.ArgumentParser, program: str) -> None:
    """Give the command its argument, and help that says how to install what it prints."""
    command.add_argument("shell", choices=SHELLS, help="the shell that is to complete")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _installation(program)


def _installation(program: str) -> str:
    lines = ["to install (make the folder if it is not there; new shells complete):"]
    for shell, (file, reading) in _INSTALLATION.items():
        lines += [f"  {program} completion {shell} > {file}", f"      {reading}"]
    return "\n".join(lines).format(program=program)


def print_completion(parser: argparse.ArgumentParser, shell: str) -> None:
    """Print what the shell reads."""
    sys.stdout.write(shtab.complete(parser, shell) + "\n")
