"""Our own refusal of policies, before anything evaluates them: a walk of the parsed modules.

Refused, each with file and line: builtins that are not on the allow-list (clock, chance, network, runtime, and
whatever the embedded engine lacks), unknown functions (the engine would find out only while deciding), `with`,
recursion (it would end the worker), `not` where the engines differ, imports, names that hide a builtin, foreign
packages, reasons that are no words of the vocabulary, and a policy without one of the entry points. The walk knows the
syntax tree of the embedded engine's parser and looks into every node of it, also into kinds it has no name for.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from broker.authz.capabilities import ALLOWED_BUILTINS, RESERVED_NAMES
from broker.authz.reason_words import foreign_words
from broker.model.decision import EntryPoint

PACKAGE_ROOTS = ("otbroker", "site")
ENTRY_POINTS = (EntryPoint.OPERATION, EntryPoint.SESSION, EntryPoint.ADMIN, EntryPoint.LEAVE, EntryPoint.REVIEW)
MAX_PROBLEMS = 50
OPERATORS = {"Add": "plus", "Sub": "minus", "Mul": "mul", "Div": "div", "Mod": "rem"}
CONSTANTS = frozenset({"String", "RawString", "Number", "Bool", "Null"})
Path = tuple[str, ...]
Node = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Why a policy is refused, and where; line 0 stands for the policy as a whole, column 0 for the line."""

    file: str
    line: int
    text: str
    column: int = 0

    def __str__(self) -> str:
        places = (str(place) for place in (self.line, self.column) if place)
        return f"{':'.join((self.file or 'policy', *places))}: {self.text}"


@dataclass(slots=True)
class _Rule:
    path: Path
    line: int
    function: bool
    default: bool
    keys: list[Any]
    parts: list[Any]


@dataclass(slots=True)
class _Module:
    file: str
    package: Path
    rules: list[_Rule] = field(default_factory=list)


def problems(modules: list[Node]) -> tuple[Problem, ...]:
    """What is wrong with a policy, given its modules' syntax trees as the embedded engine's parser gives them."""
    found: list[Problem] = []
    read = [_module(tree, found) for tree in modules]
    rules = {rule.path for module in read for rule in module.rules}
    functions = {rule.path for module in read for rule in module.rules if rule.function}
    found.extend(_undefinable_heads(read, rules))
    edges: dict[Path, set[Path]] = {path: set() for path in rules}
    for module in read:
        for rule in module.rules:
            _check_calls(module, rule, functions, rules, found)
            edges[rule.path].update(_references(module, rule, rules))
    found.extend(_recursion(read, edges))
    found.extend(_missing_entry_points(read))
    return tuple(sorted(set(found))[:MAX_PROBLEMS])


def passed_over(modules: list[Node]) -> tuple[Problem, ...]:
    """What of a site is passed over in a policy that is in order: rules that no other rule leads to, and what they read
    where no question has anything.

    A `deny` that the library does not know, or a slip in the name of a package or of a member, denies nothing.
    """
    read = [_module(tree, []) for tree in modules]
    rules = {rule.path for module in read for rule in module.rules}
    all_rules = [(module, rule) for module in read for rule in module.rules]
    led_to = {to for module, rule in all_rules for to in _references(module, rule, rules) if to != rule.path}
    heard = {path for module, rule in all_rules for path in _heard(module, rule)}
    found = {
        Problem(module.file, rule.line, f"nothing reads {'.'.join(rule.path)}: {_told_heard(module.package, heard)}")
        for module, rule in all_rules
        if rule.path[0] == "site" and rule.path not in led_to
    }
    found.update(slip for module, rule in all_rules if rule.path[0] == "site" for slip in _slips(module, rule))
    return tuple(sorted(found))


def _slips(module: _Module, rule: _Rule) -> Iterator[Problem]:
    from broker.authz.question_paths import never_there  # what evaluates policies has no use for the schemas

    for part in rule.parts:
        for kind, value in _nodes(part):
            path, _ = _chain({kind: value}) if kind in {"RefDot", "RefBrack"} else ((), [])
            text = never_there(path[1:]) if path[:1] == ("input",) else ""
            if text:
                yield Problem(module.file, value["span"]["line"], text)


def _heard(module: _Module, rule: _Rule) -> Iterator[Path]:
    """What of a site a rule of the library reads, by package and name."""
    if module.package[0] == "otbroker":
        nodes = (node for part in rule.parts for node in _nodes(part) if node[0] in {"RefDot", "RefBrack"})
        paths = (_chain({kind: value})[0] for kind, value in nodes)
        yield from (path[1:4] for path in paths if path[:2] == ("data", "site") and len(path) > 3)


def _told_heard(package: Path, heard: set[Path]) -> str:
    names = sorted(path[-1] for path in heard if path[:-1] == package)
    if names:
        return f"of {'.'.join(package)} are read {', '.join(names)}"
    return f"of a site are read {', '.join(sorted({'.'.join(path[:-1]) for path in heard}))}"


