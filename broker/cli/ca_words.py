"""What `otbroker ca` says, for people and as JSON."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from broker.adapters.authority.standing import AuthorityStanding, Stage, Standing

_MOMENTS = frozenset({"next_update", "issues_from", "not_after"})


def tell(facts: Mapping[str, object], form: str) -> int:
    """What a command made; the exit status."""
    told = {name: _told(name, value) for name, value in facts.items() if value is not None}
    if form == "json":
        _print_json(told)
    else:
        width = max(map(len, told)) + 1
        for name, value in told.items():
            print(f"{name.replace('_', ' ') + ':':<{width}} {value}")
    return 0


def print_standing(stands: Standing, form: str) -> None:
    """How the authority stands."""
    if form == "json":
        _print_json(_in_json(asdict(stands)))
        return
    print(f"authority of {stands.organisation}, for {', '.join(stands.namespaces)}")
    print(f"root: until {_moment(stands.root_not_after)}, its list until {_moment(stands.root_crl_next_update)}")
    for one in stands.issuing:
        print(f"issuing {one.number}: {_authority(one)}")
    print(f"certificates: {stands.valid} valid, {stands.revoked} revoked; register {stands.register_head[:16]}")
    for entry in stands.ending_soon:
        print(f"ends {_moment(entry.not_after)}: {entry.profile} {', '.join(entry.names)} ({entry.serial})")
    for step in stands.steps:
        print(f"{'OVERDUE' if step.overdue else 'next'}: {step.text}")


def _authority(one: AuthorityStanding) -> str:
    if one.stage is Stage.AWAITED:
        return f"its certificate is awaited, key in {one.key}"
    words = f"{one.stage}, until {_moment(one.not_after)}, its list until {_moment(one.crl_next_update)}"
    if one.stage is Stage.WAITING:
        words += f", issues from {_moment(one.issues_from)}"
    if one.stage is Stage.REPLACED:
        words += f", last certificate ends {_moment(one.last_certificate_ends)}"
    return f"{words}, key in {one.key}, serial {one.serial}"


def _in_json(value: object) -> object:
    """Every float of a standing is a moment."""
    if isinstance(value, dict):
        return {key: _in_json(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_in_json(inner) for inner in value]
    if isinstance(value, float):
        return _moment(value) if value else None
    return value


def _told(name: str, value: object) -> object:
    if name in _MOMENTS and isinstance(value, int | float):
        return _moment(value)
    return str(value) if isinstance(value, Path) else value


def _moment(epoch: float) -> str:
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}" if epoch else "-"


def _print_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")
