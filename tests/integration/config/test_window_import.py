"""Windows of a calendar program become a file of the inventory, or every problem is named and nothing is written."""

from pathlib import Path

import pytest

from broker.cli.yaml_documents import read_file
from broker.model.schedule import Occurrence, Scope
from broker.settings.inventory_file import InventoryFile
from tests.integration.config.test_config_commands import Captured, run

EVENTS = """\
BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:1
SUMMARY:Filters: "Süd" # 1
DTSTART;TZID=Europe/Berlin:20261018T220000
DURATION:PT4H
RRULE:FREQ=WEEKLY;BYDAY=SU
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def calendar(tmp_path: Path) -> Path:
    path = tmp_path / "windows.ics"
    path.write_text(EVENTS)
    return path


def read(path: Path) -> InventoryFile:
    document = read_file(path)
    assert not document.problems
    return InventoryFile.model_validate(document.value, context={"folder": ""})


def test_a_series_becomes_a_window_that_the_inventory_takes(calendar: Path, tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "windows.yaml"
    scope = ("--scope", "site=plant", "--scope", "label=system:hvac", "--scope", "organisation=acme")
    assert run("import-windows", calendar, *scope, "--output", output) == 0
    assert "1 windows" in capsys.readouterr().out
    window = read(output).windows[0].to_model()
    assert (window.id, window.description) == ("filters-sud-1", 'Filters: "Süd" # 1')
    assert window.scope == Scope(("plant",), (), (("system", "hvac"),), ("acme",))
    assert window.occurrence == Occurrence(
        "2026-10-18T22:00:00", "Europe/Berlin", 4 * 3600, None, "FREQ=WEEKLY;BYDAY=SU"
    )


def test_freezes_are_imported_as_freezes(calendar: Path, tmp_path: Path) -> None:
    output = tmp_path / "freezes.yaml"
    assert run("import-windows", calendar, "--freezes", "--scope", "everything", "--output", output) == 0
    found = read(output)
    assert (len(found.windows), len(found.freezes)) == (0, 1)
    assert found.freezes[0].to_model().scope == Scope()


def test_a_file_that_is_there_is_not_written_over(calendar: Path, tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "windows.yaml"
    output.write_text("windows: []\n")
    assert run("import-windows", calendar, "--scope", "site=plant", "--output", output) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert output.read_text() == "windows: []\n"


def test_every_problem_is_named_with_its_line_and_nothing_is_written(
    calendar: Path, tmp_path: Path, capsys: Captured
) -> None:
    wrong = EVENTS.replace(";TZID=Europe/Berlin", "")
    second = EVENTS.splitlines()[2:9]
    event = "\n".join((*second, "")).replace("RRULE", "EXDATE:20261025T220000Z\nRRULE")
    calendar.write_text(wrong.replace("END:VCALENDAR", event + "END:VCALENDAR"))
    output = tmp_path / "windows.yaml"
    assert run("import-windows", calendar, "--scope", "site=plant", "--output", output) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines[:2]] == [f"{calendar}:6:1", f"{calendar}:15:1"]
    assert not output.exists()


@pytest.mark.parametrize("scope", ["everywhere", "site=", "planet=earth"])
def test_a_scope_that_is_none_is_refused(calendar: Path, scope: str) -> None:
    with pytest.raises(SystemExit):
        run("import-windows", calendar, "--scope", scope)


@pytest.mark.parametrize("scopes", [("site=Not A Label",), ("device=ahu-1",), ("everything", "site=plant")])
def test_a_scope_that_cannot_be_is_said(calendar: Path, capsys: Captured, scopes: tuple[str, ...]) -> None:
    arguments = [part for scope in scopes for part in ("--scope", scope)]
    assert run("import-windows", calendar, *arguments) == 1
    assert "--scope" in capsys.readouterr().err


def test_without_a_scope_nothing_is_imported(calendar: Path) -> None:
    with pytest.raises(SystemExit):
        run("import-windows", calendar)
