"""A path that no question has is told, and none that one has."""

import pytest

from broker.authz.question_paths import never_there


@pytest.mark.parametrize(
    "path",
    [
        "now",
        "subject.organisation.owner",
        "device.labels.whatever",
        "operation.address.property",
        "operation.address.table",
        "operation.facts.vendor-identifier",
        "operation.values.zone-setpoint",
        "operation.points",
        "session.watched_by",
        "leave.debt.priority",
        "permission",
        "resource.site",
        "request.devices",
        "reviewer.roles",
        "windows.next",
    ],
)
def test_what_some_question_has_is_no_slip(path: str) -> None:
    assert never_there(tuple(path.split("."))) == ""


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("operation.write", "input.operation.write is never there (did you mean input.operation.writes?)"),
        ("user", "input.user is never there"),
        ("operation.address.propertyy", "input.operation.address.propertyy is never there (did you mean"),
        ("subject.organization.owner", "input.subject.organization is never there (did you mean"),
        ("now.second", "input.now.second is never there"),
    ],
)
def test_what_no_question_has_is_told_with_what_was_perhaps_meant(path: str, told: str) -> None:
    assert never_there(tuple(path.split("."))).startswith(told)
