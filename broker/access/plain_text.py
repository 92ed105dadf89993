"""Texts that somebody writes and an approver reads: what cannot be seen or is not what it looks like is refused.

A word is of one script, or of those that Japanese, Korean and Chinese mix by habit (UTS #39, 5.2, moderately
restrictive, but without Latin beside Cyrillic or Greek). A whole word of look-alikes, Cyrillic letters that spell a
Latin word, is refused where other words are Latin.
"""

import re
import unicodedata

_MIXED_BY_HABIT = (
    frozenset({"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK", "LATIN"}),
    frozenset({"HANGUL", "CJK", "LATIN"}),
    frozenset({"BOPOMOFO", "CJK", "LATIN"}),
)
# Signs that the rules call letters: they stand beside any script.
_SIGNS = frozenset({"MICRO", "OHM", "KELVIN", "ANGSTROM", "FEMININE", "MASCULINE", "SCRIPT"})
_UNMISTAKABLE = frozenset("²³¹ªº")
_WORD = re.compile(r"[^\W_]+")
# Letters of Cyrillic, Greek and Armenian that readers of Latin take for Latin ones (UTS #39, confusables).
_LIKE_LATIN = frozenset("аеіјорѕсухһԁԍԛԝѵёїАВЕЅІЈКМНОРСТУХЬҮҺԌԚԜЁЇοανικρυχγϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϿոսհօցզքյՕՍՏԼ")


def unreadable_because(text: str) -> str:
    """Why an approver must not be shown this text, in words that follow "must"; "" if nothing is wrong."""
    if text != text.strip():
        return "not begin or end with a blank"
    if not text.isprintable():
        return "not contain line breaks or characters that cannot be seen or that turn writing round"
    if unicodedata.normalize("NFC", text) != text or "COMBINING" in {_first_name(character) for character in text}:
        return "not contain marks apart from their letters"
    if any(_is_disguise(character) for character in text):
        return "not contain characters in a form made to look like others"
    words = [(word, _scripts(word)) for word in _WORD.findall(text)]
    for word, scripts in words:
        if len(scripts) > 1 and not any(scripts <= habit for habit in _MIXED_BY_HABIT):
            return f"not mix the letters of several scripts in one word: {_spelled(word)}"
    if any("LATIN" in scripts for _, scripts in words):
        disguised = _disguised(words)
        if disguised:
            return f"not contain words that only look as if they were Latin: {_spelled(disguised)}"
    return ""


def _disguised(words: list[tuple[str, frozenset[str]]]) -> str:
    """A word of look-alikes in a script of which no other word is plainly one, if there is such a word."""
    foreign = [(word, scripts) for word, scripts in words if scripts and "LATIN" not in scripts]
    alike = {word for word, _ in foreign if _LIKE_LATIN.issuperset(letter for letter in word if letter.isalpha())}
    plain = {script for word, scripts in foreign if word not in alike for script in scripts}
    return next((word for word, scripts in foreign if word in alike and not scripts & plain), "")


def _is_disguise(character: str) -> bool:
    """Whether it stands for one ASCII character in another form: full width, mathematical, circled and the like."""
    if character.isascii() or character in _UNMISTAKABLE:
        return False
    plain = unicodedata.normalize("NFKC", character)
    return len(plain) == 1 and plain.isascii()


def _scripts(word: str) -> frozenset[str]:
    """The scripts of a word's letters, by the first word of their names in Unicode."""
    return frozenset(_first_name(letter) for letter in word if letter.isalpha()) - _SIGNS


def _first_name(character: str) -> str:
    return unicodedata.name(character, "UNNAMED").split()[0]


def _spelled(word: str) -> str:
    """A word with whatever is not ASCII written out, so that the difference can be seen."""
    return word.encode("ascii", "backslashreplace").decode()
