"""The command line of `otb`: what it takes, what it refuses, and that its reference page is up to date."""

import argparse
import importlib
import inspect
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.people.arguments import parser
from broker.cli.people.audit import search_query
from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.local_address import listen_address
from broker.cli.people.modbus_link import FrameCount
from broker.cli.people.reference import _commands, reference_markdown
from broker.cli.people.values import comma_number, parse_value, read_body, write_body

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "otb.md"
EXAMPLES = [
    "ls",
    "points ahu-1",
    "read ahu-1 supply-temp",
    "write ahu-1 a=1",
    "connect ahu-1",
    "connect plant --bacnet --listen 127.0.0.1:47809",
    "windows",
    "calendar --days 30 --output ahead.ics",
    "sessions ls",
    "sessions show ses-a",
    "sessions watch",
    "sessions pause ses-a",
    "sessions resume ses-a",
    "sessions end ses-a",
    "request ls --state pending",
    "request show req-a",
    "request create ahu-1 --window maintenance --reason why --plan vav-1:zone-setpoint=21@12 --single-use",
    "request submit req-a",
    "request review req-a --approve",
    "request withdraw req-a",
    "request revoke req-a --why why",
    "request extend req-a --for 1h --reason why",
    "request close req-a --report done",
    "approvals ls",
    "approvals show arm-a",
    "approvals approve arm-a --why agreed",
    "approvals refuse arm-a --why no",
    "step-up arm-a",
    "me",
    "status",
    "why dec-1",
    "lock set subject ana@acme.example --message why --for 2h",
    "lock ls",
    "lock lift lck-1",
    "isolate plant --message why",
    "break-glass open --site plant --why fire --part-file a --part-file b",
    "break-glass ls",
    "break-glass close emg-1",
    "break-glass review emg-1 --comment fine",
    "leave ls",
    "leave ack lve-1 --why why",
    "enrol --api https://localhost --ca FILE -",
    "renew --service",
    "invite create northwind eve@northwind.example --for 8h",
    "invite ls",
    "invite revoke inv-a",
    "people ls",
    "people revoke eve@northwind.example --why left",
    "policy ls",
    "policy show",
    "policy diff",
    "policy activate REVISION",
    "proposals ls",
    "proposals create --file FILE --why why",
    "proposals show prp-1",
    "proposals approve prp-1",
    "proposals refuse prp-1 --why no",
    "proposals warrant prp-1 --out FILE",
    "audit search",
    "audit show 3",
    "audit checkpoint",
    "audit verify DIR --public-key FILE",
    "profile import DIR",
    "profile show",
    "login --issuer https://id.example --client-id otb --fresh --max-age 5m --acr phr",
    "logout --everywhere",
    "completion bash",
]


TWO_WORDS = (
    "approvals",
    "audit",
    "break-glass",
    "invite",
    "leave",
    "lock",
    "people",
    "policy",
    "profile",
    "proposals",
    "request",
    "sessions",
)


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_command_names_a_function_that_is_there(line):
    target = parser().parse_args(line.split()).target
    module, _, name = target.place.partition(":")
    function = getattr(importlib.import_module(module), name)
    assert inspect.iscoroutinefunction(function) is target.online


def test_the_examples_are_all_commands_there_are():
    assert {name.removeprefix("otb ") for name, _ in _commands(parser(), "otb")} == {
        " ".join(line.split()[: 2 if line.startswith(TWO_WORDS) else 1]) for line in EXAMPLES
    }


def test_common_options_stand_before_or_after_the_command():
    for line in (
        "--format json --dev D --as bo ls",
        "ls --format json --dev D --as bo",
        "--dev D ls --format json --as bo",
    ):
        parsed = parser().parse_args(line.split())
        assert (parsed.format, parsed.dev, parsed.persona) == ("json", "D", "bo")


