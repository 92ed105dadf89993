"""No page mentions what does not exist: links, commands, options, settings, metrics, files, make targets."""

import argparse
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.cli import otbroker
from broker.cli.people.arguments import parser as otb_parser
from broker.cli.yaml_documents import read_file
from broker.listeners.figures import FIGURES
from broker.settings.action_class_file import ActionClassFile, action_class_findings
from broker.settings.inventory_file import InventoryFile
from broker.settings.reference import json_schema
from tests.integration.docs.console import fenced

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "certs" / "README.md", *(ROOT / "docs").rglob("*.md")])
WRITTEN = [page for page in PAGES if page.parent.name != "reference"]
_SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_METRIC = re.compile(r"\botbroker_[a-z_]+\b")
_MAKE = re.compile(r"\bmake ([a-z]+)\b")
_FILE = re.compile(r"[\w-]+(?:/[\w.-]+)+\.(?:py|rego|json|md|nft|yaml|service|txt|conf)|(?:deploy|certs|tests)/[\w-]+")
_DOTTED = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")
_COMMAND = re.compile(r"""(?:^|[|&(;'] *|until |-- )(otb|otbroker)( [^|&;>)\n]*)""")
_PARSERS = {"otbroker": functools.cache(otbroker.parser), "otb": functools.cache(otb_parser)}
_SUFFIXES = (".pub", ".key", ".pem", ".yaml", ".rego")
_MADE_BY_READERS = (
    "policies/data.json",
    "policies/site/",
    "tls/",
    "authorities/",
    "personas/",
    "inventory/",
    "tile/",
    ".dev/",
)


def named(pages: list[Path]) -> Any:
    return pytest.mark.parametrize("page", pages, ids=[str(page.relative_to(ROOT)) for page in pages])


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    return [" ".join(found.split()) for found in _SPAN.findall(prose(page))]


@named(PAGES)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{target} is not there"
        if anchor:
            assert anchor in {_anchor(heading) for heading in _HEADING.findall(there.read_text())}, target


@named(WRITTEN)
def test_every_command_line_is_one_that_the_parsers_know(page: Path) -> None:
    for line in _command_lines(page):
        _check_command(line)


@pytest.mark.parametrize("line", ["otb look", "otb ls --all", "otbroker config review", "otb read ahu-1 --jason"])
def test_a_command_line_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        _check_command(line)


@named(WRITTEN)
def test_every_settings_key_is_one_that_the_schema_knows(page: Path) -> None:
    schema = json_schema("settings")
    for span in spans(page):
        if _DOTTED.fullmatch(span) and span.partition(".")[0] in schema["properties"] and not span.endswith(_SUFFIXES):
            assert _known(schema, schema, span.split(".")), f"{span} is not a setting"


@named(WRITTEN)
def test_every_example_in_yaml_is_one_that_the_broker_takes(page: Path, tmp_path: Path) -> None:
    for block in fenced(page.read_text(), "yaml"):
        (tmp_path / "example.yaml").write_text(block)
        document = read_file(tmp_path / "example.yaml")
        assert not document.problems
        _check_yaml(json_schema("settings"), document.value)


@named(PAGES)
def test_every_metric_is_one_that_the_broker_keeps(page: Path) -> None:
    kept = {f"otbroker_{figure.name}" + ("_total" if figure.counts else "") for figure in FIGURES}
    assert set(_METRIC.findall(page.read_text())) <= kept


@named(WRITTEN)
def test_every_file_of_the_project_that_is_named_is_there(page: Path) -> None:
    for span in spans(page):
        if _FILE.fullmatch(span) and not span.startswith(_MADE_BY_READERS):
            places = (ROOT / span, ROOT / "broker" / span, page.parent / span)
            assert any(place.exists() for place in places), f"{span} is not there"


@named(WRITTEN)
def test_every_make_target_is_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join([*spans(page), *fenced(page.read_text(), "sh")])
    assert set(_MAKE.findall(text)) <= targets


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page.suffix == ".md" and page not in reached:
            reached.add(page)
            waiting += [
                page.parent / link.partition("#")[0] for link in _LINK.findall(page.read_text()) if ":" not in link
            ]
    assert {page for page in PAGES if page.parent.name != "certs"} <= reached


def _command_lines(page: Path) -> Iterator[str]:
    text = page.read_text()
    code = [line[2:] for block in fenced(text, "console") for line in block.splitlines() if line.startswith("$ ")]
    code += [line for block in fenced(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    for line in code:
        yield from (f"{name}{rest}" for name, rest in _COMMAND.findall(line))
    yield from (span for span in spans(page) if span.split()[0] in _PARSERS and " " in span)


def _check_command(line: str) -> None:
    name, *words = shlex.split(line.replace("…", "X"))
    known, parser, place = set(), _PARSERS[name](), 0
    while True:
        known |= {option for action in parser._actions for option in action.option_strings}
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        place = _after_options(parser, words, place)
        if not inner or place == len(words):
            break
        if words[place] in {"COMMAND", "X"}:
            return
        options = dict(inner[0].choices)
        for word in words[place].split("|"):
            assert word in options, f"`{line}`: there is no command {word}"
        parser, place = options[words[place].split("|")[0]], place + 1
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"`{line}`: there is no option {word}"


def _after_options(parser: argparse.ArgumentParser, words: list[str], place: int) -> int:
    """The first word from here that is neither an option nor its value."""
    takes = {option: action.nargs != 0 for action in parser._actions for option in action.option_strings}
    while place < len(words) and words[place].startswith("-"):
        place += 2 if takes.get(words[place], False) else 1
    return place


def _check_yaml(schema: dict[str, Any], document: dict[str, Any]) -> None:
    if set(document) <= set(schema["properties"]):
        for path in _paths(document):
            assert _known(schema, schema, path), f"{'.'.join(path)} is not a setting"
    elif set(document) == {"rules"}:
        assert not [*action_class_findings(ActionClassFile.model_validate(document))]
    else:
        InventoryFile.model_validate(document, context={"folder": ""})


def _paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, str(key)))
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for part in value:
            yield from _paths(part, path)
    else:
        yield list(path)


def _known(schema: dict[str, Any], here: dict[str, Any], path: list[str]) -> bool:
    """Whether the JSON Schema has a value at a path; list places are left out of it."""
    if "$ref" in here:
        return _known(schema, schema["$defs"][here["$ref"].rpartition("/")[2]], path)
    choices = [*here.get("anyOf", ()), *here.get("oneOf", ()), *([here["items"]] if "items" in here else [])]
    if any(_known(schema, choice, path) for choice in choices):
        return True
    if not path:
        return True
    if path[0] in here.get("properties", {}):
        return _known(schema, here["properties"][path[0]], path[1:])
    return isinstance(here.get("additionalProperties"), dict) or "patternProperties" in here


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
