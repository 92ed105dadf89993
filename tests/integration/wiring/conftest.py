"""A broker in this process that looks at its files only when it is told to."""

from pathlib import Path

import pytest

from broker.adapters.private_files import write_private
from broker.cli.development import Development, DevelopmentOptions
from tests.integration.wiring.reviewing import INVENTORY


@pytest.fixture
def reviewed(tmp_path: Path) -> Path:
    """The folder of a broker that holds gains back and is told when to look at its files."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "all.yaml").write_text(INVENTORY)
    development = Development(DevelopmentOptions(tmp_path / "dev", inventory=tmp_path / "inventory"))
    development.set_up()
    development.tear_down()
    path = tmp_path / "dev" / "broker.yaml"
    text = path.read_text().replace('"gains": "apply"', '"gains": "review", "poll_seconds": 60')
    write_private(path, text.encode())
    return tmp_path
