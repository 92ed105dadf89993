"""The words that a policy may give as reasons: which of a rule's are none, and what is said of them."""

from collections.abc import Iterator
from typing import Any

from broker.model.decision import EntryPoint
from broker.model.vocabulary import Reason
from broker.settings.findings import did_you_mean

PACKAGES = frozenset(entry_point.value.split(".")[0] for entry_point in EntryPoint)
LONGEST_SHOWN = 60
_STRINGS = ("String", "RawString")
Node = dict[str, Any]


def known_reason(word: str) -> Reason:
    """The reason of that word. Raises ValueError, with what is to be said of the word."""
    try:
        return Reason(word)
    except ValueError:
        raise ValueError(unknown_reason(word)) from None


def unknown_reason(word: str) -> str:
    """That a word is no reason; whatever it holds, the text is short and printable."""
    shown = word[: LONGEST_SHOWN + 1].encode("unicode_escape").decode()
    return f'unknown reason "{shown[:LONGEST_SHOWN]}{"…" if len(shown) > LONGEST_SHOWN else ""}"'


def foreign_words(path: tuple[str, ...], rule: Node) -> Iterator[tuple[int, int, str]]:
    """Line, column and fault of every literal word of a rule that gives reasons which is not of the vocabulary.

    A word that is computed shows only when it is given: then the answer is odd, and its fault names the word.
    """
    if len(path) != 3 or path[1] not in PACKAGES or path[2] != "reasons" or "Spec" not in rule:
        return
    for literal in _literals(rule["Spec"]):
        word, span = literal["value"], literal["span"]
        if word not in list(Reason):
            yield span["line"], span["col"], f"{unknown_reason(word)}: {_known(word)}"


def _known(word: str) -> str:
    return did_you_mean(word[:LONGEST_SHOWN], Reason) or f"a policy gives one of {', '.join(Reason)}"


def _literals(spec: Node) -> Iterator[Node]:
    """The texts that a rule puts into its set: in its head, in its alternatives, or by a variable of its body."""
    ((kind, head),) = spec["head"].items()
    bodies = spec["bodies"]
    if kind == "Set":
        yield from _text(head["key"])
        if "Var" in head["key"]:
            yield from _bound(head["key"]["Var"]["value"], bodies)
        return
    for assigned in (head.get("assign"), *(body["assign"] for body in bodies)):
        if assigned:
            yield from _texts(assigned["value"])


def _texts(term: Node) -> Iterator[Node]:
    """A literal text, or those of a literal set or list."""
    ((kind, inner),) = term.items()
    for each in inner["items"] if kind in {"Set", "Array"} else [term]:
        yield from _text(each)


def _text(term: Node) -> Iterator[Node]:
    """A literal text; what is nested deeper is no word but part of something else."""
    ((kind, inner),) = term.items()
    if kind in _STRINGS:
        yield inner


def _bound(name: str, bodies: list[Node]) -> Iterator[Node]:
    """The texts that a variable is given in so many words: `name := "text"`, `some name in ["text"]`."""
    for statement in (statement for body in bodies for statement in body["query"]["stmts"]):
        literal = statement["literal"]
        some, assigned = literal.get("SomeIn"), literal.get("Expr", {}).get("expr", {}).get("AssignExpr")
        if some and _is_named(name, some["value"]):
            yield from _texts(some["collection"])
        elif assigned and _is_named(name, assigned["lhs"]):
            yield from _texts(assigned["rhs"])


def _is_named(name: str, term: Node) -> bool:
    return "Var" in term and term["Var"]["value"] == name
