"""Names and namespaces are matched label by label, in one form only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigError
from broker.identity.names import NameForm, decode_name, decode_namespace, decode_subject_id
from broker.model.subject import SubjectKind


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*@acme.example", "ana@acme.example"),
        ("*@acme.example", "ana.b+c@acme.example"),
        ("spiffe://plant.example/*", "spiffe://plant.example/bms-sync"),
        ("spiffe://plant.example/*", "spiffe://plant.example/a/b/c"),
        ("spiffe://plant.example/a/b/*", "spiffe://plant.example/a/b/c"),
        ("*.acme.example", "gateway-1.acme.example"),
        ("*.acme.example", "a.b.acme.example"),
    ],
)
def test_a_namespace_holds_what_lies_in_it(pattern, name):
    assert decode_namespace(pattern).holds(decode_subject_id(name))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*@acme.example", "x@evil.acme.example"),
        ("*@acme.example", "x@evilacme.example"),
        ("*@acme.example", "x@acme.example.evil"),
        ("*@acme.example", "acme.example"),
        ("spiffe://plant.example/a/*", "spiffe://plant.example/ab"),
        ("spiffe://plant.example/a/*", "spiffe://plant.example/a"),
        ("spiffe://plant.example/a/*", "spiffe://plant.example/b/a/c"),
        ("spiffe://plant.example/*", "spiffe://evil.plant.example/a"),
        ("*.acme.example", "acme.example"),
        ("*.acme.example", "evilacme.example"),
        ("*.acme.example", "a.acme.example.evil"),
        ("*.acme.example", "ana@acme.example"),
        ("*.acme.example", "spiffe://a.acme.example/x"),
    ],
)
def test_a_namespace_does_not_hold_what_only_looks_alike(pattern, name):
    assert not decode_namespace(pattern).holds(decode_subject_id(name))


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (NameForm.URI, "spiffe://plant.example"),
        (NameForm.URI, "spiffe://plant.example/"),
        (NameForm.URI, "spiffe://plant.example/a/"),
        (NameForm.URI, "spiffe://plant.example//a"),
        (NameForm.URI, "spiffe://plant.example/../a"),
        (NameForm.URI, "spiffe://plant.example/."),
        (NameForm.URI, "spiffe://plant.example/%61"),
        (NameForm.URI, "spiffe://plant.example/*"),
        (NameForm.URI, "spiffe://plant.example/a?b"),
        (NameForm.URI, "spiffe://plant.example/a#b"),
        (NameForm.URI, "spiffe://plant.example:443/a"),
        (NameForm.URI, "spiffe://u@plant.example/a"),
        (NameForm.URI, "spiffe://Plant.example/a"),
        (NameForm.URI, "SPIFFE://plant.example/a"),
        (NameForm.URI, "spiffe:///a"),
        (NameForm.URI, "spiffe://plant.example/a\n"),
        (NameForm.EMAIL, "@acme.example"),
        (NameForm.EMAIL, "ana@"),
        (NameForm.EMAIL, "ana@@acme.example"),
        (NameForm.EMAIL, "ana@acme.example@plant.example"),
        (NameForm.EMAIL, "*@acme.example"),
        (NameForm.EMAIL, "ana@acme..example"),
        (NameForm.EMAIL, ".ana@acme.example"),
        (NameForm.EMAIL, "ana\x00@acme.example"),
        (NameForm.EMAIL, "ana@acme.example\x00.evil"),
        (NameForm.EMAIL, "\u0430na@acme.example"),
        (NameForm.EMAIL, "ana@\u0430cme.example"),
        (NameForm.EMAIL, '"a b"@acme.example'),
        (NameForm.EMAIL, "a" * 65 + "@acme.example"),
        (NameForm.DNS, "*.acme.example"),
        (NameForm.DNS, "a..acme.example"),
        (NameForm.DNS, "acme.example."),
        (NameForm.DNS, ".acme.example"),
        (NameForm.DNS, "-a.acme.example"),
        (NameForm.DNS, "10.0.0.1"),
        (NameForm.DNS, "a\x00.acme.example"),
        (NameForm.DNS, "\u0430.acme.example"),
        (NameForm.DNS, "a b.acme.example"),
        (NameForm.DNS, "a." * 127 + "example"),
        (NameForm.DNS, ""),
    ],
)
def test_a_name_with_anything_odd_in_it_is_no_name(form, name):
    with pytest.raises(ValueError):
        decode_name(name, form)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "*",
        "*@",
        "*.",
        "*@*.example",
        "*.*.example",
        "ana@acme.example",
        "acme.example",
        "spiffe://plant.example",
        "spiffe://plant.example/",
        "spiffe://plant.example/a",
        "spiffe://plant.example/a*",
        "spiffe://plant.example/*/b/*",
        "spiffe://*/*",
        "spiffe:///*",
        "spiffe://plant.example//*",
        "*@Acme.example",
        "https://plant.example/*",
        "*@\u0430cme.example",
    ],
)
def test_a_pattern_of_any_other_form_is_a_settings_error(pattern):
    with pytest.raises(ConfigError) as raised:
        decode_namespace(pattern)
    assert raised.value.code == "namespace_malformed"


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("*@acme.example", "*@acme.example", True),
        ("*@acme.example", "*@sub.acme.example", False),
        ("*@acme.example", "*.acme.example", False),
        ("*.acme.example", "*.sub.acme.example", True),
        ("*.acme.example", "*.evilacme.example", False),
        ("spiffe://a.example/*", "spiffe://a.example/x/*", True),
        ("spiffe://a.example/x/*", "spiffe://a.example/xy/*", False),
        ("spiffe://a.example/x/*", "spiffe://b.example/x/*", False),
    ],
)
def test_overlap_is_seen_from_both_sides(one, other, overlap):
    ours, theirs = decode_namespace(one), decode_namespace(other)
    assert ours.overlaps(theirs) is theirs.overlaps(ours) is overlap


def test_a_mailbox_is_a_person_and_everything_else_a_service():
    kinds = [decode_subject_id(i).kind for i in ("ana@acme.example", "spiffe://plant.example/a", "a.acme.example")]
    assert kinds == [SubjectKind.PERSON, SubjectKind.SERVICE, SubjectKind.SERVICE]


def test_the_domain_of_a_name_comes_out_in_lower_case_and_the_mailbox_as_it_is():
    assert decode_name("Ana@ACME.Example", NameForm.EMAIL).text == "Ana@acme.example"
    assert decode_name("GW.ACME.example", NameForm.DNS).text == "gw.acme.example"


@given(st.text(max_size=40), st.sampled_from(list(NameForm)))
def test_any_text_is_a_name_in_one_form_or_refused(text, form):
    try:
        name = decode_name(text, form)
    except ValueError:
        return
    assert name.text.isascii() and name.text.isprintable() and "*" not in name.text
    assert decode_subject_id(name.text) == name
