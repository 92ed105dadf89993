"""The library with a site policy that computes for minutes about one subject, and never ends in time."""

from dataclasses import replace
from typing import Any

from tests.unit.authz import given

LOOPING = replace(given.SUBJECT, id="loop@vendor.example")
_STEPS = "\n".join(f"\tsome x{number} in numbers" for number in range(9))
_SUM = " + ".join(f"x{number}" for number in range(9))
SITE = f"""package site.operation

reasons contains "role_missing" if {{
	input.subject.id == "{LOOPING.id}"
	numbers := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
{_STEPS}
	{_SUM} == 1000
}}
"""


def modules() -> dict[str, str]:
    return {**given.library().modules, "site/operation.rego": SITE}


def looping_question() -> dict[str, Any]:
    return given.operation_question(subject=LOOPING)
