"""The contract with policies, checked: questions before any engine sees them, answers after."""

from importlib.resources import files
from typing import Any

import jsonschema_rs
import orjson

from broker.model.decision import EntryPoint

MAX_COMPLAINT_CHARACTERS = 300
# A question goes into one ledger record, of 65,535 octets at most, together with its answer.
MAX_QUESTION_OCTETS = 60_000
ENTRY_POINTS = tuple(EntryPoint)


def schema(name: str) -> dict[str, Any]:
    """The schema `name` (an entry point's value, `answer` or `definitions`) as shipped."""
    document: dict[str, Any] = orjson.loads(files(__package__).joinpath("schema", f"{name}.json").read_bytes())
    return document


def _compiled() -> dict[str, jsonschema_rs.Draft202012Validator]:
    definitions = schema("definitions")
    registry = jsonschema_rs.Registry([(definitions["$id"], definitions)])
    names = [*(entry_point.value for entry_point in ENTRY_POINTS), "answer", "review_answer"]
    return {name: jsonschema_rs.Draft202012Validator(schema(name), registry=registry) for name in names}


_VALIDATORS = _compiled()


def invalid_because(entry_point: EntryPoint, question: dict[str, Any]) -> str:
    """Why a question must not be asked; "" if it is valid."""
    return _complaint(entry_point.value, question)


def odd_because(answer: Any, entry_point: EntryPoint = EntryPoint.OPERATION) -> str:
    """Why a decoded answer is not one by its schema; "" if it is. Reading it is stricter still."""
    return _complaint("review_answer" if entry_point is EntryPoint.REVIEW else "answer", answer)


def _complaint(name: str, document: Any) -> str:
    validator = _VALIDATORS.get(name)
    if validator is None:
        return "no schema for this entry point"
    try:
        if validator.is_valid(document):
            return "" if len(orjson.dumps(document)) <= MAX_QUESTION_OCTETS else "too long for a record"
        error = next(iter(validator.iter_errors(document)))
        path = "/".join(str(step) for step in error.instance_path)
        return f"{path}: {error.message}"[:MAX_COMPLAINT_CHARACTERS]
    except (ValueError, TypeError) as error:
        return f"not a document: {type(error).__name__}"
