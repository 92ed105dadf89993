"""A development broker that is started again in its folder: what was edited there stays, and nobody loses access."""

import socket
from contextlib import ExitStack, suppress

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, until

TRIES = 3


def logged_since(development: Development, before: str) -> str:
    """What it has said since; all of its start."""
    until(lambda: "Ctrl-C ends it." in development.logged().removeprefix(before), 20)
    until(lambda: "access_changed" in development.logged().removeprefix(before), 20)
    development.stop()
    return development.logged().removeprefix(before)


def bound(taken: socket.socket, port: int) -> bool:
    with suppress(OSError):  # another program has it for a moment
        taken.bind(("127.0.0.1", port))
        return True
    return False


def test_a_restart_keeps_an_edited_inventory_with_the_devices_where_they_are_now(start: Start) -> None:
    first = start(name="again")
    inventory = first.folder / "inventory" / "devices.yaml"
    meter = int(first.facts["devices"]["plant/meter-1"]["upstream"].rpartition(":")[2])
    first.stop()
    inventory.write_text(inventory.read_text().replace("maximum: 22.0", "maximum: 20.0"))
    before = first.logged()
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        until(lambda: bound(taken, meter), 20)
        taken.listen()
        again = start(name="again")
        assert again.facts["devices"]["plant/meter-1"]["upstream"] != f"127.0.0.1:{meter}"
        assert again.api("bms-sync").read("plant/meter-1", "heat-energy").status == 200
        denied = again.api("vendor-ana").write("plant/ahu-1", {"supply-temp-setpoint": 21})
        assert denied.reasons == ["value_above_limit"]
        said = logged_since(again, before)
    assert "kept as you edited it: inventory/devices.yaml (" in said
    assert "maximum: 20.0" in inventory.read_text()


def test_nobody_loses_access_by_a_restart(start: Start) -> None:
    """Unless another program has taken the port of a simulated device meanwhile: then it is tried again."""
    earlier = start(name="again")
    earlier.stop()
    for _ in range(TRIES):
        before = earlier.logged()
        earlier = start(name="again")
        said = logged_since(earlier, before)
        if " loses " not in said:
            break
    assert " loses " not in said
