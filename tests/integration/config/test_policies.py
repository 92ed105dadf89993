"""`otbroker config check` loads the policies too, and says where they are wrong."""

import shutil
from pathlib import Path

import pytest

from broker.cli.otbroker import main
from broker.cli.policies import policy_problems, refusal_problems, shipped_policies
from broker.cli.policy_folder import read_policy_folder
from broker.model.action_rule import ActionRule
from broker.model.vocabulary import Action
from broker.settings.action_class_file import action_rules

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def policies(site: Path) -> Path:
    """The settings' own copy of the shipped library."""
    shutil.copytree(shipped_policies(), site / "policies")
    with (site / "otbroker.yaml").open("a") as settings:
        settings.write("policy: {folder: policies}\n")
    return site / "policies"


def check(site: Path, capsys: Captured) -> tuple[int, list[str]]:
    status = main(["config", "check", str(site / "otbroker.yaml")])
    return status, capsys.readouterr().out.splitlines()


def test_a_library_that_loads_passes_the_check(site: Path, policies: Path, capsys: Captured) -> None:
    assert check(site, capsys) == (0, ["no problems"])


def test_a_policy_that_cannot_be_parsed_fails_the_check_by_file_line_and_column(
    site: Path, policies: Path, capsys: Captured
) -> None:
    broken = policies / "otbroker" / "session.rego"
    lines = broken.read_text().count("\n")
    broken.write_text(broken.read_text() + "allow if {\n")
    status, said = check(site, capsys)
    assert (status, said[-1]) == (1, "1 problem")
    assert said[0].startswith((f"{broken}:{lines + 1}:", f"{broken}:{lines + 2}:"))


def test_a_call_that_is_not_allowed_fails_the_check_by_file_and_line(
    site: Path, policies: Path, capsys: Captured
) -> None:
    calling = policies / "otbroker" / "session.rego"
    lines = calling.read_text().count("\n")
    calling.write_text(calling.read_text() + "answer := http.send({})\n")
    status, said = check(site, capsys)
    assert status == 1
    assert any(line.startswith(f"{calling}:{lines + 1}:1: ") and "http.send" in line for line in said)


def test_own_words_for_reasons_fail_the_check_by_file_line_and_column_however_many(
    site: Path, policies: Path, capsys: Captured
) -> None:
    own = policies / "site" / "operation.rego"
    own.parent.mkdir()
    words = [f"zz_{number}" for number in range(40)]
    own.write_text("package site.operation\n" + "".join(f'reasons contains "{w}" if input.x\n' for w in words))
    status, said = check(site, capsys)
    assert status == 1
    assert said[0].startswith(f'{own}:2:19: unknown reason "zz_0": ')
    assert said[-2].endswith("more problems")


def test_what_a_site_says_and_nothing_reads_is_a_warning_by_file_and_line(
    site: Path, policies: Path, capsys: Captured
) -> None:
    own = policies / "site" / "operation.rego"
    own.parent.mkdir()
    own.write_text("package site.operation\n\ndeny if input.operation.writes == true\n")
    status, said = check(site, capsys)
    assert (status, said[-1]) == (0, "no problems")
    assert said[0].startswith(f"{own}:3:1: warning: nothing reads site.operation.deny: of site.operation are read")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [('{"a": }', ":1:7: ", "not JSON"), ("[]", ":1:1: ", "not an object"), ("\udcff", ": ", "not UTF-8")],
)
def test_data_that_cannot_be_used_fails_the_check(
    site: Path, policies: Path, capsys: Captured, text: str, place: str, words: str
) -> None:
    (policies / "data.json").write_bytes(text.encode(errors="surrogateescape"))
    status, said = check(site, capsys)
    assert status == 1
    assert said[0].startswith(f"{policies}/data.json{place}"), said
    assert words in said[0]


def test_a_folder_without_policies_is_a_problem(tmp_path: Path) -> None:
    (problem,) = policy_problems(tmp_path)
    assert (problem.file, problem.message[:2]) == (str(tmp_path), "0 ")


def test_what_the_engine_says_about_the_whole_policy_names_the_folder() -> None:
    (problem,) = refusal_problems(Path("p"), "policy: data.otbroker.admin.decision is missing or has no default")
    assert (problem.file, problem.line) == ("p", 0)
    assert problem.message.startswith("data.otbroker.admin.decision")


RULE = "  - {services: [write-property], objects: [lighting-output], priorities: [9, 16], action: control}\n"


def test_rules_for_bacnet_are_part_of_what_is_published_and_of_its_revision(policies: Path) -> None:
    without = read_policy_folder(policies)
    (policies / "bacnet_action_classes.yaml").write_text("rules:\n" + RULE)
    files = read_policy_folder(policies)
    assert files.revision != without.revision
    assert action_rules(files.data) == (
        ActionRule(Action.CONTROL, ("write-property",), ("lighting-output",), priorities=(9, 16)),
    )
    assert action_rules(without.data) == ()


@pytest.mark.parametrize(
    ("rule", "place", "words", "hint"),
    [
        ("{services: [write-propety], action: config}", "2:17", "is no BACnet service", "write-property"),
        ("{services: [write-property], action: view}", "2:17", "changes something", "such as config"),
        ("{services: [who-is], action: config}", "2:17", "changes nothing", "view or discover"),
        (
            "{services: [write-property], objects: [analog-valve], action: config}",
            "2:44",
            "object type",
            "analog-value",
        ),
        ("{services: [write-property], properties: ['511'], action: config}", "2:47", "no BACnet property", ""),
        (
            "{services: [write-property], priorities: [16, 9], action: config}",
            "2:46",
            "least to the greatest",
            "[9, 16]",
        ),
        ("{services: [write-property], points: [adjusted], action: config}", "2:43", "adjust", ""),
        ("{services: [], action: config}", "2:16", "too few", ""),
        ("{service: [write-property], action: config}", "2:6", "unknown key", "services"),
        ("{services: [write-property]}", "2:5", "'action' is missing", ""),
    ],
)
def test_a_rule_that_cannot_be_meant_is_a_problem_with_its_place(
    site: Path, policies: Path, capsys: Captured, rule: str, place: str, words: str, hint: str
) -> None:
    path = policies / "bacnet_action_classes.yaml"
    path.write_text(f"rules:\n  - {rule}\n")
    status, said = check(site, capsys)
    assert status == 1
    assert any(line.startswith(f"{path}:{place}: ") and words in line and hint in line for line in said), said


def test_what_is_wrong_with_rules_is_told_all_at_once_also_beside_an_unknown_key(
    site: Path, policies: Path, capsys: Captured
) -> None:
    (policies / "bacnet_action_classes.yaml").write_text(
        "rules:\n"
        "  - {services: [write-propety], prioritys: [9, 16], action: config}\n"
        "  - {services: [write-property], action: view}\n"
        "  - {services: [write-property], objects: [analog-valve]}\n"
    )
    status, said = check(site, capsys)
    assert status == 1
    told = ("'write-propety' is no BACnet service", "unknown key", "changes something", "'action' is missing")
    assert [sum(words in line for line in said) for words in told] == [1, 1, 1, 1]


def test_the_place_of_the_rules_in_the_data_is_kept_for_them(site: Path, policies: Path, capsys: Captured) -> None:
    (policies / "data.json").write_text('{"bacnet_action_classes": []}')
    status, said = check(site, capsys)
    assert (status, "kept for bacnet_action_classes.yaml" in said[0]) == (1, True)
