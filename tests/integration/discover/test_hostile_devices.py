"""Devices that say what no device should: the look ends within its bounds, and the file is an inventory."""

import os
import signal
from pathlib import Path

import pytest

from broker.cli.config_files import load_inventory
from broker.wire.bacnet.apdu import ComplexAck, ConfirmedRequest, encode_apdu
from broker.wire.bacnet.encoding import application, application_object, application_unsigned
from broker.wire.bacnet.tags import TEXT
from tests.integration.discover.conftest import Ran, Run
from tests.integration.discover.field_devices import READ_PROPERTY, running
from tests.integration.discover.hostile_device import Asked, HostileDevice, Says, acknowledged, hostile

DEVICE, AV = 8, 2
LIST, NAME, DESCRIPTION = 76, 77, 28
EVIL = 'a"\n  - id: evil # \u202e\x1b[2J\x00: &x *x !!y {[}'


def text(value: str) -> bytes:
    return application(TEXT, b"\0" + value.encode())


def plain(device: HostileDevice, request: ConfirmedRequest, at: Asked, objects: int = 3) -> None:
    """A device with some analog values, all called the same."""
    kind, _, property, index = at
    if property == LIST:
        count = application_unsigned(objects + 1)
        one = application_object(DEVICE, device.instance) if index == 1 else application_object(AV, (index or 2) - 1)
        some = b"".join(application_object(AV, number) for number in range(1, min(objects, 100) + 1))
        device.value(request, at, count if index == 0 else some if index is None else one)
    elif property == NAME:
        device.value(request, at, text("Pump" if kind == AV else "Hostile"))
    else:
        device.error(request)


def looked_at(
    tmp_path: Path, discover: Run, says: Says, *arguments: str, announced: int = 1
) -> tuple[Ran, list[Asked]]:
    """How a look came out, of which the file is an inventory; and what was asked."""
    with running(hostile(666, says, announced)) as (device,):
        ran = discover("--devices", f"127.0.0.1:{device.port}", *arguments)
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "found.yaml").write_text(ran.out, encoding="utf-8")
    load_inventory(folder)
    assert all(line.isprintable() for line in (ran.out + ran.err).split("\n"))
    return ran, device.asked


def test_a_list_of_a_million_objects_is_read_as_far_as_may_be(tmp_path: Path, discover: Run) -> None:
    def says(device: HostileDevice, request: ConfirmedRequest, at: Asked) -> None:
        plain(device, request, at, 1_000_000)

    ran, asked = looked_at(tmp_path, discover, says, "--most-objects", "20")
    assert ran.status == 4
    assert ran.out.count("object: analog-value") == 19
    assert "1000001 objects, of which 20" in ran.err
    assert len(asked) < 400


def test_names_that_are_commands_to_a_terminal_or_yaml_are_only_text(tmp_path: Path, discover: Run) -> None:
    def says(device: HostileDevice, request: ConfirmedRequest, at: Asked) -> None:
        device.value(request, at, text(EVIL)) if at[2] in (NAME, DESCRIPTION) else plain(device, request, at)

    ran, _ = looked_at(tmp_path, discover, says)
    (device,) = load_inventory(tmp_path / "inventory").devices
    assert (device.id, len(device.points)) == ("a-id-evil-2j-x-x-y", 3)
    assert ran.status == 0


def test_segments_without_end_are_not_collected(tmp_path: Path, discover: Run) -> None:
    def says(device: HostileDevice, request: ConfirmedRequest, at: Asked) -> None:
        if at[2] != LIST or at[3] is not None:
            plain(device, request, at)
            return
        for sequence in range(200):
            ack = ComplexAck(request.invoke, READ_PROPERTY, b"\x55" * 1000, True, True, sequence, 127)
            device.send(encode_apdu(ack))

    ran, asked = looked_at(tmp_path, discover, says)
    assert ran.out.count("object: analog-value") == 3
    assert sum(at[2] == LIST and at[3] is None for at in asked) == 1


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="no value"),
        pytest.param(application_unsigned(7), id="a number for a name"),
        pytest.param(b"\x75\xfe\xff\xff\x00abc", id="longer than it is"),
        pytest.param(b"\x71\x00", id="an empty text"),
        pytest.param(b"\x2e\x2e\x2e\x2f\x2f\x2f", id="nested"),
        pytest.param(b"\xff" * 40, id="no tags"),
    ],
)
def test_values_of_the_wrong_type_or_none_are_told_and_the_rest_is_kept(
    tmp_path: Path, discover: Run, octets: bytes
) -> None:
    def says(device: HostileDevice, request: ConfirmedRequest, at: Asked) -> None:
        device.value(request, at, octets) if at[2] == NAME and at[0] == AV else plain(device, request, at)

    ran, _ = looked_at(tmp_path, discover, says, "--wait", "0.2")
    assert ran.out.count("object: analog-value") >= 1
    assert "id: analog-value-1" in ran.out


def test_answers_to_something_else_are_no_answers(tmp_path: Path, discover: Run) -> None:
    def says(device: HostileDevice, request: ConfirmedRequest, at: Asked) -> None:
        if at[0] == AV and at[2] == NAME:
            other = acknowledged((AV, 99, NAME, None), text("not me"))
            device.send(encode_apdu(ComplexAck((request.invoke + 1) % 256, READ_PROPERTY, other)))
            device.send(encode_apdu(ComplexAck(request.invoke, READ_PROPERTY, other)))
        else:
            plain(device, request, at)

    ran, _ = looked_at(tmp_path, discover, says, "--wait", "0.2")
    assert "not me" not in ran.out
    assert "not-me" not in ran.out


def test_what_a_device_said_before_it_fell_silent_is_kept(tmp_path: Path, discover: Run) -> None:
    def says(device: HostileDevice, request: ConfirmedRequest, at: Asked) -> None:
        if at[:2] != (AV, 2):
            plain(device, request, at)

    ran, asked = looked_at(tmp_path, discover, says, "--wait", "0.2")
    assert (ran.status, ran.out.count("object: analog-value")) == (4, 1)
    assert "it stopped answering" in ran.out
    assert sum(at[:2] == (AV, 2) for at in asked) == 6  # three times, each repeated once
    (_, done) = ran.commands
    assert (done.outcome, done.about["partial"]) == ("done", "yes")


def test_what_was_found_until_the_user_broke_it_off_is_kept(tmp_path: Path, discover: Run) -> None:
    def says(device: HostileDevice, request: ConfirmedRequest, at: Asked) -> None:
        if at[:2] == (AV, 3):
            os.kill(os.getpid(), signal.SIGINT)
        plain(device, request, at, 10)

    ran, _ = looked_at(tmp_path, discover, says)
    assert (ran.status, ran.out.count("object: analog-value")) == (4, 2)
    assert "it was broken off" in ran.err
    assert [each.outcome for each in ran.commands] == ["begun", "done"]


def test_thousands_of_devices_in_one_are_bounded(tmp_path: Path, discover: Run) -> None:
    def says(device: HostileDevice, request: ConfirmedRequest, at: Asked) -> None:
        device.error(request)

    ran, asked = looked_at(tmp_path, discover, says, "--most-devices", "2", "--low", "666", announced=2000)
    assert ran.out.count("- id: device-") <= 2
    assert len(asked) < 100
