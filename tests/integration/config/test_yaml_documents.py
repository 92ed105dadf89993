"""Hostile or broken YAML ends in a clear sentence with its place, in little time, whatever it contains."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.cli.yaml_documents import MAXIMUM_OCTETS, read_document, read_file

BILLION = b"a: &a [x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (n, n, *[n - 1] * 8) for n in range(ord("b"), ord("z"))
)


@pytest.mark.parametrize(
    ("raw", "message", "place"),
    [
        (BILLION, "anchors and aliases", (1, 4)),
        (b"a: 1\nb: *a\n", "anchors and aliases", (2, 4)),
        (b"a: &x 1\n", "anchors and aliases", (1, 4)),
        (b"&x a: 1\n", "anchors and aliases", (1, 1)),
        (b"a: !!python/object/apply:os.system [id]\n", "tags", (1, 4)),
        (b"a: !mine 3\n", "tags", (1, 4)),
        (b"a: ! 3\n", "tags", (1, 4)),
        (b"a: 1\nb: 2\na: 3\n", "'a' is given twice", (3, 1)),
        (b"- {x: 1, x: 2}\n", "'x' is given twice", (1, 10)),
        (b"[" * 5000, "nested deeper", (1, 26)),
        (b"".join(b"  " * n + b"a:\n" for n in range(60)), "nested deeper", (26, 51)),
        (b"a: 1\nb: \xff\xfe\n", "not UTF-8", (2, 4)),
        ("a: 1\n".encode("utf-16"), "not UTF-8", (1, 1)),
        (b"a: 1\n---\nb: 2\n", "second YAML document", (2, 1)),
        (b"a:\n\tb: 1\n", "tab", (2, 1)),
        (b"a: [1, 2\n", "this is not YAML", (2, 1)),
        (b"a: 'x\n", "this is not YAML", (2, 1)),
        (b"a: b: c\n", "this is not YAML", (1, 5)),
        (b"a: \x00\n", "this is not YAML", (0, 0)),
        (b"? [a, b]\n: c\n", "a key must be a word", (1, 3)),
        (b"#" * (MAXIMUM_OCTETS + 1), "larger than 4 MiB", (0, 0)),
        (b"%YAML 9.9\n---\na: 1\n", "this is not YAML", (1, 1)),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_configuration_does_not_need_is_refused_in_its_place(
    raw: bytes, message: str, place: tuple[int, int]
) -> None:
    started = time.perf_counter()
    (problem,) = read_document("f.yaml", raw).problems
    assert message in problem.message or message in problem.hint
    assert (problem.line, problem.column) == place
    assert time.perf_counter() - started < 5


def test_every_repeated_key_is_named_with_its_first_place() -> None:
    problems = read_document("f.yaml", b"a: 1\na: 2\nb: {c: 1, c: 2}\n").problems
    assert [(p.line, p.hint) for p in problems] == [(2, "the first is in line 1; keep one"), (3, problems[1].hint)]


def test_scalars_stay_the_text_that_was_written() -> None:
    raw = b"[0.10, 22:00, no, 0777, 1e400, 2026-11-22, 'null', null, ~, , .nan, 'it''s', <<]\n"
    text = ["0.10", "22:00", "no", "0777", "1e400", "2026-11-22", "null", None, None, None, ".nan", "it's", "<<"]
    assert read_document("f.yaml", raw.replace(b", ,", b", ~,")).value == text


def test_a_byte_order_mark_is_not_part_of_the_first_key() -> None:
    assert read_document("f.yaml", "\ufeffa: 1\n".encode()).value == {"a": "1"}


def test_a_merge_key_is_an_ordinary_key() -> None:
    assert read_document("f.yaml", b"<<: {a: 1}\n").value == {"<<": {"a": "1"}}


def test_a_place_inside_what_is_missing_is_the_nearest_that_is_there() -> None:
    document = read_document("f.yaml", b"a:\n  - b: 1\n    c: 2\n")
    assert document.place(("a", 0, "c")) == (3, 8)
    assert document.place(("a", 0, "c"), at_key=True) == (3, 5)
    assert document.place(("a", 0, "modbus", "nowhere")) == (2, 5)


def test_an_unreadable_file_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    assert "cannot be read" in read_file(tmp_path / "missing.yaml").problems[0].message
    assert "cannot be read" in read_file(tmp_path).problems[0].message


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text("a:-[]{}&*!|>'\"#%@` \n\t0?,\\", max_size=80).map(str.encode)))
def test_no_octets_make_the_reader_fail(raw: bytes) -> None:
    document = read_document("f.yaml", raw)
    assert document.problems or document.value is None or isinstance(document.value, str | list | dict)
