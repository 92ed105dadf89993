"""`otb` against a running broker: what people see, and the exit statuses."""

import os
import re
import subprocess
import sys

import pytest
from icalendar import Calendar

from tests.integration.otb.conftest import ROOT


def test_ls_shows_devices_with_what_is_open_and_what_is_next(otb, plant):
    said = otb(*plant.options(), "ls")
    assert said.status == 0
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert "open (maintenance) until" in lines["plant/ahu-1"]
    assert "closed" in lines["plant/meter-1"]
    assert "saturday Sat" in lines["plant/meter-1"]
    assert "\x1b" not in said.out


def test_ls_says_where_tools_find_a_device(otb, plant):
    said = otb(*plant.options(), "ls").out
    assert "modbus unit 1" in said and "bacnet 1001 at 2001:0x0003e9" in said


def test_json_is_what_the_api_said(otb, plant):
    said = otb("ls", "--format", "json", *plant.options())
    assert {device["id"] for device in said.document["devices"]} >= {"plant/ahu-1", "plant/vav-1"}
    assert otb("windows", "--format", "json", *plant.options()).document["windows"]
    assert otb("sessions", "--format", "json", *plant.options()).document["scope"] == "own"
    assert otb("me", "--format", "json", *plant.options()).document["id"] == "ana@acme.example"


def test_points_say_where_they_are_and_what_a_write_needs(otb, plant):
    said = otb("points", "ahu-1", *plant.options())
    assert said.status == 0
    line = next(line for line in said.out.splitlines() if line.startswith("supply-temp-setpoint"))
    assert "holding-register:10 int16" in line
    assert "adjust, 16.0 to 22.0" in line


def test_a_value_that_was_written_is_read_back(otb, plant):
    assert otb("write", "ahu-1", "supply-temp-setpoint=19", *plant.options()).status == 0
    said = otb("read", "plant/ahu-1", "supply-temp-setpoint", *plant.options())
    assert said.out.split() == ["supply-temp-setpoint", "19.0", "°C"]
    raw = otb("read", "ahu-1", "--raw", "holding-register:10:1", *plant.options())
    assert raw.out.split() == ["holding-register:10", "190"]


def test_a_bacnet_point_is_written_at_a_priority_and_released(otb, plant):
    assert otb("write", "vav-1", "zone-setpoint=22.5", "--priority", "12", *plant.options()).status == 0
    assert otb("read", "vav-1", "zone-setpoint", *plant.options()).out.split()[1].startswith("22.5")
    said = otb("write", "vav-1", "zone-setpoint", "--release", "--priority", "12", *plant.options())
    assert (said.status, said.out) == (0, "zone-setpoint: released at priority 12\n")


def test_a_write_without_a_priority_says_at_which_it_was_written(otb, plant):
    said = otb("write", "vav-1", "zone-setpoint=22", *plant.options())
    assert (said.status, said.out) == (0, "zone-setpoint: written at priority 16\n")
    told = otb("write", "vav-1", "zone-setpoint", "--release", "--format", "json", *plant.options()).document
    assert told["points"]["zone-setpoint"] == {"outcome": "done", "priority": 16}


def test_an_intent_is_shown_with_who_did_what_where_as_it_is_found(otb, plant):
    otb("write", "ahu-1", "supply-temp-setpoint=19", *plant.options())
    query = ("audit", "search", "--kind", "intent", "--limit", "1")
    (found,) = otb(*query, "--format", "json", *plant.options("auditor-cy")).document["records"]
    sentence = otb("audit", "search", "--kind", "intent", "--limit", "1", *plant.options("auditor-cy")).out
    shown = otb("audit", "show", found["index"], *plant.options("auditor-cy")).out.splitlines()[0]
    assert shown.endswith("ana@acme.example adjust supply-temp-setpoint = 19 on plant/ahu-1")
    assert shown.partition(" UTC: ")[2] in sentence


def test_an_idempotency_key_repeats_the_answer(otb, plant):
    options = ["--idempotency-key", "key-1", *plant.options()]
    assert otb("write", "ahu-1", "supply-temp-setpoint=20", *options).status == 0
    assert otb("write", "ahu-1", "supply-temp-setpoint=20", *options).status == 0
    said = otb("write", "ahu-1", "supply-temp-setpoint=21", *options)
    assert said.status == 1
    assert "another call" in said.err


def test_a_denial_is_explained_in_words_and_again_by_why(otb, plant):
    said = otb("write", "ahu-1", "supply-temp-setpoint=35", *plant.options())
    assert said.status == 3
    assert "above the highest" in said.err
    assert "What to do:" in said.err
    decision = said.err.split("otb why ")[1].split("`")[0]
    why = otb("why", decision, *plant.options())
    assert why.status == 0
    for part in (
        "DENIED",
        "ana@acme.example",
        "adjust supply-temp-setpoint = 35",
        "plant/ahu-1",
        "highest 22.0",
        "grant",
    ):
        assert part in why.out


