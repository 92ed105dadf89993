"""The simulated building of `otbroker dev`."""

from tests.end_to_end.development import Development
from tests.end_to_end.modbus_caller import read_registers, write_register


def test_smoke(building: Development) -> None:
    with building.modbus() as caller:
        print(caller.ask(read_registers(10)))
        print(caller.ask(write_register(10, 185)))
        print(caller.ask(read_registers(10)))
    print(building.records("session_opened"))
    print(building.api().read("plant/ahu-1", "supply-temp"))
