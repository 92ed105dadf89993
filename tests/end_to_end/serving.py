"""`otbroker serve` in the folder of a development broker, with settings of one's own."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.adapters.private_files import write_private
from broker.cli.development import Development as Maker
from broker.cli.development import DevelopmentOptions
from tests.end_to_end.development import START_SECONDS, Development

_SERVING = re.compile(r"serving: modbus_tls (\S+), bacnet_sc \S+, https (\S+), ops (\S+)")


class Serving(Development):
    """A running broker; `folder` is made, or used again. `roles` are those of the owner's people."""

    def __init__(
        self, folder: Path, inventory: Path, roles: Mapping[str, list[str]], **settings: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self.log = folder.with_name(folder.name + ".log")
        self.minted: set[str] = set()
        known = folder / "facts.json"
        if not known.exists():
            facts = self._made(inventory, roles, settings)
            known.write_text(json.dumps(facts))
        self.facts = json.loads(known.read_text())
        self._told = len(self.logged()) if self.log.exists() else 0
        self.process = self._started(["serve", "--config", str(folder / "broker.yaml")])
        self._stopped = False

    def _made(
        self, inventory: Path, roles: Mapping[str, list[str]], settings: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        maker = Maker(DevelopmentOptions(self.folder, inventory=inventory))
        maker.set_up()
        assert maker.broker is not None
        maker.broker.addresses.modbus_tls = ("",)
        maker._mint_tokens()
        facts: dict[str, Any] = maker.facts()
        maker.tear_down()
        organisations = (self.folder / "organisations" / "organisations.yaml").read_text().splitlines()
        owner = next(place for place, line in enumerate(organisations) if "owner: true" in line)
        at = next(n for n in range(owner, len(organisations)) if "roles:" in organisations[n])
        organisations[at] = f"    roles: {json.dumps(dict(roles))}"
        (inventory / "organisations.yaml").write_text("\n".join(organisations) + "\n")
        path = self.folder / "broker.yaml"
        document = json.loads(path.read_text())
        for section, changes in settings.items():
            document[section] |= changes
        write_private(path, json.dumps(document).encode())
        return facts

    def wait(self) -> "Serving":
        """Until the broker says that it serves."""
        end = time.monotonic() + START_SECONDS
        while (told := _SERVING.search(self.logged(), self._told)) is None:
            if self.process.poll() is not None or time.monotonic() > end:
                self._stopped = True
                self.kill()
                raise AssertionError(f"the broker did not start:\n{self.logged()}")
            time.sleep(0.02)
        self.facts |= {"modbus_tls": told[1], "api": f"https://{told[2]}", "ops": f"http://{told[3]}"}
        return self

    def otb(self, who: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line as one of the personas."""
        persona, (host, port) = self.persona(who), self.api_address
        access = ["--api", f"https://localhost:{port}" if host == "127.0.0.1" else self.facts["api"]]
        access += ["--ca", str(self.folder / self.facts["ca"]), "--cert", str(persona.certificate)]
        access += ["--key", str(persona.key), "--token", str(persona.token)]
        command = [sys.executable, "-m", "broker.cli.otb", *arguments, *access]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
