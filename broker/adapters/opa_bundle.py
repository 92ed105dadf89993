"""Bringing a policy to an OPA server, whole, and seeing whether it is still there.

The server belongs to the broker as far as the packages `otbroker` and `site` and all plain data go: what else is
there is taken away. OPA changes one module at a time, so a small module of ours, put last and taken away first,
carries the revision together with every decision; while a policy is being exchanged there is no such module and
therefore no decision.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from broker.adapters.opa_connection import OddReplyError, OpaConnection, PolicyRejectedError
from broker.adapters.rego_framing import ENTRY_POINTS
from broker.model.decision import EntryPoint

PREFIX: Final = "otb/"
WRAPPER: Final = "otb/published"
PACKAGE: Final = "otbroker_published"
OURS: Final = re.compile(r"^[ \t]*package[ \t]+(otbroker|site|otbroker_published)\b", re.MULTILINE)
_PACKAGE: Final = re.compile(r"^package[ \t]+([\w.]+)", re.MULTILINE)
_MENTIONED: Final = re.compile(r"\bdata\.(\w+\.\w+)")
PATHS: Final = {point: f"{PACKAGE}/{point.value.replace('.', '_')}" for point in ENTRY_POINTS}


@dataclass(frozen=True, slots=True)
class OpaBundle:
    """A policy as an OPA server shall hold it."""

    modules: dict[str, str]
    data: dict[str, object]
    revision: str
    identified: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        identified = {PREFIX + file: text for file, text in self.modules.items()}
        object.__setattr__(self, "identified", {**identified, WRAPPER: wrapper(self.revision)})


def wrapper(revision: str) -> str:
    """The module that answers with the revision; an undefined decision is an empty list in it."""
    rules = (
        f'{point.value.replace(".", "_")} := {{"revision": {json.dumps(revision)}, '
        f'"answer": [answer | answer := data.otbroker.{point.value}]}}'
        for point in ENTRY_POINTS
    )
    return "\n\n".join([f"package {PACKAGE}", *rules, ""])


def path_of(entry_point: EntryPoint) -> str:
    """Where in `data` an entry point is asked, with its revision."""
    return PATHS[entry_point]


def read_reply(result: Any) -> tuple[str, list[Any]]:
    """The revision and the answer (one or none) of a reply; a server without our module has revision "".

    Raises OddReplyError.
    """
    if result is None:
        return "", []
    if not isinstance(result, dict) or not isinstance(result.get("revision"), str):
        raise OddReplyError("no revision")
    answer = result.get("answer")
    if not isinstance(answer, list) or len(answer) > 1:
        raise OddReplyError("no single answer")
    return result["revision"], answer


async def bring(connection: OpaConnection, bundle: OpaBundle) -> None:
    """Make the server hold this policy, whatever it holds. Raises PolicyRejectedError, with the server in between.

    The server compiles everything anew at each change, so what is there already stays. Changes that the server wants
    in no order, because each needs another, are made from nothing.
    """
    held = await connection.modules()
    await connection.delete_module(WRAPPER)
    old, new = {name: held[name] for name in _ours(held)}, dict(bundle.identified)
    old.pop(WRAPPER, None)
    wrapper_text = new.pop(WRAPPER)
    try:
        await _exchange(connection, old, new, bundle.data)
    except PolicyRejectedError:
        there = await connection.modules()
        await _exchange(connection, {name: there[name] for name in _ours(there)}, {}, bundle.data)
        await _exchange(connection, {}, new, bundle.data)
    await connection.put_module(WRAPPER, wrapper_text)


async def _exchange(
    connection: OpaConnection, old: Mapping[str, str], new: Mapping[str, str], data: dict[str, object]
) -> None:
    """Take away what is only in `old` and put what differs in `new`. Raises PolicyRejectedError."""
    gone = {name: text for name, text in old.items() if name not in new}
    changed = {name: text for name, text in new.items() if old.get(name) != text}
    await _each(connection, dict.fromkeys(reversed(_by_dependence(gone)), None))
    await connection.put_data(data)
    await _each(connection, {name: changed[name] for name in _by_dependence(changed)})


async def holds(connection: OpaConnection, bundle: OpaBundle) -> bool:
    """Whether the server holds exactly this policy and its data."""
    held = await connection.modules()
    if {name: held[name] for name in _ours(held)} != bundle.identified:
        return False
    for key, value in bundle.data.items():
        if await connection.document(key) != value:
            return False
    return True


def _ours(held: dict[str, str]) -> list[str]:
    return [name for name, text in held.items() if name.startswith(PREFIX) or OURS.search(text)]


def _by_dependence(modules: Mapping[str, str]) -> list[str]:
    """The modules, those first on which others depend, as far as their texts tell: every change that the server must
    refuse costs it a compilation.
    """
    packages = {name: found.group(1) for name, text in modules.items() if (found := _PACKAGE.search(text))}
    mentioned = {name: set(_MENTIONED.findall(text)) for name, text in modules.items()}
    needed = {
        name: {other for other, package in packages.items() if other != name and package in mentioned[name]}
        for name in modules
    }
    try:
        return list(TopologicalSorter(needed).static_order())
    except CycleError:
        return list(modules)


async def _each(connection: OpaConnection, changes: Mapping[str, str | None]) -> None:
    """Put or (None) delete modules in this order; those that the server does not want yet, again after the others."""
    waiting = changes
    while waiting:
        refused: dict[str, str | None] = {}
        complaint = PolicyRejectedError()
        for name, text in waiting.items():
            try:
                await (connection.delete_module(name) if text is None else connection.put_module(name, text))
            except PolicyRejectedError as error:
                refused[name], complaint = text, error
        if len(refused) == len(waiting):
            raise complaint
        waiting = refused