def _module(tree: Node, found: list[Problem]) -> _Module:
    file, ast = tree["source"]["file"], tree["ast"]
    package, _ = _chain(ast["package"]["refr"])
    line = ast["package"]["span"]["line"]
    if package[0] not in PACKAGE_ROOTS:
        found.append(Problem(file, line, f"package {'.'.join(package)} is not under {' or '.join(PACKAGE_ROOTS)}"))
    module = _Module(file, package)
    for imported in ast["imports"]:
        _check_import(file, imported, found)
    for node in ast["rules"]:
        rule = _rule(package, node)
        module.rules.append(rule)
        found.extend(Problem(file, line, text, column) for line, column, text in foreign_words(rule.path, node))
        if _hides_builtin(rule.path[len(package)]):
            found.append(Problem(file, rule.line, f"rule {rule.path[len(package)]} hides a builtin"))
    return module


def _check_import(file: str, imported: Node, found: list[Problem]) -> None:
    """No aliases: the embedded engine, having looked through one, looks through others from the wrong package."""
    path, _ = _chain(imported["refr"])
    if path != ("rego", "v1"):
        text = f"import of {'.'.join(path)}: write the whole path where it is used"
        found.append(Problem(file, imported["span"]["line"], text))


def _hides_builtin(name: str) -> bool:
    return name in RESERVED_NAMES or name in ALLOWED_BUILTINS


def _rule(package: Path, node: Node) -> _Rule:
    """A rule with the parts in which calls and references count: everything but its own name."""
    if "Default" in node:
        default = node["Default"]
        path, dynamic = _chain(default["refr"])
        return _Rule(package + path, default["span"]["line"], False, True, [], [*dynamic, default["value"]])
    spec = node["Spec"]
    ((kind, head),) = spec["head"].items()
    path, dynamic = _chain(head["refr"])
    terms = [head["key"]] if kind == "Set" else [head["assign"]["value"]] if dynamic and head["assign"] else []
    parts = [*dynamic, {k: v for k, v in head.items() if k != "refr"}, spec["bodies"]]
    return _Rule(package + path, spec["span"]["line"], kind == "Func", False, [*dynamic, *terms], parts)


def _undefinable_heads(modules: list[_Module], rules: set[Path]) -> Iterator[Problem]:
    """A set's member or an object's key must be bound in the body: one that is undefined once loses all others.

    So it is in the embedded engine; the other leaves out that one only.
    """
    for module in modules:
        for rule in module.rules:
            if not all(_is_bound(module, key, rules) for key in rule.keys):
                yield Problem(module.file, rule.line, "the head holds an expression: give it a name in the body")


def _is_bound(module: _Module, node: Node, rules: set[Path]) -> bool:
    """A constant, a variable, or an array of such."""
    if "Array" in node:
        return all(_is_bound(module, item, rules) for item in node["Array"]["items"])
    return bool(node.keys() & CONSTANTS) or _is_variable(module, node, rules)


def _chain(node: Node) -> tuple[Path, list[Any]]:
    """The constant beginning of a reference, and what else is in it (indexes, or what is not a reference at all)."""
    names: list[str] = []
    rest: list[Any] = []
    while True:
        ((kind, inner),) = node.items()
        if kind == "Var":
            names.append(inner["value"])
            return tuple(reversed(names)), rest
        if kind == "RefDot":
            names.append(inner["field"][1])
        elif kind == "RefBrack" and "String" in inner["index"]:
            names.append(inner["index"]["String"]["value"])
        elif kind == "RefBrack":
            names.clear()
            rest.append(inner["index"])
        else:
            return (), [*rest, node]
        node = inner["refr"]


def _nodes(part: Any) -> Iterator[tuple[str, Any]]:
    """Every tagged node below, outermost first; the names inside a reference are not nodes of their own."""
    if isinstance(part, list):
        for element in part:
            yield from _nodes(element)
    elif isinstance(part, dict):
        for key, value in part.items():
            yield key, value
            if key in {"RefDot", "RefBrack"}:
                yield from _nodes(_chain({key: value})[1])
            elif key != "span":
                yield from _nodes(value)


def _resolve(module: _Module, path: Path, rules: set[Path]) -> Path:
    """The path under `data` that a name means in a module; () for variables, `input` and builtins."""
    if not path or path[0] == "input":
        return ()
    if path[0] == "data":
        return path[1:]
    own = module.package + path[:1]
    return module.package + path if any(rule[: len(own)] == own for rule in rules) else ()