def test_a_closed_window_names_the_next_one(otb, plant):
    said = otb("read", "meter-1", "heat-energy", *plant.options())
    assert said.status == 3
    assert "No window is open" in said.err
    assert "Next window: saturday opens Sat" in said.err


def test_a_denial_in_json_is_the_problem_document(otb, plant):
    said = otb("write", "ahu-1", "fan-command=1", "--format", "json", *plant.options())
    assert said.status == 3
    assert said.document["code"] == "denied"
    assert said.document["reasons"][0]["code"] == "action_not_granted"
    assert said.document["decision_id"].startswith("dec-")


def test_one_point_that_cannot_be_read_gives_the_others_and_its_status(otb, plant):
    said = otb("read", "ahu-1", "supply-temp", "no-such-point", *plant.options())
    assert said.status == 1
    assert "supply-temp" in said.out
    assert "no such point" in said.out


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["points", "ahu-2"], "plant/ahu-1"),
        (["read", "plant/ahu1", "x"], "plant/ahu-1"),
        (["read", "ahu-1", "supply-tmp"], "supply-temp"),
        (["write", "ahu-1", "supply-temp-setpont=20"], "supply-temp-setpoint"),
    ],
)
def test_a_mistyped_name_is_answered_with_what_was_meant(otb, plant, arguments, meant):
    said = otb(*arguments, *plant.options())
    assert said.status == 1
    assert f"Did you mean {meant}" in said.err


def test_status_says_who_one_is_how_long_proofs_hold_and_what_is_open(otb, plant):
    said = otb("status", *plant.options())
    assert said.status == 0
    for part in ("answers", "ana@acme.example", "certificate", "token", "maintenance open, ends in", "your sessions"):
        assert part in said.out


def test_the_ledger_is_searched_over_several_pages_and_shown(otb, plant):
    for _ in range(3):
        otb("ls", *plant.options())
    found = otb("audit", "search", "--limit", "5", "--format", "json", *plant.options("auditor-cy")).document
    assert len(found["records"]) == 5
    assert found["cursor"] is not None
    more = otb(
        "audit", "search", "--oldest", "--kind", "broker_started", "--format", "json", *plant.options("auditor-cy")
    ).document
    assert [entry["record"]["kind"] for entry in more["records"]] == ["broker_started"]
    shown = otb("audit", "show", more["records"][0]["index"], *plant.options("auditor-cy"))
    assert "broker_started" in shown.out
    proof = otb("audit", "show", "0", "--proof", "--format", "json", *plant.options("auditor-cy")).document
    assert proof["leaf_hash"]


def test_a_search_goes_on_until_the_limit_however_small_the_pages(otb, plant, monkeypatch):
    monkeypatch.setattr("broker.cli.people.audit.PAGE", 2)
    found = otb("audit", "search", "--limit", "7", "--format", "json", *plant.options("auditor-cy")).document
    indices = [entry["index"] for entry in found["records"]]
    assert len(indices) == 7
    assert indices == sorted(set(indices), reverse=True)


def test_a_subject_that_is_not_written_in_full_is_told_of_as_a_likely_mistake(otb, plant):
    auditor = plant.options("auditor-cy")
    said = otb("audit", "search", "--subject", "ana", *auditor)
    assert said.status == 0 and "A subject is written in full" in said.out + said.err
    assert "written in full" not in otb("audit", "search", "--kind", "clock_stepped", *auditor).err


def test_who_may_not_see_the_ledger_is_told_why(otb, plant):
    said = otb("audit", "search", *plant.options())
    assert said.status == 3
    assert "role" in said.err


def test_a_ledger_is_verified_offline_with_a_saved_checkpoint(otb, plant, tmp_path):
    saved = tmp_path / "saved"
    assert otb("audit", "checkpoint", "--save", saved, *plant.options("auditor-cy")).status == 0
    otb("ls", *plant.options())
    ledger, key = plant.folder / "ledger", plant.folder / "ledger.pub"
    said = otb("audit", "verify", ledger, "--public-key", key, "--checkpoint", saved)
    assert said.status == 0, said.out
    assert "holds" in said.out
    assert "unwitnessed" in said.out
    document = otb("audit", "verify", ledger, "--public-key", key, "--format", "json").document
    assert document["ok"] is True
    assert document["unwitnessed"] is True


def test_a_reader_that_stops_reading_is_no_failure_of_the_terminal(plant):
    command = [
        sys.executable,
        "-m",
        "broker.cli.otb",
        *plant.options("auditor-cy"),
        "audit",
        "search",
        "--limit",
        "2000",
    ]
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert "Traceback" not in ended.stderr


def test_the_ledger_is_searched_by_the_short_name_of_a_device(otb, plant):
    otb("read", "ahu-1", "supply-temp", *plant.options())
    search = ("audit", "search", "--format", "json", *plant.options("auditor-cy"))
    short = otb(*search, "--kind", "intent", "--device", "ahu-1").document["records"]
    assert short
    said = otb(*search, "--device", "ahu-9")
    assert said.status == 1
    assert said.document["code"] == "device_unknown"


