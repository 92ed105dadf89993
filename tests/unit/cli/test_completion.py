"""`completion` of both programs: what the help names is what there is, and bash really completes with it."""

import os
import re
import shutil
import subprocess

import pytest
import shtab

from broker.cli import otb, otbroker
from broker.cli.completion import HELP, SHELLS

PROGRAMS = {"otb": (otb.main, "audit"), "otbroker": (otbroker.main, "config")}


def said(program, capsys, *words):
    try:
        assert PROGRAMS[program][0](["completion", *words]) == 0
    except SystemExit as ended:
        assert ended.code == 0
    return capsys.readouterr().out


def test_the_shells_that_are_named_are_those_that_can_be_made():
    assert set(SHELLS) == set(shtab.SUPPORTED_SHELLS)
    assert re.split(", | or ", HELP.removeprefix("print completion for ")) == list(SHELLS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_says_how_to_install_it_in_each_shell(program, capsys):
    told = said(program, capsys, "--help")
    assert [line.split()[2] for line in told.splitlines() if " > " in line] == list(SHELLS)
    assert told.count(f"  {program} completion ") == len(SHELLS)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_completion_is_printed_for_each_shell(program, shell, capsys):
    assert PROGRAMS[program][1] in said(program, capsys, shell)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("program", PROGRAMS)
def test_bash_completes_a_command_with_it(program, capsys, tmp_path):
    word = PROGRAMS[program][1]
    (tmp_path / program).write_text(said(program, capsys, "bash"))
    script = (
        f'. ./{program}; COMP_WORDS=({program} {word[:-2]}); COMP_CWORD=1; _shtab_{program}; echo "${{COMPREPLY[@]}}"'
    )
    command = ["bash", "--norc", "--noprofile", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, timeout=20)
    assert done.stdout.decode().split() == [word], done.stderr
