"""The one form of an inventory that its revision is the hash of, and the way back from that form."""

import base64
import dataclasses
import hashlib
import json
import types
import typing
from decimal import Decimal
from enum import Enum
from typing import Any, Union

from broker.model.place import Inventory
from broker.settings.inventory_points import decimal_text

# Ways to a device are told apart by the name of their class.
_KIND = "kind"


def with_revision(inventory: Inventory) -> Inventory:
    """The same inventory with everything in one order, and its revision."""
    ordered = dataclasses.replace(
        inventory,
        revision="",
        sites=tuple(sorted(inventory.sites)),
        segments=tuple(sorted(inventory.segments, key=lambda s: (s.site, s.id))),
        devices=tuple(sorted(inventory.devices, key=lambda d: d.key)),
        organisations=tuple(sorted(inventory.organisations, key=lambda o: o.id)),
        windows=tuple(sorted(inventory.windows, key=_by_form)),
        freezes=tuple(sorted(inventory.freezes, key=_by_form)),
        grants=tuple(sorted(inventory.grants, key=_by_form)),
        endpoints=tuple(sorted(inventory.endpoints, key=lambda e: (e.at, e.network or 0))),
        bacnet_networks=tuple(sorted(inventory.bacnet_networks, key=lambda n: n.site)),
    )
    digest = hashlib.sha256(encode_inventory(ordered)).digest()
    return dataclasses.replace(ordered, revision=base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii"))


def encode_inventory(inventory: Inventory) -> bytes:
    """The canonical form, without the revision: JSON, keys sorted, numbers that must be exact as text."""
    return _json(_plain(dataclasses.replace(inventory, revision=""))).encode()


def decode_inventory(raw: bytes) -> Inventory:
    """The inventory of a canonical form, with its revision. Raises ValueError if it is none."""
    try:
        inventory = _built(Inventory, json.loads(raw))
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError("not the canonical form of an inventory") from error
    assert isinstance(inventory, Inventory)
    return with_revision(inventory)


def _by_form(entry: Any) -> tuple[str, str]:
    return entry.id, _json(_plain(entry))


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_KIND: type(value).__name__} | plain
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _built(kind: Any, plain: Any) -> Any:
    """A value of type `kind` from its plain form; `kind` is what the dataclasses of `model` are annotated with."""
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return _built_of_union(typing.get_args(kind), plain)
    if origin is tuple:
        return _built_tuple(typing.get_args(kind), plain)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        hints = typing.get_type_hints(kind)
        # What an earlier version did not know has its default; without one, the constructor raises TypeError.
        given = {name: item for name, item in plain.items() if (name, item) != (_KIND, kind.__name__)}
        return kind(
            **{f.name: _built(hints[f.name], given[f.name]) for f in dataclasses.fields(kind) if f.name in given}
        )
    if kind is bytes:
        return base64.b64decode(plain, validate=True)
    if kind is Decimal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return kind(plain)
    if kind is float and type(plain) is int:
        return float(plain)
    if type(plain) is not kind:
        raise TypeError(f"expected {kind}")
    return plain


def _built_of_union(kinds: tuple[Any, ...], plain: Any) -> Any:
    if plain is None and type(None) in kinds:
        return None
    named = {kind.__name__: kind for kind in kinds if kind is not type(None)}
    return _built(named[plain[_KIND]] if len(named) > 1 else next(iter(named.values())), plain)


def _built_tuple(kinds: tuple[Any, ...], plain: Any) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is ...:
        return tuple(_built(kinds[0], item) for item in plain)
    return tuple(_built(kind, item) for kind, item in zip(kinds, plain, strict=True))
