"""What `otb` prints: nothing that could move a cursor, numbers digit for digit, times in words."""

import io
import json
from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.people.moments import distance, duration, epoch_of, moment
from broker.cli.people.safe_text import decode_document, encode_document, escape, number_text
from broker.cli.people.screen import Screen

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False, places=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.text())
def test_escaped_text_is_printable_whatever_came_in(text):
    assert escape(text).isprintable()


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "a\nb", "a\rb", "\x9b31m", "\u202eabc", "\x07", "\ud800", "\x00", "\x7f"]
)
def test_terminal_control_is_shown_instead_of_obeyed(hostile):
    assert "\\" in escape(hostile)
    assert escape(hostile).isprintable()


def test_printable_text_stays_as_it_is():
    assert escape("Zuluft 21,5 °C — 温度") == "Zuluft 21,5 °C — 温度"


@given(documents, st.booleans())
def test_json_comes_out_as_it_went_in_and_in_plain_ascii(document, indented):
    text = encode_document(document, indented=indented)
    assert decode_document(text) == document
    assert text.isascii()
    assert all(c.isprintable() or c == "\n" for c in text)
    assert indented or "\n" not in text


def test_numbers_keep_their_digits():
    assert encode_document(decode_document('{"a": 21.50, "b": 12345678901234567890}'), indented=False) == (
        '{"a": 21.50, "b": 12345678901234567890}'
    )
    assert number_text(Decimal("1E+2")) == "100"


def test_indented_json_is_what_the_standard_library_prints():
    document = {"a": [1, {"b": []}], "c": {}}
    assert encode_document(document) == json.dumps(document, indent=2)


def test_a_table_is_aligned_escaped_and_never_cut_when_it_is_not_a_terminal():
    out = io.StringIO()
    long = "x" * 300
    Screen(False, out, io.StringIO()).table(("A", "B"), [("one", "\x1b[31mred"), (long, ("[bold]markup", "red"))])
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1].index("\\x1b[31mred") == lines[2].index("[bold]markup") == lines[0].index("B")
    assert long in lines[2]
    assert "\x1b" not in out.getvalue()


def test_json_format_prints_documents_only_and_text_format_sentences_only():
    for as_json in (True, False):
        out = io.StringIO()
        screen = Screen(as_json, out, io.StringIO())
        screen.document({"a": 1})
        screen.say("a sentence")
        screen.table((), [("a", "row")])
        assert ("sentence" in out.getvalue()) is not as_json
        assert ("row" in out.getvalue()) is not as_json
        assert ('"a": 1' in out.getvalue()) is as_json


def test_times_are_told_in_local_time_and_utc():
    berlin = ZoneInfo("Europe/Berlin")
    assert moment("2026-11-28T08:00:00Z", berlin) == "Sat 2026-11-28 09:00 CET (08:00 UTC)"
    assert moment("2026-11-28T23:30:00Z", berlin) == "Sun 2026-11-29 00:30 CET (Sat 23:30 UTC)"
    assert moment("2026-11-28T08:00:05Z", UTC) == "Sat 2026-11-28 08:00:05 UTC"


@pytest.mark.parametrize("odd", ["soon", "", "2026-11-28T08:00:00", "9999999-01-01", True, 1e300, float("nan")])
def test_what_is_no_time_is_shown_as_it_is(odd):
    assert moment(odd) == str(odd)
    assert epoch_of("2026-11-28T08:00:00") is None


def test_distances_name_the_two_largest_parts():
    assert duration(3 * 86_400 + 4 * 3_600 + 59) == "3 d 4 h"
    assert duration(59.4) == "59 s"
    assert duration(0) == "0 s"
    assert duration(3_600) == "1 h"
    assert distance(1000, now=400) == "in 10 min"
    assert distance(400, now=1000) == "10 min ago"
