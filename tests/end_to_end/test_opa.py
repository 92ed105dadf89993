"""With a real OPA server: the same answers, and nothing fails open while it is not there."""

import time

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import until
from tests.end_to_end.modbus_caller import read_registers, write_register
from tests.integration.policy.opa_server import opa_or_skip, running_opa
from tests.ports import free_port

AHU = "plant/ahu-1"


def test_nothing_is_decided_without_opa_and_everything_once_it_is_there(start: Start) -> None:
    opa_or_skip()
    port = free_port()
    development = start("--opa", f"http://127.0.0.1:{port}")
    with development.modbus() as caller:
        assert caller.ask(read_registers(1)) == b"\x83\x01"
        assert development.ops("/readyz")[0] == 503

        with running_opa(port=port) as opa:
            until(lambda: caller.ask(read_registers(1)) == b"\x03\x02\x00\xeb", 20)
            assert caller.ask(write_register(10, 190)) == write_register(10, 190)
            assert caller.ask(write_register(10, 300)) == b"\x86\x01"
            refused = development.api().write(AHU, {"supply-temp-setpoint": 30})
            assert (refused.status, refused.reasons) == (403, ["value_above_limit"])
            assert development.api().write("plant/meter-1", {"pulse-weight": 1}).body["next_window"]["id"] == "saturday"
            opa.process.kill()
            opa.process.wait()

        began = time.monotonic()
        assert caller.ask(read_registers(50)) == b"\x83\x01"
        assert caller.ask(write_register(10, 191)) == b"\x86\x01"
        assert time.monotonic() - began < 1.0
        refused = development.api().write(AHU, {"supply-temp-setpoint": 18})
        assert refused.status == 403
        assert set(refused.reasons) <= {"policy_unavailable", "policy_late"}

        with running_opa(port=port):
            until(lambda: caller.ask(write_register(10, 192)) == write_register(10, 192), 20)
            assert caller.ask(write_register(10, 300)) == b"\x86\x01"
            development.stop()
