"""One ledger has one broker."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.end_to_end.crash.rig import Broker

REFUSAL_SECONDS = 30.0


@pytest.mark.timeout(90)
def test_a_second_broker_on_the_same_ledger_is_refused_and_the_first_goes_on(broker: Broker) -> None:
    broker.start()
    caller = broker.connected()
    assert caller.turn(write=True) == 0
    second = settings_for_serve(broker)
    assert "the ledger is in use" in refused([sys.executable, "-m", "broker.cli.otbroker", "serve", "--config", second])
    assert caller.turn(write=True) == 0
    caller.disconnect()
    broker.stop()


@pytest.mark.timeout(90)
def test_a_second_dev_in_the_same_folder_is_refused_and_the_first_goes_on(broker: Broker) -> None:
    broker.start()
    said = (broker.state / "dev.json").read_text()
    assert "in use" in refused(broker.command())
    assert (broker.state / "dev.json").read_text() == said
    caller = broker.connected()
    assert caller.turn(write=True) == 0
    caller.disconnect()
    broker.stop()


def settings_for_serve(broker: Broker) -> str:
    """Settings beside those of `dev`, for the same ledger, with places and organisations in one inventory."""
    inventory = broker.folder / "whole-inventory"
    shutil.copytree(broker.inventory, inventory)
    shutil.copytree(broker.state / "organisations", inventory, dirs_exist_ok=True)
    settings = json.loads((broker.state / "broker.yaml").read_text())
    path = broker.state / "second.yaml"
    path.write_text(json.dumps({**settings, "inventory": str(inventory)}))
    return str(path)


def refused(command: list[str]) -> str:
    """What it says while it ends by itself, without a traceback."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=REFUSAL_SECONDS)
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0, said
    assert "Traceback" not in said
    return said
