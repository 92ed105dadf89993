"""The local BACnet/IP port where systems differ: what a datagram socket may say there, and what is dropped."""

import asyncio
import json
import socket

import pytest

from broker.cli.people import connect_bacnet
from broker.cli.people.bacnet_link import MOST_TOLD, BacnetLink
from broker.cli.people.connect_bacnet import BacnetSide
from broker.cli.people.exits import CommandError
from broker.cli.people.tunnel_events import event_lines
from broker.wire.bacnet.bvlc import Function, encode_bvlc

WHO_IS = encode_bvlc(Function.ORIGINAL_UNICAST, bytes.fromhex("0120ffff00ff1008"))
CLIENT = ("127.0.0.1", 50_001)


def heard(*incidents):
    """What a side tells of these incidents at its port: errors, and datagrams of one client."""
    told = []

    async def story():
        remaining = iter(incidents)

        async def next_incident(*_):
            incident = next(remaining, None)
            if incident is None:
                raise asyncio.CancelledError
            if isinstance(incident, Exception):
                raise incident
            return incident, CLIENT

        asyncio.get_running_loop().sock_recvfrom = next_incident
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
            port.bind(("127.0.0.1", 0))
            port.setblocking(False)
            await BacnetSide(None, told.append, "plant", "/v1/sites/plant/bacnet", port).listen()

    try:
        asyncio.run(story())
    except asyncio.CancelledError:
        return told
    return told


def test_a_client_that_has_closed_its_port_costs_nobody_theirs():
    """On Windows the next read then fails, once for each datagram that came back."""
    told = heard(*[ConnectionResetError(10054, "WSAECONNRESET")] * 500, WHO_IS)
    assert [event["type"] for event in told] == ["client", "dropped"]


def test_a_datagram_that_is_too_long_there_is_an_error_and_costs_nothing_else():
    assert heard(OSError(10040, "WSAEMSGSIZE"), WHO_IS)[0]["type"] == "client"


def test_a_port_that_can_no_longer_be_read_ends_it():
    with pytest.raises(CommandError, match="can no longer be read"):
        heard(*[OSError(9, "Bad file descriptor")] * connect_bacnet.MOST_FAILURES_IN_A_ROW)


def test_what_is_dropped_is_said_once_in_a_while(monkeypatch):
    told = heard(*[WHO_IS] * 5, b"nonsense")
    assert [(event["type"], event.get("code")) for event in told] == [
        ("client", None),
        ("dropped", "no_tunnel"),
        ("dropped", "malformed"),
    ]
    monkeypatch.setattr(connect_bacnet, "TOLD_SECONDS", 0.0)
    assert [event.get("count") for event in heard(*[WHO_IS] * 3)][1:] == [1, 2, 3]


def test_the_same_denial_is_told_once_in_a_while_with_its_number(monkeypatch):
    told = []
    now = 100.0
    monkeypatch.setattr("broker.cli.people.bacnet_link.time.monotonic", lambda: now)
    link = BacnetLink(None, told.append)
    denial = {"type": "denied", "device": "plant/vav-1", "reasons": [{"code": "no_grant"}]}
    for _ in range(4):
        link.denied(denial)
    link.denied({**denial, "device": "plant/vav-2"})
    now = 111.0
    link.denied(denial)
    assert [(event["device"], event.get("repeated")) for event in told] == [
        ("plant/vav-1", None),
        ("plant/vav-2", None),
        ("plant/vav-1", 3),
    ]
    assert link.denials == 6


def test_denials_of_different_objects_and_failures_are_each_told_with_what_was_asked(monkeypatch):
    told = []
    now = 100.0
    monkeypatch.setattr("broker.cli.people.bacnet_link.time.monotonic", lambda: now)
    link = BacnetLink(None, told.append)
    denial = {
        "type": "denied",
        "device": "plant/vav-1",
        "reasons": [{"code": "value_above_limit", "text": "Too high."}],
    }
    failure = {"type": "failed", "device": "plant/vav-1", "result": "unknown", "code": "timeout", "text": "Who knows."}
    for value in (98, 99, 99):
        link._control(json.dumps({**denial, "what": f"write-property analog-value,1 present-value = {value} @12"}))
    link._control(json.dumps({**failure, "what": "write-property analog-value,1 present-value = 20 @12"}))
    refusal = {"result": "denied", "code": "password_missing", "text": "No password.", "what_to_do": "Give one."}
    link._control(json.dumps({**failure, **refusal, "what": "reinitialize-device"}))
    assert [line for event in told for line, _ in event_lines(event)] == [
        "Denied at plant/vav-1: write-property analog-value,1 present-value = 98 @12: Too high. (value_above_limit)",
        "Denied at plant/vav-1: write-property analog-value,1 present-value = 99 @12: Too high. (value_above_limit)",
        "Outcome unknown at plant/vav-1: write-property analog-value,1 present-value = 20 @12: "
        "Who knows. (unknown, timeout)",
        "Refused at plant/vav-1: reinitialize-device: No password. (password_missing)",
        "  Give one.",
    ]
    assert (link.counts()["denials"], link.counts()["failures"]) == (3, 2)


def test_a_walk_over_all_that_is_denied_does_not_drown_the_rest(monkeypatch):
    told = []
    now = 100.0
    monkeypatch.setattr("broker.cli.people.bacnet_link.time.monotonic", lambda: now)
    link = BacnetLink(None, told.append)
    for number in range(500):
        link.denied({"type": "denied", "what": f"read-property analog-input,{number} present-value"})
    assert len(told) == MOST_TOLD
    now = 111.0
    link.denied({"type": "denied", "what": "read-property analog-input,1 present-value"})
    assert told[-1]["left_out"] == 500 - MOST_TOLD
