"""A broker's ledger and notices as a process of its own, to be killed: `python -m … FOLDER URL`."""

import asyncio
import sys
from pathlib import Path

from tests.integration.ledger.running import settled
from tests.integration.notices.test_webhooks import running, webhook


async def main(folder: Path, url: str) -> None:
    async with running(folder, webhook(folder, url)) as broker:
        broker.lift("lck-1")
        await settled(broker.ledger)
        print("recorded", flush=True)
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
