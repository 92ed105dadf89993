"""Calls of every allowed builtin, with good and bad arguments, as a module that answers with their results."""

from typing import Any

OPERATORS = frozenset({"assign", "eq", "equal", "internal.member_2", "internal.member_3"})
NUMBERS: list[list[Any]] = [[7, 3], [-7, 3], [7.5, 2], [1, 0], [0, 0], ["a", 1], [None, 1], [2**53 + 1, 1], [0.5, 0.25]]
COMPARED: list[list[Any]] = [
    [1, 2],
    [2, 2],
    [2, 2.0],
    ["a", "b"],
    [1, "a"],
    [None, 0],
    [[1], {}],
    [True, False],
    [{}, []],
]
SETS: list[list[Any]] = [[[1, 2], [2, 3]], [[], [1]], [["a"], [1]], [[[1]], [[1]]]]
BITS: list[list[Any]] = [[6, 3], [-6, 3], [1, 0], ["a", 1], [1.5, 1]]
TEXTS: list[list[Any]] = [["xxaxx", "x"], ["", ""], ["héllo", "l"], ["a,b", ","], ["abc", ""], [1, "a"], ["a", None]]
LISTS: list[list[Any]] = [[[3, 1, 2]], [[]], [["b", "a"]], [[1, "a", None]], [5], [None], [[2.5, 2]]]
ANYTHING: list[list[Any]] = [[1], ["a"], [None], [True], [[]], [{}], [1.5]]
OBJECTS: list[list[Any]] = [
    [{"a": {"b": 1}}, {"a": {"c": 2}}],
    [{}, {}],
    [{"a": 1}, {"a": 1}],
    [{"a": 1}, 5],
    [[1], [1]],
]
KEYED: list[list[Any]] = [[{"a": 1, "b": 2}, ["a"]], [{"a": 1}, []], [{"a": 1}, ["x"]], [5, ["a"]]]
ONE, TWO = "{name}(v[0])", "{name}(v[0], v[1])"
INFIX = "v[0] {name} v[1]"
OF_SETS = "{{i | some i in v[0]}} {name} {{i | some i in v[1]}}"
SAMPLES: dict[str, tuple[str, list[list[Any]]]] = {
    "abs": (ONE, [[-1], [1.5], ["a"]]),
    "array.concat": (TWO, [[[1], [2]], [[], []], [1, [2]]]),
    "array.reverse": (ONE, LISTS),
    "array.slice": ("{name}(v[0], v[1], v[2])", [[[1, 2, 3], 1, 2], [[1, 2], -1, 9], [[1], 5, 2], [[1], "a", 2]]),
    **{f"bits.{name}": (TWO, BITS) for name in ("and", "or", "xor")},
    "bits.lsh": (TWO, [[1, 3], [1, 0], ["a", 1]]),
    "bits.rsh": (TWO, [[8, 1], [8, 0], ["a", 1]]),
    "bits.negate": (ONE, [[1], [-1], ["a"]]),
    **{name: (ONE, [[1.5], [-1.5], [2.5], [0], ["a"]]) for name in ("ceil", "floor", "round")},
    "concat": (TWO, [[",", ["a", "b"]], [",", []], [",", [1]], [1, ["a"]]]),
    "format_int": (TWO, [[10, 2], [-7, 16], [10, 10], ["a", 2]]),
    **dict.fromkeys(("contains", "endswith", "split", "startswith"), (TWO, TEXTS)),
    **dict.fromkeys(("trim", "trim_left", "trim_prefix", "trim_right", "trim_suffix"), (TWO, TEXTS)),
    "trim_space": (ONE, [[" a "], [""], ["\t\n a"], [1]]),
    "strings.reverse": (ONE, [["héllo"], [""], [1]]),
    "strings.any_prefix_match": (TWO, [["abc", ["x", "ab"]], ["abc", "a"], ["abc", []], [1, "a"]]),
    "replace": ("{name}(v[0], v[1], v[2])", [["aab", "a", "x"], ["", "a", "b"], ["a", 1, "b"]]),
    "substring": (
        "{name}(v[0], v[1], v[2])",
        [["héllo", 1, 2], ["abc", 0, -1], ["abc", 5, 2], ["abc", -1, 2], [1, 0, 1]],
    ),
    "to_number": (ONE, [["1"], ["1.50"], ["-7"], ["0x1"], ["abc"], [""], [True], [None], [5], [[]]]),
    **dict.fromkeys(("max", "min", "sort", "sum", "product"), (ONE, LISTS)),
    "count": (ONE, [*LISTS, ["héllo"], [{"a": 1}]]),
    **dict.fromkeys(("is_array", "is_boolean", "is_null", "is_number", "is_object", "is_string"), (ONE, ANYTHING)),
    "is_set": ("[{name}(v[0]), {name}({{v[0]}})]", ANYTHING),
    "type_name": (ONE, ANYTHING),
    "union": ("{name}({{{{i | some i in v[0]}}, {{i | some i in v[1]}}}})", SETS),
    "intersection": ("{name}({{{{i | some i in v[0]}}, {{i | some i in v[1]}}}})", SETS),
    "object.get": (
        "{name}(v[0], v[1], v[2])",
        [[{"a": 1}, "a", 2], [{}, "a", 2], [{"a": {"b": 1}}, ["a", "b"], 2], [5, "a", 2]],
    ),
    "object.keys": (ONE, [[{"b": 1, "a": 2}], [{}], [[]]]),
    "object.filter": (TWO, KEYED),
    "object.remove": (TWO, KEYED),
    "object.union": (TWO, OBJECTS),
    "object.union_n": (ONE, [[[{"a": 1}, {"b": 2}]], [[]], [[5]]]),
    "and": (OF_SETS, SETS),
    "or": (OF_SETS, SETS),
    **dict.fromkeys(("plus", "minus", "mul", "rem"), (INFIX, NUMBERS)),
    **dict.fromkeys(("neq", "lt", "lte", "gt", "gte"), (INFIX, COMPARED)),
}
SIGNS = {
    "and": "&", "or": "|", "plus": "+", "minus": "-", "mul": "*", "rem": "%",
    "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=",
}  # fmt: skip


def names() -> set[str]:
    return set(SAMPLES)


def module() -> str:
    """One rule for each builtin, asked for by name; its result is among the reasons of the answer."""
    rules = [
        f'reasons contains [asked, x] if {{ asked := input.sample; asked == "{name}"; x := {_call(name, form)} }}'
        for name, (form, _) in SAMPLES.items()
    ]
    return "\n\n".join(["package site.admin", *rules])


def _call(name: str, form: str) -> str:
    return form.format(name=SIGNS.get(name, name)).replace("v[", "input.values[")


def cases() -> list[tuple[str, list[Any]]]:
    return [(name, values) for name, (_, samples) in SAMPLES.items() for values in samples]
