"""Old records are given up as the settings say; what remains still verifies."""

import asyncio

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.ledger_files import FileLedger
from broker.adapters.ledger_reader import verify_directory
from broker.ledger import records
from broker.wiring.retention import prune_older

BEGAN = 1_790_000_000.0


def test_records_older_than_the_settings_keep_are_given_up_and_the_rest_verifies(tmp_path):
    async def scenario() -> tuple[FileLedger, int]:
        ledger = FileLedger(tmp_path, "plant.example/ledger", Ed25519PrivateKey.generate(), lambda: BEGAN + 2000)
        await ledger.open()
        for second in range(1000):
            ledger.append(records.evidence_viewed(BEGAN + second, subject="cy@plant.example", what="records"))
        sealed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if not ledger.settle(True, sealed.set_result):
            await sealed
        while ledger.metrics()["sealed"] < 1000:
            await asyncio.sleep(0.01)
        went = await prune_older(ledger, BEGAN + 600.5)
        await ledger.close()
        return ledger, went

    ledger, went = asyncio.run(scenario())
    assert went == 601 // 256
    report = verify_directory(tmp_path, ledger.vkey)
    assert report.ok, report
    assert report.minimum == 512
