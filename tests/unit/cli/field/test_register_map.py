"""Register maps of vendors: points from CSV, or what is wrong with file, line and column."""

from decimal import Decimal
from pathlib import Path

import pytest

from broker.cli.field.assembly import Assembly
from broker.cli.field.looking import Looked, ModbusLook
from broker.cli.field.register_map import read_register_map
from broker.cli.inventory_files import read_inventory
from broker.errors import ConfigError
from broker.model.field import Bounds, FoundUnit
from broker.model.place import Device, ModbusAddress, Order, Table, ValueType
from broker.model.vocabulary import Action

HEAD = "name,table,address,type,scale,unit,minimum,maximum,action,bit,count,word_order,description\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "map.csv"
    path.write_text(text, encoding="utf-8")
    return path


def device(tmp_path: Path, text: str) -> Device:
    """The one device of the inventory that a map becomes."""
    points = read_register_map(written(tmp_path, text))
    look = ModbusLook("192.0.2.7", 502, (3,), Bounds())
    found = Looked(units=(FoundUnit("192.0.2.7", 502, 3, (("product-code", "M-3"),)),))
    proposed = Assembly("plant", "field", None).of(look, found, points)
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "devices.yaml").write_text(proposed.yaml(), encoding="utf-8")
    reading = read_inventory(folder)
    assert reading.problems == ()
    assert reading.inventory is not None
    return reading.inventory.devices[0]


def wrong(tmp_path: Path, text: str) -> list[tuple[int, int, str]]:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_register_map(path)
    assert all(problem.file == str(path) for problem in caught.value.problems)
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def test_every_line_is_a_point_of_the_inventory(tmp_path: Path) -> None:
    found = device(
        tmp_path,
        HEAD
        + "Supply setpoint,holding-register,0x0A,int16,0.1,°C,16,22,adjust,,,,\n"
        + "Energy,input-register,30,uint32,,kWh,,,,,,little,\n"
        + '"Fault, any",holding-register,40,bit,,,,,,3,,,"a ""quoted"" text"\n'
        + "Serial number,input-register,50,string,,,,,,,8,,\n"
        + "Fan,coil,1,,,,,,control,,,,\n"
        + "\n",
    )
    assert (found.id, found.unit_id, found.upstream_unit_id) == ("m-3-unit-3", 3, 3)
    points = {point.id: point for point in found.points}
    setpoint = points["supply-setpoint"]
    assert setpoint.address == ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16, scale=Decimal("0.1"))
    assert (setpoint.minimum, setpoint.maximum, setpoint.action) == (Decimal(16), Decimal(22), Action.ADJUST)
    assert points["energy"].address.word_order is Order.LITTLE  # type: ignore[union-attr]
    assert points["fault-any"].description == 'a "quoted" text'
    assert points["serial-number"].address.count == 8  # type: ignore[union-attr]
    assert points["fan"].address.table is Table.COIL  # type: ignore[union-attr]


def test_numbers_of_manuals_and_semicolons_are_read(tmp_path: Path) -> None:
    found = device(tmp_path, "\ufeffName;Register;Type\nA;40001;int16\nB;30010;\nC;465536;\nD;00005;\n")
    places = {point.id: (point.address.table, point.address.start) for point in found.points}  # type: ignore[union-attr]
    assert places == {
        "a": (Table.HOLDING_REGISTER, 0),
        "b": (Table.INPUT_REGISTER, 9),
        "c": (Table.HOLDING_REGISTER, 65535),
        "d": (Table.COIL, 4),
    }


CASES = {
    "unknown column": ("name,table,adress\n", (1, 12, "unknown column 'adress'")),
    "no place": ("name,type\n", (1, 1, "there must be the columns 'table' and 'address', or 'register'")),
    "twice": ("name,table,address,name\n", (1, 20, "column 'name' is there twice")),
    "address": (HEAD + "a,coil,70000\n", (2, 8, "")),
    "table": (HEAD + "ok,coil,1\na,colis,1\n", (3, 3, "")),
    "type": (HEAD + '"a, b",holding-register,1,int17\n', (2, 27, "")),
    "rule of the inventory": (HEAD + "a,input-register,1,,,,,,adjust\n", (2, 25, "")),
    "too many": ("name,table,address\na,coil,1,x\n", (2, 10, "more fields than the head has columns")),
    "quote": ('name,table,address\n"a,coil,1\n', (2, 9, "")),
    "no name": ("name,table,address\n,coil,1\n", (2, 1, "a point needs a name or an id")),
    "register": ("name,register\na,9\n", (2, 3, "'9' is no register number")),
    "register 0": ("name,register\na,40000\n", (2, 3, "there is no register 40000")),
    "overlap": (HEAD + "a,holding-register,1,uint32,,,,,adjust\nb,holding-register,2,,,,,,\n", (3, 20, "")),
    "empty": ("", (0, 0, "the file has no head")),
    "same id": ("id,table,address\na,coil,1\na,coil,2\n", (3, 1, "the id 'a' is there twice")),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_wrong_is_told_with_line_and_column(tmp_path: Path, text: str, expected: tuple[int, int, str]) -> None:
    line, column, message = expected
    assert [(at, where) for at, where, said in wrong(tmp_path, text) if message in said] == [(line, column)]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    assert [line for line, _, _ in wrong(tmp_path, HEAD + "a,x,1\nb,coil,y\nc,coil,1,int16\n")] == [2, 3, 4]


def test_text_that_is_not_utf_8_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_bytes(b"name,table,address\nGr\xf6sse,coil,1\n")
    with pytest.raises(ConfigError) as caught:
        read_register_map(path)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(2, 3)]
