"""`ls`, `points`, `windows`, `me`, `status`: what the broker lets its caller see."""

import argparse
import time

from broker.cli.people.break_glass import reviews_told
from broker.cli.people.client import Client
from broker.cli.people.devices import device_key, path_of, with_suggestion
from broker.cli.people.exits import Document, Exit, ProblemError
from broker.cli.people.moments import distance, epoch_of, moment
from broker.cli.people.problem_words import entries
from broker.cli.people.safe_text import number_text
from broker.cli.people.screen import Cell, Screen


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Devices with what is open now and next."""
    answer = await client.get("/v1/devices")
    screen.document(answer)
    devices = entries(answer.get("devices"))
    screen.table(
        ("DEVICE", "PROTOCOL", "NOW", "NEXT WINDOW", "DESCRIPTION"),
        [
            (
                str(device.get("id", "")),
                _protocol(device),
                _now(_times(device)),
                _next(_times(device)),
                str(device.get("description", "")),
            )
            for device in devices
        ],
    )
    if not devices:
        screen.say("There is no device that you may see.")
    return Exit.DONE


async def points(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """The points of a device."""
    device = await device_key(client, arguments.device)
    try:
        answer = await client.get(f"{path_of(device)}/points")
    except ProblemError as problem:
        raise await with_suggestion(client, problem, device, []) from None
    screen.document(answer)
    rows = [
        (str(p.get("id", "")), _place(p), str(p.get("unit", "")), _write_rule(p), str(p.get("description", "")))
        for p in entries(answer.get("points"))
    ]
    screen.table(("POINT", "ADDRESS", "UNIT", "WRITE", "DESCRIPTION"), rows)
    if not rows:
        screen.say("The inventory describes no points of this device.")
    return Exit.DONE


async def windows(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Windows and freezes, open now or next."""
    answer = await client.get("/v1/windows")
    screen.document(answer)
    found = entries(answer.get("windows"))
    frozen = frozen_devices(found)
    rows = [
        (
            window_state(w, frozen),
            str(w.get("id", "")),
            moment(w.get("opens")),
            moment(w.get("closes")),
            _distance(w),
            ", ".join(map(str, w.get("devices", []))),
            str(w.get("description", "")),
        )
        for w in found
    ]
    screen.table(("STATE", "WINDOW", "OPENS", "CLOSES", "", "DEVICES", "DESCRIPTION"), rows)
    if not rows:
        screen.say("No window is open or planned for your devices.")
    return Exit.DONE


