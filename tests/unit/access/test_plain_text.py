"""What approvers read is what it looks like."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.plain_text import unreadable_because


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Exchange the fan of AHU-1 (ticket #42), 21.5 °C, 3 m², 10 µm",
        "Größe prüfen, façade, São Paulo, Łódź",
        "Заменить клапан на насосе",
        "Αλλαγή της αντλίας",
        "ファン交換 (AHU-1)",
        "更换风机 AHU-1",
        "팬 교체 AHU-1",
        "החלפת מאוורר",
        "हीट पंप की मरम्मत",
        "Проверить P-101 с клапаном V2",  # noqa: RUF001 - nobody could say it otherwise
        "ana@acme.example",
    ],
)
def test_ordinary_texts_are_taken(text: str) -> None:
    assert unreadable_because(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" x", "blank"),
        ("x ", "blank"),
        ("one\ntwo", "line breaks"),
        ("one\rtwo", "line breaks"),
        ("one\ttwo", "line breaks"),
        ("x\x1b[31mred", "line breaks"),
        ("x\u202egnp.exe", "line breaks"),
        ("x\u2066y", "line breaks"),
        ("zero\u200bwidth", "line breaks"),
        ("soft\u00adhyphen", "line breaks"),
        ("no\u00a0break", "line breaks"),
        ("tag\U000e0041", "line breaks"),
        ("private\ue000", "line breaks"),
        ("a\u0301", "marks"),
        ("x\u0336\u0336", "marks"),
        ("\uff41dmin", "made to look"),
        ("\U0001d41admin", "made to look"),
        ("1\u2024 5", "made to look"),
        ("p\u0430ypal", "mix"),
        ("\u0410HU-1", "mix"),
        ("\u03bfwner", "mix"),
        ("open \u0441\u043e\u0440\u0435 now", "look as if"),
        ("set \u0391\u039d\u0391 free", "look as if"),
    ],
)
def test_what_deceives_is_refused_with_its_reason(text: str, why: str) -> None:
    assert why in unreadable_because(text)


@given(st.text())
def test_whatever_is_taken_is_one_visible_line_in_its_usual_form(text: str) -> None:
    if unreadable_because(text) == "":
        assert text.isprintable()
        assert text == text.strip()
        assert text == unicodedata.normalize("NFC", text)
        assert not any(unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs") for character in text)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_plain_ascii_is_taken_but_for_blanks_at_its_ends(text: str) -> None:
    assert (unreadable_because(text) == "") is (text == text.strip())


@given(st.text(st.sampled_from("abcde"), min_size=1), st.text(st.sampled_from("бвгдж"), min_size=1))
def test_no_word_mixes_latin_and_cyrillic(latin: str, cyrillic: str) -> None:
    assert unreadable_because(latin + cyrillic)
    assert unreadable_because(cyrillic + latin)


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_the_reason_itself_is_readable(text: str) -> None:
    assert unreadable_because(text).isprintable()
