"""The folder of policies with the rules of its authors for BACnet, which stand in the data that policies see."""

from pathlib import Path

from pydantic import ValidationError

from broker.adapters.policy_files import PolicyFiles, policy_of, read_policies
from broker.cli.yaml_documents import Document, read_file
from broker.errors import ConfigError, Problem
from broker.settings.action_class_file import (
    DATA_NAME,
    FILE_NAME,
    ActionClassFile,
    action_class_findings,
    findings_besides,
)
from broker.settings.words import findings_of


def read_policy_folder(folder: Path) -> PolicyFiles:
    """Policies, data and rules as they are published. Raises ConfigError."""
    files = read_policies(folder)
    path = folder / FILE_NAME
    if DATA_NAME in files.data:
        problem = Problem(str(folder / "data.json"), 0, 0, f"the key '{DATA_NAME}' is kept for {FILE_NAME}")
        raise _refused(path, (problem,))
    if not path.exists():
        return files
    rules = _rules(read_file(path), path)
    return policy_of(files.modules, files.data | {DATA_NAME: rules.to_data()})


def _rules(document: Document, path: Path) -> ActionClassFile:
    problems = list(document.problems)
    file = ActionClassFile()
    if not problems:
        try:
            file = ActionClassFile.model_validate({} if document.value is None else document.value)
        except ValidationError as error:
            found = findings_of(error.errors(), ActionClassFile.model_json_schema())
            problems += [document.problem(finding) for finding in (*found, *findings_besides(document.value))]
    problems += [document.problem(finding) for finding in action_class_findings(file)]
    if problems:
        raise _refused(path, tuple(problems))
    return file


def _refused(path: Path, problems: tuple[Problem, ...]) -> ConfigError:
    detail = f"{path}: {problems[0].message}"
    return ConfigError("policy_refused", "The policy cannot be used.", detail, problems)
