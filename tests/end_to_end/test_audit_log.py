"""An audit log in OT that nobody here wrote is told who did what, with the person, and nobody waits for it."""

import asyncio
from pathlib import Path
from typing import Any

from broker.cli.building import ANA, BMS
from tests.end_to_end.bacnet_field import rusty_devices, write_site
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, until

DEVICE, LOG = 2002, 2009
VAV = f"plant/vav-{DEVICE}"


class Log:
    """The Audit Log object of a rusty-bacnet device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0

    def add(self, server: Any) -> None:
        folder = self.folder / str(id(server))
        server.add_audit_log(1, "audit", str(folder))
        server.configure_audit_notification_sink(1, policy="allow_all")

    def entries(self) -> list[dict[str, Any]]:
        """What it was told of the device, the oldest first."""
        return asyncio.run(self._queried())

    async def _queried(self) -> list[dict[str, Any]]:
        import rusty_bacnet as rusty

        device = rusty.ObjectIdentifier(rusty.ObjectType.DEVICE, DEVICE)
        parameters = {"kind": "by_target", "target_device_identifier": device, "successful_actions_only": 0}
        query = {
            "audit_log": rusty.ObjectIdentifier(rusty.ObjectType.AUDIT_LOG, 1),
            "query_parameters": parameters,
            "requested_count": 100,
        }
        async with rusty.BACnetClient("127.0.0.1", 0) as client:
            answer = await client.audit_log_query_typed(f"127.0.0.1:{self.port}", query)
        found = sorted(answer["records"], key=lambda each: each["sequence_number"])
        return [each["record"]["datum"]["audit_notification"] for each in found]


def test_who_wrote_and_who_was_denied_stands_in_the_log_with_the_record_that_proves_it(
    start: Start, tmp_path: Path
) -> None:
    log = Log(tmp_path)
    with rusty_devices(DEVICE, LOG, made=log.add) as ports:
        log.port = ports[1]
        plant = start("--inventory", str(write_site(tmp_path / "plant", ports, DEVICE, LOG, audit_log=LOG)))
        operate(plant)
        done, too_much, not_allowed = until(lambda: found if len(found := log.entries()) == 3 else None)
        assert [str(each["operation"]) for each in (done, too_much, not_allowed)] == ["AuditOperation.WRITE"] * 3
        assert str(done["target_object"]) == str(too_much["target_object"]) == "ObjectIdentifier(ANALOG_VALUE, 1)"
        assert done["target_property"]["property_identifier"].to_raw() == 85
        assert [each["target_priority"] for each in (done, too_much, not_allowed)] == [10, 10, 12]
        assert done["target_value"] == bytes.fromhex("4441a40000")
        assert done["result"] is None
        for each in (too_much, not_allowed):
            assert [word.to_raw() for word in each["result"]] == [4, 85]  # security, access-denied
        assert done["source_comment"].startswith(f"{ANA} (")
        assert not_allowed["source_comment"].startswith(f"{BMS} (")
        assert "denied value_above_limit" in too_much["source_comment"]
        for each, result in ((done, "done"), (too_much, "denied"), (not_allowed, "denied")):
            record = int(each["source_comment"].partition(" record ")[2].partition(",")[0])
            (outcome,) = plant.records("outcome", intent=record)
            assert outcome["result"] == result
        until(lambda: 'otbroker_audit_log_told_total{site="plant"} 3.0' in plant.ops("/metrics")[1])


def operate(plant: Development) -> None:
    assert plant.api().read(VAV, "zone-temp").status == 200
    assert plant.api().write(VAV, {"zone-setpoint": {"value": 20.5, "priority": 10}}).status == 200
    assert plant.api().write(VAV, {"zone-setpoint": {"value": 26.5, "priority": 10}}).status == 403
    assert plant.api("bms-sync").write(VAV, {"zone-setpoint": {"value": 19, "priority": 12}}).status == 403
