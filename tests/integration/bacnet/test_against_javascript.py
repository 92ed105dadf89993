"""What @bacnet-js/client encodes are our octets, and it reads in ours what we put there, for thousands of messages."""

import json
import subprocess

import pytest

from broker.wire.bacnet.bvlc import Function, place_of
from broker.wire.bacnet.npdu import Address
from tests.end_to_end.peers import npm_package, program
from tests.integration.bacnet.drawn import Drawn, drawn

MESSAGES = drawn(4000, seed=38)


def _station(address: Address | None) -> dict[str, object] | None:
    return None if address is None else {"net": address.network, "adr": list(address.mac)}


def fields_of(message: Drawn) -> dict[str, object]:
    function, payload, origin = message.bvlc
    fields = {"octets": message.octets.hex(), "function": function, "rest": payload.hex()}
    fields |= {"origin": ":".join(map(str, place_of(origin))) if origin else None, "npdu": None, "apdu": None}
    npdu, apdu = message.npdu, message.apdu
    if npdu is not None:
        fields["rest"] = npdu.payload.hex()
        fields["npdu"] = {
            "funct": npdu.priority | npdu.expecting_reply << 2 | (npdu.message is not None) << 7,
            "destination": _station(npdu.destination),
            "source": _station(npdu.source),
            "hopCount": npdu.hop_count,
            "message": npdu.message,
        }
    if npdu is not None and apdu is not None:
        fields["rest"] = getattr(apdu, "parameters", b"").hex()
        fields["apdu"] = {
            "type": npdu.payload[0],
            "maxSegments": npdu.payload[1] & 0xF0,
            "maxApdu": npdu.payload[1] & 0x0F,
            "invoke": getattr(apdu, "invoke", None),
            "service": getattr(apdu, "service", getattr(apdu, "reason", None)),
            "sequence": getattr(apdu, "sequence", None),
            "window": getattr(apdu, "window", None),
        }
    return fields


@pytest.fixture(scope="module")
def theirs() -> list[dict]:
    folder = npm_package("@bacnet-js/client")
    asked = json.dumps([fields_of(message) for message in MESSAGES])
    command = [program("node"), folder / "bacnet_codec.mjs"]
    found = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=100)
    return json.loads(found.stdout)


def test_what_it_encodes_are_our_octets(theirs: list[dict]) -> None:
    assert len(theirs) == len(MESSAGES)
    for message, found in zip(MESSAGES, theirs, strict=True):
        assert found["encoded"] == message.octets.hex(), message


def test_it_reads_in_ours_what_we_put_there(theirs: list[dict]) -> None:
    for message, found in zip(MESSAGES, theirs, strict=True):
        link, fields = found["decoded"]["link"], fields_of(message)
        assert (link["func"], link["msgLength"]) == (message.bvlc.function, len(message.octets))
        if message.bvlc.function == Function.FORWARDED_NPDU:
            assert link["originatingIP"].removesuffix(":47808") == str(fields["origin"]).removesuffix(":47808")
        if message.npdu is not None:
            _check_network(message, found["decoded"]["network"])
        if message.apdu is not None:
            _check_application(fields, found["decoded"])


def _check_network(message: Drawn, found: dict) -> None:
    assert message.npdu is not None
    for name, address in (("destination", message.npdu.destination), ("source", message.npdu.source)):
        read = found.get(name)
        assert (read and (read["net"], bytes(read.get("adr", ())))) == address
    if message.npdu.destination is not None:
        assert found["hopCount"] == message.npdu.hop_count
    assert found["networkMsgType"] == (message.npdu.message or 0)
    assert bool(found["funct"] & 0x04) == message.npdu.expecting_reply


def _check_application(fields: dict, decoded: dict) -> None:
    found, wanted = decoded["application"], fields["apdu"]
    names = {"invoke": ("invokeId", "originalInvokeId"), "service": ("service", "reason"), "type": ("type",)}
    for name, theirs in names.items():
        assert next((found[word] for word in theirs if word in found), None) == wanted[name]
    if wanted["type"] & 0x08:
        window = found["proposedWindowNumber"]
        assert (found["sequencenumber"], window) == (wanted["sequence"], wanted["window"])
    if wanted["type"] & 0xF0 == 0:
        assert (found["maxSegments"], found["maxApdu"]) == (wanted["maxSegments"], wanted["maxApdu"])
    assert decoded["rest"] == fields["rest"]
