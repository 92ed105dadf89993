"""What the ledger is told of a look stays within what a host command may say, however much was found."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from broker.adapters.host_journal import LARGEST_LINE, MOST_MEMBERS, HostJournal
from broker.cli.field.commands import _asked, _done, add_discover
from broker.cli.field.looking import BacnetLook, Looked
from broker.model.field import Bounds, FieldAddress, FoundDevice, FoundObject

PLACES = tuple(FieldAddress(f"192.0.2.{number}", 47808) for number in range(1, 250))
OBJECTS = tuple(FoundObject("analog-input", number) for number in range(4000))
LOOK = BacnetLook("192.0.2.1/24", 47808, 0, 4194302, PLACES, tuple(range(1, 500)), "192.0.2.1:47808", Bounds())


@pytest.mark.parametrize("devices", [0, 1, 30, 250])
def test_however_many_devices_were_read_it_is_told_of_whom_and_how_many_not(tmp_path: Path, devices: int) -> None:
    found = tuple(
        FoundDevice(4_000_000 + number, PLACES[0], 1, 480, "none", objects=OBJECTS, requests=99_000)
        for number in range(devices)
    )
    with HostJournal(tmp_path).telling("discover", **_asked(argparse.Namespace(site="plant"), LOOK)) as told:
        told.update(_done(Looked(found, trouble=("x",))))
    taken = HostJournal(tmp_path).take()
    assert taken is not None
    assert taken.unreadable == 0
    _, done = taken.commands
    assert len(done.about) <= MOST_MEMBERS
    assert len(json.dumps(asdict(done))) < LARGEST_LINE
    listed = sum(len(text.split()) for name, text in done.about.items() if name.startswith("read-"))
    assert (done.about["answered"], done.about["partial"]) == (str(devices), "yes")
    assert listed + int(done.about.get("not-listed", 0)) == devices


def test_each_argument_is_checked_where_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_discover(parser.add_subparsers())
    for wrong in (
        ("--interface", "10.0.0.1"),
        ("--interface", "10.0.0.1/24:0"),
        ("--interface", "10.0.0.1/24:99999"),
        ("--interface", "fe80::1/64"),
        ("--modbus", "ho st"),
        ("--modbus", "host:0"),
        ("--modbus", "host", "--unit", "9-1"),
        ("--modbus", "host", "--unit", "256"),
        ("--interface", "10.0.0.1/24", "--low", "4194303"),
        ("--interface", "10.0.0.1/24", "--low", "-1"),
        ("--interface", "10.0.0.1/24", "--devices", "host:47808"),
        ("--interface", "10.0.0.1/24", "--rate", "0"),
        ("--interface", "10.0.0.1/24", "--rate", "nan"),
        ("--interface", "10.0.0.1/24", "--network", "65535"),
        ("--interface", "10.0.0.1/24", "--modbus", "host"),
        ("--interface", "10.0.0.1/24", "--segment", "Not A Label"),
        (),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(["discover", "--site", "plant", *wrong])
    capsys.readouterr()
    parser.parse_args(["discover", "--site", "plant", "--interface", "10.0.0.1/24:47809", "--unit", "1-10"])