async def me(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Who the caller is to the broker."""
    answer = await client.get("/v1/me")
    screen.document(answer)
    screen.facts(_subject_facts(answer))
    return Exit.DONE


async def status(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Whether the broker answers, as whom one is known, how long the proofs hold, and what is open."""
    began = time.monotonic()
    subject = await client.get("/v1/me")
    took = time.monotonic() - began
    found = await client.get("/v1/windows")
    live = await client.get("/v1/sessions")
    glass = await client.get("/v1/break-glass")
    access = client.access
    screen.document(
        {"api": access.api, "source": access.source, "me": subject, "windows": found, "sessions": live}
        | {"break_glass": glass}
    )
    times, open_sessions = entries(found.get("windows")), entries(live.get("sessions"))
    mine = "your sessions" if live.get("scope") == "own" else "sessions"
    rows: list[tuple[str, Cell]] = [
        ("broker", f"{access.api} answers ({took * 1000:.0f} ms)"),
        ("settings from", access.source),
        *_subject_facts(subject),
        ("windows", "; ".join(_window_sentence(w, frozen_devices(times)) for w in times) or "none open or planned"),
        (mine, str(len(open_sessions))),
        ("your emergencies" if glass.get("scope") == "own" else "emergencies", reviews_told(glass)),
    ]
    screen.facts(rows)
    return Exit.DONE


def frozen_devices(windows: list[Document]) -> frozenset[str]:
    """The devices that a freeze holds now."""
    return frozenset(str(key) for w in windows if w.get("state") == "frozen" for key in w.get("devices", []))


def window_state(window: Document, frozen: frozenset[str]) -> Cell:
    """A window's state; one that is open on devices that are frozen lets nothing be changed on them."""
    state = str(window.get("state", ""))
    held = sorted(frozen.intersection(map(str, window.get("devices", [])))) if state == "open" else []
    if not held:
        return state, _STYLES.get(state, "")
    if len(held) == len(window.get("devices", [])):
        return "frozen", _STYLES["frozen"]
    return f"open, but frozen for {', '.join(held)}", "yellow"


_STYLES = {"open": "green", "frozen": "red", "next": "cyan"}


def _subject_facts(subject: Document) -> list[tuple[str, Cell]]:
    roles = ", ".join(map(str, subject.get("roles", []))) or "none"
    rows: list[tuple[str, Cell]] = [
        ("you are", f"{subject.get('id', '')} ({subject.get('kind', '')} of {subject.get('organisation', '')})"),
        ("roles", roles),
    ]
    return rows + [(f"{proof.get('kind', 'proof')}", _proof(proof)) for proof in entries(subject.get("proofs"))]


def _proof(proof: Document) -> Cell:
    end, logged_in = epoch_of(proof.get("not_after")), epoch_of(proof.get("authenticated_at"))
    told = f"from {proof.get('issuer', '')}, ends {moment(end)}, {distance(end)}"
    if logged_in is not None:
        ways = [*([str(proof["acr"])] if proof.get("acr") else []), *map(str, proof.get("methods") or [])]
        told += f"; logged in {distance(logged_in)}" + (f" by {', '.join(ways)}" if ways else "")
    return (told, "yellow") if end is not None and end - time.time() < 900 else told


def _protocol(device: Document) -> str:
    """What it speaks, and where tools find it."""
    protocol, unit, bacnet = str(device.get("protocol", "")), device.get("unit_id"), device.get("bacnet")
    if isinstance(bacnet, dict):
        at = "" if bacnet.get("network") is None else f" at {bacnet['network']}:0x{bacnet.get('address', '')}"
        return f"{protocol} {bacnet.get('instance', '')}{at}"
    return protocol if unit is None else f"{protocol} unit {unit}"


def _times(device: Document) -> Document:
    times = device.get("windows")
    return times if isinstance(times, dict) else {}


def _now(times: Document) -> Cell:
    frozen, is_open = entries(times.get("frozen")), entries(times.get("open"))
    if frozen:
        return f"frozen by {frozen[0].get('id', '')} until {moment(frozen[0].get('closes'))}", "red"
    if is_open:
        last = max(is_open, key=lambda window: epoch_of(window.get("closes")) or 0.0)
        return f"open ({last.get('id', '')}) until {moment(last.get('closes'))}", "green"
    return "closed", "dim"


def _next(times: Document) -> str:
    window = times.get("next")
    if not isinstance(window, dict):
        return "-"
    return f"{window.get('id', '')} {moment(window.get('opens'))}, {distance(window.get('opens'))}"


def _window_sentence(window: Document, frozen: frozenset[str]) -> str:
    state, name = window.get("state"), window.get("id", "")
    if state == "next":
        return f"{name} opens {distance(window.get('opens'))}"
    told = window_state(window, frozen)[0]
    return f"{name} {told}, ends {distance(window.get('closes'))}"


def _distance(window: Document) -> str:
    upcoming = window.get("state") == "next"
    return f"{'opens' if upcoming else 'closes'} {distance(window.get('opens' if upcoming else 'closes'))}"


def _place(point: Document) -> str:
    """Where a point is, as its protocol says it; Modbus addresses are zero-based."""
    modbus, bacnet = point.get("modbus"), point.get("bacnet")
    if isinstance(modbus, dict):
        bit = f" bit {modbus['bit']}" if "bit" in modbus else ""
        return f"{modbus.get('table', '')}:{modbus.get('address', '')} {modbus.get('type', '')}{bit}"
    if isinstance(bacnet, dict):
        index = "" if bacnet.get("index") is None else f"[{bacnet['index']}]"
        return f"{bacnet.get('object_type', '')},{bacnet.get('instance', '')} {bacnet.get('property', '')}{index}"
    return ""


def _write_rule(point: Document) -> str:
    """What a write of a point needs."""
    if not point.get("writable"):
        return "-"
    parts = [str(point.get("action", ""))]
    low, high = point.get("minimum"), point.get("maximum")
    if low is not None or high is not None:
        parts.append(f"{number_text(low)} to {number_text(high)}")
    if point.get("allowed"):
        parts.append(f"one of {', '.join(map(number_text, point['allowed']))}")
    bacnet = point.get("bacnet")
    if isinstance(bacnet, dict) and bacnet.get("priority_lowest") is not None:
        parts.append(f"priority {bacnet['priority_lowest']} to {bacnet.get('priority_highest')}")
    if point.get("confidential"):
        parts.append(str(point["confidential"]))
    return ", ".join(parts)