def test_the_exception_of_a_device_is_shown(otb, plant):
    said = otb("read", "ahu-1", "--raw", "holding-register:900:2", *plant.options())
    assert said.status == 5
    assert "exception 02 illegal data address" in said.err


def test_a_device_that_is_not_modbus_cannot_be_connected_to(otb, plant):
    said = otb("connect", "vav-1", "--listen", "127.0.0.1:0", *plant.options())
    assert said.status == 1
    assert "otb connect plant --bacnet" in said.err
    assert "otb read plant/vav-1" in said.err
    assert "WebSocket" not in said.err


def test_a_number_with_a_comma_is_answered_with_one_with_a_point(otb, plant):
    said = otb("write", "ahu-1", "supply-temp-setpoint=18,5", *plant.options())
    assert "18.5, not 18,5" in said.err
    assert said.err.count("not a finite decimal number") == 1


def test_the_calendar_is_printed_or_kept_for_other_programs(otb, plant, tmp_path):
    path = tmp_path / "ahead.ics"
    said = otb("calendar", "--output", str(path), *plant.options())
    assert (said.status, said.out) == (0, f"The next 60 days are in {path}.\n")
    read = Calendar.from_ical(path.read_bytes())
    summaries = {str(event["SUMMARY"]) for event in read.walk("VEVENT")}
    assert summaries == {"Window maintenance", "Window saturday"}
    saturdays = [event for event in read.walk("VEVENT") if event["SUMMARY"] == "Window saturday"]
    assert len(saturdays) in (8, 9)
    assert all(event.decoded("DTSTART").weekday() == 5 for event in saturdays)
    printed = otb("calendar", "--days", "8", *plant.options())
    assert printed.out.startswith("BEGIN:VCALENDAR\n")
    assert "\nSUMMARY:Window saturday\n" in printed.out
    assert "Window saturday" in otb("calendar", "--format", "json", *plant.options()).document["calendar"]


def test_an_outcome_is_told_with_whose_what_and_where_it_was(otb, plant):
    otb("write", "ahu-1", "supply-temp-setpoint=21.5", *plant.options())
    otb("write", "ahu-1", "fan-command=1", *plant.options())
    search = ("audit", "search", "--limit", "2", *plant.options("auditor-cy"))
    for kind in ("outcome", "intent"):
        denied, done = otb(*search, "--kind", kind).out.splitlines()[:2]
        assert "ana@acme.example control fan-command = 1 on plant/ahu-1" in denied
        assert "ana@acme.example adjust supply-temp-setpoint = 21.5 on plant/ahu-1" in done


def test_an_action_that_was_not_granted_can_be_asked_for(otb, plant):
    assert "otb request create" in otb("write", "ahu-1", "fan-command=1", *plant.options()).err


@pytest.mark.parametrize(
    "group", ["request", "sessions", "approvals", "lock", "leave", "invite", "people", "policy", "proposals"]
)
def test_a_command_with_a_list_shows_it_when_it_stands_alone(otb, plant, group):
    alone, listed = (otb(*words, *plant.options("secops-bo")) for words in ((group,), (group, "ls")))
    told = [re.sub(r"\d+ \w+ ago", "lately", said.out) for said in (alone, listed)]
    assert (alone.status, told[0]) == (listed.status, told[1])
    assert alone.status == 0


@pytest.mark.parametrize(("group", "one"), [("audit", "search"), ("profile", "import")])
def test_a_command_without_a_list_names_its_commands_when_it_stands_alone(otb, group, one):
    said = otb(group)
    assert said.status == 2
    assert one in said.err.splitlines()[0]


def invite(otb, plant, organisation, mailbox):
    said = otb("invite", "create", organisation, mailbox, *plant.options("secops-bo"))
    assert said.status != 0
    return said.err


def test_a_mailbox_of_another_organisation_is_refused_once_with_the_namespaces(otb, plant):
    said = invite(otb, plant, "northwind", "eve@elsewhere.example")
    assert said.count("Nobody can be invited like this.") == 1
    assert "eve@elsewhere.example lies outside the namespaces of northwind: *@northwind.example" in said


def test_an_organisation_that_is_not_there_is_answered_with_those_there_are(otb, plant):
    said = invite(otb, plant, "northwnd", "eve@northwind.example")
    assert "There is no organisation northwnd." in said
    assert "There are: northwind." in said
    said = invite(otb, plant, "acme", "eve@acme.example")
    assert "The broker issues no certificates for acme." in said
    assert "It does for northwind" in said


def test_a_device_is_locked_by_its_short_name(otb, plant):
    bo = plant.options("secops-bo")
    said = otb("lock", "set", "device", "meter-1", "--message", "a test", "--format", "json", *bo)
    assert said.document["lock"]["target"] == "plant/meter-1"
    assert otb("lock", "lift", said.document["lock"]["id"], *bo).status == 0
