"""Checks of the policy library: `python -m tests.policy_checks`; exit code 0 if all that could run passed.

Needs `opa` (see `find_opa`); `regal` is run if it is on the path. What is skipped is said and counted.
"""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broker.adapters.policy_files import read_policies
from broker.adapters.rego_channel import check_policy
from broker.authz.capabilities import opa_capabilities
from broker.authz.validation import ENTRY_POINTS, invalid_because
from broker.errors import ConfigError
from broker.model.decision import EntryPoint

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ROOT / "policies"
LEAST_COVERAGE = 95.0
# Here, and only here, are questions that the broker never asks.
IMPOSSIBLE = "data.otbroker.impossible_test"
# Added to a copy of an entry point's module: a rule that tells each question and decides nothing.
TELL = '{rule} := "" if {{\n\tprint("{entry_point}", json.marshal(input))\n\tfalse\n}}\n'


def find_opa() -> str | None:
    """The real `opa`: from OTB_OPA, else from `.tools/bin` of the checkout, else from the path."""
    named = os.environ.get("OTB_OPA")
    if named:
        return named
    local = ROOT / ".tools" / "bin" / "opa"
    return str(local) if local.exists() else shutil.which("opa")


def main() -> int:
    """Run every check that can be run."""
    failed: list[str] = [] if loadable() else ["loadable"]
    skipped: list[str] = []
    opa = find_opa()
    if opa is None:
        skipped.append("opa fmt, check and test: no `opa` found (OTB_OPA, .tools/bin/opa, PATH)")
    else:
        failed += [check.__name__ for check in (formatted, strict, covered, possible) if not check(opa)]
    regal = shutil.which("regal")
    if regal is None:
        skipped.append("regal lint: no `regal` on the path")
    elif not _passes(regal, "lint", str(POLICIES)):
        failed.append("regal")
    for line in skipped:
        print(f"SKIPPED {line}")
    print(f"policy checks: {len(failed)} failed{': ' + ', '.join(failed) if failed else ''}, {len(skipped)} skipped")
    return 1 if failed else 0


def loadable() -> bool:
    """The library passes the broker's own walk and answers empty questions with denials."""
    policies = read_policies(POLICIES)
    try:
        asyncio.run(check_policy(policies.modules, policies.data))
    except ConfigError as error:
        print(error.detail)
        return False
    return True


def formatted(opa: str) -> bool:
    """Every file is as `opa fmt` writes it."""
    return _passes(opa, "fmt", "--fail", "--list", str(POLICIES))


def strict(opa: str) -> bool:
    """The library, without its tests, keeps to the allow-list; with them it compiles strictly."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(opa_capabilities(), file)
        file.flush()
        library = _passes(
            opa, "check", "--strict", "--ignore", "*_test.rego", "--capabilities", file.name, str(POLICIES)
        )
    return library and _passes(opa, "check", "--strict", str(POLICIES))


def covered(opa: str) -> bool:
    """The Rego tests pass and cover enough of every file."""
    if not _passes(opa, "test", str(POLICIES)):
        return False
    run = subprocess.run([opa, "test", "--coverage", str(POLICIES)], capture_output=True, text=True, check=False)
    report = json.loads(run.stdout)
    library = {name: file["coverage"] for name, file in report["files"].items() if not name.endswith("_test.rego")}
    low = {name: coverage for name, coverage in library.items() if coverage < LEAST_COVERAGE}
    print(f"coverage of the library: lowest {min(library.values()):.1f} %, all {report['coverage']:.1f} %")
    for name, coverage in low.items():
        print(f"{name}: {coverage:.1f} % is less than {LEAST_COVERAGE} %")
    return not low


def possible(opa: str) -> bool:
    """Every question of the Rego tests is one that the broker may ask, but for those that are about impossible ones."""
    asked = set()
    complaints = []
    for test, entry_point, question in questions_of_tests(opa):
        asked.add(entry_point)
        why = invalid_because(entry_point, question)
        if bool(why) is not test.startswith(IMPOSSIBLE):
            complaints.append(f"{test}: {why or f'possible, so it belongs elsewhere: {question}'}")
    complaints += [f"no test asks for {entry_point}" for entry_point in ENTRY_POINTS if entry_point not in asked]
    print(
        "\n".join(complaints) or f"questions of the Rego tests: all as the schema has them ({len(asked)} entry points)"
    )
    return not complaints


def questions_of_tests(opa: str) -> Iterator[tuple[str, EntryPoint, Any]]:
    """Each question that a Rego test asks: full name of the test, entry point, input."""
    with tempfile.TemporaryDirectory() as folder:
        policies = shutil.copytree(POLICIES, Path(folder) / "policies")
        for entry_point in ENTRY_POINTS:
            name, _, rule = entry_point.value.partition(".")
            module = policies / "otbroker" / f"{name}.rego"
            module.write_text(f"{module.read_text()}\n{TELL.format(entry_point=entry_point.value, rule=rule)}")
        run = subprocess.run([opa, "test", "--format", "json", str(policies)], capture_output=True, check=False)
    for test in json.loads(run.stdout):
        for line in base64.b64decode(test.get("output", "")).splitlines():
            name, question = line.split(b" ", 1)
            yield f"{test['package']}.{test['name']}", EntryPoint(name.decode()), json.loads(question)


def _passes(*command: str) -> bool:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        print(run.stdout + run.stderr)
    return run.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