@pytest.mark.parametrize(
    "line",
    ["", "nonsense", "audit", "audit show x", "audit search --limit 0", "ls --format xml", "write a b --priority 17"],
)
def test_a_wrong_command_line_ends_with_status_2(line, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(line.split())
    assert ended.value.code == Exit.USAGE
    assert "otb" in capsys.readouterr().err


def test_the_reference_page_says_what_the_command_line_says():
    assert REFERENCE.read_text(encoding="utf-8") == reference_markdown()


def test_the_reference_names_every_option_and_exit_status():
    page = reference_markdown()
    for option in ("--idempotency-key", "--allow-remote", "--public-key", "--release", "--system-trust", "OTB_PROFILE"):
        assert option in page
    for status in Exit:
        assert f"| {status.value} |" in page


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("21.50", Decimal("21.50")),
        ("-3", Decimal(-3)),
        ("1e2", Decimal(100)),
        ("true", True),
        ("false", False),
        ("on", "on"),
        ('"21"', "21"),
        ("0x10", "0x10"),
        ("NaN", "NaN"),
        ("٣", "٣"),
    ],
)
def test_values_are_numbers_truth_values_or_texts(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_bodies_are_what_the_api_takes():
    assert read_body(["a", "a", "b"], None) == {"points": ["a", "b"]}
    assert read_body([], ["holding-register:0:10"]) == {
        "raw": [{"table": "holding-register", "address": 0, "count": 10}]
    }
    assert write_body(["b=2", "a=x=y"], None, None, False) == {"points": {"b": Decimal(2), "a": "x=y"}}
    assert write_body(["a=2"], None, 8, False) == {"points": {"a": {"value": Decimal(2), "priority": 8}}}
    assert write_body(["a"], None, 8, True) == {"points": {"a": {"value": None, "priority": 8}}}
    assert write_body([], ["coil:3:1,0"], None, False) == {"raw": [{"table": "coil", "address": 3, "values": [1, 0]}]}


@pytest.mark.parametrize(
    ("values", "raw", "priority", "release"),
    [
        ([], None, None, False),
        (["a=1"], ["coil:1:1"], None, False),
        (["a"], None, None, False),
        (["a="], None, None, False),
        (["=1"], None, None, False),
        (["a=1", "a=2"], None, None, False),
        (["a=1"], None, 8, True),
        (["a"], ["coil:1:1"], None, False),
        ([], ["coil:1"], None, False),
        ([], ["register:1:1"], None, False),
        ([], ["coil:-1:1"], None, False),
        ([], ["coil:1:1,"], None, False),
        ([], ["coil:1:1"], 8, False),
        (['a="\\q"'], None, None, False),
    ],
)
def test_a_write_that_makes_no_sense_is_a_usage_error(values, raw, priority, release):
    with pytest.raises(CommandError) as refused:
        write_body(values, raw, priority, release)
    assert refused.value.status is Exit.USAGE


@pytest.mark.parametrize(
    "text", ["0.0.0.0:1502", "192.168.1.5:1502", "[::]:1502", "example.com:1502", "127.0.0.1", ":70000"]
)
def test_a_port_that_others_could_reach_is_refused(text):
    with pytest.raises(CommandError) as refused:
        listen_address(text, allow_remote=False)
    assert refused.value.status is Exit.USAGE


def test_loopback_is_listened_on_and_more_only_on_request():
    assert listen_address("127.0.0.1:1502", False) == ("127.0.0.1", 1502)
    assert listen_address("[::1]:0", False) == ("::1", 0)
    assert listen_address("localhost:5", False) == ("127.0.0.1", 5)
    assert listen_address("0.0.0.0:5", True) == ("0.0.0.0", 5)


def test_filters_become_query_parameters_and_local_times_get_an_offset():
    line = "audit search --kind decision --kind intent --device plant/ahu-1"
    line += " --from 2026-11-22T08:00 --until 2026-11-22T09:00Z"
    query = search_query(parser().parse_args(line.split()))
    assert query[:3] == [("kind", "decision"), ("kind", "intent"), ("device", "plant/ahu-1")]
    times = dict(query)
    assert times["until"] == "2026-11-22T09:00:00+00:00"
    assert times["from"][-6] in "+-"
    with pytest.raises(CommandError):
        search_query(parser().parse_args(["audit", "search", "--from", "yesterday"]))


@given(st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_frames_are_counted_however_the_stream_is_cut(bodies, data):
    stream = b"".join(b"\0\1\0\0" + len(body).to_bytes(2, "big") + body for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    count = FrameCount()
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if stop > start:
            count.take(stream[start:stop])
    assert count.frames == len(bodies)
    assert count.units == {body[0] for body in bodies if body}


def test_parsers_are_made_anew_so_that_nothing_is_kept_between_calls():
    assert isinstance(parser(), argparse.ArgumentParser)
    assert parser() is not parser()


def test_a_number_with_a_comma_is_found():
    assert comma_number(["a=1.5", "b=18,5"]) == "18,5"
    assert comma_number(["a=x,y", "b=1.5"]) == ""