def _check_calls(module: _Module, rule: _Rule, functions: set[Path], rules: set[Path], found: list[Problem]) -> None:
    for part in rule.parts:
        for kind, value in _nodes(part):
            if kind == "Call":
                _check_call(module, value, functions, rules, found)
            elif kind == "ArithExpr" and OPERATORS.get(value["op"]) not in ALLOWED_BUILTINS:
                found.append(Problem(module.file, value["span"]["line"], f"operator {value['op']} is not allowed"))
            elif kind == "NotExpr":
                _check_negation(module, value, rules, rule.line, found)
            elif kind == "with_mods" and value:
                found.append(
                    Problem(module.file, _line(value, rule.line), "`with` is not allowed: the input is what it is")
                )


def _check_call(module: _Module, call: Node, functions: set[Path], rules: set[Path], found: list[Problem]) -> None:
    path, dynamic = _chain(call["fcn"])
    name = ".".join(path)
    if dynamic or not (name in ALLOWED_BUILTINS or _resolve(module, path, rules) in functions):
        meant = difflib.get_close_matches(name, ALLOWED_BUILTINS, 1)
        hint = f" (did you mean {meant[0]}?)" if meant else ""
        text = f"call of {name or 'a computed name'} is not allowed{hint}"
        found.append(Problem(module.file, call["span"]["line"], text))


def _check_negation(module: _Module, node: Node, rules: set[Path], line: int, found: list[Problem]) -> None:
    """Only rules, paths and their equality may be denied, or calls on variables.

    One engine takes `not f(input.x)` for true if `input.x` is undefined, the other for undefined.
    """
    negated = node["expr"]
    ((kind, inner),) = negated.items()
    sides = [inner["lhs"], inner["rhs"]] if kind == "BoolExpr" and inner["op"] == "Eq" else [negated]
    if all(_is_plain(module, side, rules) for side in sides):
        return
    used = [{k: v} for k, v in _nodes([_without_function(negated)]) if k in {"Var", "RefDot", "RefBrack"}]
    if any(not _is_variable(module, use, rules) for use in used):
        text = "`not` over an expression with paths or rules in it: give the expression a rule of its own"
        found.append(Problem(module.file, inner["span"]["line"] if isinstance(inner, dict) else line, text))


def _is_plain(module: _Module, node: Node, rules: set[Path]) -> bool:
    """A constant, or a path whose computed steps are variables."""
    if node.keys() & CONSTANTS:
        return True
    if not node.keys() & {"Var", "RefDot", "RefBrack"}:
        return False
    return all(index.keys() & CONSTANTS or _is_variable(module, index, rules) for index in _chain(node)[1])


def _is_variable(module: _Module, node: Node, rules: set[Path]) -> bool:
    if "Var" not in node:
        return False
    name = node["Var"]["value"]
    return name not in {"input", "data"} and not _resolve(module, (name,), rules)


def _without_function(part: Any) -> Any:
    """The same without the names of called functions."""
    if isinstance(part, list):
        return [_without_function(element) for element in part]
    if isinstance(part, dict):
        return {key: _without_function(value) for key, value in part.items() if key != "fcn"}
    return part


def _line(nodes: list[Node], otherwise: int) -> int:
    _, dynamic = _chain(nodes[0]["refr"])
    inner = next(iter(nodes[0]["refr"].values()))
    line: int = otherwise if dynamic else inner["span"]["line"]
    return line


def _references(module: _Module, rule: _Rule, rules: set[Path]) -> Iterator[Path]:
    """The rules that a rule may lead to; a computed step leads to all that lie below."""
    for part in rule.parts:
        for kind, value in _nodes(part):
            if kind not in {"Var", "RefDot", "RefBrack"} or not isinstance(value, dict):
                continue
            path = _resolve(module, _chain({kind: value})[0], rules)
            if path or _is_data(kind, value):
                yield from (to for to in rules if to[: len(path)] == path[: len(to)])


def _is_data(kind: str, value: Node) -> bool:
    return _chain({kind: value})[0] == ("data",)


def _recursion(modules: list[_Module], edges: dict[Path, set[Path]]) -> Iterator[Problem]:
    circular = _on_cycles(edges)
    for module in modules:
        for rule in module.rules:
            if rule.path in circular:
                yield Problem(module.file, rule.line, f"rule {'.'.join(rule.path)} leads back to itself")


def _on_cycles(edges: dict[Path, set[Path]]) -> set[Path]:
    """What remains after taking away, again and again, the rules that lead nowhere and those that nothing leads to."""
    remaining = {path: set(to) for path, to in edges.items()}
    while True:
        targets = {to for reached in remaining.values() for to in reached}
        kept = {
            path: to & remaining.keys() for path, to in remaining.items() if to & remaining.keys() and path in targets
        }
        if kept.keys() == remaining.keys():
            return set(kept)
        remaining = kept


def _missing_entry_points(modules: list[_Module]) -> Iterator[Problem]:
    defaults = {rule.path for module in modules for rule in module.rules if rule.default}
    for entry_point in ENTRY_POINTS:
        if ("otbroker", *entry_point.value.split(".")) not in defaults:
            yield Problem("", 0, f"data.otbroker.{entry_point.value} is missing or has no default")
